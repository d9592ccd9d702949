"""An item → the bytes of an answer, and the `.wl` file.

Decides: which elements an answer holds and how they are encoded: explicit VR little endian,
UTF-8. The flat encoder is there because pydicom takes fifty times as long; a test holds its
bytes to pydicom's. Must not know: how items match, what a character set holds.
"""

import struct
import uuid
from dataclasses import dataclass, replace
from functools import lru_cache
from io import BytesIO

import pydicom
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from orthanc_openmrs.worklist.attributes import (
    ATTRIBUTES,
    POSITION,
    STEP_SEQUENCE,
    Level,
)
from orthanc_openmrs.worklist.charset import UNICODE, Codecs, sent
from orthanc_openmrs.worklist.items import UID_NAMESPACE, WorklistItem
from orthanc_openmrs.worklist.query import Key, Query

MODALITY_WORKLIST_FIND = "1.2.840.10008.5.1.4.31"

ENCODED_ANSWERS = 4
"""Encoded answers kept for one item: as many kinds of scanners usually ask for it."""

_LONG_LENGTH = frozenset(("OB", "OD", "OF", "OL", "OV", "OW", "SQ", "UC", "UN", "UR", "UT"))


@dataclass(frozen=True, slots=True)
class _Element:
    """One element of an answer: its header, and where its value comes from (-1: empty)."""

    header: bytes
    vr: str
    position: int


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """The elements that the answers to a query hold: those before the step, the step's own
    (None: the query doesn't name it), and those after it."""

    before: tuple[_Element, ...]
    step: tuple[_Element, ...] | None
    after: tuple[_Element, ...]


_OPEN_STEP = tuple(
    Key(row.tag, row.keyword, row.vr)
    for row in sorted(ATTRIBUTES, key=lambda row: row.tag)
    if row.level is Level.STEP and row.vr != "SQ"
)


def layout(query: Query) -> Layout:
    """What the query names, and nothing else (K.6.1.3); one object for all queries alike."""
    step = None if query.step_keys is None else _structure(query.step_keys)
    return _layout(_structure(query.keys), step)


def _structure(keys: tuple[Key, ...]) -> tuple[Key, ...]:
    return tuple(replace(key, text="", raw=b"") for key in keys)


@lru_cache(maxsize=256)
def _layout(keys: tuple[Key, ...], step_keys: tuple[Key, ...] | None) -> Layout:
    return Layout(
        before=_elements(tuple(key for key in keys if key.tag < STEP_SEQUENCE)),
        step=None if step_keys is None else _elements(step_keys or _OPEN_STEP),
        after=_elements(tuple(key for key in keys if key.tag > STEP_SEQUENCE)),
    )


def _elements(keys: tuple[Key, ...]) -> tuple[_Element, ...]:
    found = []
    for key in sorted(keys, key=lambda key: key.tag):
        if key.vr == "SQ" and not key.universal:
            continue  # an empty sequence would fail to match in Orthanc; an absent one passes
        if not key.keyword and key.vr == "UN":
            continue
        position = POSITION.get(key.keyword, -1)
        header = struct.pack("<HH", key.tag >> 16, key.tag & 0xFFFF) + key.vr.encode()
        found.append(_Element(header, key.vr, position))
    return tuple(found)


_CHARACTER_SET = struct.pack("<HH2sH", 0x0008, 0x0005, b"CS", 10) + b"ISO_IR 192"
_AE_POSITION = POSITION["ScheduledStationAETitle"]
_TIME_POSITION = POSITION["ScheduledProcedureStepStartTime"]


class Encoder:
    """Writes answers for one layout, in the characters that one scanner can be sent.

    Construct it once for a query; `encode` is then called for each item that matches.
    """

    def __init__(self, plan: Layout, codecs: Codecs = UNICODE) -> None:
        self._plan = plan
        self._codecs = codecs

    def encode(self, item: WorklistItem, station_ae_title: str, start_time: str = "") -> bytes:
        """The answer for one item, with the AE title that the station is to see, and the time
        where it isn't the item's own."""
        key = (self._plan, self._codecs, station_ae_title, start_time)
        known = item.encoded.get(key) if item.encoded else None
        if known is None:
            known = self._encode(item.values, station_ae_title, start_time)
            item.remember(key, known, ENCODED_ANSWERS)
        return known

    def _encode(self, values: tuple[str, ...], station_ae_title: str, start_time: str) -> bytes:
        plan = self._plan
        own = {_AE_POSITION: station_ae_title, _TIME_POSITION: start_time}

        def value(element: _Element) -> bytes:
            if element.position < 0:
                return b""
            if text := own.get(element.position):
                return text.encode("ascii", "replace")
            return sent(element.vr, values[element.position], self._codecs).encode()

        parts = [_CHARACTER_SET]
        parts += [_encoded(element, value(element)) for element in plan.before]
        if plan.step is not None:
            item = b"".join(_encoded(element, value(element)) for element in plan.step)
            parts.append(
                struct.pack("<HH2sHI", 0x0040, 0x0100, b"SQ", 0, len(item) + 8)
                + struct.pack("<HHI", 0xFFFE, 0xE000, len(item))
                + item
            )
        parts += [_encoded(element, value(element)) for element in plan.after]
        return b"".join(parts)


def _encoded(element: _Element, value: bytes) -> bytes:
    if len(value) % 2:
        value += b"\0" if element.vr == "UI" else b" "
    if element.vr in _LONG_LENGTH:
        return element.header + struct.pack("<HI", 0, len(value)) + value
    return element.header + struct.pack("<H", len(value)) + value


@lru_cache(maxsize=1)
def _every_key() -> Query:
    request = tuple(
        Key(row.tag, row.keyword, row.vr)
        for row in sorted(ATTRIBUTES, key=lambda row: row.tag)
        if row.level is Level.REQUEST and row.vr != "SQ"
    )
    return Query(request, _OPEN_STEP)


def worklist_file(item: WorklistItem, station_ae_title: str) -> bytes:
    """The item as a `.wl` file (PS3.10): what DCMTK's wlmscpfs and Orthanc's own plugin serve."""
    encoder = Encoder(layout(_every_key()))
    dataset = pydicom.dcmread(BytesIO(encoder.encode(item, station_ae_title)), force=True)
    name = item["StudyInstanceUID"] + item["ScheduledProcedureStepID"]
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(MODALITY_WORKLIST_FIND)
    meta.MediaStorageSOPInstanceUID = UID(f"2.25.{uuid.uuid5(UID_NAMESPACE, name).int}")
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta = meta
    buffer = BytesIO()
    pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()
