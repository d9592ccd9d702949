"""A request, a response, and the errors between them, in Orthanc's manner."""

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

JSON = "application/json"

REASONS = {
    304: "Not Modified",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    409: "Conflict",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    500: "Internal Server Error",
    503: "Service Unavailable",
}

CODES = {
    400: "bad-request",
    403: "another-site",
    404: "not-found",
    406: "not-acceptable",
    409: "conflict",
    413: "too-long",
    415: "unsupported-media-type",
    500: "plugin-failed",
    503: "unavailable",
}
"""The `Code` of an error, for programs, where nothing more is said: it never changes."""

OTHER_CODES = ("unknown-route", "busy", "database", "no-worklist")
"""Codes of errors that are told more exactly; beside them `openmrs-…`, a kind of PROBLEMS each."""


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
    """A request that can't be answered: `message` is for the person who reads the answer, `code`
    for a program ("": that of the status)."""

    def __init__(
        self, status: int, message: str, details: str = "", code: str = "", **headers: str
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.details = details
        self.code = code
        self.headers = {key.replace("_", "-"): value for key, value in headers.items()}


def answer(document: Any, headers: Mapping[str, str] | None = None) -> Response:
    """A 200 with a JSON body."""
    return Response(200, _bytes(document), headers=headers or {})


def page(
    elements: list[Any], request: Request, total: int, following: Mapping[str, str] | None = None
) -> Response:
    """A page of a list that has `total` elements; `following` are the arguments that lead to the
    next one, None where this is the last."""
    headers = {"X-Total-Count": str(total)}
    if following:
        query = urlencode({**request.query, **following})
        headers["Link"] = f'<?{query}>; rel="next"'
    return answer(elements, headers)


def etag(told: bytes) -> str:
    """The ETag of what is told."""
    return f'"{hashlib.blake2b(told, digest_size=12).hexdigest()}"'


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
    code: str = "",
) -> Response:
    """An error with Orthanc's JSON body, and its `Code`."""
    document = {
        "HttpError": REASONS.get(status, "Error"),
        "HttpStatus": status,
        "Code": code or CODES[status],
        "Message": message,
        "Details": details,
        "Method": request.method,
        "Uri": request.path,
    }
    return Response(status, _bytes(document), headers=headers or {})
