"""What stands for OpenMRS, the database and Orthanc where several unit tests need it.

Each offers what a Protocol of the project names, and what a test must see or decide.
"""

import itertools
import json
import ssl
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import sqlalchemy as sa

from orthanc_openmrs.errors import OpenMRSError, StoreError
from orthanc_openmrs.model import Answer, GivenUid, ImagingRequest, RequestList, StepStatus
from orthanc_openmrs.openmrs.verdicts import StatusUpdate
from orthanc_openmrs.store.database import Database
from orthanc_openmrs.store.engine import Engine
from orthanc_openmrs.worklist.snapshot import Snapshot
from tests.unit.builders import TODAY

PATIENCE = 30.0
"""Seconds after which a test stops to wait for what never comes."""


class _WatchedEngine(Engine):
    def __init__(self, url: str, watched: "WatchedDatabase") -> None:
        super().__init__(url)
        self._watched = watched

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        try:
            with super().transaction() as connection:
                yield connection
        except StoreError:
            self._watched.failures += 1
            raise
        finally:
            with self._watched.used:
                self._watched.used.notify_all()


class WatchedDatabase(Database):
    """The real database, which tells a test when something was done to it."""

    def __init__(self, url: str, *, clock: Callable[[], float]) -> None:
        super().__init__(url, clock=clock)
        self.engine = _WatchedEngine(url, self)
        self.used = threading.Condition()
        self.failures = 0

    def until_failed(self, times: int) -> None:
        """Wait until that many transactions failed."""
        with self.used:
            assert self.used.wait_for(lambda: self.failures >= times, PATIENCE)

    def until(self, promise: Callable[[], bool], what: str = "it never happened") -> None:
        """Wait for what a thread is to do."""
        with self.used:
            assert self.used.wait_for(promise, PATIENCE), what


class NoUids:
    """A database that forgets which UIDs were given out."""

    def load_given_uids(self) -> list[GivenUid]:
        return []

    def save_given_uids(self, given: Sequence[GivenUid]) -> None:
        """Nothing is kept."""


class Killed(BaseException):
    """The process is killed: nothing of the plugin may catch it."""


@dataclass(frozen=True, slots=True)
class Reaction:
    """What OpenMRS does with one status POST: whether it saves, and what it says then."""

    saves: bool = False
    status: int = 200
    body: bytes = b""
    breaks: str = ""  # the kind of OpenMRSError in place of an answer
    raises: type[BaseException] | None = None  # in place of an answer


DONE = Reaction(True, body=b'{"score": 1}')


