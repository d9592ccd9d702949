"""The Imaging module's list: a bad element costs itself only."""

import json
import tracemalloc
from contextlib import suppress

import pytest

from orthanc_openmrs.errors import OpenMRSError
from orthanc_openmrs.model import Answer, StepStatus
from orthanc_openmrs.openmrs.imaging_list import (
    FEW_PARTS,
    LEAST_PART,
    MAX_ELEMENT,
    read_list,
    refusal,
)
from tests.unit.builders import ALICE, items, within

GOOD_STEP = {
    "Modality": "CT",
    "ScheduledStationAETitle": "CT1",
    "ScheduledProcedureStepStartDate": "20250703081500",
    "ScheduledProcedureStepStartTime": "081500",
    "ScheduledPerformingPhysicianName": None,
    "PerformedProcedureStepStatus": "scheduled",
    "ScheduledProcedureStepDescription": "Head",
    "ScheduledProcedureStepID": "14",
    "ScheduledStationName": "",
    "ScheduledProcedureStepLocation": "Room 1",
    "CommentsOnTheScheduledProcedureStep": "no value available",
}
GOOD = {
    "SpecificCharacterSet": "ISO_IR 100",
    "AccessionNumber": "1234567890123456789",
    "PatientName": "Sokha ចាន់",
    "PatientID": ALICE,
    "PatientBirthDate": "1990-01-01 00:00:00.0",
    "PatientSex": "F",
    "StudyInstanceUID": None,
    "RequestingPhysician": " Dr. Who ",
    "RequestedProcedureDescription": "Head\r\nneck",
    "RequestedProcedureID": "7",
    "RequestedProcedurePriority": "High",
    "ScheduledProcedureStepSequence": [GOOD_STEP],
}


def listing(*elements: object) -> bytes:
    """The elements as OpenMRS sends them; a str is JSON already."""
    texts = (element if isinstance(element, str) else json.dumps(element) for element in elements)
    return f"[{', '.join(texts)}]".encode()


def test_every_key_of_the_contract_is_read_as_openmrs_wrote_it() -> None:
    (found,) = read_list(listing(GOOD)).requests
    (step,) = found.steps
    assert (found.requested_procedure_id, found.accession_number, found.patient_id) == (
        "7",
        "1234567890123456789",
        ALICE,
    )
    assert (found.patient_name, found.patient_birth_date, found.patient_sex) == (
        "Sokha ចាន់",
        "1990-01-01 00:00:00.0",
        "F",
    )
    assert (found.study_instance_uid, found.requesting_physician) == ("", "Dr. Who")
    assert (found.description, found.priority) == ("Head\r\nneck", "High")
    assert (step.scheduled_procedure_step_id, step.status) == ("14", StepStatus.SCHEDULED)
    assert (step.modality, step.scheduled_station_ae_title) == ("CT", "CT1")
    assert (step.start_date, step.start_time) == ("20250703081500", "081500")
    assert (step.description, step.location) == ("Head", "Room 1")
    assert (step.scheduled_performing_physician_name, step.scheduled_station_name) == ("", "")


@pytest.mark.parametrize(
    ("element", "reason"),
    [
        (None, "null"),
        (7, "a number"),
        ('"text"', "text"),
        ([], "an array"),
        (True, "a boolean"),
        (GOOD | {"PatientName": {"given": "A"}}, "PatientName"),
        (GOOD | {"PatientID": [ALICE]}, "PatientID"),
        (GOOD | {"AccessionNumber": True}, "AccessionNumber"),
        (GOOD | {"ScheduledProcedureStepSequence": "14"}, "ScheduledProcedureStepSequence"),
        (GOOD | {"ScheduledProcedureStepSequence": 14}, "ScheduledProcedureStepSequence"),
        (GOOD | {"ScheduledProcedureStepSequence": [GOOD_STEP] * 1_000}, "steps"),
        (GOOD | {"ScheduledProcedureStepSequence": [GOOD_STEP] * 100_000}, "longer"),
        ('"' + "a" * MAX_ELEMENT + '"', "longer"),
        ('{"PatientName":"' + '\\"\\n' * MAX_ELEMENT + '"}', "longer"),
        ('{"PatientName":[' + "[]," * MAX_ELEMENT + "1]}", "longer"),
        ("{" + '"a":1,' * MAX_ELEMENT + '"b":1}', "longer"),
        ("[" * 100_000 + "]" * 100_000, "deep"),
        ('{"a":' * 100_000 + "1" + "}" * 100_000, "deep"),
        ('{"PatientName":' + "[" * 100_000 + '"\\"]"' + "]" * 100_000 + "}", "deep"),
    ],
)
def test_a_bad_element_costs_only_itself(element: object, reason: str) -> None:
    with within(30, "reading the list"):
        found = read_list(listing(GOOD, element, GOOD | {"RequestedProcedureID": "8"}))
    assert [good.requested_procedure_id for good in found.requests] == ["7", "8"]
    ((position, told),) = [(bad.position, bad.reason) for bad in found.rejected]
    assert position == 1
    assert reason in told
    assert ALICE not in told


