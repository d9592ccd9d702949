"""The policy of linking, as one table: what images say, and what becomes of it."""

from dataclasses import replace
from typing import Any

import pytest

from orthanc_openmrs.completion.evidence import DEFAULT as EVIDENCE
from orthanc_openmrs.completion.evidence import (
    MOST_NAMED,
    Agreement,
    Orders,
    named_by,
    named_of,
    patient_agreement,
)
from orthanc_openmrs.completion.linking import (
    MOST_SUGGESTIONS,
    History,
    Outcome,
    Policy,
    identity_of,
    link,
    suggest,
    tokens,
)
from orthanc_openmrs.model import (
    GivenUid,
    ImagingRequest,
    Named,
    NamedBy,
    Predecessor,
    RequestAttributes,
    SeriesSummary,
    Source,
    StepStatus,
    StudySummary,
)
from orthanc_openmrs.worklist.items import study_instance_uid
from orthanc_openmrs.worklist.uids import GivenUids
from tests.unit.builders import ALICE, BOB, request, series, step, study

LINKED, HELD, SETTLED, UNLINKED = (
    Outcome.LINKED,
    Outcome.HELD,
    Outcome.SETTLED,
    Outcome.UNLINKED,
)
DONE, REJECTED = StepStatus.COMPLETED, StepStatus.REJECTED
UID, RAS, ACC, PPS, _ = EVIDENCE

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
            (35, LINKED, ("11",), ""),
            (8, LINKED, ("11",), ""),
            (7, HELD, (), "PatientID"),
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
    (
        "no step of the modality",
        study(series("XA"), study_instance_uid="1.2.2"),
        HELD,
        (),
        UID,
        "none of the study's modality (XA)",
    ),
    ("no series", StudySummary("s", UID_1, patient_id=ALICE), HELD, (), UID, "no images"),
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
        (of,) = {found.request for found in decision.links}
        assert {found.step for found in decision.links} <= set(of.steps)


# --- the stories ---------------------------------------------------------------------------

CHEST = request("5", step("51", modality="CT"), step("52", modality="CT"), accession_number="CHEST")
"""Two steps of one modality."""

HALF = request(
    "5", step("51", modality="CT", status=DONE), step("52", modality="CT"), accession_number="CHEST"
)
"""The first of them is done."""

ABDOMEN = request("6", step("61", modality="CT"), accession_number="ABDOMEN")
FILM = request("8", step("81", modality="DX"), accession_number="FILM")
FILM_AND_MORE = request(
    "8", step("81", modality="DX", status=DONE), step("82", modality="CR"), accession_number="FILM"
)
OTHER = request("9", step("91", modality="OT"), accession_number="SCAN")
OF_BOB = request("7", step("71"), patient_id=BOB, accession_number="BOB")
CHEST_UID = study_instance_uid(CHEST)

GIVEN = GivenUids.of(
    [GivenUid("1.2.840.5", "5", ALICE, ""), GivenUid("1.2.840.5", "5", ALICE, "CHEST")]
)
"""Request 5 went to the scanner before the clerk typed its accession number."""


def told(*steps: str, of: ImagingRequest = CHEST, again: bool = False) -> History:
    """The study was told for steps; `again`: its images were deleted and made again since."""
    identities = tuple(
        identity_of(of, one) for one in of.steps if one.scheduled_procedure_step_id in steps
    )
    return History(told=identities, settled=frozenset() if again else frozenset(identities))


def said(about: StudySummary, *steps: str, of: ImagingRequest = CHEST) -> History:
    """A person who saw the study said that it completes steps, or that it completes none."""
    return replace(
        told(*steps, of=of), reported=told(*steps, of=of).told, said=True, seen=tokens(about)
    )


def items(*of: RequestAttributes, modality: str = "CT") -> SeriesSummary:
    """A series with items of RequestAttributesSequence."""
    return series(modality, request_attributes=of)


def chest(*of: SeriesSummary, **changes: Any) -> StudySummary:
    """Images of request 5, by their accession number."""
    return study(*of, accession_number="CHEST", **changes)


def numbered(number: str, modality: str = "CT") -> SeriesSummary:
    """A series whose images have an accession number of their own."""
    return series(modality, accession_numbers=(number,))