class ImagingModule:
    """OpenMRS's Imaging module as completion sees it: Updates and Lists."""

    def __init__(
        self, *requests: ImagingRequest, clock: Callable[[], float] = lambda: 1000.0
    ) -> None:
        self.requests = list(requests)
        self.clock = clock
        self.moments = itertools.count(1)
        self.newest: Snapshot | None = None
        self.on_read: Callable[[Snapshot], None] = lambda snapshot: None
        self.reactions: deque[Reaction] = deque()
        self.usual = DONE
        self.usual_status = Reaction(True)
        self.has_step_status = True
        self.away = False
        self.gates: dict[str, threading.Event] = {}
        self.reached = threading.Semaphore(0)
        self.posts: list[tuple[str, str]] = []
        self.updates: list[StatusUpdate] = []
        self.at_post: Callable[[], None] = lambda: None
        self.generation = ""
        self.told: list[tuple[str, str]] = []
        self.reads = 0
        self.completed: dict[str, str] = {}

    def post_update(self, update: StatusUpdate) -> Answer:
        """Take a status update; a gate of its step makes it hang."""
        step = update.parameters["performedProcedureStepID"]
        uid = update.parameters["studyInstanceUID"]
        self.posts.append((step, uid))
        self.updates.append(update)
        self.at_post()
        if step in self.gates:
            self.reached.release()
            assert self.gates[step].wait(PATIENCE)
        reaction = self.reactions.popleft() if self.reactions else self.usual
        if reaction.saves:
            self.completed.setdefault(step, uid)
            self.set_status(step, StepStatus.COMPLETED)
        return _answer(reaction)

    def post_step_status(self, step_id: str, status: str) -> Answer:
        """Take the status of a step."""
        self.told.append((step_id, status))
        if self.usual_status.saves:
            self.set_status(step_id, StepStatus(status))
        return _answer(self.usual_status)

    def monotonic(self) -> float:
        """A clock that goes on a little each time it is looked at."""
        return self.clock() + next(self.moments) * 1e-6

    def read_after(self, moment: float, timeout: float, of: str = "") -> Snapshot:
        """The newest list, or the list as it is."""
        if self.newest is not None and self.newest.began > moment:
            return self.newest
        self.reads += 1
        if self.away:
            raise OpenMRSError("unreachable", "connection failed")
        return self.read()

    def read(self) -> Snapshot:
        """The list is read."""
        self.newest = self.snapshot()
        self.on_read(self.newest)
        return self.newest

    def snapshot(self) -> Snapshot:
        """The list as it is, at hand. What is unchanged is the same object as before."""
        return Snapshot.build(
            RequestList(tuple(self.requests), generation=self.generation),
            read_at=self.clock(),
            began=self.monotonic(),
            day=TODAY,
            previous=self.newest,
        )

    def set_status(self, step_id: str, status: StepStatus) -> None:
        """Change a step."""
        self.requests = [
            replace(
                request,
                steps=tuple(
                    replace(step, status=status)
                    if step.scheduled_procedure_step_id == step_id
                    else step
                    for step in request.steps
                ),
            )
            for request in self.requests
        ]


def _answer(reaction: Reaction) -> Answer:
    if reaction.raises:
        raise reaction.raises
    if reaction.breaks:
        raise OpenMRSError(reaction.breaks, f"no answer ({reaction.breaks})")
    return Answer(reaction.status, reaction.body)


# --- an HTTP server ------------------------------------------------------------------------


@dataclass
class Asked:
    """One request as it came."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes


Play = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class Server:
    """A server that plays what a test says."""

    url: str
    play: Play = lambda handler: answer(handler)
    asked: list[Asked] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)


def answer(
    handler: BaseHTTPRequestHandler, body: bytes = b"[]", status: int = 200, **headers: str
) -> None:
    """A whole answer."""
    handler.send_response(status)
    for key, value in ({"Content-Length": str(len(body))} | headers).items():
        handler.send_header(key.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)


@contextmanager
def serving(tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    """A server on a free port."""
    served = Server("")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            length = int(self.headers.get("Content-Length", 0))
            served.asked.append(
                Asked(
                    self.command,
                    parts.path,
                    parse_qs(parts.query),
                    {key.lower(): value for key, value in self.headers.items()},
                    self.rfile.read(length),
                )
            )
            with suppress(OSError):
                served.play(self)

        do_POST = do_GET

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet."""

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that goes away is no error here."""

    http = Quiet(("127.0.0.1", 0), Handler)
    if tls:
        http.socket = tls.wrap_socket(http.socket, server_side=True, do_handshake_on_connect=False)
    scheme = "https" if tls else "http"
    served.url = f"{scheme}://localhost:{http.server_address[1]}"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield served
    finally:
        served.over.set()
        http.shutdown()
        thread.join()
        http.server_close()


# --- Orthanc's Python module ---------------------------------------------------------------


class OrthancException(Exception):
    """An error of Orthanc: its code and its words."""


class ChangeTypes:
    """The changes that matter, with Orthanc's own numbers."""

    ORTHANC_STARTED = 13
    ORTHANC_STOPPED = 14
    NEW_INSTANCE = 3
    NEW_SERIES = 5
    STABLE_STUDY = 9
    DELETED = 1


class ResourceTypes:
    """The levels that matter, with Orthanc's own numbers."""

    STUDY = 1


class MetricsTypes:
    """How a metric is kept, with Orthanc's own number."""

    DEFAULT = 0


