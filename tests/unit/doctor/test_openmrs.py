"""Each check of OpenMRS says what is wrong and what to do, of no patient."""

import json
import re
import threading
import time
from collections.abc import Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from orthanc_openmrs.doctor import openmrs
from orthanc_openmrs.model import Rejected, RequestList
from orthanc_openmrs.worklist.snapshot import Snapshot
from tests.unit.builders import TODAY, request, step
from tests.unit.doctor.cases import case, of, told
from tests.unit.doubles import Server, answer, serving


@pytest.fixture
def server() -> Iterator[Server]:
    """An OpenMRS that does as it is told."""
    with serving() as served:
        yield served


def plays(server: Server, session: bytes = b"", **told: Any) -> None:
    """The list, or the update, is answered so; the session as OpenMRS's core does."""

    def play(handler: BaseHTTPRequestHandler) -> None:
        if handler.path.endswith("/session"):
            answer(handler, session or b'{"authenticated": true}')
        else:
            answer(handler, **told)

    server.play = play


SIGNED_OUT = b'{"authenticated": false}'
PAGE = b"<!doctype html><form action='login.htm'>"
FAILED = b'{"cause": null, "stackTrace": [], "message": "boom"}'
MISSING = FAILED.replace(b"boom", b"Required String parameter 'studyInstanceUID' is not present")


@pytest.mark.parametrize(
    ("told_by_openmrs", "line"),
    [
        ({}, "ok list: the account gets it (0 KiB in 0."),
        ({"status": 401}, "error list: the account lacks the privilege Task: Edit Worklist"),
        (
            {"status": 401, "session": SIGNED_OUT},
            "error list: OpenMRS refuses the sign-in (HTTP 401)",
        ),
        ({"status": 302, "session": SIGNED_OUT}, "error list: OpenMRS refuses the sign-in"),
        ({"body": PAGE, "session": SIGNED_OUT}, "error list: OpenMRS refuses the sign-in"),
        ({"status": 500, "session": SIGNED_OUT}, "error list: OpenMRS refuses the sign-in"),
        (
            {"status": 403},
            "error list: the account lacks the privilege Task: Edit Worklist (HTTP 403)",
        ),
        ({"status": 404}, "error list: OpenMRS has no such route (HTTP 404)"),
        ({"status": 500}, "error list: OpenMRS fails (HTTP 500)"),
        ({"body": PAGE}, "error list: what OpenMRS sends is no worklist"),
        ({"body": b"{}"}, "error list: what OpenMRS sends is no worklist"),
        ({"body": FAILED}, "error list: OpenMRS fails (HTTP 200, an exception)"),
        ({"status": 500, "body": FAILED[:-9]}, "error list: OpenMRS fails (HTTP 500, an exception"),
        ({"status": 503, "body": PAGE}, "error list: the proxy or servlet container in front"),
        (
            {"status": 302, "Location": "/openmrs/oauth2login"},
            "error list: OpenMRS sends this account to its single sign-on (HTTP 302)",
        ),
        (
            {"body": b'[{"id": 7, "mrsPatientUuid": "x", "status": "scheduled"}]'},
            "error list: OpenMRS's Imaging module gives no worklist",
        ),
    ],
)
def test_the_list_is_judged(
    tmp_path: Path, server: Server, told_by_openmrs: dict[str, Any], line: str
) -> None:
    plays(server, **told_by_openmrs)
    (found,) = told(openmrs.worklist(of(server, tmp_path)))
    assert found.startswith(line)


@pytest.mark.parametrize(
    ("told_by_openmrs", "line"),
    [
        (
            {"body": b"No series data found in payload"},
            "ok status updates: the account may report, to a module of generation v2",
        ),
        (
            {"body": MISSING},
            "ok status updates: the account may report, to a module of generation v1",
        ),
        (
            {"status": 400, "body": PAGE},
            "ok status updates: the account may report, to a module of generation v1",
        ),
        (
            {"status": 400, "body": b'{"error": {"message": "seriesList is empty"}}'},
            "ok status updates: the account may report, to a module of generation v3",
        ),
        ({"body": FAILED}, "error status updates: OpenMRS fails (HTTP 200)"),
        ({"status": 500, "body": FAILED[:-9]}, "error status updates: OpenMRS fails (HTTP 500)"),
        (
            {"status": 403},
            "error status updates: the account lacks the privilege Task: Receive Orthanc Updates",
        ),
        ({"status": 401, "session": SIGNED_OUT}, "error status updates: OpenMRS refuses the sign"),
        ({"body": PAGE, "session": SIGNED_OUT}, "error status updates: OpenMRS refuses the sign"),
        ({"status": 404}, "error status updates: OpenMRS has no such route (HTTP 404)"),
        ({"status": 405}, "error status updates: OpenMRS has no such route (HTTP 405)"),
        ({"status": 500}, "error status updates: OpenMRS fails (HTTP 500)"),
    ],
)
def test_status_updates_are_tried_with_no_step(
    tmp_path: Path, server: Server, told_by_openmrs: dict[str, Any], line: str
) -> None:
    plays(server, **told_by_openmrs)
    (found,) = told(openmrs.updates(of(server, tmp_path)))
    assert found.startswith(line)
    asked = server.asked[0]
    assert (asked.method, asked.query) == ("POST", {})
    body = json.loads(asked.body)
    assert body["seriesList"] == []
    assert set(body["studyInfo"].values()) == {None}


