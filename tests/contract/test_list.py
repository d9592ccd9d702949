"""The list, as each generation of the Imaging module writes it."""

import gzip
import re
import time
from datetime import datetime
from typing import Any

import pytest

from standin import (
    GENERATIONS,
    Standin,
    StepFields,
    samples,
)
from standin.forms import legacy_form, o3_form
from tests.contract.calls import (
    STEPPED,
    UID,
    add,
    elements,
    first,
    generations,
    get_list,
    is_exception,
    post,
    query,
    update,
)

LIST_KEYS = {
    *("SpecificCharacterSet", "AccessionNumber", "PatientName", "PatientID", "PatientBirthDate"),
    *("PatientSex", "StudyInstanceUID", "RequestingPhysician", "RequestedProcedureDescription"),
    *("RequestedProcedureID", "RequestedProcedurePriority", "ScheduledProcedureStepSequence"),
}
STEP_KEYS = {
    *("Modality", "ScheduledStationAETitle", "ScheduledProcedureStepStartDate"),
    *("ScheduledProcedureStepStartTime", "ScheduledPerformingPhysicianName"),
    *("PerformedProcedureStepStatus", "ScheduledProcedureStepDescription"),
    *("ScheduledProcedureStepID", "ScheduledStationName", "ScheduledProcedureStepLocation"),
    "CommentsOnTheScheduledProcedureStep",
}


@generations(*STEPPED)
def test_the_list_has_one_element_per_request_with_all_its_steps(standin: Standin) -> None:
    add(standin, steps=0)
    add(standin, steps=2)
    none, two = elements(standin)
    assert none["ScheduledProcedureStepSequence"] == []
    assert set(two) - {"MedicalAlerts", "Allergies"} == LIST_KEYS
    assert [set(step) for step in two["ScheduledProcedureStepSequence"]] == [STEP_KEYS] * 2
    assert two["PatientName"] == "Ánh Nguyễn"
    ids = [step["ScheduledProcedureStepID"] for step in two["ScheduledProcedureStepSequence"]]
    assert (two["RequestedProcedureID"], ids) == ("2", ["1", "2"])  # the counters collide
    assert list(none) != list(two)  # keys in no order
    assert "charset=UTF-8" in get_list(standin).headers["Content-Type"]


PATIENT, REQUEST, STEP = range(3)
# what was typed into which field -> its key, what the old generations write, what v3 writes
FORMATS: list[tuple[int, str, str | None, str, str | None, str | None]] = [
    (PATIENT, "birthdate", "1990-01-01", "PatientBirthDate", "1990-01-01 00:00:00.0", "19900101"),
    (PATIENT, "birthdate", "36", "PatientBirthDate", "36", ""),
    (PATIENT, "birthdate", "", "PatientBirthDate", "", ""),
    (PATIENT, "gender", None, "PatientSex", None, None),
    (PATIENT, "middle", "Thị", "PatientName", "A Thị B", "A Thị B"),
    (REQUEST, "priority", "high", "RequestedProcedurePriority", "high", "HIGH"),
    (REQUEST, "priority", None, "RequestedProcedurePriority", None, None),
    (REQUEST, "accession", "A\\1 é", "AccessionNumber", "A\\1 é", "A\\1 é"),
    (REQUEST, "description", "a\r\nb", "RequestedProcedureDescription", "a\r\nb", "a\r\nb"),
    (REQUEST, "study_instance_uid", "free", "StudyInstanceUID", "free", "free"),
    *(
        (STEP, "start_date", typed, "ScheduledProcedureStepStartDate", typed, strict)
        for typed, strict in (
            ("20250703090000", "20250703"),
            ("2025-07-03", "20250703"),
            ("20250703", "20250703"),
            (" ", " "),
            (None, None),
        )
    ),
    (STEP, "start_time", "09:30", "ScheduledProcedureStepStartTime", "09:30", "093000"),
    (STEP, "start_time", "09:30:15", "ScheduledProcedureStepStartTime", "09:30:15", "093015"),
    (STEP, "start_time", "093000", "ScheduledProcedureStepStartTime", "093000", "093000"),
    (STEP, "aet_title", "R\\3 é", "ScheduledStationAETitle", "R\\3 é", "R\\3 é"),
    (
        STEP,
        "status",
        " In Progress ",
        "PerformedProcedureStepStatus",
        " In Progress ",
        " In Progress ",
    ),
]


