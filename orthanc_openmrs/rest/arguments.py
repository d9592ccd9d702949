"""The arguments and the body of a request, checked.

Decides: the words of a refusal, and how deep a body may be.
"""

import json
import re
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Any, TypeVar

from orthanc_openmrs.rest.messages import HttpError, Request

MOST_BRACKETS = 64
"""Brackets in a body. Orthanc's HTTP threads have a stack of 100 KiB: JSON of 600 levels, which
Python's own limit allows, would end Orthanc."""


def json_body(request: Request) -> dict[str, Any]:
    """The body, which must be a JSON object."""
    if request.body.count(b"[") + request.body.count(b"{") > MOST_BRACKETS:
        raise HttpError(400, "the body is nested too deeply")
    try:
        body = json.loads(request.body)
        json.dumps(body, ensure_ascii=False).encode()  # no half of a surrogate pair
    except ValueError:
        raise HttpError(400, "the body is no JSON") from None
    if not isinstance(body, dict):
        raise HttpError(400, "the body must be a JSON object")
    return body


def number(request: Request, key: str, default: int, least: int, most: int) -> int:
    """An argument that is a whole number."""
    text = request.query.get(key)
    if text is None:
        return default
    digits = text.isascii() and text.isdigit() and len(text) <= 12
    if not digits or not least <= int(text) <= most:
        raise HttpError(400, f"{key} must be a whole number from {least} to {most}")
    return int(text)


_Choice = TypeVar("_Choice", bound=StrEnum)


def one_of(choices: type[_Choice], request: Request, key: str) -> _Choice | None:
    """An argument that is one of several words, None where it isn't there."""
    text = request.query.get(key)
    if text is None:
        return None
    if text not in list(choices):
        raise HttpError(400, f"{key} must be one of " + ", ".join(choices))
    return choices(text)


def some_of(choices: type[_Choice], request: Request, key: str) -> list[_Choice]:
    """An argument of several words with commas between, each one of some; [] where it isn't
    there."""
    texts = [part.strip() for part in request.query.get(key, "").split(",") if part.strip()]
    if any(text not in list(choices) for text in texts):
        raise HttpError(400, f"{key} must be one of " + ", ".join(choices))
    return [choices(text) for text in texts]


def instant(request: Request, key: str) -> float:
    """An argument that is a time in UTC, as the answers have it (20250703T120000Z); 0 where it
    isn't there."""
    text = request.query.get(key, "")
    if not text:
        return 0.0
    try:
        return datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise HttpError(400, f"{key} must be a time as 20250703T120000Z") from None


def yes_or_no(request: Request, key: str) -> bool | None:
    """An argument that is true or false, None where it isn't there."""
    text = request.query.get(key)
    if text not in (None, "true", "false"):
        raise HttpError(400, f"{key} must be true or false")
    return None if text is None else text == "true"


_DAY = re.compile(r"\d{8}|\d{4}-\d\d-\d\d")
_DAYS = re.compile(rf"({_DAY.pattern})?(-)?({_DAY.pattern})?")


def days(request: Request, key: str) -> tuple[str, str]:
    """An argument that is a day (20250703 or 2025-07-03) or a range of them, as DICOM's range
    matching has it (20250701-, -20250703): the first and the last, "" where it is open."""
    text = request.query.get(key, "")
    if not text:
        return "", ""
    found = _DAYS.fullmatch(text)
    first, last = (found[1] or "", found[3] or "") if found else ("", "")
    named = [one for one in (first, last) if one]
    if not found or not named or not all(map(_is_day, named)):
        raise HttpError(400, f"{key} must be a day as 20250703, or a range as 20250701-20250703")
    if not found[2]:
        last = first
    return first.replace("-", ""), last.replace("-", "")


def _is_day(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def refuse_unknown(request: Request, allowed: tuple[str, ...]) -> None:
    """Refuse arguments that would do nothing."""
    unknown = sorted(set(request.query) - set(allowed))
    if unknown:
        raise HttpError(
            400,
            "an argument of this request is unknown",
            "arguments are: " + (", ".join(allowed) or "none"),
        )