@pytest.mark.parametrize(
    ("member", "why"),
    [
        ('"RequestedProcedureID": ' + "9" * 5000, "an integer of 5,000 digits"),
        ('"RequestedProcedureID": -' + "9" * 5000, "a negative one"),
        ('"RequestedProcedureID": 1e999', "a number that overflows"),
        ('"RequestedProcedureID": 1' + "0" * 300, "a large one"),
        ('"RequestedProcedureID": NaN', "what Java writes for 0/0"),
        ('"RequestedProcedureID": -Infinity', "what Java writes for -1/0"),
        ('"PatientName": "\\ud800"', "a lone surrogate"),
        ('"AccessionNumber": "\\udfff\\ud800"', "surrogates the wrong way round"),
        ('"PatientID": "a\\ud83db"', "half an emoji, as MySQL cuts one"),
        ('"PatientID": "a\\u0000b"', "a NUL"),
        ('"PatientName": "' + "x" * 1_000_000 + '"', "a name of a megabyte"),
        ('"ScheduledProcedureStepSequence": []', "no step yet"),
        ('"ScheduledProcedureStepSequence": null', "no step either"),
    ],
)
def test_an_odd_element_leaves_its_neighbours_alone(member: str, why: str) -> None:
    odd = json.dumps(GOOD)[:-1] + f", {member}}}"  # of two members of a name the last counts
    found = read_list(listing(GOOD, odd, GOOD | {"RequestedProcedureID": "8"}))
    read = [good.requested_procedure_id for good in found.requests]
    assert (read[0], read[-1]) == ("7", "8")
    assert len(found.requests) + len(found.rejected) == 3
    # and what was read can be offered, or left out with a reason:
    assert len(items(*found.requests)) >= 2


@pytest.mark.parametrize("bad", [None, 7, "14", [], GOOD_STEP | {"Modality": {"code": "CT"}}])
def test_a_bad_step_costs_its_request_no_other_step(bad: object) -> None:
    steps = [GOOD_STEP, bad, GOOD_STEP | {"ScheduledProcedureStepID": "15"}]
    found = read_list(listing(GOOD | {"ScheduledProcedureStepSequence": steps}))
    read = [s.scheduled_procedure_step_id for good in found.requests for s in good.steps]
    assert [found_id for found_id in read if found_id] == ["14", "15"]


def test_a_long_text_is_cut_when_it_is_read() -> None:
    (found,) = read_list(listing(GOOD | {"PatientName": "x" * 1_000_000})).requests
    assert len(found.patient_name) < 2000


@pytest.mark.parametrize(
    ("body", "count", "why"),
    [
        (b"[]", 0, "no request"),
        (b" [ \n ] \r\n\t", 0, "blanks"),
        (b"\xef\xbb\xbf" + listing(GOOD), 1, "a byte order mark"),
        (listing(*[GOOD] * 3).replace(b", {", b" \n,\t{"), 3, "blanks between elements"),
        (listing(GOOD | {"Unknown": {"deep": [1, {}]}}), 1, "a key of a later version"),
    ],
)
def test_an_array_is_a_list(body: bytes, count: int, why: str) -> None:
    assert len(read_list(body).requests) == count


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "empty"),
        (b"   ", "blank"),
        (b"<!DOCTYPE html><html>login</html>", "a sign-in page"),
        (b'{"results": []}', "an object"),
        (b'"[]"', "a text"),
        (b"null", "null"),
        (listing(GOOD)[:-1], "cut before the last bracket"),
        (listing(GOOD)[:-40], "cut inside an element"),
        (b"[" + b"[" * 100_000, "cut inside a deep element"),
        (b'["' + b'\\"' * MAX_ELEMENT, "cut inside a long text"),
        (b"[" + b"x" * 2 * MAX_ELEMENT, "long and no JSON"),
        (b"[{}," + b"{x}" + b"," * 2 * MAX_ELEMENT, "no JSON, and long after it"),
        (b"[" + b"7" * 2 * MAX_ELEMENT + b"]", "a number longer than any element"),
        (b"[{},]", "a comma too many"),
        (b"[{} {}]", "a comma too few"),
        (listing(GOOD) + b"<html>", "a page behind it"),
        (b"[][]", "two arrays"),
        (b'["\xff"]', "not UTF-8"),
        ("[]".encode("utf-16"), "UTF-16"),
    ],
)
def test_what_is_no_array_is_no_list(body: bytes, why: str) -> None:
    with within(30, "refusing the list"), pytest.raises(OpenMRSError) as caught:
        read_list(body)
    assert caught.value.kind == "not-a-list"
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("end", [None, -9])
def test_an_exception_of_openmrs_is_its_failure_and_no_list(end: int | None) -> None:
    body = b'{"cause": null, "stackTrace": [], "message": "Alice Jones has no birth date"}'
    found = refusal(Answer(200, body[:end]))
    assert found is not None
    assert found.kind == "server-error"
    assert "Jones" not in str(found)
    with pytest.raises(OpenMRSError):
        read_list(body[:end])


