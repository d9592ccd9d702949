"""The worklist as people and programs see it."""

import json
from io import BytesIO

import pydicom
import pytest

from orthanc_openmrs.errors import OpenMRSError
from orthanc_openmrs.model import RequestList, Source
from orthanc_openmrs.worklist.attributes import KNOWN
from orthanc_openmrs.worklist.snapshot import Snapshot
from tests.unit.builders import ALICE, BOB, TODAY, request, step
from tests.unit.rest.application import COUNTS, NOON, START_DATE, Application


@pytest.mark.parametrize(
    "path", ["/worklist", "/worklist/1", "/worklist/1/file", "/worklist?aet=CT1"]
)
def test_before_the_first_list_every_route_of_it_says_to_come_back(path: str) -> None:
    path, _, station = path.partition("?aet=")
    response = Application(None).ask(path, **({"aet": station} if station else {}))
    assert response.status == 503
    assert response.headers["Retry-After"]


def test_an_old_list_is_shown_but_not_as_what_a_station_gets(app: Application) -> None:
    app.clock.now += 101
    assert app.ask("/worklist", aet="CT1").status == 503
    assert len(app.get("/worklist")) == 6
    assert app.get("/status")["Worklist"]["Stale"] is True
    explained = app.get("/worklist/1", aet="CT1")["Explanation"]
    assert [rule["Passes"] for rule in explained] == [False, True, True]


@pytest.mark.parametrize(
    ("query", "steps"),
    [
        ({}, ["1", "2", "3", "4", "5", "1" * 17]),
        ({"limit": "2"}, ["1", "2"]),
        ({"limit": "2", "since": "1"}, ["2", "3"]),
        ({"since": "4"}, ["5", "1" * 17]),
        ({"since": "6"}, []),
        ({"since": "1000000000"}, []),
        ({"limit": "0002"}, ["1", "2"]),
        ({"Modality": "MR"}, ["2"]),
        ({"Modality": "mr"}, []),
        ({"PatientID": BOB}, ["3"]),
        ({"PatientID": BOB.upper()}, ["3"]),
        ({"PatientID": ALICE, "limit": "1", "since": "1"}, ["2"]),
        ({"ScheduledStationAETitle": "MR1"}, ["2"]),
        ({"ScheduledStationAETitle": ""}, ["3"]),
        ({"ScheduledProcedureStepStartDate": "20250704"}, ["5"]),
        ({"aet": "CT1"}, ["1", "3", "5"]),
        ({"aet": "MR1"}, ["2", "3"]),
        ({"aet": "XX"}, ["3"]),
        ({"aet": "CT1", "PatientID": ALICE}, ["1", "5"]),
        ({"aet": "MR1", "own": "true"}, ["2", "3"]),
        ({"aet": "MR1", "own": "false"}, ["2", "3"]),
        ({"open": "true"}, ["1", "2", "3", "5", "1" * 17]),
        ({"open": "false"}, ["4"]),
        ({"search": BOB[:13]}, ["3"]),
        ({"search": "jones ALICE"}, ["1", "2", "3", "4", "5", "1" * 17]),
        ({"search": "jones nobody"}, []),
        ({"search": "1" * 17}, []),  # no valid id: it has none
    ],
)
def test_the_worklist_is_listed(app: Application, query: dict[str, str], steps: list[str]) -> None:
    ids = [found["ScheduledProcedureStepID"] or "1" * 17 for found in app.get("/worklist", **query)]
    assert ids == steps


def test_a_step_is_described_by_keywords_and_what_becomes_of_it(app: Application) -> None:
    one = app.get("/worklist/1")
    assert set(one) == {row.keyword for row in KNOWN} | {
        "Status",
        "Offered",
        "Reason",
        "Warnings",
        "Adjusted",
        "Source",
    }
    assert (one["PatientName"], one["Modality"]) == ("Jones^Alice^Mary", "CT")
    assert (one["Status"], one["Offered"], one["Reason"]) == ("scheduled", True, "")
    done = app.get("/worklist/4")
    assert (done["Status"], done["Offered"]) == ("completed", False)
    assert "completed" in done["Reason"]
    assert "every station" in " ".join(app.get("/worklist/3")["Warnings"])


@pytest.mark.parametrize(
    ("step", "query", "fails"),
    [
        ("1", {"aet": "CT1"}, set()),
        ("1", {"aet": "MR1"}, {"ScheduledStationAETitle"}),
        ("4", {"aet": "CT1"}, {"Step"}),
        ("1", {"aet": "CT1", "Modality": "MR"}, {"Modality"}),
        ("1", {"aet": "CT1", "PatientID": BOB, "Modality": "CT"}, {"PatientID"}),
        ("1", {"aet": "CT1", "ScheduledStationAETitle": "CT1"}, set()),
        ("1", {"aet": "CT1", "PregnancyStatus": "0"}, set()),
        ("1", {"aet": "CT1", START_DATE: "20250704-"}, {START_DATE}),
    ],
)
def test_why_a_station_gets_a_step_or_not_is_explained(
    app: Application, step: str, query: dict[str, str], fails: set[str]
) -> None:
    explained = app.get(f"/worklist/{step}", **query)["Explanation"]
    assert {rule["Rule"] for rule in explained if not rule["Passes"]} == fails
    assert all(bool(rule["Reason"]) is not rule["Passes"] for rule in explained)


def test_a_step_is_a_wl_file(app: Application) -> None:
    for number, title in (("1", "CT1"), ("3", "ANY")):
        response = app.ask(f"/worklist/{number}/file")
        assert (response.status, response.content_type) == (200, "application/dicom")
        assert f'filename="{number}.wl"' in response.headers["Content-Disposition"]
        inside = pydicom.dcmread(BytesIO(response.body)).ScheduledProcedureStepSequence[0]
        assert inside.ScheduledStationAETitle == title


def test_the_list_is_read_when_somebody_asks(app: Application) -> None:
    response = app.ask("/worklist/refresh", "POST")
    assert (response.status, json.loads(response.body)) == (200, COUNTS)
    app.away = OpenMRSError("timeout", "no answer within 10 s")
    response = app.ask("/worklist/refresh", "POST")
    assert response.status == 503
    assert response.headers["Retry-After"]
    assert "in time" in json.loads(response.body)["Message"]


def test_steps_of_one_source(app: Application) -> None:
    order = request("O1", step("O1"), source=Source.ORDERS, accession_number="ORD-1")
    both = RequestList((request("7", step("14")), order))
    app.worklist.replace(Snapshot.build(both, read_at=NOON, day=TODAY))
    for source, steps in (("imaging", ["14"]), ("orders", ["O1"]), ("", ["14", "O1"])):
        found = app.get("/worklist", source=source)
        assert [one["ScheduledProcedureStepID"] for one in found] == steps
    assert {one["Source"] for one in app.get("/worklist")} == {"imaging", "orders"}
    assert app.ask("/worklist", source="paper").status == 400
