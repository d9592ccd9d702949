"""The policy of linking, as one table: what images say, and what becomes of it."""

from typing import Any

import pytest

from orthanc_openmrs.completion.linking import (
    MOST_SUGGESTIONS,
    Agreement,
    Orders,
    Outcome,
    Policy,
    link,
    patient_agreement,
    suggest,
)
from orthanc_openmrs.config import EVIDENCE
from orthanc_openmrs.model import RequestAttributes, SeriesSummary, StepStatus, StudySummary
from orthanc_openmrs.worklist.items import study_instance_uid
from tests.unit.builders import ALICE, BOB, request, series, step, study

LINKED, HELD, SETTLED, UNLINKED = (
    Outcome.LINKED,
    Outcome.HELD,
    Outcome.SETTLED,
    Outcome.UNLINKED,
)
DONE, REJECTED = StepStatus.COMPLETED, StepStatus.REJECTED
UID, RAS, ACC, PPS = EVIDENCE

ONE = request("1", step("11"), accession_number="A 1")
TWO = request(
    "2",
    step("21"),
    step("22", modality="MR"),
    step("23", modality="US", status=DONE),
    step("24", modality="DX", status=REJECTED),
    accession_number="1234567890123456789",
    study_instance_uid="1.2.2",
)
THREE = request(
    "3",
    step("31"),
    step("32", status=StepStatus.IN_PROGRESS),
    accession_number="B-3",
    patient_id=BOB,
)
FOUR = request("4", step("41"), accession_number="9999999999999999001")
FIVE = request("5", step("51"), accession_number="9999999999999999002")
SIX = request("6", step("61", status=DONE), accession_number="A\\6")
ORDERS = Orders.of((ONE, TWO, THREE, FOUR, FIVE, SIX))
UID_1, UID_3 = study_instance_uid(ONE), study_instance_uid(THREE)


def named(*ids: str, modality: str = "CT", of: str = "", **changes: Any) -> SeriesSummary:
    """A series whose RequestAttributesSequence names steps (of a request)."""
    return series(
        modality,
        request_attributes=tuple(RequestAttributes(step_id, of) for step_id in ids),
        **changes,
    )


def counted(id: str, modality: str = "CT") -> SeriesSummary:
    """A series with a PerformedProcedureStepID."""
    return series(modality, performed_procedure_step_id=id)


CT, MR, US, DX = (series(modality) for modality in ("CT", "MR", "US", "DX"))
SR = series("SR")

