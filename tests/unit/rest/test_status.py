"""How everything is, whatever doesn't work."""

import pytest

from orthanc_openmrs import __version__
from orthanc_openmrs.model import RequestList, Source
from orthanc_openmrs.rest.messages import moment
from orthanc_openmrs.rest.status import OrderReading, StatusRoutes
from orthanc_openmrs.worklist.refresh import SourceStatus
from orthanc_openmrs.worklist.snapshot import PartRead, Snapshot
from tests.unit.builders import TODAY, request, step
from tests.unit.rest.application import COUNTS, NOON, Application

STATES = ("Pending", "Delivered", "Held", "Failed", "Discarded")


def test_the_status_tells_how_everything_is(app: Application) -> None:
    app.clock.now += 12.34
    document = app.get("/status")
    assert document == {
        "Version": __version__,
        "OpenMRS": {
            "Reachable": True,
            "Generation": "v3",
            "LastSuccess": moment(NOON),
            "LastError": None,
            "Problem": None,
            "Since": moment(NOON - 60),
            "NextRead": moment(NOON + 10),
        },
        "Worklist": COUNTS
        | {
            "AgeSeconds": 12.3,
            "Stale": False,
            "Revision": app.worklist.revision,
            "Stations": ["CT1"],
        },
        "Notifications": dict.fromkeys(STATES, 2) | {"Waiting": 0},
    }


def test_the_status_is_told_when_nothing_works() -> None:
    app = Application(None)
    app.source = SourceStatus(last_error="HTTP 401", error_kind="credentials", failing_since=NOON)
    app.problem = "the database fails: disk I/O error"
    document = app.get("/status")
    assert document["Notifications"] == {
        **dict.fromkeys(STATES, 2),
        "Waiting": 0,
        "Error": app.problem,
    }
    app.counted = False
    document = app.get("/status")
    assert document["Notifications"] == {"Error": app.problem}
    assert document["OpenMRS"]["Reachable"] is False
    assert document["OpenMRS"]["LastSuccess"] is None
    assert "ImagingWorklistUsername" in document["OpenMRS"]["LastError"]
    assert document["OpenMRS"]["Problem"] == "credentials"
    assert document["OpenMRS"]["Since"] == moment(NOON)
    assert document["Worklist"] == {
        "Steps": 0,
        "Offered": 0,
        "Skipped": 0,
        "AgeSeconds": None,
        "Stale": True,
        "Revision": "",
        "Stations": ["CT1"],
    }
    app.problem = ""
    assert "not counted yet" in app.get("/status")["Notifications"]["Error"]


@pytest.mark.parametrize(
    ("served", "status", "expected"),
    [
        (True, SourceStatus(last_success=NOON), (True, None, False)),
        (
            True,
            SourceStatus(
                last_success=NOON, failures=1, last_error="x", error_kind="orders-privilege"
            ),
            (False, "orders-privilege", False),
        ),
        (
            False,
            SourceStatus(failures=1, last_error="x", error_kind="timeout"),
            (False, "timeout", True),
        ),
    ],
)
def test_orders_have_a_status_of_their_own(
    app: Application,
    served: bool,
    status: SourceStatus,
    expected: tuple[bool, str | None, bool],
) -> None:
    order = request("O1", step("O1"), source=Source.ORDERS, accession_number="ORD-1")
    parts = (
        PartRead(Source.IMAGING, NOON, 0.0),
        PartRead(Source.ORDERS, NOON - 5, 0.0, served=served),
    )
    found = RequestList((order,) if served else ())
    app.worklist.replace(Snapshot.build(found, read_at=NOON, day=TODAY, parts=parts))
    routes = StatusRoutes(
        worklist=app.worklist,
        source_status=lambda: app.source,
        next_read=lambda: NOON,
        orders=OrderReading(lambda: status, lambda: NOON + 9),
        generation=lambda: "",
        backlog=app.backlog,
        examine=lambda: None,
    )
    told = routes.current()
    orders = told["Orders"]
    assert (orders["Reachable"], orders["Problem"], orders["Stale"]) == expected
    assert (orders["Steps"], orders["Offered"]) == ((1, 1) if served else (0, 0))
    assert (orders["AgeSeconds"], orders["NextRead"]) == (5.0, moment(NOON + 9))
    assert told["OpenMRS"]["Reachable"]
    assert "Orders" not in app.get("/status")
