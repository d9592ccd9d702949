"""How everything is, whatever doesn't work."""

from orthanc_openmrs import __version__
from orthanc_openmrs.rest.messages import moment
from orthanc_openmrs.worklist.refresh import SourceStatus
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
