"""OpenAPI says what the table of routes says, and the routes answer what it says."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from jsonschema import Draft202012Validator, ValidationError

from orthanc_openmrs.errors import OpenMRSError
from orthanc_openmrs.model import NotificationState
from orthanc_openmrs.rest.messages import REASONS, Request, Response
from orthanc_openmrs.rest.openapi import document, names_in, statuses
from orthanc_openmrs.rest.router import Route
from orthanc_openmrs.rest.schemas import TEXT, Named, record
from tests.contract_of_rest import Contract
from tests.unit.builders import ALICE, BOB
from tests.unit.rest.application import Application

TABLE = Application().router.routes
STUDY = "27f7126f-4f66fb14-03f4081b-f9341db2-53925988"


def undescribed(route: Route) -> list[str]:
    """What OpenAPI lacks of a row."""
    names = [parameter.name for parameter in route.query]
    return [
        *(["summary"] if not route.summary else []),
        *(["answer"] if route.answer is None else []),
        *(["body"] if route.body and route.method in ("GET", "DELETE") else []),
        *(["query"] if len(set(names)) < len(names) else []),
        *(f"the name {name}" for name in names_in(route.path) if name not in route.names),
        *(f"the status {status}" for status in statuses(route) if status not in REASONS),
    ]


@pytest.mark.parametrize("route", TABLE, ids=lambda route: f"{route.method} {route.path}")
def test_every_row_of_the_table_is_described(route: Route) -> None:
    assert undescribed(route) == []


@pytest.mark.parametrize(
    ("changes", "lacks"),
    [
        ({}, ["answer"]),
        ({"answer": TEXT, "summary": ""}, ["summary"]),
        ({"answer": TEXT, "path": "/x/{thing}"}, ["the name thing"]),
        ({"answer": TEXT, "errors": (418,)}, ["the status 418"]),
        ({"answer": TEXT, "body": TEXT}, ["body"]),
        ({"answer": TEXT}, []),
    ],
)
def test_a_row_that_isnt_described_is_noticed(changes: dict[str, Any], lacks: list[str]) -> None:
    assert undescribed(_bare(**changes)) == lacks


def _bare(**changes: Any) -> Route:
    row: dict[str, Any] = {
        "method": "GET",
        "path": "/x/{step}",
        "handler": lambda request: Response(200),
        "operation": "getOne",
        "summary": "One",
        "names": {"step": "a step"},
    }
    return Route(**row | changes)


def test_the_document_has_the_table_and_nothing_else() -> None:
    response = Application().ask("/openapi.json")
    told = json.loads(response.body)
    assert told == json.loads(json.dumps(document(TABLE)))
    assert told["openapi"] == "3.1.0"
    operations = Contract(told).operations
    told_of = {(route.method, route.path) for route in TABLE if "/ui" not in route.path}
    assert set(operations) == told_of
    assert all("401" in operation["responses"] for operation in operations.values())
    ids = [operation["operationId"] for operation in operations.values()]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[a-z]+([A-Z][a-z]+)+", one) for one in ids), ids


def test_every_schema_is_one_and_every_reference_leads_somewhere() -> None:
    told = document(TABLE)
    schemas = told["components"]["schemas"]
    for schema in schemas.values():
        Draft202012Validator.check_schema(schema)
    for name in json.dumps(told).split("#/components/schemas/")[1:]:
        assert name.partition('"')[0] in schemas


def test_two_schemas_of_one_name_are_noticed() -> None:
    table = [_bare(answer=Named("Thing", record(A=TEXT))), _bare(answer=Named("Thing", TEXT))]
    with pytest.raises(ValueError, match="Thing"):
        document(table)


def test_the_router_needs_no_database_no_schemas_and_no_dicom() -> None:
    code = "import sys, orthanc_openmrs.rest.openapi; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"sqlalchemy", "jsonschema", "pydicom", "rapidfuzz"} & set(done.stdout.split())


# --- the answers ---------------------------------------------------------------------------


def _as_it_is(app: Application) -> None: ...


def _away(app: Application) -> None:
    app.away = OpenMRSError("unreachable", "connection failed")


def _uncounted(app: Application) -> None:
    app.counted, app.problem = False, "the database fails: locked"


def _waits(app: Application) -> None:
    app.database.note_study(STUDY)
    (due,) = app.database.due_studies()
    app.database.postpone_study(due, 60, "no list was read yet")
    assert app.get("/waiting")[0]["Reason"] == "no list was read yet"


def _told(app: Application) -> None:
    app.tells(*NotificationState)


def _held(app: Application) -> None:
    app.tells(NotificationState.HELD)
    app.studies["t1"] = app.studies["s"]


REPORT = b'{"ScheduledProcedureStepID": "1"}'


@pytest.mark.parametrize(
    ("prepare", "method", "path", "query", "body", "status"),
    [
        (_as_it_is, "GET", "/status", {}, b"", 200),
        (_uncounted, "GET", "/status", {}, b"", 200),
        (_as_it_is, "GET", "/worklist", {}, b"", 200),
        (_as_it_is, "GET", "/worklist", {"aet": "CT1", "limit": "2"}, b"", 200),
        (_as_it_is, "GET", "/worklist", {"limit": "x"}, b"", 400),
        (_as_it_is, "POST", "/worklist/refresh", {}, b"", 200),
        (_away, "POST", "/worklist/refresh", {}, b"", 503),
        (_as_it_is, "POST", "/worklist/refresh", {}, b" " * 70000, 413),
        (_as_it_is, "GET", "/worklist/1", {}, b"", 200),
        (_as_it_is, "GET", "/worklist/1", {"aet": "MR1", "Modality": "MR"}, b"", 200),
        (_as_it_is, "GET", "/worklist/1", {"Modality": "MR"}, b"", 400),
        (_as_it_is, "GET", "/worklist/nothing", {}, b"", 404),
        (_as_it_is, "GET", "/worklist/1/file", {}, b"", 200),
        (_as_it_is, "GET", f"/worklist/{'1' * 17}/file", {}, b"", 409),
        (_told, "GET", "/notifications", {}, b"", 200),
        (_told, "GET", "/notifications", {"state": "held"}, b"", 200),
        (_told, "GET", "/notifications", {"state": "x"}, b"", 400),
        (_told, "GET", "/notifications", {"state": "held,failed"}, b"", 200),
        (_told, "GET", "/notifications", {"state": "held,x"}, b"", 400),
        (_told, "GET", "/notifications", {"changed": "yesterday"}, b"", 400),
        (_told, "GET", "/notifications", {"search": "doe", "date": "20250703-"}, b"", 200),
        (_told, "GET", "/notifications", {"date": "today"}, b"", 400),
        (_as_it_is, "GET", "/callers", {}, b"", 200),
        (_waits, "GET", "/waiting", {}, b"", 200),
        (_as_it_is, "GET", "/waiting", {"since": "x"}, b"", 400),
        (_as_it_is, "GET", "/events", {}, b"", 200),
        (_as_it_is, "GET", "/events", {"since": "x", "wait": "1"}, b"", 200),
        (_as_it_is, "GET", "/events", {"wait": "26"}, b"", 400),
        (_as_it_is, "GET", "/events", {"since": "x" * 65}, b"", 400),
        (_told, "GET", "/notifications", {"newest": "true", "since": "2"}, b"", 200),
        (_told, "GET", "/notifications", {"newest": "x"}, b"", 400),
        (_as_it_is, "GET", "/worklist", {"open": "true"}, b"", 200),
        (_as_it_is, "GET", "/worklist", {"open": "x"}, b"", 400),
        (_as_it_is, "GET", "/worklist", {"aet": "CT1", "own": "true"}, b"", 200),
        (_as_it_is, "GET", "/worklist", {"own": "true"}, b"", 400),
        (_as_it_is, "GET", "/worklist", {"search": "x"}, b"", 200),
        (_held, "GET", "/notifications/1", {}, b"", 200),
        (_told, "GET", "/notifications/1", {}, b"", 200),
        (_told, "GET", "/notifications/99", {}, b"", 404),
        (_told, "POST", "/notifications/1/retry", {}, b"", 200),
        (_told, "POST", "/notifications/2/retry", {}, b"", 409),
        (_told, "DELETE", "/notifications/1", {}, b"", 200),
        (_told, "DELETE", "/notifications/2", {}, b"", 409),
        (_as_it_is, "POST", "/studies/s/report", {}, REPORT, 200),
        (_as_it_is, "POST", "/studies/s/report", {}, b"{}", 400),
        (_as_it_is, "POST", "/studies/nothing/report", {}, REPORT, 404),
        (_as_it_is, "GET", "/patients", {"search": "doe"}, b"", 200),
        (_away, "GET", "/patients", {"search": "jones"}, b"", 200),
        (_as_it_is, "GET", "/patients", {}, b"", 400),
        (_as_it_is, "GET", "/patients", {"search": "x" * 129}, b"", 400),
        (_as_it_is, "GET", f"/patients/{BOB}", {}, b"", 200),
        (_as_it_is, "GET", f"/patients/{'0' * 36}", {}, b"", 404),
        (_away, "GET", f"/patients/{'0' * 36}", {}, b"", 503),
        (_as_it_is, "GET", f"/patients/{ALICE}/studies", {}, b"", 200),
        (_as_it_is, "GET", f"/patients/{ALICE}/studies", {"limit": "x"}, b"", 400),
        (_as_it_is, "GET", "/patients/x/studies", {}, b"", 400),
        (_as_it_is, "GET", f"/patients/{BOB}/studies/{STUDY}", {}, b"", 200),
        (_as_it_is, "GET", f"/patients/{ALICE}/studies/nothing", {}, b"", 404),
        (_as_it_is, "PUT", f"/patients/{ALICE}/studies/{STUDY}", {}, b"", 200),
        (_as_it_is, "PUT", f"/patients/{ALICE}/studies/{STUDY}", {}, b'{"Force": true}', 200),
        (_as_it_is, "PUT", f"/patients/{ALICE}/studies/{STUDY}", {}, b'{"Force": 1}', 400),
        (_as_it_is, "PUT", f"/patients/{ALICE}/studies/{STUDY}", {}, b" " * 70000, 413),
        (_as_it_is, "PUT", f"/patients/{BOB}/studies/{STUDY}", {}, b"", 409),
        (_as_it_is, "PUT", f"/patients/{ALICE}/studies/nothing", {}, b"", 404),
        (_as_it_is, "DELETE", f"/patients/{ALICE}/studies/{STUDY}", {}, b"", 200),
        (_as_it_is, "DELETE", f"/patients/{BOB}/studies/{STUDY}", {}, b"", 404),
        (_as_it_is, "GET", "/studies", {}, b"", 200),
        (_as_it_is, "GET", "/studies", {"assigned": "false"}, b"", 200),
        (_as_it_is, "GET", "/studies", {"assigned": "x"}, b"", 400),
        (_as_it_is, "GET", "/studies", {"search": "doe", "newest": "true"}, b"", 200),
        (_as_it_is, "GET", "/studies", {"date": "20250701-", "modality": "CT"}, b"", 200),
        (_as_it_is, "GET", "/studies", {"date": "20250732"}, b"", 400),
        (_as_it_is, "GET", "/studies", {"date": "-"}, b"", 400),
        (_as_it_is, "GET", "/studies", {"modality": "*"}, b"", 400),
        (_as_it_is, "GET", "/worklist", {"after": ""}, b"", 200),
        (_as_it_is, "GET", f"/studies/{STUDY}", {}, b"", 200),
        (_as_it_is, "GET", f"/studies/{STUDY}", {"x": "y"}, b"", 400),
        (_as_it_is, "GET", "/studies/nothing", {}, b"", 404),
        (_as_it_is, "GET", "/openapi.json", {}, b"", 200),
    ],
)
def test_answers_are_as_the_document_says(
    prepare: Callable[[Application], None],
    method: str,
    path: str,
    query: dict[str, str],
    body: bytes,
    status: int,
) -> None:
    app = Application()
    prepare(app)
    response = app.router.respond(Request(method, f"/openmrs{path}", query, {}, body))
    assert response.status == status, response.body
    Contract(document(TABLE)).check(method, f"/openmrs{path}", status, response.body)


def test_an_answer_with_another_key_is_noticed() -> None:
    contract = Contract(document(TABLE))
    response = Application().ask("/worklist/refresh", "POST")
    counts = json.loads(response.body)
    for wrong in (counts | {"More": 1}, {"Steps": 1}, counts | {"Steps": "1"}):
        with pytest.raises(ValidationError):
            contract.check("POST", "/openmrs/worklist/refresh", 200, json.dumps(wrong).encode())
    with pytest.raises(AssertionError, match="418"):
        contract.check("POST", "/openmrs/worklist/refresh", 418, b"{}")
