"""The stand-in keeps what the OpenMRS contract says, generation by generation.

Real HTTP against a started Standin; nothing here knows the plugin.
"""

import base64
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from standin import GENERATIONS, Account, Fault, ImagingRequest, Standin, StepFields, samples
from standin.faults import INSTEAD, KINDS

ROOT = Path(__file__).parents[2]
REST = "/openmrs/ws/rest/v1/"
STEP_STATUS = REST + "worklist/updateprocedurestepstatus"
IMAGING = ("imaging", "Imaging123")
UID = "1.2.826.0.1.3680043.8.498.1"
NO_ANSWER = (http.client.HTTPException, OSError)


@dataclass(frozen=True)
class Reply:
    status: int
    body: bytes
    headers: Mapping[str, str]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def call(
    standin: Standin,
    method: str,
    path: str,
    body: object = None,
    *,
    account: tuple[str, str] | None = IMAGING,
    timeout: float = 10,
) -> Reply:
    headers = {"Content-Type": "application/json"} if body is not None else {}
    if account:
        headers["Authorization"] = "Basic " + base64.b64encode(":".join(account).encode()).decode()
    content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    connection = http.client.HTTPConnection("127.0.0.1", standin.port, timeout=timeout)
    try:
        connection.request(method, path, content, headers)
        response = connection.getresponse()
        return Reply(response.status, response.read(), dict(response.headers))
    finally:
        connection.close()


def get_list(standin: Standin, query: str = "", **options: Any) -> Reply:
    return call(standin, "GET", standin.dialect.list_path + query, **options)


def elements(standin: Standin) -> list[dict[str, Any]]:
    reply = get_list(standin)
    assert reply.status == 200
    listed = reply.json
    assert isinstance(listed, list)
    return listed


def post(standin: Standin, body: object = None, query: str = "", **options: Any) -> Reply:
    return call(standin, "POST", standin.dialect.update_path + query, body, **options)


def update(request: ImagingRequest, *step_ids: object, uid: str | None = UID) -> dict[str, Any]:
    """The body that the contract describes, right for `request` in every part."""
    patient = request.patient
    return {
        "studyInfo": {
            "accessionNumber": request.accession,
            "studyInstanceUID": uid,
            "referringPhysicianName": request.physician,
            "studyDescription": None,
        },
        "seriesList": [
            {
                "seriesInfo": {"modality": "CT", "stationName": "CT1", "seriesID": None},
                "instanceInfo": {
                    "patientBirthDate": "19900101",
                    "patientID": patient.uuid,
                    "patientName": f"{patient.family}^{patient.given}",
                    "scheduledProcedureStepID": step_id,
                    "studyInstanceUID": uid,
                    "scheduledPerformingPhysician": "Dr. P",
                    "performedProcedureStepDescription": "Head",
                },
                "scheduledProcedureStepID": step_id,
            }
            for step_id in (None if i is None else str(i) for i in step_ids)
        ],
    }


def query(step_id: object, uid: str = UID) -> str:
    return "?" + urlencode({"studyInstanceUID": uid, "performedProcedureStepID": step_id})


FULL_STEP = StepFields(description="Head", physician="Dr. P", station_name="CT1")


def add(standin: Standin, steps: int = 1, **fields: Any) -> ImagingRequest:
    records = standin.records
    patient = records.add_patient("Ánh", "Nguyễn")
    fields.setdefault("physician", "Dr. R")
    return records.add_request(patient, steps=[FULL_STEP] * steps, **fields)


def until(condition: Callable[[], object], seconds: float = 5) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        threading.Event().wait(0.005)


@pytest.fixture
def standin(request: pytest.FixtureRequest) -> Iterator[Standin]:
    with Standin(getattr(request, "param", "v2")) as running:
        yield running


def generations(*names: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("standin", names or GENERATIONS, indirect=True)


# --- the list -------------------------------------------------------------------------------

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


@generations()
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


def first(standin: Standin) -> dict[str, Any]:
    element = elements(standin)[0]
    return {**element, **element["ScheduledProcedureStepSequence"][0]}


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
            ("tomorrow", "tomorrow"),
            (None, None),
        )
    ),
    (STEP, "start_time", "09:30", "ScheduledProcedureStepStartTime", "09:30", "093000"),
    (STEP, "start_time", "NaNNaN00", "ScheduledProcedureStepStartTime", "NaNNaN00", "NaNNaN00"),
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