class OrthancModule:
    """The module `orthanc`: a configuration, a core REST API, a log, and what is registered."""

    ChangeType = ChangeTypes
    MetricsType = MetricsTypes
    ResourceType = ResourceTypes
    OrthancException = OrthancException

    def __init__(
        self,
        routes: Mapping[str, Any] | None = None,
        *,
        configuration: Mapping[str, Any] | None = None,
        path: str = "",
    ) -> None:
        self.configuration = dict(configuration or {})
        self.path = path
        self.routes: dict[str, Any] = dict(routes or {})
        self.lines: list[tuple[str, str]] = []
        self.done: list[str] = []
        self.metrics: dict[str, float] = {}
        self.properties: dict[int, str] = {}
        self.on_worklist: Any = None
        self.on_change: Any = None
        self.on_request: Any = None
        self.explorer = ""
        self._logged = threading.Condition()

    def GetConfiguration(self) -> str:
        return json.dumps(self.configuration)

    def GetGlobalProperty(self, number: int, default: str, /) -> str:
        return self.properties.get(number, default)

    def SetGlobalProperty(self, number: int, value: str, /) -> None:
        self.properties[number] = value

    def GetConfigurationPath(self) -> str:
        return self.path

    def _log(self, level: str, message: str) -> None:
        with self._logged:
            self.lines.append((level, message))
            self._logged.notify_all()

    def LogError(self, message: str, /) -> None:
        self._log("error", message)

    def LogWarning(self, message: str, /) -> None:
        self._log("warning", message)

    def LogInfo(self, message: str, /) -> None:
        self._log("info", message)

    def until_logged(self, words: str) -> None:
        """Wait for a line of the log."""
        with self._logged:
            assert self._logged.wait_for(
                lambda: any(words in line for _, line in self.lines), PATIENCE
            ), f"no line with {words!r} in {self.lines}"

    def RestApiGet(self, uri: str, /) -> bytes:
        found = self.routes.get(uri)
        if isinstance(found, Exception):
            raise found
        if found is None:
            raise OrthancException(17, "Unknown resource")
        return found if isinstance(found, bytes) else json.dumps(found).encode()

    def RestApiPost(self, uri: str, body: bytes, /) -> bytes:
        return self.RestApiGet(f"{uri} {body.decode()}")

    def SetMetricsValue(self, name: str, value: float, metrics_type: int, /) -> None:
        assert metrics_type == MetricsTypes.DEFAULT
        self.metrics[name] = value

    def RestApiPut(self, uri: str, body: bytes, /) -> None:
        self.routes[uri] = body

    def RestApiDelete(self, uri: str, /) -> None:
        if self.routes.pop(uri, None) is None:
            raise OrthancException(17, "Unknown resource")

    def RegisterWorklistCallback(self, callback: Any, /) -> None:
        self.on_worklist = callback
        self.done.append("worklist")

    def RegisterOnChangeCallback(self, callback: Any, /) -> None:
        self.on_change = callback
        self.done.append("change")

    def ExtendOrthancExplorer(self, javascript: str, /) -> None:
        self.explorer = javascript

    def RegisterRestCallback(self, pattern: str, callback: Any, /) -> None:
        self.on_request = callback
        self.done.append(f"rest {pattern}")


class OrthancModule7(OrthancModule):
    """The same of the Python plugin 7.0, which tells who asks for a worklist."""

    def RegisterWorklistCallback2(self, callback: Any, /) -> None:
        self.on_worklist = callback
        self.done.append("worklist 2")


