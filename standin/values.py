"""Values in the list: how a generation writes what a user typed.

Decides formats. Must not know rows, JSON or HTTP.
"""

import re
from collections.abc import Iterable
from datetime import datetime

from .answers import ServerException


def as_is(text: str | None) -> str | None:
    return text


def timestamp_text(birthdate: str | None) -> str:
    """A java.sql.Timestamp's text; a birth date that is no date is passed through for tests.

    The module calls a method of the birth date without looking: without one the whole list
    fails.
    """
    if birthdate is None:
        raise ServerException("Cannot invoke toString() because the birth date is null")
    iso = re.fullmatch(r"\d{4}-\d\d-\d\d", birthdate)
    return f"{birthdate} 00:00:00.0" if iso else birthdate


def compact_birth_date(birthdate: str | None) -> str:
    known = ("%Y-%m-%d", "%Y%m%d", "%Y-%m-%d %H:%M:%S.0")
    return _reformatted(birthdate, known, "%Y%m%d") or ""


def compact_date(text: str | None) -> str | None:
    """v3 reads each date again, and one that is none fails the whole list."""
    return _compact(text, ("%Y%m%d%H%M%S", "%Y-%m-%d", "%Y%m%d"), "%Y%m%d")


def compact_time(text: str | None) -> str | None:
    """As compact_date: "NaNNaN00" of one old step is enough."""
    return _compact(text, ("%H%M%S", "%H:%M:%S", "%H:%M"), "%H%M%S")


def _compact(text: str | None, formats: Iterable[str], output: str) -> str | None:
    if text is None or not text.strip():
        return text
    found = _reformatted(text, formats, output)
    if found is None:
        raise ServerException(f"Text '{text}' could not be parsed at index 0")
    return found


def _reformatted(text: str | None, formats: Iterable[str], output: str) -> str | None:
    for known in formats:
        try:
            return datetime.strptime((text or "").strip(), known).strftime(output)
        except ValueError:
            continue
    return None
