"""HTTP to OpenMRS: the list, the status update.

Decides: credentials, time limits, size limits, TLS, and in which words a failure is told.
Must not know: what is in the list, when to ask again. A client keeps no cookie, follows no
redirect and uses no proxy of the environment, so that credentials reach the configured
host only.
"""

import logging
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPException
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import quote

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.auth import HTTPBasicAuth
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from orthanc_openmrs import __version__
from orthanc_openmrs.config import Settings
from orthanc_openmrs.errors import OpenMRSError
from orthanc_openmrs.model import Answer
from orthanc_openmrs.openmrs.verdicts import StatusUpdate, empty_update

_log = logging.getLogger(__name__)

MAX_VERDICT = 64 * 1024
"""Bytes read of an answer to a status update."""

DEBUGGED = 20_000
"""Characters of a payload that `OpenMRS.Debug` logs."""

MAX_PATIENT = 1024 * 1024
"""Bytes read of a patient's document, or of what is said of the session."""

_CHUNK = 256 * 1024

_NETWORK_PROBLEMS = (
    requests.RequestException,
    urllib3.exceptions.HTTPError,
    HTTPException,
    OSError,
)


class OpenMRSClient:
    """One account on one OpenMRS. Safe for several threads: each has its own session."""

    def __init__(
        self,
        *,
        worklist_url: str,
        update_url: str,
        rest_url: str = "",
        username: str = "",
        password: str = "",
        timeout: float = 10,
        update_timeout: float = 120,
        max_response_size: int = 64 * 1024 * 1024,
        verify: bool | str = True,
        client_certificate: tuple[str, str] | str | None = None,
        debug: bool = False,
    ) -> None:
        self._debug = debug
        self._worklist_url = worklist_url
        self._update_url = update_url
        self._rest_url = rest_url
        root, mark, rest = update_url.rpartition("/updaterequeststatus")
        self._step_status_url = f"{root}/updateprocedurestepstatus" if mark and not rest else ""
        self._auth = HTTPBasicAuth(username.encode(), password.encode()) if username else None
        self._timeout = timeout
        self._update_timeout = update_timeout
        self._max_response_size = max_response_size
        self._verify = system_certificates() if verify is True else verify
        self._certificate = client_certificate
        self._local = threading.local()
        self._closed = threading.Event()

    @classmethod
    def of(cls, settings: Settings, *, timeout: float = 3600) -> "OpenMRSClient":
        """The configured one, which waits for `timeout` seconds at most."""
        return cls(
            worklist_url=settings.worklist_url,
            update_url=settings.update_url,
            rest_url=settings.rest_url,
            username=settings.username,
            password=settings.password,
            timeout=min(settings.timeout, timeout),
            update_timeout=min(settings.update_timeout, timeout),
            max_response_size=settings.max_response_size,
            verify=settings.verify,
            client_certificate=settings.client_certificate,
            debug=settings.debug,
        )

    def get_list(self) -> bytes:
        """The body of `GET worklist/requests`. Raises OpenMRSError with one of PROBLEMS."""
        with self._exchange("GET", self._worklist_url, timeout=self._timeout) as response:
            _refuse_status(response.status_code)
            return self._read(response, self._max_response_size, self._timeout)

    def get_patient(self, uuid: str) -> bytes | None:
        """The body of `GET patient/{uuid}?v=full` of core REST, None where there is none.

        Raises OpenMRSError, also where no core REST is configured.
        """
        if not self._rest_url:
            raise OpenMRSError("not-found", "OpenMRS.RestURL isn't set")
        url = f"{self._rest_url}/patient/{quote(uuid, safe='')}"
        with self._exchange("GET", url, timeout=self._timeout, params={"v": "full"}) as response:
            if response.status_code != 404:
                _refuse_status(response.status_code)
            body = self._read(response, MAX_PATIENT, self._timeout)
            if response.status_code != 404:
                return body
            if body.lstrip()[:1] == b"{":
                return None
            # A page: of a servlet container where OpenMRS isn't, or not yet.
            raise OpenMRSError("not-found", "HTTP 404, not by core REST: see OpenMRS.RestURL")

    def try_list(self) -> Answer:
        """The answer of `GET worklist/requests`, of any status. Raises OpenMRSError."""
        with self._exchange("GET", self._worklist_url, timeout=self._timeout) as response:
            body = self._read(response, self._max_response_size, self._timeout)
            return Answer(response.status_code, body, response.headers.get("Date", ""))

    def try_update(self) -> Answer:
        """The answer to a status update of no step, which changes nothing: v2 and v3 find no
        series in it, v1 finds none of its parameters, and none of them calls Orthanc back.

        Any status is an answer. Raises OpenMRSError where there is none.
        """
        return self.post_update(StatusUpdate({}, empty_update()))

    def get_session(self) -> bytes | None:
        """The body of `GET session` of core REST, None where none is configured or it fails."""
        if not self._rest_url:
            return None
        url = f"{self._rest_url}/session"
        try:
            with self._exchange("GET", url, timeout=self._timeout) as response:
                body = self._read(response, MAX_PATIENT, self._timeout)
                return body if response.status_code == 200 else None
        except OpenMRSError:
            return None

    def post_update(self, update: StatusUpdate) -> Answer:
        """POST a status update; any HTTP status is an answer.

        Raises OpenMRSError where there is none; the update may have been saved all the same.
        """
        with self._exchange(
            "POST",
            self._update_url,
            timeout=self._update_timeout,
            params=update.parameters,
            json=update.body,
        ) as response:
            return Answer(
                response.status_code, self._read(response, MAX_VERDICT, self._update_timeout)
            )

    @property
    def has_step_status(self) -> bool:
        """Whether the address of `updateprocedurestepstatus` is known: it lies beside v2's and
        v3's `updaterequeststatus`, and has no key of its own in the configuration."""
        return bool(self._step_status_url)

    def post_step_status(self, step_id: str, status: str) -> Answer:
        """POST the status of one step; any HTTP status is an answer.

        Raises OpenMRSError where there is none.
        """
        with self._exchange(
            "POST",
            self._step_status_url,
            timeout=self._update_timeout,
            params={"stepId": step_id, "status": status},
        ) as response:
            return Answer(
                response.status_code, self._read(response, MAX_VERDICT, self._update_timeout)
            )

    def close(self) -> None:
        """Let no new exchange start; one that waits is abandoned by its daemon thread."""
        self._closed.set()

    @contextmanager
    def _exchange(
        self,
        method: str,
        url: str,
        *,
        timeout: float,
        params: dict[str, str] | None = None,
        json: object = None,
    ) -> Iterator[requests.Response]:
        if self._debug:
            _log.warning("Debug: %s %s %s", method, params or "", str(json or "")[:DEBUGGED])
        if self._closed.is_set():
            raise OpenMRSError("unreachable", "the plugin is stopping")
        try:
            response = self._session().request(
                method,
                url,
                params=params,
                json=json,
                timeout=(min(timeout, 10), timeout),
                stream=True,
                allow_redirects=False,
            )
            try:
                yield response
            finally:
                response.close()
        except requests.exceptions.SSLError as problem:
            raise OpenMRSError("tls", _tls_reason(problem)) from None
        except (requests.Timeout, urllib3.exceptions.TimeoutError, TimeoutError):
            raise OpenMRSError("timeout", f"no answer within {timeout:g} s") from None
        except _NETWORK_PROBLEMS as problem:
            raise OpenMRSError("unreachable", _connection_reason(problem)) from None

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = _Session()
            session.trust_env = False
            session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
            session.mount("http://", _Adapter())
            session.mount("https://", _Adapter())
            session.auth = self._auth
            session.verify = self._verify
            session.cert = self._certificate
            session.headers["User-Agent"] = f"orthanc-openmrs/{__version__}"
            session.headers["Accept"] = "application/json"
            self._local.session = session
        return session

    def _read(self, response: requests.Response, limit: int, timeout: float) -> bytes:
        """The body, refused while it arrives where it is too long or takes too long in all."""
        deadline = time.monotonic() + timeout
        parts: list[bytes] = []
        size = 0
        raw = response.raw
        while True:
            # read1: what has come, for read(n) waits for all of n from a server that drips.
            part = raw.read1(_CHUNK, decode_content=True)
            if not part:
                break
            size += len(part)
            if size > limit:
                raise OpenMRSError("too-big", f"the answer is longer than {limit} bytes")
            if time.monotonic() > deadline:
                raise OpenMRSError("timeout", f"the answer was not complete after {timeout:g} s")
            parts.append(part)
        announced = response.headers.get("Content-Length", "")
        if announced.isdigit() and raw.tell() < int(announced):
            raise OpenMRSError("unreachable", f"the answer broke off after {raw.tell()} bytes")
        body = b"".join(parts)
        if self._debug:
            _log.warning(
                "Debug: %s of OpenMRS answers %d: %s",
                response.request.method,
                response.status_code,
                body[:DEBUGGED].decode("utf-8", "replace"),
            )
        return body