@generations(*STEPPED)
@pytest.mark.parametrize(("level", "field", "typed", "key", "raw", "strict"), FORMATS)
def test_values_are_written_as_the_generation_does(
    standin: Standin,
    level: int,
    field: str,
    typed: str | None,
    key: str,
    raw: str | None,
    strict: str | None,
) -> None:
    given: list[dict[str, Any]] = [{}, {}, {}]
    given[level][field] = typed
    patient = standin.records.add_patient("A", "B", **given[PATIENT])
    steps = [StepFields(**given[STEP])]
    standin.records.add_request(patient, steps=steps, **given[REQUEST])
    assert first(standin)[key] == (strict if standin.generation == "v3" else raw)


@pytest.mark.parametrize(
    ("standin", "charset", "own_uid", "uuid_is_the_patients"),
    [
        ("v0", "ISO_IR 100", None, False),
        ("v1", "ISO_IR 100", None, True),
        ("v2", "ISO_IR 100", None, True),
        ("v3", "ISO_IR 192", r"2\.25\.\d{30,39}", True),
    ],
    indirect=["standin"],
)
def test_constants_and_identities_are_the_generations(
    standin: Standin, charset: str, own_uid: str | None, uuid_is_the_patients: bool
) -> None:
    request = add(standin)
    element = first(standin)
    assert element["SpecificCharacterSet"] == charset
    assert (element["PatientID"] == request.patient.uuid) is uuid_is_the_patients
    assert re.fullmatch(r"[0-9a-f-]{36}", element["PatientID"])
    assert re.fullmatch(r"\d{19}", element["AccessionNumber"])
    uid = element["StudyInstanceUID"]
    assert uid is None if own_uid is None else re.fullmatch(own_uid, uid)
    assert ("Allergies" in element) is (standin.generation == "v0")


WITH_DATES = tuple(generation for generation in GENERATIONS if generation != "1.1.4")


@generations(*WITH_DATES)  # ✔ v1, v2 and v3
def test_a_patient_without_birth_date_fails_the_whole_list_before_v3(standin: Standin) -> None:
    add(standin, steps=0)
    standin.records.add_request(standin.records.add_patient("A", "B", birthdate=None))
    if standin.generation == "v3":
        assert elements(standin)[1]["PatientBirthDate"] == ""
        return
    assert is_exception(get_list(standin))
    standin.set_behaviour(old_core=True)
    reply = get_list(standin)
    assert (reply.status, reply.headers["Content-Type"][:9]) == (500, "text/html")


@generations(*STEPPED)  # ✔ v3
@pytest.mark.parametrize("wrong", [{"start_time": "NaNNaN00"}, {"start_date": "tomorrow"}])
def test_one_impossible_date_of_an_old_step_fails_the_whole_list_of_v3(
    standin: Standin, wrong: dict[str, str]
) -> None:
    add(standin)
    old = standin.records.add_patient("A", "B")
    standin.records.add_request(old, steps=[StepFields(**wrong, status="completed")])
    if standin.generation == "v3":
        assert is_exception(get_list(standin))
    else:
        (step,) = elements(standin)[1]["ScheduledProcedureStepSequence"]
        assert set(wrong.values()) <= set(step.values())


@generations("v0.9")
def test_v0_9_lists_no_request_once_it_has_a_step(standin: Standin) -> None:
    without = add(standin, steps=0)
    add(standin)
    (listed,) = elements(standin)
    assert listed["AccessionNumber"] == without.accession
    assert listed["ScheduledProcedureStepSequence"] == []


@generations("1.1.4")
def test_1_1_4_lists_rows_of_requests_without_their_steps(standin: Standin) -> None:
    request = add(standin)
    (row,) = elements(standin)
    assert (row["id"], row["status"]) == (1, "progress")
    assert row["mrsPatientUuid"] == request.patient.uuid
    assert row["accessionNumber"] == request.accession
    assert "ScheduledProcedureStepSequence" not in row


def test_a_name_has_all_that_openmrs_joins_into_it(standin: Standin) -> None:
    person = standin.records.add_patient(
        "Luis", "García", "José", prefix="Dr.", family_prefix="de", family2="Márquez", degree="PhD"
    )
    standin.records.add_request(person)
    assert elements(standin)[0]["PatientName"] == "Dr. Luis José de García Márquez PhD"


