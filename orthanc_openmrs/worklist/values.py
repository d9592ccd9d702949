"""OpenMRS's text → values that are valid in DICOM, one function a kind of value.

Decides: what each VR allows (PS3.5 Table 6.2-1) and how far a text is repaired. A function
returns a `Value`: the valid text, "" where there is none, and what an administrator should
know. Must not know: which attribute it works for, today's date, other steps.
"""

import re
import unicodedata
from collections.abc import Callable
from datetime import date
from typing import NamedTuple


class Value(NamedTuple):
    """A valid value. `warning` says what was dropped or repaired so that a person should act,
    `adjusted` what was repaired as a matter of routine; both without the value itself."""

    text: str
    warning: str = ""
    adjusted: str = ""


# Control characters and the value delimiter have no place in a single value (PS3.5 6.1.3, 6.2).
# Line breaks are blanks to a reader; a backslash between words is read as "or".
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff]+")

_SURROGATE = re.compile(r"[\ud800-\udfff]")


def clean(text: str) -> str:
    """One line of text in Unicode's composed form, free of `\\`, edges and runs of blanks."""
    text = _SURROGATE.sub("\ufffd", text)
    text = _CONTROL.sub(" ", text).replace("\\", "/")
    return unicodedata.normalize("NFC", " ".join(text.split()))


def cut(text: str, length: int) -> str:
    """At most `length` characters, ended at a word where one ends in the last third."""
    if len(text) <= length:
        return text
    head = text[:length]
    if not text[length].isspace():
        blank = head.rfind(" ")
        if blank >= length * 2 // 3:
            head = head[:blank]
    return head.rstrip()


def long_string(text: str) -> Value:
    """LO: 64 characters."""
    return _string(text, 64)


def short_string(text: str) -> Value:
    """SH: 16 characters."""
    return _string(text, 16)


def _string(text: str, length: int) -> Value:
    cleaned = clean(text)
    short = cut(cleaned, length)
    if short != cleaned:
        return Value(short, adjusted=f"cut from {len(cleaned)} to {len(short)} characters")
    return Value(short)


def accession_number(text: str) -> Value:
    """SH, cut at exactly 16 characters: what a scanner with 16 characters would keep."""
    cleaned = clean(text)
    if len(cleaned) <= 16:
        return Value(cleaned)
    told = f"cut from {len(cleaned)} to 16 characters for the scanner"
    return Value(cleaned[:16].rstrip(), adjusted=told)


def identifier(text: str, length: int) -> Value:
    """An identifier that comes back in images: too long or empty is no identifier at all."""
    cleaned = clean(text)
    if len(cleaned) > length:
        return Value("", f"has {len(cleaned)} characters; DICOM allows {length}")
    return Value(cleaned)


_AE_TITLE = re.compile(r"[\x20-\x5b\x5d-\x7e]{1,16}")


def ae_title(text: str) -> Value:
    """AE: 1 to 16 characters of ASCII, no `\\`, not only blanks."""
    stripped = text.strip()
    if not stripped:
        return Value("")
    if _AE_TITLE.fullmatch(stripped):
        return Value(stripped)
    return Value("", "is no AE title (1 to 16 ASCII characters)")


_CODE_STRING = re.compile(r"[A-Z0-9 _]{1,16}")


def code_string(text: str) -> Value:
    """CS: 1 to 16 of A-Z, 0-9, blank and underscore; small letters are raised."""
    raised = " ".join(text.upper().split())
    if not raised or _CODE_STRING.fullmatch(raised):
        return Value(raised)
    return Value("", "is no code string (1 to 16 of A-Z, 0-9, blank, underscore)")


_SEXES = {"M": "M", "F": "F", "O": "O", "MALE": "M", "FEMALE": "F", "OTHER": "O"}


def sex(text: str) -> Value:
    """PatientSex: M, F or O (PS3.3 C.2.3), else empty; "U" is OpenMRS's word for unknown."""
    word = text.strip().upper()
    if word in ("", "U", "UNKNOWN"):
        return Value("")
    known = _SEXES.get(word, "")
    return Value(known, "" if known else "is none of M, F, O")


_PRIORITIES = ("STAT", "HIGH", "ROUTINE", "MEDIUM", "LOW")


def priority(text: str) -> Value:
    """RequestedProcedurePriority: STAT, HIGH, ROUTINE, MEDIUM, LOW (PS3.3 C.4.11), else empty."""
    word = text.strip().upper()
    if not word or word in _PRIORITIES:
        return Value(word)
    return Value("", "is none of " + ", ".join(_PRIORITIES))


# --- dates and times -----------------------------------------------------------------------

_MONTHS = {
    name: number
    for number, name in enumerate(
        ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"), 1
    )
}
_CLOCK = r"\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?"
_ZONE = r"(?: ?(?:Z|UTC|GMT|[+-]\d{2}:?\d{2}))?"
_ISO_DATE = re.compile(rf"(\d{{4}})-(\d{{1,2}})-(\d{{1,2}})(?:[T ]({_CLOCK}){_ZONE})?", re.ASCII)
_DIGITS_DATE = re.compile(r"(\d{4})(\d{2})(\d{2})(\d{4}|\d{6})?", re.ASCII)
_JAVA_DATE = re.compile(
    r"[A-Z][a-z]{2} ([A-Z][a-z]{2}) (\d{1,2}) (\d{2}:\d{2}:\d{2}) \S+ (\d{4})", re.ASCII
)