class _Session(requests.Session):
    """A session to which a redirect is an answer like any other: requests reads the whole body
    of one, however long, even where it isn't followed."""

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """No redirect has a target."""
        return None


# urllib3's read time-out counts from byte to byte. The body is watched in `_read`; its head
# must come in time as a whole too, for a server that drips would hold a thread for ever.


class _LimitedHead(HTTPConnection):
    def getresponse(self) -> Any:
        late = threading.Event()

        def cut() -> None:
            late.set()
            with suppress(OSError):
                self.sock.shutdown(socket.SHUT_RDWR)

        timer = threading.Timer(self.timeout or 0, cut)
        timer.daemon = True
        timer.start()
        try:
            return super().getresponse()
        finally:
            timer.cancel()
            if late.is_set():  # what there is of a head may even look complete
                raise TimeoutError


class _LimitedHeadTLS(_LimitedHead, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _LimitedHead


class _PoolTLS(HTTPSConnectionPool):
    ConnectionCls = _LimitedHeadTLS


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _PoolTLS}


def problem_of_status(status: int) -> str:
    """One of PROBLEMS, "" for 200."""
    if status == 200:
        return ""
    if status == 401 or 300 <= status < 400:
        return "credentials"
    return {403: "privilege", 404: "not-found"}.get(status, "server-error")


def _refuse_status(status: int) -> None:
    kind = problem_of_status(status)
    if kind:
        raise OpenMRSError(kind, f"HTTP {status}")


def system_certificates() -> bool | str:
    """The system's certificates where OpenSSL knows them, else those of certifi."""
    paths = ssl.get_default_verify_paths()
    return paths.cafile or paths.capath or True


def _tls_reason(problem: BaseException) -> str:
    for cause in _causes(problem):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"certificate refused: {cause.verify_message}"
    return "the TLS connection failed"


def _connection_reason(problem: BaseException) -> str:
    for cause in _causes(problem):
        if isinstance(cause, socket.gaierror):
            return "the host name is unknown"
        if isinstance(cause, OSError) and cause.strerror:
            return f"connection failed: {cause.strerror}"
    return f"connection failed ({type(problem).__name__})"


def _causes(problem: BaseException | None) -> Iterator[BaseException]:
    for _ in range(8):
        if problem is None:
            return
        yield problem
        inner = problem.args[0] if problem.args else None
        reason = getattr(inner, "reason", None) or getattr(problem, "reason", None)
        problem = (
            reason
            if isinstance(reason, BaseException)
            else inner
            if isinstance(inner, BaseException)
            else problem.__cause__ or problem.__context__
        )
