"""A request, a response, and the errors between them, in Orthanc's manner."""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

JSON = "application/json"

REASONS = {
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    409: "Conflict",
    413: "Content Too Large",
    500: "Internal Server Error",
    503: "Service Unavailable",
}


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request; `path` is decoded, header names are in small letters."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Response:
    """One HTTP response; `allow` is the Allow header of a 405."""

    status: int
    body: bytes = b""
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    allow: str = ""


def user_of(request: Request) -> str:
    """The Orthanc user who asks, "" where Orthanc has no users."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(token).decode("utf-8", "replace").partition(":")[0][:100]
    except ValueError:
        return ""


class HttpError(Exception):
    """A request that can't be answered: `message` is for the person who reads the answer."""

    def __init__(self, status: int, message: str, details: str = "", **headers: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.details = details
        self.headers = {key.replace("_", "-"): value for key, value in headers.items()}


def answer(document: Any) -> Response:
    """A 200 with a JSON body."""
    return Response(200, _bytes(document))


def moment(seconds: float) -> str | None:
    """A time in Orthanc's form, in UTC; None for never."""
    if not seconds:
        return None
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y%m%dT%H%M%SZ")


def _bytes(document: Any) -> bytes:
    # Half a surrogate pair, which JSON may hold and UTF-8 may not, becomes a question mark.
    text = json.dumps(document, indent=2, ensure_ascii=False)
    return (text + "\n").encode(errors="replace")


def error(
    status: int,
    message: str,
    request: Request,
    details: str = "",
    headers: Mapping[str, str] | None = None,
) -> Response:
    """An error with Orthanc's JSON body."""
    document = {
        "HttpError": REASONS.get(status, "Error"),
        "HttpStatus": status,
        "Message": message,
        "Details": details,
        "Method": request.method,
        "Uri": request.path,
    }
    return Response(status, _bytes(document), headers=headers or {})
