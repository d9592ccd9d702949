"""A C-FIND identifier as bytes → a `Query`.

Decides: how the keys of a query are read, in any character set, and whether it came through
the Lua filter (`orthancWorklist.lua`). Must not know: items, how keys match.
"""

import json
import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import pydicom
from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from orthanc_openmrs.worklist.attributes import SPECIFIC_CHARACTER_SET, STEP_SEQUENCE

MAX_KEY_TEXT = 4096
"""Characters of a key that are looked at; no key of a worklist is longer."""


@dataclass(frozen=True, slots=True)
class Key:
    """One key: `text` is "" for universal matching; values of a list stand apart by `\\`.

    `keyword` is "" for a tag that the dictionary doesn't know. For a sequence, `universal`
    tells whether the query leaves its items open. `raw` has the bytes of the value as they
    came, where it came as bytes: Orthanc reads them by itself.
    """

    tag: int
    keyword: str
    vr: str
    text: str = ""
    universal: bool = True
    raw: bytes = b""

    @property
    def has_value(self) -> bool:
        """Whether something but blanks stands in it."""
        return bool(self.text or self.raw.strip(b" \0"))


@dataclass(frozen=True, slots=True)
class Query:
    """The keys of a worklist query, in the order of their tags.

    `step_keys` are those inside ScheduledProcedureStepSequence: None where the query doesn't
    name the sequence, () where it leaves the item open (every attribute is wanted then).
    `charset` is the SpecificCharacterSet as it was declared. `open_step`: Orthanc applies
    nothing of the query again to the step of an answer. `letters_lost`: letters beyond ASCII may
    have been lost, for the query named no character set and Orthanc took it for another.
    """

    keys: tuple[Key, ...]
    step_keys: tuple[Key, ...] | None
    charset: str = ""
    open_step: bool = False
    letters_lost: bool = False

    def text(self, keyword: str) -> str:
        """What the query asks of a key, "" where it asks nothing."""
        for key in (*self.keys, *(self.step_keys or ())):
            if key.keyword == keyword and key.text:
                return key.text
        return ""


def parse_query(identifier: bytes, mark: str = "") -> Query:
    """Read the identifier of a C-FIND-RQ, as a DICOM file or a bare dataset.

    `mark` is what the Lua filter puts before a query that it hands over whole; without it, or
    where nothing bears it, there is no filter. Raises ValueError where it is no DICOM dataset.
    """
    try:
        with _quietly():
            dataset = pydicom.dcmread(BytesIO(identifier), force=True)
            whole = _handed_over(dataset, mark) if mark else None
            return _read(dataset) if whole is None else _read_whole(json.loads(whole))
    except Exception as problem:
        raise ValueError(f"the query is no DICOM dataset ({type(problem).__name__})") from None


_quiet = threading.Lock()


@contextmanager
def _quietly() -> Iterator[None]:
    """pydicom warns of odd values, with the values; a query may hold any."""
    with _quiet, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        log = logging.getLogger("pydicom")
        before, log.disabled = log.disabled, True
        try:
            yield
        finally:
            log.disabled = before


_LETTER = 0x0040A160
"""TextValue: where the Lua filter puts the query, as Orthanc's JSON."""


def _handed_over(dataset: Dataset, mark: str) -> str | None:
    text = str(dataset[_LETTER].value) if _LETTER in dataset else ""
    found, _, whole = text.partition(" ")
    return whole if found == mark else None


def _read_whole(values: dict[str, Any]) -> Query:
    """A query as Orthanc's JSON has it: tags as "gggg,eeee", every value a text."""
    step_keys: tuple[Key, ...] | None = None
    keys: list[Key] = []
    for tag, value in _tags(values):
        if tag == STEP_SEQUENCE and isinstance(value, list):
            # An empty item is an empty array to Lua.
            first = value[0] if value and isinstance(value[0], dict) else {}
            step_keys = tuple(_key_of_json(*one) for one in _tags(first))
        else:
            keys.append(_key_of_json(tag, value))
    charset = str(values.get(_tag_text(SPECIFIC_CHARACTER_SET), "")).strip()
    return Query(tuple(keys), step_keys, charset, open_step=True, letters_lost=not charset)


def _tags(values: dict[str, Any]) -> list[tuple[int, Any]]:
    tags = ((int(tag.replace(",", ""), 16), value) for tag, value in values.items())
    return sorted(
        (tag, value)
        for tag, value in tags
        if tag != SPECIFIC_CHARACTER_SET and keyword_for_tag(tag)
    )


def _tag_text(tag: int) -> str:
    return f"{tag >> 16:04x},{tag & 0xFFFF:04x}"


def _key_of_json(tag: int, value: Any) -> Key:
    vr = dictionary_VR(tag)[:2]
    if isinstance(value, list):
        return Key(tag, keyword_for_tag(tag), "SQ", universal=not any(value))
    return Key(tag, keyword_for_tag(tag), vr, _text(value)[:MAX_KEY_TEXT])


def _read(dataset: Dataset) -> Query:
    step_keys: tuple[Key, ...] | None = None
    keys: list[Key] = []
    charset = _text(dataset.get("SpecificCharacterSet"))
    for key, element in _keys(dataset, charset):
        if key.tag == STEP_SEQUENCE and element.VR == "SQ":
            items = list(element.value or ())
            step_keys = tuple(key for key, _ in _keys(items[0], charset)) if items else ()
        else:
            keys.append(key)
    return Query(tuple(keys), step_keys, charset)


def _keys(dataset: Dataset, charset: str) -> list[tuple[Key, DataElement]]:
    pairs = []
    for tag in sorted(dataset.keys()):
        # Group lengths say nothing, private keys can't be answered (Orthanc refuses them).
        if tag == SPECIFIC_CHARACTER_SET or tag.element == 0 or tag.is_private:
            continue
        raw = dataset.get_item(tag)  # before pydicom decodes it
        as_it_came = (raw.value or b"") if isinstance(raw, RawDataElement) else b""
        pairs.append((_key(dataset[tag], charset, as_it_came), dataset[tag]))
    return pairs


def _key(element: DataElement, charset: str, raw: bytes) -> Key:
    tag = int(element.tag)
    keyword = keyword_for_tag(tag)
    vr = dictionary_VR(tag)[:2] if keyword else str(element.VR)
    if element.VR == "SQ":
        items = list(element.value or ())
        return Key(tag, keyword, "SQ", universal=all(len(item) == 0 for item in items))
    text = _text(element.value)[:MAX_KEY_TEXT]
    if not charset.strip("\\ ") and not text.isascii():
        text = _utf8_if_it_is(text)  # pydicom takes it for Latin-1
    return Key(tag, keyword, vr, text, raw=raw[: 4 * MAX_KEY_TEXT])


def _text(value: object) -> str:
    if value is None or isinstance(value, bytes):
        return ""  # an unknown VR: no key that could be compared
    if isinstance(value, MultiValue | list | tuple):
        return "\\".join(_text(part) for part in value)
    return str(value).strip(" \0")


def _utf8_if_it_is(text: str) -> str:
    """Text of a query that names no character set: pydicom takes it for Latin-1. Other than
    ASCII it may not hold then, and scanners that send it all the same mostly mean UTF-8."""
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return text
