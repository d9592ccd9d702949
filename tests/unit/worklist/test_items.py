"""Requests → items: UIDs that never change, substitutes with warnings, reasons for the rest."""

from io import BytesIO
from typing import Any

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orthanc_openmrs.model import ImagingRequest, ProcedureStep, StepStatus
from orthanc_openmrs.worklist.attributes import ATTRIBUTES, KNOWN, Level
from orthanc_openmrs.worklist.datasets import Encoder, layout
from orthanc_openmrs.worklist.items import Shared, WorklistItem, build_items
from orthanc_openmrs.worklist.query import parse_query
from tests.unit.builders import (
    ALICE,
    TODAY,
    any_text,
    day_text,
    identifier,
    item,
    items,
    request,
    step,
    time_text,
    vr_problem,
)

PINNED = "2.25.90483304857919685665484510681402529412"
"""The UID of request 7 of Alice, accession ACC-7. Studies in the field bear it: never change it."""


def test_the_referring_physician_is_the_one_that_openmrs_compares_the_images_with() -> None:
    for physician in ("Dr. Who", "", "x" * 100):
        (found,) = items(request("7", requesting_physician=physician))
        assert found["ReferringPhysicianName"] == found["RequestingPhysician"]
        assert not any(text.startswith("Referring") for text in found.warnings)


# --- StudyInstanceUID ----------------------------------------------------------------------


def test_the_uid_of_a_request_is_the_same_for_ever() -> None:
    assert [found["StudyInstanceUID"] for found in items(request("7"))] == [PINNED]


@pytest.mark.parametrize(
    ("uid", "kept", "warns", "why"),
    [
        ("1.2.840.1", True, False, "OpenMRS's own"),
        ("2.25.1", True, False, "v3's"),
        ("", False, False, "none yet"),
        ("free text", False, True, "no UID"),
        ("1.02.3", False, True, "a leading zero"),
        ("2.25." + "1" * 60, False, True, "too long"),
        ("1.2.3.twice", False, True, "no UID either"),
    ],
)
def test_openmrs_uid_is_kept_where_it_is_one(uid: str, kept: bool, warns: bool, why: str) -> None:
    (found,) = items(request("7", study_instance_uid=uid))
    assert found["StudyInstanceUID"] == (uid if kept else PINNED)
    assert found.offered
    assert any(text.startswith("StudyInstanceUID ") for text in found.warnings) is warns


def test_a_uid_that_two_requests_claim_is_neithers() -> None:
    found = items(
        request("7", step("1"), study_instance_uid="1.2.3"),
        request("8", step("2"), study_instance_uid="1.2.3"),
        request("9", step("3"), study_instance_uid="1.2.4"),
    )
    uids = [made["StudyInstanceUID"] for made in found]
    assert uids[0] == PINNED
    assert uids[1] not in (PINNED, "1.2.3")
    assert uids[2] == "1.2.4"
    assert all(made.offered for made in found)
    assert [any("StudyInstanceUID" in text for text in made.warnings) for made in found] == [
        True,
        True,
        False,
    ]


@pytest.mark.parametrize("uid", ["", "1.2.3", "no uid"])
def test_all_steps_of_a_request_share_its_uid_in_whatever_order_the_list_is(uid: str) -> None:
    requests = [
        request(str(n), step(f"{n}1"), step(f"{n}2", modality="MR"), study_instance_uid=own)
        for n, own in ((7, uid), (8, ""), (9, "1.2.9"))
    ]

    def uids(of: list[ImagingRequest]) -> dict[str, str]:
        return {made["ScheduledProcedureStepID"]: made["StudyInstanceUID"] for made in items(*of)}

    there, back = uids(requests), uids(requests[::-1])
    assert there == back
    assert there["71"] == there["72"]
    assert len(set(there.values())) == 3


@pytest.mark.parametrize(
    "changes",
    [{"patient_id": "another"}, {"accession_number": "ACC-8"}, {"requested_procedure_id": "8"}],
)
def test_another_request_has_another_uid(changes: dict[str, str]) -> None:
    number = changes.pop("requested_procedure_id", "7")
    (found,) = items(request(number, **({"accession_number": "ACC-7"} | changes)))
    assert found["StudyInstanceUID"] != PINNED


