"""The stand-in: sign-in, routes, the list, an update and the call back to Orthanc.

Decides who may do what, and in which order an update is judged, called back, saved and answered.
Must not know value formats or verdicts (dialects), sockets (wire) nor what a fault is for.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace

from .answers import (
    JSON,
    REST,
    Answer,
    ServerException,
    data_error,
    encode,
    error_answer,
    json_answer,
    text_answer,
)
from .behaviour import Behaviour
from .control import control
from .core import Failure
from .core_routes import PATIENTS, CoreRest, Route
from .dialects import DIALECTS, EDIT, IMAGE_SERVICES, RECEIVE, Dialect
from .faults import Fault, Faults, Rule, redirect
from .order_routes import ORDER_PRIVILEGES
from .orders import Orders
from .orthanc import Callback, Orthanc
from .records import DuplicateValue, ImagingRequest, Patient, Records
from .tokens import TOKEN_PATH, Tokens
from .updates import UID_COLUMN, BadPayload, Posted, Site, judge_step_status
from .wire import LoggedRequest, Received, Server

LOG_SIZE = 10_000


@dataclass(frozen=True)
class Account:
    password: str
    privileges: frozenset[str] = frozenset()


DEFAULT_ACCOUNTS: Mapping[str, Account] = {
    "imaging": Account(
        "Imaging123", frozenset({EDIT, RECEIVE, PATIENTS}) | IMAGE_SERVICES | ORDER_PRIVILEGES
    ),
    "updater": Account("Updater123", frozenset({EDIT, RECEIVE})),
    "reader": Account("Reader123", frozenset({EDIT})),
    "nobody": Account("Nobody123"),
}


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
        self.orders = Orders()
        self.tokens = Tokens()
        self.generation = generation
        self.host = host
        self.port = port  # with 0, a free one from the first start on; a restart keeps it
        self.accounts = accounts
        self.orthanc_url = orthanc_url
        self.behaviour = Behaviour()
        self.callbacks: list[Callback] = []
        self._orthancs: dict[str, Orthanc] = {}
        self._core = CoreRest(self.records, self.orders, self)
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

    @property
    def token_url(self) -> str:
        return self.origin + TOKEN_PATH

    # --- faults and log ---

    def set_fault(
        self,
        fault: Fault,
        path: str | None = None,
        method: str | None = None,
        times: int | None = None,
    ) -> None:
        """`path` is a part of the request's path; without it the fault hits all but /standin."""
        self._faults.set(Rule(fault, path, method, times))

    def clear_faults(self, path: str | None = None) -> None:
        """All, or those that were set for this path."""
        self._faults.clear(path)
        if self._server is not None:
            self._server.cut_streams()

    def set_behaviour(self, **behaviour: object) -> None:
        """Fields of Behaviour; the others stay."""
        self.behaviour = replace(self.behaviour, **behaviour)  # type: ignore[arg-type]

    def merge_patients(self, preferred: Patient, duplicate: Patient) -> None:
        """As an administrator does: core's own rows go to the preferred patient. The module's
        requests don't (records.merge_patients can have them moved)."""
        self.records.merge_patients(preferred, duplicate)
        self.orders.move(preferred, duplicate)

    @property
    def requests_log(self) -> list[LoggedRequest]:
        """The requests but those to /standin, oldest first, the last LOG_SIZE of them."""
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

    def log_sent(self, number: int) -> None:
        with self._log_lock:
            if number in self._log:
                entry = self._log[number]
                self._log[number] = replace(entry, seconds=time.monotonic() - entry.time)

    def pick_fault(self, method: str, path: str) -> tuple[Fault, threading.Event] | None:
        return self._faults.pick(method, path)

    # --- answers of OpenMRS ---

    def answer(self, received: Received) -> Answer:
        try:
            return self._answer(received)
        except ServerException as exception:
            return exception.answer(old_core=self.behaviour.old_core)
        except Failure as failure:
            return failure.answer

    def _answer(self, received: Received) -> Answer:
        if received.path == TOKEN_PATH:
            return self._token(received)
        name, account = self._account(received)
        if self.behaviour.single_sign_on and account is None:
            return redirect("/openmrs/oauth2login")
        if received.path == REST + "session":
            return self._session(name, account)
        route = self._route(received, account.privileges if account else frozenset())
        if account is None and (route is None or self._asks(route)):
            refusal = error_answer(401, "User is not logged in")
            return replace(refusal, headers={"WWW-Authenticate": 'Basic realm="OpenMRS"'})
        if route is None:
            return error_answer(404, "No such resource")
        if received.method != route.method:
            if route.of_core:
                return error_answer(405, f"{received.method} is not supported")
            said = f"Request method '{received.method}' not supported"
            raise ServerException(said, old_status=405)
        missing = route.privileges - account.privileges if account else frozenset()
        if missing and self._asks(route):
            return error_answer(403, f"Privileges required: {', '.join(sorted(missing))}")
        return route.respond()

    def _token(self, received: Received) -> Answer:
        if received.method != "POST":
            return Answer(405)
        return self.tokens.answer(received.authorization, received.content_type, received.body)

    def _route(self, received: Received, privileges: frozenset[str]) -> Route | None:
        dialect, path = self.dialect, received.path
        if path == dialect.list_path:
            return Route("GET", dialect.list_privileges, lambda: self._list(received))
        if path == dialect.update_path and dialect.judge is not None:
            return Route("POST", dialect.update_privileges, lambda: self._update(received))
        if path == dialect.step_status_path:
            return Route("POST", dialect.list_privileges, lambda: self._step_status(received))
        if path == REST + "imaging/studies":
            return Route("GET", frozenset(), lambda: self._studies(received))
        return self._core.route(received, privileges)

    def _asks(self, route: Route) -> bool:
        """Whether this route looks at who asks."""
        return route.of_core or self.behaviour.enforces_privileges

    def _account(self, received: Received) -> tuple[str, Account | None]:
        if received.bearer is not None:
            user = self.tokens.account_of(received.bearer) or ""
            return user, self.accounts.get(user)
        if self.behaviour.single_sign_on:
            return "", None
        user, password = received.credentials or ("", "")
        account = self.accounts.get(user)
        return user, account if account and account.password == password else None

    def _session(self, name: str, account: Account | None) -> Answer:
        if account is None:
            return json_answer({"authenticated": False})
        return json_answer({"authenticated": True, "user": {"username": name}})

    def _list(self, received: Received) -> Answer:
        """Encodes only the requests that changed since the last list."""
        generation = self.generation
        dialect, encoded = DIALECTS[generation], self._encoded.setdefault(generation, {})
        status = received.query.get("status", "")
        if dialect.refuses_filter(status):
            return text_answer("Invalid request status", 400)
        rows: list[bytes] = []
        for request in self.records.requests():
            if not dialect.listed(request, status):
                continue
            known = encoded.get(request.id)
            if known is None or known[0] is not request:
                row = encode(dialect.element(dialect, request))
                known = encoded[request.id] = (request, row)
            rows.append(known[1])
        for raw in self.records.raw_elements:
            rows.append(raw if isinstance(raw, bytes) else encode(raw))
        return Answer(200, b"[" + b",".join(rows) + b"]", JSON)

    def _update(self, received: Received) -> Answer:
        dialect = self.dialect
        posted = Posted(received.query, received.content_type, received.body)
        orthanc = self._orthanc() if dialect.calls_back else None
        site = Site(
            self.records,
            lambda uid: orthanc.patient_id(uid) if orthanc else None,
            self.behaviour.strict_sql,
        )
        assert dialect.judge is not None
        try:
            verdict = dialect.judge(site, posted)
        except BadPayload as refused:
            return refused.answer
        if verdict.completes:
            uid = verdict.study_instance_uid
            if orthanc:
                orthanc.look_for_changes()
            if len(uid or "") > UID_COLUMN:
                raise data_error("Data too long for column 'study_instance_uid'")
            try:  # saved only now: a list read during the call back shows the step still open
                self.records.complete(verdict.completes, uid)
            except (DuplicateValue, KeyError):
                raise data_error(f"Duplicate entry '{uid}' for key") from None
        return verdict.answer

    def _orthanc(self) -> Orthanc | None:
        url = self.orthanc_url
        return self._orthancs.setdefault(url, Orthanc(url, self.callbacks)) if url else None

    def _step_status(self, received: Received) -> Answer:
        throws = self.dialect.step_status_throws
        answer, step_id = judge_step_status(self.records, received.query, throws=throws)
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

    def control(self, received: Received) -> Answer:
        return control(self, received)
