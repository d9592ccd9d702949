"""What performed steps mean for the link of a study, as stories."""

from dataclasses import replace
from typing import Any

import pytest

from orthanc_openmrs.model import (
    NO_EXAM,
    DiscontinuationReason,
    Exam,
    Images,
    PerformedProcedure,
    PerformedSeries,
    ProcedureRecord,
    ProcedureState,
    RequestAttributes,
    ScheduledReference,
    SeriesArrival,
    SeriesSummary,
    StudySummary,
)
from orthanc_openmrs.mpps.meaning import (
    SeriesInOrthanc,
    arrivals,
    as_study,
    exam,
    expected_ids,
    orthanc_id,
    reason_of,
    with_performed_steps,
)

IN_PROGRESS, COMPLETED, DISCONTINUED = ProcedureState
WITHIN = 900.0
NOW = 10_000.0

STUDY = StudySummary(
    "study",
    "1.5",
    patient_id="p",
    series=(
        SeriesSummary("1.5.1", "CT", station_name="CTROOM", performed_procedure_step_id="PPS1"),
        SeriesSummary("1.5.2", "CT"),
    ),
)
WRONG = DiscontinuationReason("110514", "DCM", "Jane took the wrong one")
FAILURE = DiscontinuationReason("110501", "DCM", "")


def performed(
    state: ProcedureState = IN_PROGRESS, step: str = "14", uid: str = "1.2.3", **values: Any
) -> PerformedProcedure:
    usual: dict[str, Any] = {
        "references": (ScheduledReference("1.5", "A-7", "7", step),),
        "patient_id": "p",
        "modality": "CT",
    }
    return PerformedProcedure(uid, state, **(usual | values))


def record(
    procedure: PerformedProcedure,
    images: Images = Images.NOT_LISTED,
    *,
    come: tuple[int, int] = (0, 0),
    ended: float = NOW - 10,
) -> ProcedureRecord:
    arrived = (SeriesArrival("1.5.1", come[1], come[0]),) if come[1] else ()
    return ProcedureRecord(
        1, 0, procedure, (), "CT1", NOW - 100, NOW - 10, ended, images, arrived, "", 0, ""
    )


def said(*records: ProcedureRecord, noted_at: float = NOW) -> Exam:
    return exam(STUDY, records, noted_at=noted_at, now=NOW, within=WITHIN)


OTHERS = performed(references=(ScheduledReference("1.6"),))
COME, AWAITED, MISSING = Images.COME, Images.AWAITED, Images.MISSING

STORIES: dict[str, tuple[list[ProcedureRecord], Exam]] = {
    "no step": ([], NO_EXAM),
    "the step of another study": ([record(OTHERS)], NO_EXAM),
    "in progress": ([record(performed())], Exam("its exam is in progress", 900.0)),
    "completed, all images here": ([record(performed(COMPLETED), COME, come=(3, 3))], NO_EXAM),
    "completed, none listed": ([record(performed(COMPLETED))], NO_EXAM),
    "completed, images on their way": (
        [record(performed(COMPLETED), AWAITED, come=(2, 3))],
        Exam("2 of 3 images of its exam have come", 890.0),
    ),
    "completed, images missing": (
        [record(performed(COMPLETED), MISSING, come=(2, 3), ended=NOW - 1000)],
        Exam(hold="2 of 3 images of its exam have come"),
    ),
    "awaited for too long, before the worker looked": (
        [record(performed(COMPLETED), AWAITED, come=(2, 3), ended=NOW - 1000)],
        Exam(hold="2 of 3 images of its exam have come"),
    ),
    "broken off": (
        [record(performed(DISCONTINUED, discontinuation=FAILURE))],
        Exam(hold="the scanner broke its exam off (equipment failure)"),
    ),
    "broken off, then done": (
        [
            record(performed(DISCONTINUED, discontinuation=FAILURE)),
            record(performed(COMPLETED, uid="1.2.4"), COME, come=(3, 3)),
        ],
        NO_EXAM,
    ),
    "broken off, then begun again": (
        [record(performed(DISCONTINUED)), record(performed(uid="1.2.4"))],
        Exam("its exam is in progress", 900.0),
    ),
    "the wrong entry": (
        [record(performed(DISCONTINUED, discontinuation=WRONG))],
        Exam(
            hold="the scanner broke its exam off (incorrect worklist entry selected)",
            ruled_out=frozenset({"14"}),
        ),
    ),
    "the wrong entry, then the right one": (
        [
            record(performed(DISCONTINUED, discontinuation=WRONG)),
            record(performed(COMPLETED, "15", "1.2.4"), COME, come=(3, 3)),
        ],
        Exam(ruled_out=frozenset({"14"})),
    ),
    "taken by mistake, and done later": (
        [
            record(performed(DISCONTINUED, discontinuation=WRONG)),
            record(performed(COMPLETED, "14", "1.2.4"), COME, come=(3, 3)),
        ],
        NO_EXAM,
    ),
}