class Archive(OrthancModule):
    """An Orthanc that lists its studies and finds them, without regard to case."""

    def __init__(self, routes: dict[str, Any]) -> None:
        super().__init__(routes)
        self.ids: list[str] = []

    def has(self, study: str, number: int, patient_id: str, **patient: str) -> None:
        """A study of two series; `patient` are further tags of its patient."""
        root = f"/studies/{study}"
        self.ids.append(study)
        series = [
            {"ID": f"{number}.{at}", "MainDicomTags": {"Modality": modality}, "Instances": ["", ""]}
            for at, modality in enumerate(("MR", "CT"))
        ]
        self.routes |= {
            root: {
                "ID": study,
                "MainDicomTags": {
                    "StudyInstanceUID": f"1.{number}",
                    "StudyDate": f"202507{number + 1:02}",
                    "StudyDescription": "Head",
                },
                "PatientMainDicomTags": {
                    "PatientID": patient_id,
                    "PatientName": "Doe^Jane",
                    **patient,
                },
                "Series": [one["ID"] for one in series],
            },
            f"{root}/series": series,
        }

    def RestApiGet(self, uri: str, /) -> bytes:
        path, _, query = uri.partition("?")
        if path != "/studies":
            return super().RestApiGet(uri)
        page = {key: int(value[0]) for key, value in parse_qs(query).items()}
        found: list[Any] = self.ids[page["since"] : page["since"] + page["limit"]]
        if query.endswith("&expand"):
            found = [self.routes[f"/studies/{one}"] for one in found]
        return json.dumps(found).encode()

    def RestApiPost(self, uri: str, body: bytes, /) -> bytes:
        question = json.loads(body)
        if "ModalitiesInStudy" in question["Query"]:
            return json.dumps(self._with_modality(question["Query"]["ModalitiesInStudy"])).encode()
        assert (uri, question["Level"], question["Expand"]) == ("/tools/find", "Study", True)
        ((keyword, value),) = question["Query"].items()
        wanted = value.lower().split("\\")
        documents = [self.routes[f"/studies/{study}"] for study in self.ids]
        found = [
            one
            for one in documents
            if (one["MainDicomTags"] | one["PatientMainDicomTags"])[keyword].lower() in wanted
        ]
        return json.dumps(found[: question["Limit"]]).encode()

    def _with_modality(self, modality: str) -> list[str]:
        return [
            study
            for study in self.ids
            if any(
                one["MainDicomTags"]["Modality"] == modality
                for one in self.routes[f"/studies/{study}/series"]
            )
        ]


class Find:
    """A C-FIND: its identifier, and what is answered."""

    def __init__(self, identifier: bytes) -> None:
        self.identifier = identifier
        self.answered: list[bytes] = []

    def WorklistGetDicomQuery(self) -> bytes:
        return self.identifier

    def WorklistAddAnswer(self, query: object, dicom: bytes, /) -> None:
        assert query is self
        self.answered.append(dicom)


class Connection:
    """The association of a C-FIND, as the Python plugin 7.0 tells of it."""

    def __init__(self, remote_aet: str, remote_ip: str) -> None:
        self.remote = (remote_aet, remote_ip)

    def GetConnectionRemoteAet(self) -> str:
        return self.remote[0]

    def GetConnectionRemoteIp(self) -> str:
        return self.remote[1]

    def GetConnectionCalledAet(self) -> str:
        return "ORTHANC"


class Output:
    """The answer to an HTTP request, as the Python plugin 5.0 and later has it."""

    def __init__(self) -> None:
        self.status = 0
        self.body = b""
        self.headers: dict[str, str] = {}
        self.answers = 0

    def _answer(self, status: int, body: str | bytes) -> None:
        self.answers += 1
        self.status = status
        self.body = body.encode() if isinstance(body, str) else body

    def AnswerBuffer(self, answer: bytes, mime_type: str, /) -> None:
        self.headers["Content-Type"] = mime_type
        self._answer(200, answer)

    def SendHttpStatus(self, status: int, body: str | bytes, /) -> None:
        self._answer(status, body)

    def SendMethodNotAllowed(self, allowed: str, /) -> None:
        self.headers["Allow"] = allowed
        self._answer(405, "")

    def SetHttpHeader(self, key: str, value: str, /) -> None:
        self.headers[key] = value


class Output4(Output):
    """The same of the Python plugin 4.0, which wants the length of the body."""

    def SendHttpStatus(self, status: int, body: str | bytes, length: int, /) -> None:  # type: ignore[override]
        assert length == len(body.encode() if isinstance(body, str) else body)
        self._answer(status, body)