_YEARS = range(1850, 2200)
"""Of births and appointments. Others are of another calendar (2569 is Buddhist for 2026), or of
a computer that knew none (0001, 9999)."""


def dicom_date(text: str) -> Value:
    """DA: eight digits. Forms: yyyy-MM-dd with or without a time, yyyyMMdd, yyyyMMddHHmmss,
    and java.util.Date's ("Mon Jan 01 00:00:00 UTC 1990"). An impossible date is none, nor is one
    with other text behind it: "(E.C.)" says that it is Ethiopian."""
    text = text.strip()
    if not text:
        return Value("")
    found = _date_and_time(text)
    if found is None:
        return Value("", "is no date")
    (year, month, day), _ = found
    try:
        known = date(year, month, day)
    except ValueError:
        return Value("", "is no date of the calendar")
    if year not in _YEARS:
        return Value("", f"is no date of the years {_YEARS[0]} to {_YEARS[-1]}")
    return Value(known.strftime("%Y%m%d"))


def _date_and_time(text: str) -> tuple[tuple[int, int, int], str] | None:
    if found := _ISO_DATE.fullmatch(text) or _DIGITS_DATE.fullmatch(text):
        return (int(found[1]), int(found[2]), int(found[3])), found[4] or ""
    if (found := _JAVA_DATE.fullmatch(text)) and found[1] in _MONTHS:
        return (int(found[4]), _MONTHS[found[1]], int(found[2])), found[3]
    return None


_COLON_TIME = re.compile(r"(\d{1,2})[:hH](\d{2})(?::(\d{2})(?:\.\d+)?)?", re.ASCII)
_DIGITS_TIME = re.compile(r"(\d{1,2})(\d{2})(?:(\d{2})(?:\.\d+)?)?", re.ASCII)
_HOUR_TIME = re.compile(r"(\d{1,2}) ?[hH]", re.ASCII)
_HALF_OF_DAY = re.compile(r"(.*?) ?([AP])\.?M\.?", re.ASCII | re.IGNORECASE)
_AT_ZONE = re.compile(rf"({_CLOCK}|\d{{6}}){_ZONE}", re.ASCII)


def dicom_time(text: str) -> Value:
    """TM of exactly six digits, for there are scanners that refuse any other form. Other forms
    that can be read in one way are: 8:15, 7:30 PM, 10h30, 930, 19:30Z, a timestamp. A zone doesn't
    count: it is the hospital's."""
    text = text.strip()
    if not text:
        return Value("")
    if found := _date_and_time(text):
        text = found[1] or text
    half = _HALF_OF_DAY.fullmatch(text)
    clock = half[1] if half else text
    zoned = _AT_ZONE.fullmatch(clock)
    clock = zoned[1] if zoned else clock
    parts = (
        _COLON_TIME.fullmatch(clock)
        or _DIGITS_TIME.fullmatch(clock)
        or _HOUR_TIME.fullmatch(clock)
        or (half and re.fullmatch(r"(\d{1,2})", clock, re.ASCII))
    )
    if not parts:
        return Value("", "is no time")
    hour, minute, second = (int(part or 0) for part in (*parts.groups(), "", "")[:3])
    if half:
        if not 1 <= hour <= 12:
            return Value("", "is no time of the day")
        hour = hour % 12 + 12 * (half[2] in "Pp")
    if hour > 23 or minute > 59 or second > 59:
        return Value("", "is no time of the day")
    return Value(f"{hour:02}{minute:02}{second:02}")


def time_of_date(text: str) -> str:
    """TM of the time that a date has, "" where it has none but midnight, which is most forms'
    way to say none."""
    found = _date_and_time(text.strip())
    time = dicom_time(found[1]).text if found else ""
    return time if time.strip("0") else ""


# --- unique identifiers --------------------------------------------------------------------

_UID = re.compile(r"(?:0|[1-9]\d*)(?:\.(?:0|[1-9]\d*))+", re.ASCII)


def is_uid(text: str) -> bool:
    """UI: components without leading zeros, 64 characters (PS3.5 9.1), below a root arc that
    ISO has given out (0, 1 or 2)."""
    return len(text) <= 64 and text[:2] in ("0.", "1.", "2.") and bool(_UID.fullmatch(text))


# --- person names --------------------------------------------------------------------------

PN_COMPONENT_GROUP = 64
"""Characters in one component group of a PN."""


def verbatim_name(text: str) -> Value:
    """PN of a text whose parts nobody knows: all of it in the first component."""
    return person_name(name_text(text))


def name_text(text: str) -> str:
    """A name as one line, without what separates component groups."""
    # "=" separates the alphabetic, ideographic and phonetic groups (PS3.5 6.2.1).
    return clean(text).replace("=", " ")


def person_name(name: str) -> Value:
    """PN of components with `^` between them."""
    parts = [" ".join(part.split()) for part in name.split("^")]
    joined = "^".join(parts[:5]).rstrip("^")
    if len(joined) <= PN_COMPONENT_GROUP:
        more = any(parts[5:])
        return Value(joined, "has more than five components; the others are left out" * more)
    short = cut(joined, PN_COMPONENT_GROUP).rstrip("^")
    return Value(short, adjusted=f"cut from {len(joined)} to {len(short)} characters")


Normaliser = Callable[[str], Value]