# --- substitutes, warnings, reasons ---------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "keyword", "value"),
    [
        ({"start_date": ""}, "ScheduledProcedureStepStartDate", TODAY),
        ({"start_date": "soon"}, "ScheduledProcedureStepStartDate", TODAY),
        ({"start_date": "2025-02-30"}, "ScheduledProcedureStepStartDate", TODAY),
        ({"start_time": ""}, "ScheduledProcedureStepStartTime", "000000"),
        ({"start_time": "NaNNaN00"}, "ScheduledProcedureStepStartTime", "000000"),
        ({"scheduled_station_ae_title": ""}, "ScheduledStationAETitle", ""),
        ({"scheduled_station_ae_title": "A\\B"}, "ScheduledStationAETitle", ""),
        ({"modality": "walk-in"}, "Modality", "OT"),
        ({"modality": "CT/MR"}, "Modality", "CT"),
        ({"start_date": "2569-07-03"}, "ScheduledProcedureStepStartDate", TODAY),
        ({"start_date": "2017-10-26 (E.C.)"}, "ScheduledProcedureStepStartDate", TODAY),
    ],
)
def test_a_step_that_can_be_mended_is_offered_with_a_warning(
    changes: dict[str, Any], keyword: str, value: str
) -> None:
    found = item(**changes)
    assert found.offered
    assert found[keyword] == value
    assert [text.partition(" ")[0] for text in found.warnings] == [keyword]
    assert found.undated is (keyword == "ScheduledProcedureStepStartDate")


def test_a_good_step_has_no_warning() -> None:
    assert item().warnings == ()
    assert item().adjusted == ()


@pytest.mark.parametrize(
    ("changes", "keyword", "value"),
    [
        ({"description": "x" * 255}, "ScheduledProcedureStepDescription", "x" * 64),
        ({"location": "x" * 17}, "ScheduledProcedureStepLocation", "x" * 16),
        ({"modality": "Ultrasound"}, "Modality", "US"),
        (
            {"start_date": TODAY + "081500", "start_time": "NaNNaN00"},
            "ScheduledProcedureStepStartTime",
            "081500",
        ),
        (
            {"start_date": TODAY + "081500", "start_time": ""},
            "ScheduledProcedureStepStartTime",
            "081500",
        ),
    ],
)
def test_a_routine_repair_is_a_fact_and_no_warning(
    changes: dict[str, Any], keyword: str, value: str
) -> None:
    found = item(**changes)
    assert found.offered
    assert found[keyword] == value
    assert found.warnings == ()
    assert [text.partition(" ")[0] for text in found.adjusted] == [keyword]


def test_an_accession_number_of_19_digits_is_no_reason_to_act() -> None:
    (found,) = items(request("7", accession_number="1234567890123456789"))
    assert found["AccessionNumber"] == "1234567890123456"
    assert found.warnings == ()
    assert found.adjusted == ("AccessionNumber cut from 19 to 16 characters for the scanner",)


@pytest.mark.parametrize(
    ("of_request", "of_step", "reason"),
    [
        ({"patient_name": ""}, {}, "PatientName"),
        ({"patient_name": " ^ "}, {}, "PatientName"),
        ({"patient_id": ""}, {}, "PatientID"),
        ({"patient_id": "x" * 65}, {}, "PatientID"),
        ({"requested_procedure_id": ""}, {}, "RequestedProcedureID"),
        ({"requested_procedure_id": "1" * 17}, {}, "RequestedProcedureID"),
        ({}, {"modality": ""}, "Modality"),
        ({"patient_name": "؟ ؟"}, {}, "PatientName"),
        ({"patient_name": "\u0301"}, {}, "PatientName"),
        ({}, {"scheduled_procedure_step_id": ""}, "ScheduledProcedureStepID"),
        ({}, {"scheduled_procedure_step_id": "1" * 17}, "ScheduledProcedureStepID"),
        ({}, {"status": StepStatus.COMPLETED}, "completed"),
        ({}, {"status": StepStatus.REJECTED}, "rejected"),
    ],
)
def test_a_step_that_cant_be_valid_is_left_out_with_the_reason_and_harms_no_other(
    of_request: dict[str, str], of_step: dict[str, Any], reason: str
) -> None:
    number = of_request.pop("requested_procedure_id", "7")
    step_id = of_step.pop("scheduled_procedure_step_id", "14")
    bad = request(number, step(step_id, **of_step), **of_request)
    found = items(bad, request("8", step("15")))
    assert [made.offered for made in found] == [False, True]
    assert reason in found[0].reason
    if of_step or step_id != "14":  # the other steps of the request are served too
        both = items(request("7", step(step_id, **of_step), step("16")))
        assert [made.offered for made in both] == [False, True]


@pytest.mark.parametrize(
    ("status", "offered", "answered"),
    [
        (StepStatus.SCHEDULED, True, "SCHEDULED"),
        (StepStatus.IN_PROGRESS, True, "STARTED"),
        (StepStatus.OTHER, True, "SCHEDULED"),
        (StepStatus.COMPLETED, False, None),
        (StepStatus.REJECTED, False, None),
    ],
)
def test_open_steps_are_offered(status: StepStatus, offered: bool, answered: str | None) -> None:
    found = item(status=status)
    assert found.offered is offered
    assert answered in (None, found["ScheduledProcedureStepStatus"])


def test_a_step_id_that_stands_twice_is_offered_to_nobody() -> None:
    found = items(request("7", step("14"), step("15")), request("8", step("14")))
    assert [made.offered for made in found] == [False, True, False]
    assert "ScheduledProcedureStepID" in found[0].reason


