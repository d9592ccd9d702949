"""What Orthanc's own matcher says of a step that is added to an answer.

Decides: whether Orthanc would keep the step. Where the Lua filter isn't installed, Orthanc
applies a query again inside the step (its `HierarchicalMatcher`), and drops a step that fails;
the answer would come without it. So a step is answered only where this says yes. In doubt it
says no: a step that is left out is better than a patient without one. Must not know: what the
standard says.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from orthanc_openmrs.worklist.patterns import wildcard
from orthanc_openmrs.worklist.query import Key

Test = Callable[[str], bool]

_WILDCARD_VRS = frozenset(("AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"))
_RANGE_VRS = frozenset(("DA", "DT", "TM"))

_CODECS = {
    # SpecificCharacterSet, in the spellings that every Orthanc takes → Python's codec
    "ISO_IR 6": "ascii",
    "ISO_IR 192": "utf-8",
    "ISO_IR 100": "iso8859-1",
    "ISO_IR 101": "iso8859-2",
    "ISO_IR 109": "iso8859-3",
    "ISO_IR 110": "iso8859-4",
    "ISO_IR 148": "iso8859-9",
    "ISO_IR 144": "iso8859-5",
    "ISO_IR 127": "iso8859-6",
    "ISO_IR 126": "iso8859-7",
    "ISO_IR 138": "iso8859-8",
    "ISO_IR 166": "iso8859-11",
    "GB18030": "gb18030",
}


_ELSEWHERE = b"\x1b\\~"
"""Bytes below 128 that aren't their ASCII character under every character set."""


@dataclass(frozen=True, slots=True)
class HostMatcher:
    """Orthanc's matcher under its configuration: the codec of its `DefaultEncoding`, by which it
    reads a query that names no character set, and its `CaseSensitivePN`."""

    codec: str = "utf-8"
    case_sensitive_names: bool = False

    def test(self, key: Key, charset: str) -> Test:
        """The test of one key of a query in this character set."""
        text = self._text(key, charset)
        if text is None:
            return _never
        if not text:
            return _always
        return orthanc_test(key.vr, text, self.case_sensitive_names)

    def _text(self, key: Key, charset: str) -> str | None:
        """A value as Orthanc reads it, None where that isn't known."""
        if not key.raw:
            return key.text
        raw = key.raw.rstrip(b" \0")  # blanks in front count here
        codec = _CODECS.get(charset) if charset else self.codec
        if raw.isascii() and not {*_ELSEWHERE} & {*raw}:
            codec = "ascii"
        if codec is None:
            return None
        try:
            return raw.decode(codec)
        except UnicodeDecodeError:
            return None


def _never(value: str) -> bool:
    return False


def _always(value: str) -> bool:
    return True


@lru_cache(maxsize=1024)
def orthanc_test(vr: str, text: str, case_sensitive_names: bool = False) -> Test:
    """The test of one key by its VR and the text that Orthanc reads: ranges by plain comparison
    of text, lists for every VR, PN without regard to case, all else exact."""
    if vr in _RANGE_VRS and "-" in text:
        first, _, last = text.partition("-")
        return lambda value: first <= value and (not last or value <= last)
    fold: Callable[[str], str] = str if vr != "PN" or case_sensitive_names else _raised
    if "\\" in text:
        wanted = frozenset(fold(part) for part in text.split("\\"))
        return lambda value: fold(value) in wanted
    if vr in _WILDCARD_VRS and ("*" in text or "?" in text):
        # To Orthanc, "?" is one byte of UTF-8.
        pattern = wildcard(_bytewise(fold(text)))
        return lambda value: bool(pattern.fullmatch(_bytewise(fold(value))))
    single = fold(text)
    return lambda value: fold(value) == single


def _raised(text: str) -> str:
    """In capitals, one by one: a letter that has no single capital of its own stays."""
    if text.isascii():
        return text.upper()
    return re.sub(r"[^\W\d_]", lambda found: _capital(found[0]), text)


def _capital(letter: str) -> str:
    capital = letter.upper()
    return capital if capital.lower() == letter else letter


def _bytewise(text: str) -> str:
    """One character for each byte of UTF-8."""
    return text.encode("utf-8", "replace").decode("latin-1")