@generations()
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


@generations()
def test_a_patient_without_birth_date_fails_the_whole_list_before_v3(standin: Standin) -> None:
    add(standin)
    nameless = standin.records.add_patient("A", "B", birthdate=None)
    standin.records.add_request(nameless)
    reply = get_list(standin)
    if standin.generation == "v3":
        assert reply.json[1]["PatientBirthDate"] == ""
    else:
        assert (reply.status, reply.headers["Content-Type"][:9]) == (500, "text/html")


@generations("v1", "v2", "v3")
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


def test_unique_columns_refuse_a_second_value(standin: Standin) -> None:
    add(standin, accession="A1", study_instance_uid=UID)
    columns: list[dict[str, Any]] = [{"accession": "A1"}, {"study_instance_uid": UID}]
    for column in columns:
        with pytest.raises(ValueError, match="belongs to request 1"):
            add(standin, **column)
    standin.records.delete_request(1)
    assert add(standin, accession="A1", study_instance_uid=UID).id > 1


# --- sign-in --------------------------------------------------------------------------------


@generations()
@pytest.mark.parametrize("account", [None, ("imaging", "wrong"), ("ghost", "x")])
def test_nothing_is_given_without_an_account(
    standin: Standin, account: tuple[str, str] | None
) -> None:
    for reply in (get_list(standin, account=account), post(standin, {}, account=account)):
        assert (reply.status, "error" in reply.json) == (401, True)
    session = call(standin, "GET", REST + "session", account=account)
    assert session.json == {"authenticated": False}


@pytest.mark.parametrize(
    ("standin", "account", "get", "update_status", "step_status"),
    [
        ("v0", ("nobody", "Nobody123"), 200, 200, 404),
        ("v1", ("nobody", "Nobody123"), 200, 200, 404),
        ("v2", ("nobody", "Nobody123"), 403, 403, 403),
        ("v2", ("reader", "Reader123"), 200, 403, 200),
        ("v2", IMAGING, 200, 200, 200),
        ("v3", ("nobody", "Nobody123"), 403, 403, 403),
        ("v3", ("reader", "Reader123"), 200, 403, 200),
        ("v3", IMAGING, 200, 200, 200),
    ],
    indirect=["standin"],
)
def test_privileges_count_from_v2_on(
    standin: Standin, account: tuple[str, str], get: int, update_status: int, step_status: int
) -> None:
    body = update(add(standin), 1)
    progress = STEP_STATUS + "?stepId=1&status=in%20progress"
    assert get_list(standin, account=account).status == get
    assert call(standin, "POST", progress, account=account).status == step_status
    assert post(standin, body, query(1), account=account).status == update_status


def test_passwords_are_utf8() -> None:
    accounts = {"thị": Account("mật khẩu:§", frozenset({"Task: Edit Worklist"}))}
    with Standin(accounts=accounts) as standin:
        assert get_list(standin, account=("thị", "mật khẩu:§")).status == 200


# --- a status POST: v0 and v1 ---------------------------------------------------------------

QUERY_VERDICTS: list[tuple[str, int, str | None]] = [
    (query(1), 200, "completed"),
    (query(1, uid="2.25.9"), 500, "scheduled"),  # another request's
    (query(999), 200, "scheduled"),
    (query("x"), 500, "scheduled"),
    (query(" 1"), 500, "scheduled"),
    (query(2**40), 500, "scheduled"),
    ("?performedProcedureStepID=1", 400, "scheduled"),
    (f"?studyInstanceUID={UID}", 400, "scheduled"),
    ("", 400, "scheduled"),
]


@generations("v0", "v1")
@pytest.mark.parametrize(("sent", "status", "stored"), QUERY_VERDICTS)
def test_v1_reads_the_query_and_answers_nothing(
    standin: Standin, sent: str, status: int, stored: str
) -> None:
    request = add(standin)
    add(standin, study_instance_uid="2.25.9")
    reply = post(standin, update(request, "2"), sent)
    assert (reply.status, standin.records.statuses()) == (status, {1: stored, 2: "scheduled"})
    if status == 200:
        assert reply.body == b""
    else:
        assert reply.headers["Content-Type"].startswith("text/html")


