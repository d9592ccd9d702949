"""What several unit tests build: a request, its items, a study, a query's bytes, a clock."""

import re
import signal
import struct
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from types import FrameType
from typing import Any

from hypothesis import strategies as st
from pydicom.datadict import dictionary_VR, tag_for_keyword

from orthanc_openmrs.model import (
    ImagingRequest,
    ProcedureStep,
    SeriesSummary,
    StepStatus,
    StudySummary,
)
from orthanc_openmrs.worklist.items import Shared, WorklistItem, build_items

TODAY = "20250703"
ALICE = "8d5c9a4e-1b2c-4d3e-9f00-0123456789ab"
BOB = "c0ffee00-5a5a-4b4b-8c8c-ba9876543210"

Keys = Mapping[str, str | None]
"""Keyword (or gggg,eeee) → what the query asks; None for a sequence without items."""


def step(id: str = "14", **changes: Any) -> ProcedureStep:
    """A CT step of today at nine, for station CT1."""
    fields: dict[str, Any] = {
        "status": StepStatus.SCHEDULED,
        "modality": "CT",
        "scheduled_station_ae_title": "CT1",
        "start_date": TODAY,
        "start_time": "090000",
        "description": "CT of the head",
    }
    return ProcedureStep(id, **(fields | changes))


def request(id: str = "7", *steps: ProcedureStep, **changes: Any) -> ImagingRequest:
    """Alice's request, of one step where no other is given."""
    fields: dict[str, Any] = {
        "accession_number": f"ACC-{id}",
        "patient_id": ALICE,
        "patient_name": "Alice Mary Jones",
        "patient_birth_date": "1990-01-01",
        "patient_sex": "F",
        "description": "Head",
        "priority": "high",
        "steps": steps or (step(),),
    }
    return ImagingRequest(id, **(fields | changes))


def items(*requests: ImagingRequest) -> list[WorklistItem]:
    """The items of a list, as seen today."""
    shared = Shared.of(requests)
    return [item for request in requests for item in build_items(request, shared, TODAY)]


def item(**changes: Any) -> WorklistItem:
    """The item of one step; changes are those of `step`."""
    return items(request("7", step(**changes)))[0]


def series(modality: str = "CT", **changes: Any) -> SeriesSummary:
    """One series, which says nothing of an order."""
    fields: dict[str, Any] = {
        "series_instance_uid": f"9.9.{modality}",
        "modality": modality,
        "instances": 2,
    }
    return SeriesSummary(**(fields | changes))


def study(*of: SeriesSummary, **changes: Any) -> StudySummary:
    """Alice's study, with a UID of the scanner's own."""
    fields: dict[str, Any] = {
        "study": "orthanc-study",
        "study_instance_uid": "9.9.9",
        "patient_id": ALICE,
        "series": of or (series(),),
    }
    return StudySummary(**(fields | changes))