NONE = History()
STORIES: list[
    tuple[str, tuple[ImagingRequest, ...], StudySummary, History, Outcome, tuple[str, ...], str]
] = [
    # why, the list, the study, what was before, what becomes of it, the steps, words of the reason
    # Images that name no step, of several of their modality: a step that is closed says nothing
    # about its sister.
    ("both open", (CHEST,), chest(), NONE, HELD, (), "51, 52"),
    ("late images, a copy, a split series, another's reconstruction: one is done", (HALF,),
     chest(), NONE, HELD, (), "51, 52"),
    ("late images of the study that was told for it", (HALF,), chest(), told("51", of=HALF),
     SETTLED, (), "51"),
    ("late images that echo the step which is done", (HALF,),
     chest(series(performed_procedure_step_id="51")), NONE, SETTLED, (), "51"),
    ("late images that name the other", (HALF,), chest(named("52")), told("51", of=HALF),
     LINKED, ("52",), ""),
    ("a restored index: told before, the images are the same", (HALF,), chest(),
     told("51", of=HALF, again=True), SETTLED, (), "51"),
    ("a key image", (HALF,), chest(series("KO")), told("51", of=HALF), SETTLED, (), "about images"),
    ("a key image as a study of its own", (HALF,), chest(series("KO")), NONE, HELD, (),
     "no images"),
    ("a key image that names the step which is done", (HALF,), chest(named("51", modality="KO")),
     NONE, SETTLED, (), "about images"),
    ("both done", (replace(CHEST, steps=(step("51", status=DONE), step("52", status=DONE))),),
     chest(), NONE, SETTLED, (), "all steps"),
    # Contradicting accession numbers inside one study: Orthanc's is that of the first object.
    ("numbers of two requests", (CHEST, ABDOMEN), study(numbered("CHEST"), numbered("ABDOMEN")),
     NONE, HELD, (), "5, 6"),
    ("Orthanc's number is one's, an image's another's", (CHEST, ABDOMEN),
     study(numbered("CHEST"), numbered("ABDOMEN"), accession_number="ABDOMEN"), NONE, HELD, (),
     "several requests"),
    ("one of the numbers is unknown", (ABDOMEN,), study(numbered("ABDOMEN"), numbered("typo")),
     NONE, HELD, (), "AccessionNumber"),
    ("one number, in full and cut", (request("6", step("61"), accession_number="1" * 19),),
     study(numbered("1" * 19), numbered("1" * 16)), NONE, LINKED, ("61",), ""),
    # Objects that are no acquisition complete nothing and decide nothing, even where they name it.
    *[(f"{modality} names the step", (ABDOMEN,), study(named("61", modality=modality)), NONE,
       HELD, (), "no images of an exam") for modality in ("SR", "KO", "PR", "DOC", "SEG", "REG")],
    ("a report under a modality of images", (ABDOMEN,),
     study(named("61", sop_class_uid="1.2.840.10008.5.1.4.1.1.88.67")), NONE, HELD, (), "(CT)"),
    ("an encapsulated document", (ABDOMEN,),
     study(named("61", modality="OT", sop_class_uid="1.2.840.10008.5.1.4.1.1.104.1")), NONE,
     HELD, (), "(OT)"),
    ("a screenshot alone", (ABDOMEN,), study(named("61", modality="OT")), NONE, HELD, (), "OT"),
    ("a film that was scanned, as ordered", (OTHER,), study(series("OT"), accession_number="SCAN"),
     NONE, LINKED, ("91",), ""),
    ("a screenshot beside the images", (ABDOMEN,), study(series("OT"), named("61")), NONE, LINKED,
     ("61",), ""),
    ("a report names one step, the images are of the other", (TWO,),
     study(named("21", modality="SR"), MR), NONE, LINKED, ("22",), ""),
    ("a report that comes first", (CHEST,), chest(named("51", modality="SR")), NONE, HELD, (),
     "no images"),
    # Another modality than ordered, where the request has one step.
    *[(f"{ordered} by {done}", (request("6", step("61", modality=ordered), accession_number="A"),),
       study(series(done), accession_number="A"), NONE, LINKED, ("61",), "")
      for ordered, done in (("DX", "CR"), ("RF", "XA"), ("DX", "PX"), ("nonsense!", "CT"))],
    ("a clerk adds a step of that modality afterwards", (FILM_AND_MORE,),
     study(series("CR"), accession_number="FILM"), told("81", of=FILM), SETTLED, (), "81"),
    ("and it is done, too, and named", (FILM_AND_MORE,),
     study(series("CR"), named("82", modality="CR"), accession_number="FILM"), told("81", of=FILM),
     LINKED, ("82",), ""),
    ("its only step is done", (request("6", step("61", status=DONE), accession_number="A"),),
     study(series("XA"), accession_number="A"), NONE, SETTLED, (), "61"),
    # A repeated exam: the step was set back, the study deleted and made again.
    ("made again", (ABDOMEN,), study(named("61")), told("61", of=ABDOMEN, again=True), LINKED,
     ("61",), ""),
    ("the same images, the step set back", (ABDOMEN,), study(named("61")), told("61", of=ABDOMEN),
     SETTLED, (), "told of"),
    ("made again, and the images name none", (CHEST,), chest(), told("51", again=True), LINKED,
     ("51",), ""),
    ("told for an order of the same numbers, before OpenMRS was installed again", (ABDOMEN,),
     study(named("61")), told("61", of=replace(ABDOMEN, accession_number="old", patient_id=BOB)),
     LINKED, ("61",), ""),
    # The first object names nothing, others do.
    ("the images name their order, the screenshot before them doesn't", (CHEST,),
     study(series("OT"), named("52")), NONE, LINKED, ("52",), ""),
    ("only the second series has the number", (ABDOMEN,), study(series("SR"), numbered("ABDOMEN")),
     NONE, LINKED, ("61",), ""),
    # Items of RequestAttributesSequence that don't hold a ScheduledProcedureStepID.
    ("the request's id only", (ABDOMEN,), study(items(RequestAttributes("", "6"))), NONE, LINKED,
     ("61",), ""),
    ("the accession number only", (ABDOMEN,), study(items(RequestAttributes("", "", "ABDOMEN"))),
     NONE, LINKED, ("61",), ""),
    ("the UID only", (ABDOMEN,),
     study(items(RequestAttributes("", "", "", study_instance_uid(ABDOMEN)))), NONE, LINKED,
     ("61",), ""),
    ("a UID of the scanner's own", (ABDOMEN,), study(items(RequestAttributes("61", "", "", "9.9"))),
     NONE, LINKED, ("61",), ""),
    ("a request's id and another's number", (CHEST, ABDOMEN),
     study(items(RequestAttributes("", "5", "ABDOMEN"))), NONE, HELD, (), "RequestedProcedureID 5"),
    ("a request's id that nobody knows", (ABDOMEN,), study(items(RequestAttributes("", "77"))),
     NONE, HELD, (), "RequestedProcedureID 77"),
    ("the same of another hospital", (ABDOMEN,),
     study(items(RequestAttributes("55", "77", "X")), patient_id="H-7"), NONE, UNLINKED, (), ""),
    # The UID that was given out stays its request's.
    ("the clerk typed the number later", (CHEST, ABDOMEN),
     study(named("52"), study_instance_uid="1.2.840.5"), NONE, LINKED, ("52",), ""),
    ("OpenMRS gives the UID to another request", (CHEST, replace(ABDOMEN,
     study_instance_uid="1.2.840.5")), study(named("51"), study_instance_uid="1.2.840.5"), NONE,
     LINKED, ("51",), ""),
    ("the request's patient was corrected", (replace(CHEST, patient_id=BOB),),
     study(named("52"), study_instance_uid="1.2.840.5"), NONE, HELD, (), "PatientID"),
    ("and the number was, when it was handed out", (replace(CHEST, accession_number="corrected"),),
     chest(named("52"), study_instance_uid="1.2.840.5"), NONE, LINKED, ("52",), ""),
    ("its request is no longer there",
     (ABDOMEN, replace(CHEST, patient_id=BOB, accession_number="new")),
     study(study_instance_uid="1.2.840.5"), NONE, HELD, (), "given out for request 5"),
    # A PatientID that was cut or lost its hyphens.
    ("cut at 9", (ABDOMEN,), study(named("61"), patient_id=ALICE[:9]), NONE, LINKED, ("61",), ""),
    ("no hyphens", (ABDOMEN,), study(named("61"), patient_id=ALICE.replace("-", "")), NONE,
     LINKED, ("61",), ""),
    ("cut at 7", (ABDOMEN,), study(named("61"), patient_id=ALICE[:7]), NONE, HELD, (), "PatientID"),
    ("cut, beside a counter only", (ABDOMEN,), study(counted("61"), patient_id=ALICE[:20]), NONE,
     UNLINKED, (), ""),
    # One study for two requests.
    ("chest and abdomen at once", (CHEST, ABDOMEN), study(named("51", "61")), NONE, HELD, (),
     "several requests (5, 6)"),
    ("and a person says that it completes both", (CHEST, ABDOMEN), study(named("51", "61")),
     said(study(named("51", "61")), "51"), SETTLED, (), "person"),
    # What a person said stands.
    ("the person chose another step than the images name", (CHEST, ABDOMEN), study(named("61")),
     said(study(named("61")), "51"), SETTLED, (), "person"),
    ("more images of the same", (CHEST, ABDOMEN), study(named("61"), named("61")),
     said(study(named("61")), "51"), SETTLED, (), "person"),
    ("images that name the step which the person chose", (CHEST, ABDOMEN),
     study(CT, named("51", of="5")), said(study(CT), "51"), SETTLED, (), "person"),
    ("images that name another step", (CHEST, ABDOMEN), study(CT, named("61")),
     said(study(CT), "51"), HELD, (), "came since"),
    ("images of another modality", (TWO,), study(CT, MR, study_instance_uid="1.2.2"),
     said(study(CT, study_instance_uid="1.2.2"), "21", of=TWO), HELD, (), "came since"),
    ("of no step at all, said the person", (ABDOMEN,), study(named("61")),
     said(study(named("61"))), SETTLED, (), "person"),
    ("that, and then images that name a step", (ABDOMEN,), study(named("61")), said(study()),
     HELD, (), "came since"),
    # Some of the series are of a step, others may be of another.
    ("a step is named, the others don't say which", (request("5", step("51"), step("52",
     modality="MR"), step("53", modality="MR"), accession_number="X"),),
     study(named("51"), MR), NONE, LINKED, ("51",), "52, 53"),
    ("the named step's own further series", (CHEST,), study(named("51"), CT), NONE, LINKED,
     ("51",), ""),
    ("a step named by images of another modality, and more of those", (TWO,),
     study(named("22"), CT), NONE, LINKED, ("22",), ""),
    # What Orthanc can't read may have said more.
    ("it names nothing, as far as it can be read", (ABDOMEN,), study(unreadable=1), NONE, HELD, (),
     "can't read 1"),
    ("it names its step all the same", (ABDOMEN,), study(named("61"), unreadable=1), NONE, LINKED,
     ("61",), ""),
    # Another patient's.
    ("it names another's step", (OF_BOB,), study(named("71")), NONE, HELD, (), "PatientID"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("requests", "images", "before", "outcome", "steps", "words"),
    [pytest.param(*row[1:], id=row[0]) for row in STORIES],
)
def test_stories(
    requests: tuple[ImagingRequest, ...],
    images: StudySummary,
    before: History,
    outcome: Outcome,
    steps: tuple[str, ...],
    words: str,
) -> None:
    decision = link(images, Orders.of(requests, GIVEN), Policy(EVIDENCE), before)
    assert decision.outcome is outcome, decision.reason
    assert tuple(found.step.scheduled_procedure_step_id for found in decision.links) == steps
    assert words in decision.reason
    assert bool(decision.reason) is (outcome is not LINKED or bool(words))
    assert not any(personal in decision.reason for personal in (ALICE, BOB, "Alice", "Jones"))


@pytest.mark.parametrize(
    ("patient_id", "outcome"),
    [(ALICE, LINKED), (ALICE.upper(), LINKED), (ALICE[:16], HELD), (BOB, HELD), ("", HELD)],
)
@pytest.mark.parametrize("hold", [True, False])
def test_an_openmrs_that_takes_whole_patient_ids_only_isnt_told_of_others(
    patient_id: str, outcome: Outcome, hold: bool
) -> None:
    orders = Orders.of([ABDOMEN], whole_patient_id=True)
    decision = link(study(named("61"), patient_id=patient_id), orders, Policy(EVIDENCE, hold))
    assert decision.outcome is outcome
    if outcome is HELD and not hold:
        assert "whole uuid" in decision.reason


@pytest.mark.parametrize(("configured", "outcome"), [(False, UNLINKED), (True, LINKED)])
def test_mpps_is_evidence_where_it_is_configured(configured: bool, outcome: Outcome) -> None:
    images = study(series(performed_steps=(RequestAttributes("52", "5"),)))
    kinds = [kind for kind in EVIDENCE if configured or kind != "MPPS"]
    decision = link(images, Orders.of([CHEST]), Policy(tuple(kinds)))
    assert decision.outcome is outcome
    assert [one.step.scheduled_procedure_step_id for one in decision.links] == ["52"] * configured


@pytest.mark.parametrize(
    "of", [CHEST, ABDOMEN, replace(CHEST, accession_number="12345678901234567890 \\ x")]
)
@pytest.mark.parametrize("given", [GivenUids(), GIVEN])
def test_what_a_list_brings_is_what_studies_name(of: ImagingRequest, given: GivenUids) -> None:
    brings = named_of(of, given)
    by_cut_number = study(accession_number=of.accession_number[:16], patient_id="x")
    for images in (
        study(named(of.steps[0].scheduled_procedure_step_id), patient_id="x"),
        study(items(RequestAttributes("", of.requested_procedure_id)), patient_id="x"),
        study(items(RequestAttributes("", "", of.accession_number)), patient_id="x"),
        study(counted(of.steps[0].scheduled_procedure_step_id), patient_id="x"),
        study(accession_number=f" {of.accession_number}", patient_id="x"),
        by_cut_number,
        study(study_instance_uid=study_instance_uid(of), patient_id="x"),
        study(patient_id=f"{ALICE.upper()} "),
    ):
        assert brings & set(named_by(images)), images
    assert not brings & set(named_by(study(patient_id="x")))
    assert (Named(NamedBy.STUDY_INSTANCE_UID, "1.2.840.5") in brings) is (
        given is GIVEN and of is not ABDOMEN
    )


def test_a_study_of_a_thousand_names_is_looked_at_again_by_a_few() -> None:
    ids = [str(number) for number in range(1000)]
    assert len(named_by(study(named(*ids), accession_number="X" * 1000))) == MOST_NAMED
    assert all(len(one.value) <= 64 for one in named_by(study(accession_number="X" * 1000)))


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
        (ALICE[:8], ALICE, Agreement.CUT),
        (ALICE[:9], ALICE, Agreement.CUT),
        (ALICE[:7], ALICE, Agreement.OTHER),
        (ALICE[:17], ALICE, Agreement.CUT),
        (ALICE.replace("-", ""), ALICE, Agreement.CUT),
        (ALICE.replace("-", "")[:20].upper(), ALICE, Agreement.CUT),
        (ALICE + "0", ALICE, Agreement.OTHER),
        ("-" * 12, ALICE, Agreement.OTHER),
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


# --- OpenMRS's own orders ------------------------------------------------------------------

OLD, NEW = "ORD-1", "ORD-2"
REVISED = request(
    "OORD-2",
    step("OORD-2"),
    accession_number=NEW,
    study_instance_uid="2.25.7",
    source=Source.ORDERS,
    predecessors=(Predecessor("OORD-1", OLD),),
)


@pytest.mark.parametrize(
    "named",
    [
        {"study_instance_uid": "2.25.7"},
        {"accession_number": OLD},
        {"accession_number": NEW},
        {"study_instance_uid": "2.25.7", "accession_number": OLD},
    ],
)
def test_images_that_name_an_order_as_it_was_are_of_its_revision(named: dict[str, str]) -> None:
    fields = {"study_instance_uid": "1.2.3", "accession_number": "", "patient_id": ALICE}
    images = study(series("CT"), **(fields | named))
    decision = link(images, Orders.of([REVISED]), Policy())
    assert [one.request for one in decision.links] == [REVISED]


def test_images_with_the_ids_of_an_order_as_it_was_are_of_its_revision() -> None:
    item = RequestAttributes(scheduled_procedure_step_id="OORD-1", requested_procedure_id="OORD-1")
    images = study(series("CT", request_attributes=(item,)), accession_number="", patient_id=ALICE)
    decision = link(images, Orders.of([REVISED]), Policy())
    assert [one.request for one in decision.links] == [REVISED]


def test_of_the_same_exam_in_both_sources_the_modules_request_is_meant() -> None:
    imaging = request("7", step("14"), accession_number=NEW)
    twin = replace(REVISED, instead="7", patient_id=imaging.patient_id)
    images = study(series("CT"), accession_number=NEW, patient_id=imaging.patient_id)
    decision = link(images, Orders.of([imaging, twin]), Policy())
    assert [one.request for one in decision.links] == [imaging]


def test_what_the_module_wants_of_a_patient_id_is_not_asked_of_an_order() -> None:
    cut = REVISED.patient_id[:16]
    images = study(series("CT"), accession_number=NEW, patient_id=cut)
    decision = link(images, Orders.of([REVISED], whole_patient_id=True), Policy())
    assert decision.outcome is Outcome.LINKED
