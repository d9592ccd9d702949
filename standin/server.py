"""The stand-in: sign-in, routes, the list, an update and the call back to Orthanc.

Decides who may do what, and in which order an update is judged, called back, saved and answered.
Must not know value formats or verdicts (dialects), sockets (wire) nor what a fault is for.
"""

import base64
import http.client
import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import unquote, urlsplit

from .control import control
from .dialects import (
    DIALECTS,
    JSON,
    REST,
    Answer,
    BadPayload,
    Dialect,
    MissingBirthDate,
    Posted,
    compact_birth_date,
    encode,
    error_answer,
    json_answer,
    judge_step_status,
    page_answer,
)
from .faults import Fault, Faults, Rule
from .records import DuplicateValue, ImagingRequest, Patient, Records
from .wire import LoggedRequest, Received, Server

EDIT = "Task: Edit Worklist"
RECEIVE = "Task: Receive Orthanc Updates"
PATIENTS = "Get Patients"  # OpenMRS's core asks for it, whatever the module's generation
LOG_SIZE = 10_000
CALLBACK_TIMEOUT = 10.0


@dataclass(frozen=True)
class Account:
    password: str
    privileges: frozenset[str] = frozenset()


DEFAULT_ACCOUNTS: Mapping[str, Account] = {
    "imaging": Account("Imaging123", frozenset({EDIT, RECEIVE, PATIENTS})),
    "reader": Account("Reader123", frozenset({EDIT})),
    "nobody": Account("Nobody123"),
}


@dataclass(frozen=True)
class Callback:
    """A call to Orthanc made while an update was being answered."""

    method: str
    path: str
    status: int | None
    error: str = ""