@generations("v1", "1.1.6", "v2", "v3", "v4")
def test_the_status_filter_is_broken_as_it_is(standin: Standin) -> None:
    add(standin, steps=0)
    add(standin)
    post(standin, update(add(standin), 2), query(2))
    found = {
        status: [e["RequestedProcedureID"] for e in get_list(standin, f"?status={status}").json]
        for status in ("all", "scheduled", "progress", "completed")
    }
    assert found == {
        "all": ["1", "2", "3"],
        "scheduled": ["1"],
        "progress": [],
        "completed": ["3"],
    }


@generations("v1", "1.1.6", "v2", "v3", "v4")
def test_an_unknown_status_is_refused_from_1_2_0_on(standin: Standin) -> None:
    add(standin)
    reply = get_list(standin, "?status=bogus")
    if standin.generation in ("v1", "1.1.6"):
        assert reply.json == []
    else:
        assert (reply.status, reply.body) == (400, b"Invalid request status")


def test_raw_elements_are_appended_as_they_are(standin: Standin) -> None:
    add(standin)
    standin.records.raw_elements += [None, {"PatientID": 7}, b'{"A": 1, "A": 2}']
    assert get_list(standin).body.endswith(b',null,{"PatientID":7},{"A": 1, "A": 2}]')


def test_a_long_list_is_cheap_also_when_a_row_changed(standin: Standin) -> None:
    for sample in samples.many(20_000):
        sample.add_to(standin.records)
    assert len(elements(standin)) == 20_000
    standin.records.set_step_status(17, "rejected")
    start = time.monotonic()
    changed = get_list(standin)
    assert time.monotonic() - start < 0.5  # encoding them all takes longer
    assert changed.body.count(b'"rejected"') == 1


def test_a_list_is_packed_for_who_asks_for_it(standin: Standin) -> None:
    for sample in samples.many(20):
        sample.add_to(standin.records)
    plain = get_list(standin)
    packed = get_list(standin, headers={"Accept-Encoding": "gzip, deflate"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.body) == plain.body
    assert "Content-Encoding" not in plain.headers
    assert len(packed.body) < len(plain.body) / 4


def test_unique_columns_refuse_a_second_value(standin: Standin) -> None:
    add(standin, accession="A1", study_instance_uid=UID)
    columns: list[dict[str, Any]] = [{"accession": "A1"}, {"study_instance_uid": UID}]
    for column in columns:
        with pytest.raises(ValueError, match="belongs to request 1"):
            add(standin, **column)
    standin.records.delete_request(1)
    assert add(standin, accession="A1", study_instance_uid=UID).id > 1


NINE = datetime(2025, 7, 3, 9, 30)
O3, LEGACY = o3_form("PT", "PET1", NINE), legacy_form("NM", "SPECT1", NINE)
# the form, then the date and the time in the list of the old generations and of v3
FORMS: list[tuple[StepFields, tuple[str, str], tuple[str, str]]] = [
    (O3, ("20250703093000", "093000"), ("20250703", "093000")),
    (LEGACY, ("2025-07-03", "09:30"), ("20250703", "093000")),
]


@generations(*STEPPED)
@pytest.mark.parametrize(("form", "raw", "strict"), FORMS)
def test_what_either_form_sends_is_listed(
    standin: Standin, form: StepFields, raw: tuple[str, str], strict: tuple[str, str]
) -> None:
    standin.records.add_request(standin.records.add_patient("A", "B"), steps=[form])
    step = first(standin)
    listed = (step["ScheduledProcedureStepStartDate"], step["ScheduledProcedureStepStartTime"])
    assert listed == (strict if standin.generation == "v3" else raw)
    assert (step["Modality"], form.start_time) in (("PT", "093000"), ("NM", "09:30"))


def test_o3s_form_without_a_time_fails_the_list_of_v3_only(standin: Standin) -> None:
    untimed = o3_form("CT", "CT1", NINE, time_picked=False)
    standin.records.add_request(standin.records.add_patient("A", "B"), steps=[untimed])
    assert first(standin)["ScheduledProcedureStepStartTime"] == "NaNNaN00"
    standin.generation = "v3"
    assert is_exception(get_list(standin))