POLICY: list[tuple[str, StudySummary, Outcome, tuple[str, ...], str, str]] = [
    # why, the study, what becomes of it, the steps, the evidence, words of the reason
    # StudyInstanceUID
    ("the UID that we gave", study(study_instance_uid=UID_1), LINKED, ("11",), UID, ""),
    ("the UID that OpenMRS gave", study(study_instance_uid="1.2.2"), LINKED, ("21",), UID, ""),
    (
        "the UID that we gave before OpenMRS had one",
        study(study_instance_uid=study_instance_uid(TWO)),
        LINKED,
        ("21",),
        UID,
        "",
    ),
    ("a UID of nobody", study(), UNLINKED, (), "", ""),
    ("no UID at all", study(study_instance_uid=""), UNLINKED, (), "", ""),
    # RequestAttributesSequence
    ("a named step", study(named("22", modality="MR")), LINKED, ("22",), RAS, ""),
    ("a step named with its request", study(named("21", of="2")), LINKED, ("21",), RAS, ""),
    ("several items", study(named("21", "22")), LINKED, ("21", "22"), RAS, ""),
    (
        "several series",
        study(named("21"), named("22", modality="MR")),
        LINKED,
        ("21", "22"),
        RAS,
        "",
    ),
    ("the second series only", study(SR, named("21")), LINKED, ("21",), RAS, ""),
    ("an item without an id", study(named("")), UNLINKED, (), "", ""),
    ("an unknown id", study(named("99")), HELD, (), "", "99"),
    ("an id of another request than it says", study(named("21", of="3")), HELD, (), "", "21"),
    ("a text where an id belongs", study(named("Smith")), HELD, (), "", "(no id)"),
    ("a known and an unknown id", study(named("21", "99")), HELD, (), RAS, "99"),
    (
        "an unknown id in a study whose UID is known",
        study(named("99"), study_instance_uid=UID_1),
        HELD,
        (),
        UID,
        "99",
    ),
    ("steps of two requests", study(named("11", "41")), HELD, (), RAS, "1, 4"),
    (
        "steps of two requests in a study whose UID is one's",
        study(named("11", "41"), study_instance_uid=UID_1),
        HELD,
        (),
        UID,
        "4",
    ),
    ("a named step that is completed", study(named("23")), SETTLED, (), RAS, "23"),
    ("one completed, one open", study(named("23", "21")), LINKED, ("21",), RAS, ""),
    (
        "a named step wins over the modality",
        study(named("31"), patient_id=BOB),
        LINKED,
        ("31",),
        RAS,
        "",
    ),
    # AccessionNumber
    ("an accession number", study(accession_number="A 1"), LINKED, ("11",), ACC, ""),
    ("with blanks around", study(accession_number=" A 1 "), LINKED, ("11",), ACC, ""),
    ("in full", study(accession_number="1234567890123456789"), LINKED, ("21",), ACC, ""),
    ("cut to 16", study(accession_number="1234567890123456"), LINKED, ("21",), ACC, ""),
    ("as it was sent", study(accession_number="A/6"), SETTLED, (), ACC, "61"),
    ("cut, of two requests", study(accession_number="9999999999999999"), HELD, (), ACC, "4, 5"),
    ("in full, of one", study(accession_number="9999999999999999002"), LINKED, ("51",), ACC, ""),
    (
        "cut, of two, and a named step",
        study(named("51"), accession_number="9999999999999999"),
        LINKED,
        ("51",),
        RAS,
        "",
    ),
    ("unknown, of a known patient", study(accession_number="X9"), HELD, (), "", "AccessionNumber"),
    (
        "unknown, of a foreign patient",
        study(accession_number="X9", patient_id="H-77"),
        UNLINKED,
        (),
        "",
        "",
    ),
    # PerformedProcedureStepID
    ("an echoed id", study(counted("22", "MR")), LINKED, ("22",), PPS, ""),
    (
        "a foreign patient's counter",
        study(counted("22", "MR"), patient_id=BOB),
        UNLINKED,
        (),
        "",
        "",
    ),
    ("no patient's counter", study(counted("22", "MR"), patient_id=""), UNLINKED, (), "", ""),
    ("a cut PatientID", study(counted("22", "MR"), patient_id=ALICE[:16]), UNLINKED, (), "", ""),
    ("an echoed id of another modality", study(counted("22", "CT")), HELD, (), PPS, "modality"),
    ("an echoed id of a completed step", study(counted("61")), SETTLED, (), PPS, "61"),
    ("ids of two requests", study(counted("11"), counted("41")), HELD, (), PPS, "1, 4"),
    (
        "it chooses between two steps",
        study(counted("32"), study_instance_uid=UID_3, patient_id=BOB),
        LINKED,
        ("32",),
        UID,
        "",
    ),
    (
        "a counter that says another request is no contradiction",
        study(counted("41"), study_instance_uid=UID_1),
        LINKED,
        ("11",),
        UID,
        "",
    ),
    # contradiction
    (
        "UID and accession of two requests",
        study(study_instance_uid=UID_1, accession_number="B-3"),
        HELD,
        (),
        "",
        "1 and 3",
    ),
    (
        "UID and named step of two requests",
        study(named("41"), study_instance_uid=UID_1),
        HELD,
        (),
        "",
        "1 and 4",
    ),
    (
        "named step and accession of two requests",
        study(named("41"), accession_number="A 1"),
        HELD,
        (),
        "",
        "4 and 1",
    ),
    (
        "all four of one request",
        study(
            named("21", performed_procedure_step_id="21"),
            study_instance_uid="1.2.2",
            accession_number="1234567890123456",
        ),
        LINKED,
        ("21",),
        UID,
        "",
    ),
    # the patient
    ("case", study(study_instance_uid=UID_1, patient_id=ALICE.upper()), LINKED, ("11",), UID, ""),
    ("blanks", study(study_instance_uid=UID_1, patient_id=f" {ALICE} "), LINKED, ("11",), UID, ""),
    *[
        (
            f"cut to {n}",
            study(study_instance_uid=UID_1, patient_id=ALICE[:n]),
            outcome,
            steps,
            UID,
            words,
        )
        for n, outcome, steps, words in (
            (16, LINKED, ("11",), ""),
            (20, LINKED, ("11",), ""),
            (32, LINKED, ("11",), ""),
            (35, HELD, (), "PatientID"),
            (8, HELD, (), "PatientID"),
            (0, HELD, (), "empty"),
        )
    ],
    ("another", study(study_instance_uid=UID_1, patient_id=BOB), HELD, (), UID, "PatientID"),
    ("another's step", study(named("31")), HELD, (), RAS, "PatientID"),
    ("another's number", study(accession_number="B-3"), HELD, (), ACC, "PatientID"),
    # the steps of a request
    (
        "a series for each step",
        study(CT, MR, study_instance_uid="1.2.2"),
        LINKED,
        ("21", "22"),
        UID,
        "",
    ),
    (
        "a report beside the images",
        study(SR, MR, study_instance_uid="1.2.2"),
        LINKED,
        ("22",),
        UID,
        "",
    ),
    (
        "two steps of a modality",
        study(study_instance_uid=UID_3, patient_id=BOB),
        HELD,
        (),
        UID,
        "31, 32",
    ),
    ("no step of the modality", study(series("XA"), study_instance_uid=UID_1), HELD, (), UID, "XA"),
    ("no series", StudySummary("s", UID_1, patient_id=ALICE), HELD, (), UID, "none"),
    ("a completed step", study(US, study_instance_uid="1.2.2"), SETTLED, (), UID, "23"),
    ("a rejected step", study(DX, study_instance_uid="1.2.2"), SETTLED, (), UID, "24"),
    (
        "one completed, one open step",
        study(US, CT, study_instance_uid="1.2.2"),
        LINKED,
        ("21",),
        UID,
        "",
    ),
    (
        "a named step is done, another series is of an open one",
        study(named("23", modality="US"), MR, study_instance_uid="1.2.2"),
        LINKED,
        ("22",),
        UID,
        "",
    ),
    (
        "a named step, and a series of another scanner that names none",
        study(named("21"), MR, study_instance_uid="1.2.2"),
        LINKED,
        ("21", "22"),
        UID,
        "",
    ),
]