@pytest.mark.parametrize(("records", "expected"), STORIES.values(), ids=STORIES)
def test_what_is_said_of_a_study(records: list[ProcedureRecord], expected: Exam) -> None:
    assert said(*records) == expected


def test_a_scanner_that_never_ends_its_step_holds_nothing_up_for_ever() -> None:
    assert said(record(performed()), noted_at=NOW - WITHIN) == NO_EXAM


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, (True, True)),
        ({"series": (PerformedSeries("1.5.2", 1),)}, (False, True)),
        ({"references": (), "series": (PerformedSeries("1.5.2", 1),)}, (False, False)),
        (
            {
                "references": (ScheduledReference("1.9", "", "", "14"),),
                "station_name": "CTROOM",
                "performed_procedure_step_id": "PPS1",
            },
            (True, False),
        ),
        (
            {
                "references": (ScheduledReference("1.9", "", "", "14"),),
                "station_name": "ANOTHER",
                "performed_procedure_step_id": "PPS1",
            },
            (False, False),
        ),
        ({"state": DISCONTINUED}, (False, False)),
        ({"references": (ScheduledReference("1.5"),)}, (False, False)),
    ],
)
def test_series_learn_what_their_step_says(
    values: dict[str, Any], expected: tuple[bool, bool]
) -> None:
    procedure = replace(performed(), **values)
    found = with_performed_steps(STUDY, [record(procedure)])
    assert tuple(bool(series.performed_steps) for series in found.series) == expected
    for series in found.series:
        for item in series.performed_steps:
            assert item.scheduled_procedure_step_id == "14"


def test_images_that_point_at_a_step_are_its_own() -> None:
    pointing = replace(STUDY.series[1], performed_step_uids=("1.2.3",))
    study = replace(STUDY, series=(STUDY.series[0], pointing))
    elsewhere = performed(references=(ScheduledReference("1.9", "A-7", "7", "14"),))
    first, second = with_performed_steps(study, [record(elsewhere)]).series
    assert first.performed_steps == ()
    assert second.performed_steps == (RequestAttributes("14", "7", "A-7", "1.9"),)


def test_a_group_names_all_its_steps() -> None:
    group = performed(
        references=(
            ScheduledReference("1.5", "A-7", "7", "14"),
            ScheduledReference("1.5", "A-7", "7", "15"),
        )
    )
    first, _ = with_performed_steps(STUDY, [record(group)]).series
    assert [item.scheduled_procedure_step_id for item in first.performed_steps] == ["14", "15"]
    assert as_study(group).series[0].performed_steps == first.performed_steps


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        (None, "no reason given"),
        (FAILURE, "equipment failure"),
        (WRONG, "incorrect worklist entry selected"),
        (DiscontinuationReason("110501", "99LOCAL", "Mrs Doe fainted"), "another reason"),
        (DiscontinuationReason("1", "DCM", "Mrs Doe fainted"), "another reason"),
    ],
)
def test_reasons_have_no_words_of_a_scanner(
    reason: DiscontinuationReason | None, words: str
) -> None:
    assert reason_of(reason) == words


# --- images ----------------------------------------------------------------------------------


def in_orthanc(*uids: str, patient_id: str = "p") -> SeriesInOrthanc:
    return SeriesInOrthanc(
        "study",
        patient_id,
        "1.5",
        "1.5.1",
        frozenset(orthanc_id(patient_id, "1.5", "1.5.1", uid) for uid in uids),
    )


def test_an_orthanc_id_is_orthancs() -> None:
    # As Orthanc 1.10.1 names CT_small.dcm of pydicom's test files.
    assert (
        orthanc_id(
            "1CT1",
            "1.3.6.1.4.1.5962.1.2.1.20040119072730.12322",
            "1.3.6.1.4.1.5962.1.3.1.1.20040119072730.12322",
            "1.3.6.1.4.1.5962.1.1.1.1.1.20040119072730.12322",
        )
        == "f689ddd2-662f8fe1-8b18180d-ec2a2cee-937917af"
    )


def test_instances_are_counted_by_series() -> None:
    listed = {"1.5.1": frozenset({"a", "b", "c"}), "1.5.2": frozenset({"d"})}
    found = {"1.5.1": [in_orthanc("a", "b", "x"), in_orthanc("b", patient_id="q")]}
    counts, missing = arrivals(listed, found)
    assert counts == (SeriesArrival("1.5.1", 3, 2), SeriesArrival("1.5.2", 1, 0))
    assert orthanc_id("p", "1.5", "1.5.1", "c") in missing
    assert orthanc_id("p", "1.5", "1.5.1", "a") not in missing


def test_what_has_not_begun_to_come_is_expected_by_what_the_step_says() -> None:
    assert expected_ids(performed(), {"1.5.1": frozenset({"a"})}) == {
        orthanc_id("p", "1.5", "1.5.1", "a")
    }