@pytest.mark.parametrize(
    ("message", "row"),
    [
        (None, "perhaps a patient without a birth date"),
        (
            'Cannot invoke "java.util.Date.toString()" because the return value is null',
            "perhaps a patient without a birth date",
        ),
        (
            "Text 'NaNNaN00' could not be parsed at index 0",
            "perhaps a step with an impossible date or time",
        ),
        ('For input string: "NaN"', "perhaps a step with an impossible date or time"),
        ("Deadlock found when trying to get lock", ""),
    ],
)
def test_an_exception_of_the_list_says_which_row_it_may_be(message: str | None, row: str) -> None:
    body = json.dumps({"cause": None, "stackTrace": [], "message": message}).encode()
    told = str(refusal(Answer(200, body)))
    assert (row in told) if row else ("perhaps" not in told)


def test_the_list_of_a_module_without_steps_is_told_apart() -> None:
    old = {"id": 7, "status": "scheduled", "mrsPatientUuid": ALICE, "accessionNumber": "1"}
    with pytest.raises(OpenMRSError) as caught:
        read_list(listing(old, old))
    assert caught.value.kind == "module-too-old"


@pytest.mark.parametrize("body", [b"[]", b" \r\n[", b"\xef\xbb\xbf[1", b"[" + b"x" * 1000])
def test_what_begins_as_a_list_is_not_refused_at_once(body: bytes) -> None:
    assert refusal(Answer(200, body)) is None


MIB = 1024 * 1024
BIG = 4 * MIB


@pytest.mark.parametrize(
    "element",
    [
        b"1",
        b"{}",
        b'{"ScheduledProcedureStepSequence":[' + b",".join([b"{}"] * 200) + b"]}",
        b'{"ScheduledProcedureStepSequence":[' + b",".join([b"1"] * 200) + b"]}",
        b'{"PatientName":[' + b"[]," * (BIG // 3) + b"1]}",
        '"😀'.encode() + b"a" * BIG + b'"',
    ],
    ids=["numbers", "objects", "steps", "no-steps", "one-of-many-lists", "one-text"],
)
def test_a_hostile_list_takes_a_few_times_its_own_memory(element: bytes) -> None:
    body = b"[" + b",".join([element] * (BIG // (len(element) + 1) or 1)) + b"]"
    tracemalloc.start()
    try:
        with suppress(OpenMRSError):
            read_list(body)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # As values, without a limit, it would take fifty times its own memory and more.
    assert peak < 12 * BIG, f"{peak // MIB} MiB"


def test_a_list_of_whole_requests_is_never_too_many() -> None:
    element = GOOD | {"ScheduledProcedureStepSequence": [GOOD_STEP] * 2}
    body = listing(*[element] * (FEW_PARTS // 2))
    assert len(read_list(body).requests) == FEW_PARTS // 2
    names = sum(len(json.dumps(key)) for key in {*GOOD_STEP})
    assert names > LEAST_PART, "a step's keys alone are longer"


@pytest.mark.parametrize(
    ("charset", "generation"), [("ISO_IR 192", "v3"), ("ISO_IR 100", ""), (None, "")]
)
def test_only_v3_tells_its_generation(charset: str | None, generation: str) -> None:
    assert read_list(listing(GOOD | {"SpecificCharacterSet": charset})).generation == generation


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("scheduled", StepStatus.SCHEDULED),
        (" Scheduled ", StepStatus.SCHEDULED),
        ("in progress", StepStatus.IN_PROGRESS),
        ("IN  Progress\n", StepStatus.IN_PROGRESS),
        ("progress", StepStatus.IN_PROGRESS),
        ("COMPLETED", StepStatus.COMPLETED),
        ("\tcompleted ", StepStatus.COMPLETED),
        ("Rejected", StepStatus.REJECTED),
        ("", StepStatus.SCHEDULED),
        (None, StepStatus.SCHEDULED),
        ("on hold", StepStatus.OTHER),
    ],
)
def test_a_status_is_read_in_every_spelling(text: str | None, status: StepStatus) -> None:
    step = GOOD_STEP | {"PerformedProcedureStepStatus": text}
    (found,) = read_list(listing(GOOD | {"ScheduledProcedureStepSequence": [step]})).requests
    assert found.steps[0].status is status