def test_two_accession_numbers_that_a_scanner_cant_tell_apart_are_told_of() -> None:
    found = items(
        request("7", step("1"), accession_number="1234567890123456789"),
        request("8", step("2"), accession_number="1234567890123456000"),
        request("9", step("3"), accession_number=""),
        request("10", step("4"), accession_number=""),
    )
    assert all(made.offered for made in found)
    assert [made["AccessionNumber"] for made in found] == ["1234567890123456"] * 2 + [""] * 2
    told = [[text for text in made.warnings if "AccessionNumber" in text] for made in found]
    assert [len(texts) for texts in told] == [1, 1, 0, 0]
    assert "another request" in told[0][0]


@pytest.mark.parametrize(
    ("request_text", "step_text", "expected"),
    [
        ("Head", "CT of the head", ("Head", "CT of the head")),
        ("Head", "", ("Head", "Head")),
        ("", "CT of the head", ("CT of the head", "CT of the head")),
        ("", "", ("CT", "CT")),
        (" \r\n", "\x00", ("CT", "CT")),
    ],
)
def test_what_is_to_be_done_is_always_described(
    request_text: str, step_text: str, expected: tuple[str, str]
) -> None:
    (found,) = items(request("7", step(description=step_text), description=request_text))
    assert (
        found["RequestedProcedureDescription"],
        found["ScheduledProcedureStepDescription"],
    ) == expected


# --- the law -------------------------------------------------------------------------------

wild_steps = st.builds(
    ProcedureStep,
    scheduled_procedure_step_id=st.one_of(st.sampled_from(("14", "15", "7")), any_text),
    status=st.sampled_from((StepStatus.SCHEDULED, StepStatus.OTHER, StepStatus.COMPLETED)),
    modality=st.one_of(st.sampled_from(("CT", "mr")), any_text),
    scheduled_station_ae_title=st.one_of(st.just("CT1"), any_text),
    start_date=st.one_of(day_text, any_text),
    start_time=st.one_of(time_text, any_text),
    scheduled_performing_physician_name=any_text,
    description=any_text,
    scheduled_station_name=any_text,
    location=any_text,
)
wild_requests = st.builds(
    ImagingRequest,
    requested_procedure_id=st.one_of(st.sampled_from(("7", "8")), any_text),
    accession_number=any_text,
    patient_id=st.one_of(st.just(ALICE), any_text),
    patient_name=st.one_of(st.just("Alice Jones"), any_text),
    patient_birth_date=st.one_of(day_text, any_text),
    patient_sex=any_text,
    study_instance_uid=st.one_of(st.sampled_from(("", "1.2.3")), any_text),
    requesting_physician=any_text,
    description=any_text,
    priority=any_text,
    steps=st.lists(wild_steps, min_size=1, max_size=3).map(tuple),
)
EVERYTHING = identifier(
    {row.keyword: "" for row in ATTRIBUTES if row.level is Level.REQUEST},
    {row.keyword: "" for row in ATTRIBUTES if row.level is Level.STEP},
)
TYPE_1 = tuple(row.keyword for row in KNOWN if row.type in ("1", "1C"))


# pydicom counts the blank that pads 16 characters of an odd number of bytes.
@pytest.mark.filterwarnings(r"ignore:The value length \((17|65)\) exceeds:UserWarning")
@given(requests=st.lists(wild_requests, min_size=1, max_size=3))
def test_whatever_openmrs_writes_what_is_offered_is_valid_and_reads_back(
    requests: list[ImagingRequest],
) -> None:
    shared = Shared.of(requests)
    encoder = Encoder(layout(parse_query(EVERYTHING)))
    for wild in requests:
        made = build_items(wild, shared, TODAY)
        assert len(made) == len(wild.steps)
        assert len({found["StudyInstanceUID"] for found in made}) == 1
        for found in made:
            assert found.offered or found.reason
            if not found.offered:
                continue
            problems = {row.keyword: vr_problem(row.vr, found[row.keyword]) for row in KNOWN}
            assert not any(problems.values()), problems
            title = found["ScheduledStationAETitle"] or "CT9"
            empty = [key for key in TYPE_1 if not found[key] and key != "ScheduledStationAETitle"]
            assert not empty
            _reads_back(encoder.encode(found, title), found, title)


def _reads_back(encoded: bytes, found: WorklistItem, title: str) -> None:
    dataset = pydicom.dcmread(BytesIO(encoded), force=True)
    (inside,) = dataset.ScheduledProcedureStepSequence
    for row in KNOWN:
        source = inside if row.level is Level.STEP else dataset
        expected = title if row.keyword == "ScheduledStationAETitle" else found[row.keyword]
        assert str(source[row.keyword].value or "") == expected, row.keyword
    again = BytesIO()
    pydicom.dcmwrite(again, dataset, implicit_vr=False, little_endian=True)
    assert again.getvalue() == encoded
