"""An Orthanc full of studies, each of one image without pixels.

Decides: what is in an image, how it is written and sent. The elements are written by hand: ten
thousand of them take a second. Must not know: what is asked of the archive.
"""

import struct
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from bench.studies import Rest, new_uid
from orthanc_openmrs.mapping.studies import StudyHead
from tests.people import strangers

CONNECTIONS = 4
_SOP_CLASS = "1.2.840.10008.5.1.4.1.1.7"
_TRANSFER_SYNTAX = "1.2.840.10008.1.2.1"
_SEED = 10_000


def fill(port: int, count: int) -> None:
    """Store so many studies of made-up people; forget Orthanc's changes, so that a plugin that
    starts later has nothing to catch up with."""
    heads = strangers(_SEED, count)
    with ThreadPoolExecutor(CONNECTIONS) as senders:
        list(senders.map(lambda part: _send(port, part), _parts(heads)))
    with Rest(port) as rest:
        rest.delete("/changes")


def _parts(heads: Sequence[StudyHead]) -> list[Sequence[StudyHead]]:
    return [heads[at::CONNECTIONS] for at in range(CONNECTIONS)]


def _send(port: int, heads: Iterable[StudyHead]) -> None:
    with Rest(port) as rest:
        for head in heads:
            rest.store(image(head))


def image(head: StudyHead) -> bytes:
    """A DICOM file (PS3.10), explicit VR little endian, in UTF-8."""
    instance = new_uid()
    meta = _elements(
        (0x00020002, "UI", _SOP_CLASS),
        (0x00020003, "UI", instance),
        (0x00020010, "UI", _TRANSFER_SYNTAX),
    )
    dataset = _elements(
        (0x00080005, "CS", "ISO_IR 192"),
        (0x00080016, "UI", _SOP_CLASS),
        (0x00080018, "UI", instance),
        (0x00080020, "DA", head.study_date),
        (0x00080060, "CS", "CT"),
        (0x00081030, "LO", "CT of the head"),
        (0x00100010, "PN", head.patient_name),
        (0x00100020, "LO", head.patient_id),
        (0x00100030, "DA", head.patient_birth_date),
        (0x00100040, "CS", head.patient_sex),
        (0x0020000D, "UI", new_uid()),
        (0x0020000E, "UI", new_uid()),
    )
    length = struct.pack("<HH2sHL", 2, 0, b"UL", 4, len(meta))
    return b"\0" * 128 + b"DICM" + length + meta + dataset


def _elements(*elements: tuple[int, str, str]) -> bytes:
    return b"".join(_element(*element) for element in elements)


def _element(tag: int, vr: str, text: str) -> bytes:
    value = text.encode()
    value += (b"\0" if vr == "UI" else b" ") * (len(value) % 2)
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr.encode(), len(value)) + value