@pytest.mark.parametrize(
    ("images", "outcome", "steps", "evidence", "words"),
    [pytest.param(*row[1:], id=row[0]) for row in POLICY],
)
def test_what_becomes_of_a_study(
    images: StudySummary, outcome: Outcome, steps: tuple[str, ...], evidence: str, words: str
) -> None:
    decision = link(images, ORDERS, Policy(EVIDENCE))
    assert decision.outcome is outcome, decision.reason
    assert tuple(found.step.scheduled_procedure_step_id for found in decision.links) == steps
    assert decision.evidence in (evidence, "")
    assert words in decision.reason
    assert len(decision.reason.splitlines()) == (0 if outcome is LINKED else 1)
    assert not any(personal in decision.reason for personal in (ALICE, BOB, "Alice", "Jones"))
    if outcome is LINKED:
        assert decision.evidence == evidence
        assert decision.request is not None
        assert {found.step for found in decision.links} <= set(decision.request.steps)


def test_each_step_is_reported_with_a_series_of_its_own() -> None:
    images = study(SR, named("21", "22"), named("22", modality="MR"), study_instance_uid="1.2.2")
    decision = link(images, ORDERS, Policy(EVIDENCE))
    assert [(found.step.modality, found.series.modality) for found in decision.links] == [
        ("CT", "CT"),
        ("MR", "MR"),
    ]


@pytest.mark.parametrize(
    ("link_by", "images", "outcome", "evidence"),
    [
        ((ACC,), study(study_instance_uid=UID_1), UNLINKED, ""),
        ((ACC,), study(study_instance_uid=UID_1, accession_number="A 1"), LINKED, ACC),
        ((ACC, UID), study(study_instance_uid=UID_1, accession_number="A 1"), LINKED, ACC),
        ((UID, ACC), study(study_instance_uid=UID_1, accession_number="A 1"), LINKED, UID),
        ((UID,), study(named("41"), study_instance_uid=UID_1), LINKED, UID),
        ((UID, RAS), study(counted("11")), UNLINKED, ""),
        ((PPS,), study(counted("11")), LINKED, PPS),
    ],
)
def test_only_the_evidence_of_link_by_counts_and_in_its_order(
    link_by: tuple[str, ...], images: StudySummary, outcome: Outcome, evidence: str
) -> None:
    decision = link(images, ORDERS, Policy(link_by))
    assert (decision.outcome, decision.evidence) == (outcome, evidence)


@pytest.mark.parametrize(("hold", "outcome"), [(True, HELD), (False, LINKED)])
def test_a_foreign_patient_is_held_unless_the_administrator_says_otherwise(
    hold: bool, outcome: Outcome
) -> None:
    images = study(study_instance_uid=UID_1, patient_id=BOB)
    assert link(images, ORDERS, Policy(EVIDENCE, hold)).outcome is outcome