# --- a status POST: v2 ----------------------------------------------------------------------

V2_SEQUENCES: list[tuple[tuple[object, ...], bytes | None, set[int]]] = [
    ((1,), None, {1}),
    ((2, 1), None, {2}),  # one step per POST
    ((None, "x", "", 3, 1), None, {1}),  # 3 is rejected
    ((999, 1), b"No valid procedure step IDs found in payload", set()),
    ((None, "x", 3), b"No series data found in payload", set()),
    ((), b"No series data found in payload", set()),
]


@pytest.mark.parametrize(("ids", "text", "completed"), V2_SEQUENCES)
def test_v2_returns_at_the_first_id_it_finds_or_does_not_know(
    standin: Standin, ids: tuple[object, ...], text: bytes | None, completed: set[int]
) -> None:
    request = add(standin, steps=3)
    standin.records.set_step_status(3, "rejected")
    reply = post(standin, update(request, *ids), query(1))
    assert reply.status == 200
    assert reply.json["score"] > 0 if text is None else reply.body == text
    assert {i for i, s in standin.records.statuses().items() if s == "completed"} == completed
    uid = standin.records.request(1).study_instance_uid
    assert uid == (UID if completed else None)


def without(body: dict[str, Any], key: str) -> dict[str, Any]:
    return {k: v for k, v in body.items() if k != key}


def in_first(body: dict[str, Any], part: str, **changes: object) -> dict[str, Any]:
    entry = dict(body["seriesList"][0])
    entry[part] = {**(entry[part] or {}), **changes}
    return {**body, "seriesList": [entry, *body["seriesList"][1:]]}


def in_study(body: dict[str, Any], **changes: object) -> dict[str, Any]:
    return {**body, "studyInfo": {**body["studyInfo"], **changes}}


UNREADABLE: dict[str, Callable[[dict[str, Any]], object]] = {
    "studyID in studyInfo": lambda body: in_study(body, studyID=None),
    "unknown key at the top": lambda body: {**body, "x": None},
    "unknown key in instanceInfo": lambda body: in_first(body, "instanceInfo", x=None),
    "unknown key in seriesInfo": lambda body: in_first(body, "seriesInfo", x=None),
    "a number for a text": lambda body: in_first(body, "instanceInfo", numberOfSlices=3),
    "an array": lambda body: [body],
    "no JSON": lambda body: b"{",
    "no studyInfo": lambda body: without(body, "studyInfo"),
    "no seriesList": lambda body: without(body, "seriesList"),
    "null": lambda body: b"null",
}


@generations("v2", "v3")
@pytest.mark.parametrize("fault", UNREADABLE)
def test_a_body_out_of_shape_is_400(standin: Standin, fault: str) -> None:
    reply = post(standin, UNREADABLE[fault](update(add(standin), 1)), query(1))
    assert (reply.status, standin.records.statuses()) == (400, {1: "scheduled"})
    if fault.startswith("no s"):
        assert reply.body == b"Invalid Orthanc update payload"


@generations("v2", "v3")
def test_a_body_must_be_announced_as_json(standin: Standin) -> None:
    add(standin)
    assert post(standin, None, query(1)).status == 415


@generations("v1", "v2", "v3")
def test_one_form_suits_all(standin: Standin) -> None:
    reply = post(standin, update(add(standin), 1), query(1))
    assert (reply.status, standin.records.statuses()) == (200, {1: "completed"})
    assert elements(standin)[0]["StudyInstanceUID"] == UID
    assert standin.records.request(1).status == "completed"
    assert post(standin, update(standin.records.request(1), 1), query(1)).status == 200  # again


@generations("v2", "v3")
def test_another_requests_study_is_500_with_a_page(standin: Standin) -> None:
    add(standin, study_instance_uid=UID)
    reply = post(standin, update(add(standin), 2))
    assert (reply.status, reply.headers["Content-Type"][:9]) == (500, "text/html")
    assert standin.records.step(2).status == "scheduled"


def test_v2_cannot_store_a_result_longer_than_its_column(standin: Standin) -> None:
    request = add(standin)
    body = update(request, *[1] * 30)
    for entry in body["seriesList"]:
        entry["instanceInfo"]["patientName"] = "Someone^Else"
    assert post(standin, body).status == 500
    assert standin.records.statuses() == {1: "scheduled"}
    standin.generation = "v3"
    assert post(standin, body).status == 200


