"""Answers as OpenMRS gives them: JSON, bare text, pages, and what becomes of an exception.

Decides the bytes. Must not know what is asked for, nor sockets: the wire sends them.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

JSON = "application/json;charset=UTF-8"
HTML = "text/html;charset=utf-8"
REST = "/openmrs/ws/rest/v1/"


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes = b""
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    breaks_off: bool = False  # sent in chunks, and the connection closed without the last one


def encode(value: object) -> bytes:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "replace")


def json_answer(value: object, status: int = 200) -> Answer:
    return Answer(status, encode(value))


def text_answer(text: str, status: int = 200) -> Answer:
    """Bare text, not a JSON string, and still announced as JSON: Spring writes a String so."""
    return Answer(status, text.encode())


def error_answer(status: int, message: str) -> Answer:
    return json_answer({"error": {"message": message, "code": "", "detail": ""}}, status)


def page_answer(status: int, title: str = "HTTP Status") -> Answer:
    page = f"<!doctype html><html><head><title>{title} {status}</title></head><body></body></html>"
    return Answer(status, page.encode(), HTML)


Form = Literal["whole", "cut", "breaks"]
"""200 with the object; 500 with the object cut off; 200 in chunks that break off."""


class ServerException(Exception):
    """An exception that the module's controller doesn't catch.

    `form`: how a core of 2.5 and later writes it. `old_status`: of the page that an earlier core
    sends instead.
    """

    def __init__(self, message: str, form: Form = "whole", old_status: int = 500) -> None:
        super().__init__(message)
        self.message = message
        self.form = form
        self.old_status = old_status

    def answer(self, *, old_core: bool = False) -> Answer:
        if old_core:
            return page_answer(self.old_status)
        return exception_answer(self.message, self.form)


def data_error(what: str) -> ServerException:
    """A unique or not-null column, a text longer than its column: rolled back."""
    return ServerException(f"could not execute statement; nested exception: {what}", "cut")


def exception_answer(message: str, form: Form = "whole") -> Answer:
    """The object that Spring makes of an exception, in one of its three forms."""
    body = encode(exception_object(message))
    if form == "cut":
        return Answer(500, body[: len(body) * 2 // 3])
    if form == "breaks":
        return Answer(200, body[: len(body) // 2], breaks_off=True)
    return Answer(200, body)


def exception_object(message: str) -> dict[str, object]:
    return {
        "cause": None,
        "stackTrace": [_frame(i) for i in range(60)],
        "message": message,
        "suppressed": [],
        "localizedMessage": message,
    }


def _frame(number: int) -> dict[str, object]:
    name = ("ImagingWorklist", "InvocableHandlerMethod", "FrameworkServlet")[min(number // 4, 2)]
    return {
        "methodName": f"invoke{number}",
        "fileName": f"{name}.java",
        "lineNumber": 100 + number,
        "className": f"org.openmrs.standin.{name}",
        "nativeMethod": False,
    }
