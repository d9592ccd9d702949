"""Queries as they come, and as the Lua filter hands them over."""

import json
from typing import Any

import pytest

from orthanc_openmrs.worklist.query import parse_query
from tests.unit.builders import element, identifier

MARK = "0123456789abcdef"


def handed_over(whole: dict[str, Any], mark: str = MARK) -> bytes:
    """What is left of a query behind the filter: every key open, and the letter."""
    opened = identifier({"PatientName": ""}, {"Modality": "", "ScheduledStationAETitle": ""})
    return opened + element(0x0040A160, "UT", f"{mark} {json.dumps(whole)}".encode())


WHOLE = {
    "0008,0005": "ISO_IR 100",
    "0008,1110": [],
    "0010,0010": "Müller*",
    "0010,21c0": "4",
    "0040,0100": [{"0008,0060": "CT\\MR", "0040,0001": " CT1", "0040,0008": [[]]}],
    "4321,1234": "nobody knows it",
}


def test_a_query_that_is_handed_over_is_read_whole() -> None:
    query = parse_query(handed_over(WHOLE), MARK)
    assert query.open_step
    assert query.charset == "ISO_IR 100"
    assert {key.keyword: key.text for key in query.keys} == {
        "ReferencedStudySequence": "",
        "PatientName": "Müller*",
        "PregnancyStatus": "4",
    }
    assert {key.keyword: (key.vr, key.text) for key in query.step_keys or ()} == {
        "Modality": ("CS", "CT\\MR"),
        "ScheduledStationAETitle": ("AE", " CT1".strip()),
        "ScheduledProtocolCodeSequence": ("SQ", ""),
    }


@pytest.mark.parametrize("steps", [[], [[]]], ids=["no item", "an empty item"])
def test_an_open_step_that_is_handed_over_stays_open(steps: list[Any]) -> None:
    assert parse_query(handed_over({"0040,0100": steps}), MARK).step_keys == ()


def test_a_query_without_a_step_that_is_handed_over_stays_without() -> None:
    assert parse_query(handed_over({"0010,0010": ""}), MARK).step_keys is None


@pytest.mark.parametrize("mark", ["", "another", MARK + "0", "*"])
def test_a_scanner_can_hand_nothing_over(mark: str) -> None:
    query = parse_query(handed_over(WHOLE, mark), MARK)
    assert not query.open_step
    assert query.text("PatientName") == ""


def test_without_a_mark_nothing_is_handed_over() -> None:
    assert not parse_query(handed_over(WHOLE, ""), "").open_step


@pytest.mark.parametrize("whole", ["no JSON", "[]", '{"tag": 1}'])
def test_a_letter_that_is_no_query_is_said_so(whole: str) -> None:
    letter = element(0x0040A160, "UT", f"{MARK} {whole}".encode())
    with pytest.raises(ValueError, match="no DICOM dataset"):
        parse_query(letter, MARK)


@pytest.mark.parametrize(
    ("charset", "lost"), [("", True), ("ISO_IR 192", False), ("ISO_IR 100", False)]
)
def test_letters_may_be_lost_where_no_character_set_is_named(charset: str, lost: bool) -> None:
    assert parse_query(handed_over({"0008,0005": charset}), MARK).letters_lost is lost
    assert not parse_query(identifier({"PatientName": "M"}, charset=charset)).letters_lost


def test_a_key_keeps_its_bytes() -> None:
    query = parse_query(identifier({}, {"Modality": " CT"}, charset=""))
    (key,) = query.step_keys or ()
    assert (key.text, key.raw) == ("CT", b" CT ")