@generations("v2", "v3")
def test_the_score_tells_the_differences(standin: Standin) -> None:
    request = add(standin)
    good, bad = update(request, 1), in_study(update(request, 1), referringPhysicianName="X")
    expected = {"v2": 90, "v3": 100}[standin.generation]  # v2 compares the uuid with a row number
    assert post(standin, good).json["score"] == expected
    if standin.generation == "v3":
        assert post(standin, bad).json == {
            "score": 90,
            "differences": [
                {"tag": "RequestingPhysician", "fromOpenmrs": "Dr. R", "fromPacs": "X"}
                | {"stepId": None}
            ],
        }


# --- a status POST: v3 ----------------------------------------------------------------------

V3_REFUSALS: dict[str, tuple[int, Callable[[dict[str, Any]], object]]] = {
    "an entry without id": (400, lambda body: body_with_id(body, None)),
    "an id that is no integer": (400, lambda body: body_with_id(body, "1a")),
    "no series": (400, lambda body: {**body, "seriesList": []}),
    "no study": (400, lambda body: in_study(body, studyInstanceUID=" ")),
    "an unknown step": (404, lambda body: body_with_id(body, "999")),
    "another patient": (409, lambda body: in_first(body, "instanceInfo", patientID="1")),
    "no patient": (409, lambda body: in_first(body, "instanceInfo", patientID=None)),
    "two step ids": (
        409,
        lambda body: in_first(body, "instanceInfo", scheduledProcedureStepID="2"),
    ),
    "another study": (409, lambda body: in_first(body, "instanceInfo", studyInstanceUID="1.2")),
    "a cut accession": (409, lambda body: in_study(body, accessionNumber="1234567890123456")),
    "another request's step": (409, lambda body: body_with_id(body, "4")),
    "a rejected step alone": (409, lambda body: only_step(body, "3")),
}


def body_with_id(body: dict[str, Any], step_id: str | None) -> dict[str, Any]:
    """The second entry gets another id; the first one stays right."""
    entry = in_first(
        {"seriesList": [body["seriesList"][1]]}, "instanceInfo", scheduledProcedureStepID=step_id
    )["seriesList"][0]
    return {
        **body,
        "seriesList": [body["seriesList"][0], {**entry, "scheduledProcedureStepID": step_id}],
    }


def only_step(body: dict[str, Any], step_id: str) -> dict[str, Any]:
    changed = body_with_id(body, step_id)
    return {**changed, "seriesList": changed["seriesList"][1:]}


@pytest.mark.parametrize("standin", ["v3"], indirect=True)
@pytest.mark.parametrize("reason", V3_REFUSALS)
def test_v3_checks_everything_before_it_saves_anything(standin: Standin, reason: str) -> None:
    request = add(standin, steps=3, accession="1234567890123456789")
    standin.records.add_request(request.patient, steps=[StepFields()])
    standin.records.set_step_status(3, "rejected")
    before = standin.records.requests()
    status, change = V3_REFUSALS[reason]
    assert post(standin, change(update(request, 1, 2))).status == status
    assert standin.records.requests() == before


@pytest.mark.parametrize("standin", ["v3"], indirect=True)
def test_v3_completes_all_the_steps_listed_but_the_rejected(standin: Standin) -> None:
    request = add(standin, steps=4)
    standin.records.set_step_status(3, "rejected")
    assert post(standin, update(request, 1, 2, 3)).json["score"] > 0
    expected = {1: "completed", 2: "completed", 3: "rejected", 4: "scheduled"}
    assert standin.records.statuses() == expected
    assert standin.records.request(1).status == "progress"


# --- updateprocedurestepstatus --------------------------------------------------------------