class Standin:
    def __init__(
        self,
        generation: str = "v2",
        host: str = "127.0.0.1",
        port: int = 0,
        accounts: Mapping[str, Account] = DEFAULT_ACCOUNTS,
        orthanc_url: str | None = None,
    ) -> None:
        self.records = Records()
        self.generation = generation
        self.host = host
        self.port = port  # with 0, a free one from the first start on; a restart keeps it
        self.accounts = accounts
        self.orthanc_url = orthanc_url
        self.callbacks: list[Callback] = []
        self._faults = Faults()
        self._log: OrderedDict[int, LoggedRequest] = OrderedDict()
        self._log_lock = threading.Lock()
        self._logged = 0
        # per generation: request id -> the row as it was encoded
        self._encoded: dict[str, dict[int, tuple[ImagingRequest, bytes]]] = {}
        self._server: Server | None = None

    # --- life ---

    def start(self) -> "Standin":
        server = Server((self.host, self.port), self)
        self.port = server.server_port
        self._server = server
        serve = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        serve.start()
        return self

    def stop(self) -> None:
        """Ends every connection, also those that a fault holds. start() works again after it."""
        server, self._server = self._server, None
        if server is not None:
            server.stopping = True
            server.shutdown()
            self.clear_faults()
            server.cut_connections()
            server.server_close()

    def __enter__(self) -> "Standin":
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def generation(self) -> str:
        return self._generation

    @generation.setter
    def generation(self, generation: str) -> None:
        if generation not in DIALECTS:
            raise ValueError(f"no generation {generation!r}; there are: {', '.join(DIALECTS)}")
        self._generation = generation
        self.records.assigns_study_uids = self.dialect.assigns_study_uids

    @property
    def dialect(self) -> Dialect:
        return DIALECTS[self._generation]

    @property
    def origin(self) -> str:
        host = "127.0.0.1" if self.host in ("", "0.0.0.0") else self.host
        return f"http://{host}:{self.port}"

    @property
    def url(self) -> str:
        return self.origin + "/openmrs"

    @property
    def worklist_url(self) -> str:
        return self.origin + self.dialect.list_path

    @property
    def update_url(self) -> str:
        return self.origin + self.dialect.update_path

    # --- faults and log ---

    def set_fault(
        self,
        fault: Fault,
        path: str | None = None,
        method: str | None = None,
        times: int | None = None,
    ) -> None:
        """`path` is a part of the request's path; without it the fault hits all of /openmrs."""
        self._faults.set(Rule(fault, path, method, times))

    def clear_faults(self) -> None:
        self._faults.clear()
        if self._server is not None:
            self._server.cut_streams()

    @property
    def requests_log(self) -> list[LoggedRequest]:
        """The requests to /openmrs, oldest first, the last LOG_SIZE of them."""
        with self._log_lock:
            return list(self._log.values())

    def log_received(self, entry: LoggedRequest) -> int:
        with self._log_lock:
            self._logged += 1
            self._log[self._logged] = entry
            if len(self._log) > LOG_SIZE:
                self._log.popitem(last=False)
            return self._logged

    def log_answered(self, number: int, status: int) -> None:
        with self._log_lock:
            if number in self._log:
                self._log[number] = replace(self._log[number], status=status)

    def pick_fault(self, method: str, path: str) -> tuple[Fault, threading.Event] | None:
        return self._faults.pick(method, path)

    # --- answers of OpenMRS ---

    def answer(self, received: Received) -> Answer:
        dialect = self.dialect
        account = self._account(received)
        if received.path == REST + "session":
            return self._session(received, account)
        if account is None:
            refusal = error_answer(401, "User is not logged in")
            return replace(refusal, headers={"WWW-Authenticate": 'Basic realm="OpenMRS"'})
        routes: dict[str | None, tuple[str, str | None, Callable[[], Answer]]] = {
            dialect.list_path: ("GET", EDIT, lambda: self._list(received)),
            dialect.update_path: ("POST", RECEIVE, lambda: self._update(received)),
            dialect.step_status_path: ("POST", EDIT, lambda: self._step_status(received)),
            REST + "imaging/studies": ("GET", None, lambda: self._studies(received)),
        }
        if received.path.startswith(REST + "patient/"):
            routes[received.path] = ("GET", PATIENTS, lambda: self._patient(received))
        if received.path not in routes:
            return error_answer(404, "No such resource")
        method, privilege, respond = routes[received.path]
        if received.method != method:
            return error_answer(405, f"{received.method} is not supported")
        asked = privilege == PATIENTS or dialect.needs_privileges
        if asked and privilege and privilege not in account.privileges:
            return error_answer(403, f"Privileges required: {privilege}")
        return respond()

    def _account(self, received: Received) -> Account | None:
        user, password = received.credentials or ("", "")
        account = self.accounts.get(user)
        return account if account and account.password == password else None

    def _session(self, received: Received, account: Account | None) -> Answer:
        if account is None or received.credentials is None:
            return json_answer({"authenticated": False})
        return json_answer({"authenticated": True, "user": {"username": received.credentials[0]}})

    def _list(self, received: Received) -> Answer:
        """Encodes only the requests that changed since the last list."""
        generation = self.generation
        dialect, encoded = DIALECTS[generation], self._encoded.setdefault(generation, {})
        rows: list[bytes] = []
        try:
            for request in self.records.requests():
                known = encoded.get(request.id)
                if known is None or known[0] is not request:
                    known = encoded[request.id] = (request, encode(dialect.element(request)))
                if dialect.listed(request, received.query.get("status", "")):
                    rows.append(known[1])
        except MissingBirthDate:
            return page_answer(500)
        for raw in self.records.raw_elements:
            rows.append(raw if isinstance(raw, bytes) else encode(raw))
        return Answer(200, b"[" + b",".join(rows) + b"]", JSON)

    def _update(self, received: Received) -> Answer:
        dialect = self.dialect
        posted = Posted(received.query, received.content_type, received.body)
        try:
            verdict = dialect.judge(self.records, posted)
        except BadPayload as refused:
            return refused.answer
        if verdict.completes:
            if dialect.needs_privileges and self.orthanc_url:
                self._call_orthanc_back(self.orthanc_url, verdict.study_instance_uid)
            try:  # saved only now: a list read during the call back shows the step still open
                self.records.complete(verdict.completes, verdict.study_instance_uid)
            except (DuplicateValue, KeyError):
                return page_answer(500)
        return verdict.answer

    def _step_status(self, received: Received) -> Answer:
        answer, step_id = judge_step_status(self.records, received.query)
        if step_id is not None:
            self.records.set_step_status(step_id, received.query["status"])
        return answer

    def _studies(self, received: Received) -> Answer:
        uuid = received.query.get("patient", "")
        if self.records.patient(uuid) is None:
            return error_answer(404, "Patient not found")
        mine = [request for request in self.records.requests() if request.patient.uuid == uuid]
        done = [r for r in mine if any(step.status == "completed" for step in r.steps)]
        return json_answer([{"studyInstanceUID": request.study_instance_uid} for request in done])

    def _patient(self, received: Received) -> Answer:
        patient = self.records.patient(unquote(received.path.rpartition("/")[2]))
        if patient is None:
            return error_answer(404, "Object with given uuid doesn't exist")
        return json_answer(_core_patient(patient))

    def _call_orthanc_back(self, url: str, study_instance_uid: str | None) -> None:
        query = {"Level": "Study", "Query": {"StudyInstanceUID": study_instance_uid or ""}}
        self._call(url, "GET", "/changes?limit=1")
        for study in self._call(url, "POST", "/tools/find", query) or ():
            self._call(url, "GET", f"/studies/{study}")

    def _call(self, url: str, method: str, path: str, body: object = None) -> Any:
        target = urlsplit(url)
        secure = target.scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        connection = kind(target.hostname or "", target.port, timeout=CALLBACK_TIMEOUT)
        headers = {"Content-Type": "application/json"} if body is not None else {}
        if target.username is not None:
            pair = f"{unquote(target.username)}:{unquote(target.password or '')}"
            headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
        try:
            content = None if body is None else encode(body)
            connection.request(method, target.path.rstrip("/") + path, content, headers)
            response = connection.getresponse()
            answer = json.loads(response.read()) if response.status == 200 else None
            self.callbacks.append(Callback(method, path, response.status))
            return answer
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.callbacks.append(Callback(method, path, None, repr(error)))
            return None
        finally:
            connection.close()

    def control(self, received: Received) -> Answer:
        return control(self, received)


def _core_patient(patient: Patient) -> dict[str, object]:
    born = compact_birth_date(patient.birthdate)
    iso = f"{born[:4]}-{born[4:6]}-{born[6:]}T00:00:00.000+0000" if born else None
    name = {
        "display": patient.full_name,
        "givenName": patient.given,
        "middleName": patient.middle,
        "familyName": patient.family,
    }
    number = {"uuid": patient.identifier_uuid, "identifier": patient.identifier}
    return {
        "uuid": patient.uuid,
        "display": f"{patient.identifier} - {patient.full_name}",
        "identifiers": [{**number, "display": f"OpenMRS ID = {patient.identifier}"}],
        "person": {
            "uuid": patient.uuid,
            "display": patient.full_name,
            "gender": patient.gender,
            "birthdate": iso,
            "preferredName": name,
        },
    }