class FrozenClock:
    """A clock that moves when it is told to."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


# --- the bytes of a query, made without pydicom's opinion of its values --------------------

_LONG = frozenset(("OB", "OW", "SQ", "UC", "UN", "UR", "UT"))


def element(tag: int, vr: str, value: bytes) -> bytes:
    """One element in explicit VR little endian."""
    value += b"\0" * (len(value) % 2) if vr in ("UI", "OB", "UN") else b" " * (len(value) % 2)
    header = struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, vr.encode())
    size = struct.pack("<HI", 0, len(value)) if vr in _LONG else struct.pack("<H", len(value))
    return header + size + value


def tag_of(key: str) -> int:
    """The tag of a keyword, or of a text like 0009,0010."""
    if "," in key:
        return int(key.replace(",", ""), 16)
    tag = tag_for_keyword(key)
    assert tag is not None, key
    return tag


def elements(keys: Keys, codec: str = "utf-8") -> bytes:
    """The elements of a dataset, in the order of their tags."""
    parts: list[bytes] = []
    for key in sorted(keys, key=tag_of):
        tag, text = tag_of(key), keys[key] or ""
        vr = dictionary_VR(tag)[:2] if "," not in key else "LO"
        if vr == "SQ":
            inside = element(tag_of("CodeValue"), "SH", text.encode()) if text else b""
            value = struct.pack("<HHI", 0xFFFE, 0xE000, len(inside)) + inside if text else b""
        elif vr in ("US", "UL") and text:
            value = struct.pack("<H" if vr == "US" else "<I", int(text))
        else:
            value = text.encode(codec)
        parts.append(element(tag, vr, value))
    return b"".join(parts)


def identifier(
    keys: Keys | None = None,
    step: Keys | None = None,
    *,
    codec: str = "utf-8",
    charset: str = "ISO_IR 192",
    empty_sequence: bool = False,
) -> bytes:
    """The identifier of a C-FIND-RQ. `step` None: without the sequence of steps."""
    asked: dict[int, bytes] = {
        tag_of(key): elements({key: text}, codec) for key, text in (keys or {}).items()
    }
    if charset:
        asked[0x00080005] = element(0x00080005, "CS", charset.encode())
    if empty_sequence:
        asked[0x00400100] = element(0x00400100, "SQ", b"")
    elif step is not None:
        inside = elements(step, codec)
        asked[0x00400100] = element(
            0x00400100, "SQ", struct.pack("<HHI", 0xFFFE, 0xE000, len(inside)) + inside
        )
    return b"".join(asked[tag] for tag in sorted(asked))


# --- judgement that is independent of the code under test -----------------------------------

_LENGTHS = {"AE": 16, "CS": 16, "DA": 8, "LO": 64, "PN": 64, "SH": 16, "TM": 6, "UI": 64}


def vr_problem(vr: str, text: str) -> str:
    """What is wrong with one value of a VR (PS3.5 Table 6.2-1), "" where nothing is."""
    if len(text) > _LENGTHS[vr]:
        return f"longer than {_LENGTHS[vr]}"
    if any(unicodedata.category(mark) in ("Cc", "Cs") or mark == "\\" for mark in text):
        return "a control character, a surrogate or a backslash"
    if text != text.strip():
        return "blanks at an edge"
    if not text:
        return ""
    match vr:
        case "AE":
            good = text.isascii() and text.isprintable()
        case "CS":
            good = re.fullmatch("[A-Z0-9 _]+", text) is not None
        case "DA":
            good = re.fullmatch("[0-9]{8}", text) is not None and _is_date(text)
        case "TM":
            good = re.fullmatch("([01][0-9]|2[0-3])([0-5][0-9]){2}", text) is not None
        case "UI":
            good = re.fullmatch(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))+", text) is not None
        case "PN":
            good = text.count("^") <= 4 and "=" not in text
        case _:
            good = True
    return "" if good else f"no {vr}"


def _is_date(text: str) -> bool:
    try:
        datetime(int(text[:4]), int(text[4:6]), int(text[6:]))
    except ValueError:
        return False
    return True


@contextmanager
def within(seconds: float, promise: str) -> Iterator[None]:
    """Fail, rather than hang, where what is inside takes longer."""

    def too_long(_: int, __: FrameType | None) -> None:
        raise AssertionError(f"{promise}: not within {seconds:g} s")

    before = signal.signal(signal.SIGALRM, too_long)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


# --- strategies ----------------------------------------------------------------------------

any_text = st.one_of(
    st.text(st.characters(exclude_categories=()), max_size=90),
    st.text("\ud800\\^=\r\n\t \0\x1b\x85\u2028\ufeff\u0301aÉ山😀", max_size=90),
)
"""Text as bad as JSON allows, lone surrogates among it."""

day_text = st.sampled_from(
    (
        "",
        TODAY,
        "2025-07-04",
        "20250705081500",
        "2025-02-30",
        "soon",
        "Mon Jan 01 00:00:00 UTC 1990",
    )
)
time_text = st.sampled_from(("", "083000", "09:05", "24:00", "NaNNaN00", "9:5", "235959"))