@pytest.mark.parametrize(
    ("standin", "sent", "status", "stored"),
    [
        ("v0", "?stepId=1&status=completed", 404, "scheduled"),
        ("v1", "?stepId=1&status=completed", 404, "scheduled"),
        *(
            (generation, *row)
            for generation in ("v2", "v3")
            for row in (
                ("?stepId=1&status=in+progress", 200, "in progress"),
                ("?stepId=1&status=In%20Progress", 200, "In Progress"),
                ("?stepId=1&status=rejected", 200, "rejected"),
                ("?stepId=999&status=completed", 404, "scheduled"),
                ("?stepId=1&status=done", 400, "scheduled"),
                ("?stepId=1", 400, "scheduled"),
                ("?stepId=x&status=completed", 400, "scheduled"),
                ("?stepId=0&status=completed", 400, "scheduled"),
            )
        ),
    ],
    indirect=["standin"],
)
def test_a_steps_status_can_be_set_from_v2_on(
    standin: Standin, sent: str, status: int, stored: str
) -> None:
    add(standin)
    reply = call(standin, "POST", STEP_STATUS + sent)
    assert (reply.status, standin.records.step(1).status) == (status, stored)


# --- routes ---------------------------------------------------------------------------------


@generations()
def test_other_generations_routes_do_not_exist(standin: Standin) -> None:
    other = "v1" if standin.generation == "v0" else "v0"
    with Standin(other) as different:
        assert call(standin, "GET", different.dialect.list_path).status == 404
        assert call(standin, "POST", different.dialect.update_path).status == 404
    assert post(standin, {}, query(1)).status != 404
    assert call(standin, "POST", standin.dialect.list_path).status == 405


def test_an_upgrade_while_running_changes_format_and_routes() -> None:
    with Standin("v0") as standin:
        add(standin)
        charsets = []
        for generation in GENERATIONS:
            standin.generation = generation
            charsets.append(first(standin)["SpecificCharacterSet"])
        assert charsets == ["ISO_IR 100"] * 3 + ["ISO_IR 192"]
        assert first(standin)["StudyInstanceUID"] is None  # only new requests get one
    with pytest.raises(ValueError, match="v9"):
        standin.generation = "v9"


def test_core_rest_gives_patients_and_the_session(standin: Standin) -> None:
    records = standin.records
    patient = records.add_patient("Ánh", "Nguyễn", "Thị", gender="F")
    reply = call(standin, "GET", f"{REST}patient/{patient.uuid}?v=full").json
    person, name = reply["person"], reply["person"]["preferredName"]
    assert (name["givenName"], name["middleName"], name["familyName"]) == ("Ánh", "Thị", "Nguyễn")
    assert name["display"] == "Ánh Thị Nguyễn"
    assert (person["birthdate"], person["gender"]) == ("1990-01-01T00:00:00.000+0000", "F")
    assert reply["identifiers"][0]["identifier"]
    missing = call(standin, "GET", f"{REST}patient/{'0' * 36}?v=full")
    assert (missing.status, "error" in missing.json) == (404, True)
    assert call(standin, "GET", REST + "session").json["authenticated"] is True

    studies = f"{REST}imaging/studies?patient={patient.uuid}"
    assert call(standin, "GET", studies).json == []
    post(standin, update(records.add_request(patient, steps=[StepFields()]), 1))
    assert call(standin, "GET", studies).json == [{"studyInstanceUID": UID}]


def test_the_log_has_every_request_with_its_answer(standin: Standin) -> None:
    get_list(standin, "?a=b")
    post(standin, b"{}", account=("imaging", "wrong"))
    listed, posted = standin.requests_log
    assert (listed.method, listed.path, listed.query) == ("GET", standin.dialect.list_path, "a=b")
    assert (listed.user, listed.status) == ("imaging", 200)
    assert (posted.body, posted.user, posted.status) == (b"{}", "imaging", 401)
    assert listed.time <= posted.time


def test_a_connection_is_kept_alive(standin: Standin) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", standin.port, timeout=5)
    ports = set()
    for _ in range(3):
        connection.request("GET", REST + "session")
        assert connection.getresponse().read() == b'{"authenticated":false}'
        ports.add(connection.sock.getsockname()[1])
    connection.close()
    assert len(ports) == 1


def test_concurrent_updates_are_all_saved(standin: Standin) -> None:
    requests = [add(standin) for _ in range(40)]
    with ThreadPoolExecutor(8) as pool:
        replies = pool.map(lambda r: post(standin, update(r, r.id, uid=f"1.2.{r.id}")), requests)
        assert {reply.status for reply in replies} == {200}
    assert set(standin.records.statuses().values()) == {"completed"}


