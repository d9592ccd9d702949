"""A performed procedure step's dataset: bytes ↔ pydicom's Dataset, and what is read of one.

Decides: how text is read in any character set, that what a scanner wrote stays byte by byte as it
wrote it. Elements stay raw until they are asked for: a step may list 40,000 images. Must not know:
which attributes a step has.
"""

from io import BytesIO
from typing import Any

from pydicom.charset import decode_bytes, default_encoding
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.filebase import DicomIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag

IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"

CHARACTER_SET = BaseTag(0x00080005)

LONGEST_TEXT = 1024
"""Characters of a value that are looked at: no attribute that is read may have more."""

_DELIMITERS = {0x0D, 0x0A, 0x09, 0x0C}


class Unreadable(Exception):
    """The bytes are no dataset."""


def parse(content: bytes, transfer_syntax: str) -> Dataset:
    """A dataset of little endian bytes. Raises Unreadable."""
    try:
        return read_dataset(BytesIO(content), transfer_syntax == IMPLICIT, True)
    except Exception as problem:  # pydicom's reader raises anything on garbage
        raise Unreadable(type(problem).__name__) from None


def serialize(dataset: Dataset, transfer_syntax: str) -> bytes:
    """The bytes of a dataset, those that came as they came. Raises Unreadable where a value that
    has to be written anew can't be."""
    buffer = BytesIO()
    stream = DicomIO(buffer)
    stream.is_implicit_VR, stream.is_little_endian = transfer_syntax == IMPLICIT, True
    try:
        write_dataset(stream, dataset)
    except Exception as problem:
        raise Unreadable(type(problem).__name__) from None
    return buffer.getvalue()


def rewritten(dataset: Dataset, transfer_syntax: str, character_set: object = None) -> Dataset:
    """The dataset as if it had come in this transfer syntax and, where it is given, in this
    character set. What can't be read or written is left out."""
    taken = Dataset()
    if character_set is not None:
        taken.add_new(CHARACTER_SET, "CS", character_set)
    for tag in tags(dataset):
        if character_set is not None and tag == CHARACTER_SET:
            continue
        one = Dataset()
        if character_set is not None:
            one.add_new(CHARACTER_SET, "CS", character_set)
        elif CHARACTER_SET in dataset:
            one[CHARACTER_SET] = dataset[CHARACTER_SET]
        try:
            one[tag] = dataset[tag]
            serialize(one, transfer_syntax)
        except Exception:  # noqa: S112 - pydicom raises anything; the rest is worth keeping
            continue
        taken[tag] = one[tag]
    return parse(serialize(taken, transfer_syntax), transfer_syntax)


# --- what is read --------------------------------------------------------------------------


def has(dataset: Dataset, keyword: str) -> bool:
    """Whether the dataset names the attribute, with a value or without."""
    return tag_of(keyword) in dataset


def text(dataset: Dataset, keyword: str) -> str:
    """The value of an attribute as text, several apart by backslashes, "" where there is none."""
    found = element(dataset, tag_of(keyword))
    if found is None:
        return ""
    if not isinstance(found, RawDataElement):
        value: Any = found.value
        parts = value if isinstance(value, list | tuple) or hasattr(value, "append") else [value]
        return "\\".join("" if part is None else str(part) for part in parts)[:LONGEST_TEXT]
    content = found.value or b""
    decoded = _decode(content[: 4 * LONGEST_TEXT], _encodings(dataset))[:LONGEST_TEXT]
    # Half a surrogate pair can't be stored.
    return decoded.encode("utf-8", "replace").decode().strip(" \0")


def items(dataset: Dataset, keyword: str) -> list[Dataset]:
    """The items of a sequence, none where it is none."""
    tag = tag_of(keyword)
    if tag not in dataset:
        return []
    try:
        value = dataset[tag].value
    except Exception:  # pydicom raises anything on garbage
        return []
    return list(value) if isinstance(value, Sequence) else []


def tags(dataset: Dataset) -> list[BaseTag]:
    """The tags of the attributes that the dataset names."""
    return list(dataset.keys())  # iteration over a dataset would read its elements


def is_empty(dataset: Dataset, keyword: str) -> bool:
    """Whether an attribute that is named has no value."""
    found = element(dataset, tag_of(keyword))
    return found is None or not found.value


def tag_of(keyword: str) -> BaseTag:
    """The tag of a keyword of the standard."""
    tag = _TAGS.get(keyword)
    if tag is None:
        number = tag_for_keyword(keyword)
        assert number is not None, keyword
        tag = _TAGS[keyword] = BaseTag(number)
    return tag


_TAGS: dict[str, BaseTag] = {}


def element(dataset: Dataset, tag: BaseTag) -> DataElement | RawDataElement | None:
    """An attribute as it came, None where there is none that could be read."""
    try:
        return dataset.get_item(tag) if tag in dataset else None
    except Exception:  # pydicom reads those without a value at once, and raises anything
        return None


def _encodings(dataset: Dataset) -> list[str]:
    """The codecs of the dataset's character set; an item has that of what it stands in."""
    named = dataset.original_character_set
    return [named] if isinstance(named, str) else list(named or [default_encoding])


def _decode(content: bytes, encodings: list[str]) -> str:
    if content.isascii() and b"\x1b" not in content:
        return content.decode("ascii")
    try:
        if len(encodings) == 1 and b"\x1b" not in content:
            return content.decode(encodings[0])
        return decode_bytes(content, encodings, _DELIMITERS)
    except Exception:
        return _utf8_or_latin1(content)


def _utf8_or_latin1(content: bytes) -> str:
    """Text beyond what its character set allows: scanners that send it mostly mean UTF-8."""
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content.decode("latin-1")