@pytest.mark.parametrize(
    ("seconds", "line"),
    [
        (0, "ok clock: agrees with OpenMRS's; today is "),
        (-90, "warning clock: is 90 s ahead of OpenMRS's"),
        (90, "warning clock: is 90 s behind OpenMRS's"),
        (-3600, "error clock: is 60 minutes ahead of OpenMRS's"),
        (7200, "error clock: is 120 minutes behind OpenMRS's"),
        (None, "ok clock: OpenMRS doesn't tell its time"),
    ],
)
def test_clocks_are_compared(
    tmp_path: Path, server: Server, seconds: int | None, line: str
) -> None:
    date = "now" if seconds is None else formatdate(time.time() + seconds + 0.5, usegmt=True)

    def play(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response_only(200)
        handler.send_header("Content-Length", "2")
        handler.send_header("Date", date)
        handler.end_headers()
        handler.wfile.write(b"[]")

    server.play = play
    made = of(server, tmp_path)
    list(openmrs.worklist(made))
    (found,) = told(openmrs.clock(made))
    assert found.replace("91 s", "90 s").replace("89 s", "90 s").startswith(line)


def test_a_slow_list_is_told(tmp_path: Path, server: Server) -> None:
    def play(handler: BaseHTTPRequestHandler) -> None:
        threading.Event().wait(0.3)
        answer(handler)

    server.play = play
    (found,) = told(openmrs.worklist(of(server, tmp_path, Timeout=0.5)))
    assert found.startswith("warning list: OpenMRS gives it slowly: 0 KiB in 0.3 s, where Timeout")
    (found,) = told(openmrs.worklist(of(server, tmp_path, RefreshInterval=1)))
    assert re.fullmatch(
        r"ok list: the account gets it \(0 KiB in 0\.\d s, so it is read every \d s\)", found
    )


def test_a_patient_is_looked_up_only_where_names_are(tmp_path: Path, server: Server) -> None:
    listed = Snapshot.build(RequestList((request(),)), read_at=0, day=TODAY)
    made = of(server, tmp_path, PersonNames="split")
    made.snapshot = listed
    assert told(openmrs.names(made)) == []
    assert server.asked == []
    made = of(server, tmp_path)
    made.snapshot = listed
    assert told(openmrs.names(made)) == ["ok names: patients can be looked up"]
    plays(server, status=403)
    (found,) = told(openmrs.names(made))
    assert found.startswith("warning names: a patient can't be looked up (HTTP 403)")


def test_steps_are_told_by_their_ids_never_by_their_patients(tmp_path: Path) -> None:
    long = {"accession_number": "1" * 19}
    listed = RequestList(
        (
            *(request(str(n), step(str(n)), **long) for n in range(7)),
            *(request(str(n), step(str(n), modality="")) for n in range(10, 17)),
        ),
        (Rejected(14, "is null, not an object"),),
    )
    made = case(tmp_path)
    made.snapshot = Snapshot.build(listed, read_at=0, day=TODAY)
    found = told(openmrs.steps(made))
    assert found[0] == "ok steps: 14 in the list, 7 for scanners"
    assert found[1] == "warning steps: step 10 is left out: Modality is empty"
    assert "warning steps: element 14 of the list is left out: is null, not an object" in found
    assert "warning steps: 2 more are left out" in found
    assert (
        "ok steps: 7 repaired (0, 1, 2, 3, 4, …): AccessionNumber is, in 16 characters, that of "
        "another request too"
    ) in found
    assert not any(word in "\n".join(found) for word in ("Alice", "Jones", "1990"))


def test_a_list_without_steps_is_no_good_installation(tmp_path: Path, server: Server) -> None:
    bare = b'[{"RequestedProcedureID": "7", "ScheduledProcedureStepSequence": []}]'
    plays(server, body=bare)
    made = of(server, tmp_path)
    list(openmrs.worklist(made))
    (line,) = told(openmrs.steps(made))
    assert line.startswith("error steps: OpenMRS's list has requests, but not one step (1 requests")
    plays(server, status=404)
    (line,) = told(openmrs.updates(made))
    assert line.startswith("error status updates: OpenMRS's Imaging module gives no worklist")


@pytest.mark.parametrize(
    ("url", "line"),
    [
        ("http://127.0.0.1:9/", "error OpenMRS: 127.0.0.1:9 can't be reached: connection refused"),
        ("http://no.such.invalid/", "error OpenMRS: the host name no.such.invalid is unknown here"),
    ],
)
def test_an_openmrs_that_is_away_is_told(
    tmp_path: Path, nobody_is_known: None, url: str, line: str
) -> None:
    assert told(openmrs.connection(case(tmp_path, ImagingWorklistURL=url))) == [line]


def test_openmrs_on_this_machine_needs_no_tls(tmp_path: Path, server: Server) -> None:
    (found,) = told(openmrs.connection(of(server, tmp_path)))
    assert found.startswith("ok OpenMRS: localhost:")