def test_a_request_that_is_listed_twice_is_one() -> None:
    orders = Orders.of(request("7", step("71"), study_instance_uid="1.2.7") for _ in range(2))
    assert link(study(study_instance_uid="1.2.7"), orders, Policy(EVIDENCE)).outcome is LINKED


def test_a_uid_that_two_requests_claim_is_settled_by_other_evidence_only() -> None:
    twins = (
        request("7", step("71"), study_instance_uid="1.2.7"),
        request("8", step("81"), study_instance_uid="1.2.7"),
    )
    orders = Orders.of(twins)
    assert link(study(study_instance_uid="1.2.7"), orders, Policy(EVIDENCE)).outcome is HELD
    images = study(study_instance_uid="1.2.7", accession_number="ACC-8")
    decision = link(images, orders, Policy(EVIDENCE))
    assert [found.step.scheduled_procedure_step_id for found in decision.links] == ["81"]


@pytest.mark.parametrize(
    ("found", "expected", "agreement"),
    [
        (ALICE, ALICE, Agreement.SAME),
        (f"  {ALICE.upper()}\t", ALICE, Agreement.SAME),
        (ALICE[:16], ALICE, Agreement.CUT),
        (ALICE[:20].upper(), ALICE, Agreement.CUT),
        (ALICE[:32], ALICE, Agreement.CUT),
        (ALICE[:17], ALICE, Agreement.OTHER),
        (ALICE[1:17], ALICE, Agreement.OTHER),
        (BOB, ALICE, Agreement.OTHER),
        ("", ALICE, Agreement.OTHER),
        ("", "", Agreement.OTHER),
    ],
)
def test_how_far_two_patients_are_one(found: str, expected: str, agreement: Agreement) -> None:
    assert patient_agreement(found, expected) is agreement


# --- for a person --------------------------------------------------------------------------

SUGGESTED: list[tuple[str, StudySummary, list[tuple[str, str]]]] = [
    # why, the study, the steps with what points at their requests
    ("nothing points anywhere", study(CT, patient_id="HOSPITAL-7"), []),
    ("the accession only", study(CT, accession_number="B-3", patient_id="HOSPITAL-7"),
     [("31", ACC), ("32", ACC)]),
    ("the named step before the others", study(named("32"), patient_id="HOSPITAL-7"),
     [("32", RAS), ("31", RAS)]),
    ("the step of the modality before the other", study(MR, study_instance_uid="1.2.2",
     patient_id="HOSPITAL-7"), [("22", UID), ("21", UID)]),
    ("the patient only", study(CT, patient_id=BOB),
     [("31", "PatientID"), ("32", "PatientID")]),
    ("the one with more evidence first", study(CT, accession_number="A 1", patient_id=BOB,
     study_instance_uid=UID_1),
     [("11", f"{UID} {ACC}"), ("31", "PatientID"), ("32", "PatientID")]),
    ("no step that is completed", study(US, accession_number="A\\6", patient_id="x"), []),
]  # fmt: skip


@pytest.mark.parametrize(
    ("found", "steps"), [row[1:] for row in SUGGESTED], ids=[row[0] for row in SUGGESTED]
)
def test_the_steps_that_a_person_would_look_at_first(
    found: StudySummary, steps: list[tuple[str, str]]
) -> None:
    suggested = [
        (one.step.scheduled_procedure_step_id, " ".join(one.evidence))
        for one in suggest(found, ORDERS)
    ]
    assert suggested == steps


def test_a_person_is_shown_so_many_steps_at_most() -> None:
    many = request("9", *(step(str(900 + at)) for at in range(50)), accession_number="many")
    found = suggest(study(CT, accession_number="many"), Orders.of([many]))
    assert len(found) == MOST_SUGGESTIONS


def test_a_reason_stays_short_and_free_of_a_scanners_texts() -> None:
    requests = [request(str(number), step(str(number))) for number in range(1000)]
    ids = [str(number) for number in range(1000)]
    for images in (
        study(named(*ids)),
        study(named("Anna Svensson" * 100)),
        study(*(series("X" * 1000 + str(at), performed_procedure_step_id="1") for at in range(99))),
        study(named("1", modality="Y" * 1000)),
    ):
        reason = link(images, Orders.of(requests), Policy(EVIDENCE)).reason
        assert len(reason) < 400
        assert "Svensson" not in reason