# --- faults ---------------------------------------------------------------------------------

WRONG_ANSWERS: dict[str, tuple[Fault, int, Callable[[Reply], object]]] = {
    "status": (Fault("status", status=502), 502, lambda r: b"<html" in r.body),
    "says": (Fault("says", status=409, text="no: ចាន់"), 409, lambda r: "ចាន់".encode() in r.body),
    "unauthorized": (Fault("unauthorized"), 401, lambda r: "error" in r.json),
    "forbidden": (Fault("forbidden"), 403, lambda r: "error" in r.json),
    "redirect": (Fault("redirect"), 302, lambda r: "login.htm" in r.headers["Location"]),
    "login_page": (Fault("login_page"), 200, lambda r: b"<html" in r.body),
    "garbage": (Fault("garbage"), 200, lambda r: "json" in r.headers["Content-Type"]),
    "deep": (Fault("deep"), 200, lambda r: r.body == b"[" * 100_000),
    "not_array": (Fault("not_array"), 200, lambda r: isinstance(r.json, dict)),
    "empty_200": (Fault("empty_200"), 200, lambda r: r.body == b""),
    "huge": (Fault("huge", mebibytes=3), 200, lambda r: len(r.json[0]["PatientName"]) == 3 << 20),
}


def test_every_fault_has_a_test() -> None:
    assert set(WRONG_ANSWERS) == set(INSTEAD)
    performed = {"slow", "hang", "cut", "truncated", "endless", "drip"}
    assert set(KINDS) == {*INSTEAD, *performed, "cut_after_save", "error_after_save"}
    with pytest.raises(ValueError, match="no fault 'flood'"):
        Fault("flood")


@pytest.mark.parametrize("kind", WRONG_ANSWERS)
def test_a_wrong_answer_is_given_and_nothing_saved(standin: Standin, kind: str) -> None:
    request = add(standin)
    fault, status, check = WRONG_ANSWERS[kind]
    standin.set_fault(fault)
    for reply in (get_list(standin), post(standin, update(request, 1))):
        assert reply.status == status
        assert check(reply)
    if kind == "garbage":
        with pytest.raises(ValueError, match="Expecting"):
            json.loads(reply.body)
    standin.clear_faults()
    assert first(standin)["PerformedProcedureStepStatus"] == "scheduled"


@pytest.mark.parametrize(
    ("kind", "error"), [("cut", NO_ANSWER), ("truncated", http.client.IncompleteRead)]
)
def test_a_connection_is_cut(
    standin: Standin, kind: str, error: type[Exception] | tuple[type[Exception], ...]
) -> None:
    request = add(standin)
    standin.set_fault(Fault(kind))
    with pytest.raises(error):
        get_list(standin)
    with pytest.raises(error):
        post(standin, update(request, 1))
    assert standin.records.statuses() == {1: "scheduled"}


@generations("v1", "v2", "v3")
def test_a_post_can_be_saved_and_still_fail(standin: Standin) -> None:
    one, two = add(standin), add(standin)
    standin.set_fault(Fault("cut_after_save"))
    assert get_list(standin).status == 200  # of POSTs only
    with pytest.raises(NO_ANSWER):
        post(standin, update(one, 1), query(1))
    standin.set_fault(Fault("error_after_save"))
    assert post(standin, update(two, 2, uid="1.2"), query(2, "1.2")).status == 500
    assert standin.records.statuses() == {1: "completed", 2: "completed"}


def test_slow_waits_then_works(standin: Standin) -> None:
    add(standin)
    standin.set_fault(Fault("slow", seconds=0.2))
    start = time.monotonic()
    assert len(elements(standin)) == 1
    assert time.monotonic() - start >= 0.2


@pytest.mark.parametrize("kind", ["slow", "hang"])
def test_clearing_ends_a_wait_at_once_and_other_paths_work_meanwhile(
    standin: Standin, kind: str
) -> None:
    add(standin)
    standin.set_fault(Fault(kind, seconds=60), path="worklist/requests")
    with ThreadPoolExecutor(1) as pool:
        hung = pool.submit(elements, standin)
        until(lambda: standin.requests_log)
        assert standin.requests_log[0].status is None
        assert call(standin, "GET", REST + "session").status == 200
        assert not hung.done()
        standin.clear_faults()
        assert len(hung.result(timeout=2)) == 1


