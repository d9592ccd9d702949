"""A C-FIND identifier as bytes → a `Query`.

Decides: how the keys of a query are read, in any character set. Must not know: items, how
keys match.
"""

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO

import pydicom
from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from orthanc_openmrs.worklist.attributes import SPECIFIC_CHARACTER_SET, STEP_SEQUENCE

MAX_KEY_TEXT = 4096
"""Characters of a key that are looked at; no key of a worklist is longer."""


@dataclass(frozen=True, slots=True)
class Key:
    """One key: `text` is "" for universal matching; values of a list stand apart by `\\`.

    `keyword` is "" for a tag that the dictionary doesn't know. For a sequence, `universal`
    tells whether the query leaves its items open. `raw` has the bytes of a text beyond ASCII
    whose character set the query doesn't name: Orthanc takes it for its `DefaultEncoding`.
    """

    tag: int
    keyword: str
    vr: str
    text: str = ""
    universal: bool = True
    raw: bytes = b""


@dataclass(frozen=True, slots=True)
class Query:
    """The keys of a worklist query, in the order of their tags.

    `step_keys` are those inside ScheduledProcedureStepSequence: None where the query doesn't
    name the sequence, () where it leaves the item open (every attribute is wanted then).
    """

    keys: tuple[Key, ...]
    step_keys: tuple[Key, ...] | None

    def text(self, keyword: str) -> str:
        """What the query asks of a key, "" where it asks nothing."""
        for key in (*self.keys, *(self.step_keys or ())):
            if key.keyword == keyword and key.text:
                return key.text
        return ""


def parse_query(identifier: bytes) -> Query:
    """Read the identifier of a C-FIND-RQ, as a DICOM file or a bare dataset.

    Raises ValueError where it is no DICOM dataset.
    """
    try:
        with _quietly():
            return _read(pydicom.dcmread(BytesIO(identifier), force=True))
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


def _read(dataset: Dataset) -> Query:
    step_keys: tuple[Key, ...] | None = None
    keys: list[Key] = []
    undeclared = not dataset.get("SpecificCharacterSet")
    for key, element in _keys(dataset, undeclared):
        if key.tag == STEP_SEQUENCE and element.VR == "SQ":
            items = list(element.value or ())
            step_keys = tuple(key for key, _ in _keys(items[0], undeclared)) if items else ()
        else:
            keys.append(key)
    return Query(tuple(keys), step_keys)


def _keys(dataset: Dataset, undeclared: bool) -> list[tuple[Key, DataElement]]:
    pairs = []
    for element in dataset:
        tag = element.tag
        # Group lengths say nothing, private keys can't be answered (Orthanc refuses them).
        if tag == SPECIFIC_CHARACTER_SET or tag.element == 0 or tag.is_private:
            continue
        pairs.append((_key(element, undeclared), element))
    return pairs


def _key(element: DataElement, undeclared: bool) -> Key:
    tag = int(element.tag)
    keyword = keyword_for_tag(tag)
    vr = dictionary_VR(tag)[:2] if keyword else str(element.VR)
    if element.VR == "SQ":
        items = list(element.value or ())
        return Key(tag, keyword, "SQ", universal=all(len(item) == 0 for item in items))
    text = _text(element.value)[:MAX_KEY_TEXT]
    if text.isascii() or not undeclared:
        return Key(tag, keyword, vr, text)
    # pydicom takes it for Latin-1.
    return Key(tag, keyword, vr, _utf8_if_it_is(text), raw=text.encode("latin-1", "replace"))


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
