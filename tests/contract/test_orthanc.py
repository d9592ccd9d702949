"""What OpenMRS asks Orthanc while it answers a status update."""

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from standin import Standin
from tests.contract.calls import (
    STEPPED,
    UID,
    Reply,
    add,
    is_exception,
    post,
    query,
    update,
)

AUTHORIZATION = "Basic " + base64.b64encode(b"orthanc:p@ss").decode()
FIND = f'{{"Level":"Study","Query":{{"StudyInstanceUID":"{UID}"}}}}'


class Orthanc(ThreadingHTTPServer):
    """Has one study, "abc", while `patient_id` is a text."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.patient_id: str | None = None
        self.standin: Standin | None = None
        self.seen: list[tuple[str, str, str | None]] = []
        self.statuses: list[dict[int, str | None]] = []

    @property
    def url(self) -> str:
        return f"http://orthanc:p%40ss@127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Orthanc

    def do_GET(self) -> None:
        orthanc = self.server
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        orthanc.seen.append((self.path, body, self.headers["Authorization"]))
        if orthanc.standin is not None:
            orthanc.statuses.append(orthanc.standin.records.statuses())
        study = {"PatientMainDicomTags": {"PatientID": orthanc.patient_id}}
        found = ["abc"] if orthanc.patient_id is not None else []
        kinds = ("NewInstance", "NewStudy", "StableStudy")
        changes = [{"ChangeType": kind, "ID": "abc"} for kind in kinds]
        pages = {
            "/changes?limit=1000&since=0": {"Changes": changes[:2], "Last": 2, "Done": False},
            "/changes?limit=1000&since=2": {"Changes": changes[2:], "Last": 3, "Done": True},
            "/changes?limit=1000&since=3": {"Changes": [], "Last": 3, "Done": True},
        }
        answers = {"/tools/find": found, "/studies/abc": study, **pages}
        answer = json.dumps(answers[self.path])
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer.encode())

    do_POST = do_GET

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def orthanc() -> Iterator[Orthanc]:
    with Orthanc() as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.mark.parametrize("generation", STEPPED)
def test_an_update_calls_orthanc_back_since_it_is_json(generation: str, orthanc: Orthanc) -> None:
    with Standin(generation, orthanc_url=orthanc.url) as standin:
        orthanc.standin = standin
        request = add(standin)
        orthanc.patient_id = request.patient.uuid
        body = update(request, 1)
        body["seriesList"][0]["performedProcedureStepID"] = "1"
        assert post(standin, body, query(1)).status == 200
        assert standin.records.statuses() == {1: "completed"}
        orthanc.standin = None
        assert post(standin, body, query(1)).status == 200
    if generation in ("v0", "v1"):
        assert orthanc.seen == []
        return
    asked = [(path, body) for path, body, _ in orthanc.seen]
    read = ("/studies/abc", "")
    changes = [(f"/changes?limit=1000&since={since}", "") for since in (0, 2, 3)]
    first = [changes[0], read, changes[1], read]
    again = [changes[2]]
    looked_up = [("/tools/find", FIND), read] if generation == "v3" else []
    assert asked == [*looked_up, *first, *looked_up, *again]
    assert {authorization for *_, authorization in orthanc.seen} == {AUTHORIZATION}
    assert [s for s in orthanc.statuses if s != {1: "scheduled"}] == []  # not saved yet
    assert {callback.status for callback in standin.callbacks} == {200}


def test_an_orthanc_that_is_away_is_noted_and_not_fatal() -> None:
    with Standin("v2", orthanc_url="http://127.0.0.1:1") as standin:
        assert post(standin, update(add(standin), 1)).status == 200
        assert standin.records.statuses() == {1: "completed"}
        (callback,) = standin.callbacks
        assert (callback.path, callback.status) == ("/changes?limit=1000&since=0", None)


def told_by_v3(patient_id: str | None, orthanc: Orthanc) -> Reply:
    """What v3 says of an update that is right, where the images have this PatientID."""
    with Standin("v3", orthanc_url=orthanc.url) as standin:
        request = add(standin)
        orthanc.patient_id = patient_id and patient_id.replace("UUID", request.patient.uuid)
        reply = post(standin, update(request, 1))
        done = reply.status == 200 and "score" in reply.json
        assert standin.records.statuses() == {1: "completed" if done else "scheduled"}
        return reply


@pytest.mark.parametrize(
    ("patient_id", "accepted"),
    [("UUID", True), (" UUID ", True), ("", False), ("12345", False), ("xUUID", False)],
)
def test_v3_wants_the_whole_uuid_in_the_images(  # ✔
    patient_id: str, accepted: bool, orthanc: Orthanc
) -> None:
    reply = told_by_v3(patient_id, orthanc)
    if accepted:
        assert reply.json["score"] == 100
    else:
        said = b"The Orthanc study does not match the requested patient"
        assert (reply.status, reply.body) == (409, said)


def test_a_study_that_v3_cannot_read_is_an_exception(orthanc: Orthanc) -> None:
    assert is_exception(told_by_v3(None, orthanc))