def test_a_hung_post_whose_client_left_is_not_saved(standin: Standin) -> None:
    request = add(standin)
    standin.set_fault(Fault("hang"), method="POST")
    with pytest.raises(TimeoutError):
        post(standin, update(request, 1), timeout=0.05)
    until(lambda: standin.requests_log)
    standin.clear_faults()
    assert get_list(standin).status == 200
    assert standin.records.statuses() == {1: "scheduled"}


@pytest.mark.parametrize("kind", ["endless", "drip"])
@pytest.mark.parametrize("end", [Standin.clear_faults, Standin.stop])
def test_a_body_without_end_ends_when_cleared_or_stopped(
    standin: Standin, kind: str, end: Callable[[Standin], None]
) -> None:
    standin.set_fault(Fault(kind))
    connection = http.client.HTTPConnection("127.0.0.1", standin.port, timeout=5)
    connection.request("GET", REST + "session")
    response = connection.getresponse()
    assert response.status == 200
    assert response.read(1) in (b"[", b" ")
    if kind == "endless":
        assert response.read(1 << 20)[:8] == b"{}, {}, "
    start = time.monotonic()
    end(standin)
    with suppress(*NO_ANSWER):  # cut, or ended early
        while response.read(1 << 20):
            pass
    assert time.monotonic() - start < 2
    connection.close()


def test_faults_are_chosen_by_path_method_and_times(standin: Standin) -> None:
    request = add(standin)
    standin.set_fault(Fault("status", status=503), path="worklist/requests", times=2)
    standin.set_fault(Fault("status", status=504), method="POST")
    assert call(standin, "GET", REST + "session").status == 200
    assert [get_list(standin).status for _ in range(3)] == [503, 503, 200]
    assert post(standin, update(request, 1)).status == 504


@pytest.mark.parametrize("kind", ["hang", "slow", "endless", "drip"])
def test_stopping_is_quick_whatever_hangs(kind: str) -> None:
    standin = Standin().start()
    standin.set_fault(Fault(kind, seconds=60))
    clients = [socket.create_connection(("127.0.0.1", standin.port)) for _ in range(3)]
    for client in clients:
        client.sendall(b"GET /openmrs/ HTTP/1.1\r\nHost: x\r\n\r\n")
    idle = socket.create_connection(("127.0.0.1", standin.port))
    until(lambda: len(standin.requests_log) == 3)
    start = time.monotonic()
    standin.stop()
    assert time.monotonic() - start < 2
    for client in (*clients, idle):
        client.close()


def test_it_can_go_down_and_come_back_on_its_port(standin: Standin) -> None:
    add(standin)
    url = standin.worklist_url
    standin.stop()
    with pytest.raises(OSError, match="refused"):
        get_list(standin)
    standin.start()
    assert standin.worklist_url == url
    assert len(elements(standin)) == 1


# --- the call back to Orthanc -----------------------------------------------------------------


class Orthanc(BaseHTTPRequestHandler):
    seen: list[tuple[str, str, str | None]]
    standin: Standin

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        type(self).seen.append((self.path, body, self.headers["Authorization"]))
        statuses = self.standin.records.statuses()
        assert statuses == {1: "scheduled"}  # not saved yet
        answer = b'["abc"]' if self.path == "/tools/find" else b"{}"
        self.send_response(404 if self.path.startswith("/studies") else 200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_POST = do_GET

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.mark.parametrize("generation", GENERATIONS)
def test_an_update_calls_orthanc_back_from_v2_on(generation: str) -> None:
    class Recorder(Orthanc):
        pass

    Recorder.seen = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Recorder)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    orthanc_url = f"http://orthanc:p%40ss@127.0.0.1:{server.server_port}"
    try:
        with Standin(generation, orthanc_url=orthanc_url) as standin:
            Recorder.standin = standin
            assert post(standin, update(add(standin), 1), query(1)).status == 200
            assert standin.records.statuses() == {1: "completed"}
    finally:
        server.shutdown()
        server.server_close()
    if generation in ("v0", "v1"):
        assert Recorder.seen == []
        return
    authorization = "Basic " + base64.b64encode(b"orthanc:p@ss").decode()
    find = f'{{"Level":"Study","Query":{{"StudyInstanceUID":"{UID}"}}}}'
    assert Recorder.seen == [
        ("/changes?limit=1", "", authorization),
        ("/tools/find", find, authorization),
        ("/studies/abc", "", authorization),
    ]
    assert [callback.status for callback in standin.callbacks] == [200, 200, 404]


def test_an_orthanc_that_is_away_is_noted_and_not_fatal() -> None:
    with Standin(orthanc_url="http://127.0.0.1:1") as standin:
        assert post(standin, update(add(standin), 1)).status == 200
        assert standin.records.statuses() == {1: "completed"}
        assert [(c.path, c.status) for c in standin.callbacks] == [
            ("/changes?limit=1", None),
            ("/tools/find", None),
        ]


# --- the stand-in's own routes, and the command line --------------------------------------------


def test_the_control_routes_do_what_a_browser_would(standin: Standin) -> None:
    def control(method: str, path: str, body: object = None, status: int = 200) -> Any:
        reply = call(standin, method, "/standin/" + path, body, account=None)
        assert reply.status == status, reply.body
        return reply.json

    assert control("GET", "ping")["worklist"] == standin.worklist_url
    names = {"givenName": "Ánh", "familyName": "Nguyễn", "birthdate": "1990-01-01", "gender": "F"}
    uuid = control("POST", "patients", names, 201)["uuid"]
    step = {"modality": "CT", "scheduledStationAETitle": "CT9", "stepStartDate": "2025-07-03"}
    order = {"patient": uuid, "requestedProcedureDescription": "Head", "priority": "high"}
    made = control("POST", "requests", {**order, "steps": [step, {"aetTitle": "X"}]}, 201)
    assert (made["id"], made["steps"]) == (1, [1, 2])
    assert re.fullmatch(r"\d{19}", made["accessionNumber"])
    assert control("GET", "requests")[0]["statuses"] == ["scheduled", "scheduled"]
    assert first(standin)["ScheduledStationAETitle"] == "CT9"
    assert control("POST", "steps/1", {"status": "rejected"})["status"] == "rejected"
    assert control("GET", "steps/1")["aet_title"] == "CT9"
    control("PUT", "fault", {"kind": "status", "status": 503, "path": "worklist", "times": 1})
    assert [get_list(standin).status for _ in range(2)] == [503, 200]
    control("PUT", "fault", {"kind": "hang"})
    control("DELETE", "fault")
    control("PUT", "generation", {"generation": "v3"})
    assert first(standin)["SpecificCharacterSet"] == "ISO_IR 192"
    assert [entry["status"] for entry in control("GET", "log")] == [200, 503, 200, 200]

    assert "no fault" in control("PUT", "fault", {"kind": "flood"}, 400)["error"]
    control("PUT", "generation", {"generation": "v9"}, 400)
    control("POST", "patients", b"{", 400)
    control("GET", "steps/9", status=404)
    control("POST", "requests", {"patient": "nobody"}, 404)
    control("GET", "other", status=404)


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
def test_the_command_serves_samples_until_it_is_told_to_stop(
    tmp_path: Path, end: signal.Signals
) -> None:
    port_file = tmp_path / "port"
    command = [sys.executable, "-m", "standin", "--patients", "12", "--generation", "v3"]
    process = subprocess.Popen(
        [*command, "--port-file", str(port_file)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        running = Standin("v3", port=int(port_file.read_text()))  # not started: for its URLs
        assert running.worklist_url in line
        assert running.update_url in line
        names = [element["PatientName"] for element in elements(running)]
        assert len(names) == 12
        assert {"Ánh Thị Nguyễn", "伟 王", "Suharto"} <= set(names)
        os.kill(process.pid, end)
        assert process.wait(timeout=2) == 0
    finally:
        process.kill()
        process.communicate()


def test_many_spreads_its_requests_evenly_and_always_the_same() -> None:
    made = list(samples.many(6_000))
    assert made == list(samples.many(6_000))
    assert len({sample.step.modality for sample in made}) == 10
    assert len({sample.step.aet_title for sample in made}) == 20
    assert len({(sample.step.start_date or "")[:8] for sample in made}) == 30
    assert len({sample.accession for sample in made}) == 6_000
