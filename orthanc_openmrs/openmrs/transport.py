"""HTTP to OpenMRS, whatever is asked.

Decides: credentials, time limits, size limits, TLS, and which problem a failure is. Must not
know: OpenMRS's routes, what is in an answer, when to ask again. It keeps no cookie, follows no
redirect and uses no proxy of the environment, so that credentials reach the configured host only.
"""

import logging
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from http.client import BadStatusLine, HTTPException
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from orthanc_openmrs import __version__
from orthanc_openmrs.errors import OpenMRSError
from orthanc_openmrs.model import Answer
from orthanc_openmrs.openmrs.answers import problem_of, read_exception
from orthanc_openmrs.openmrs.sign_in import SignIn

_log = logging.getLogger(__name__)

MAX_PAGE = 512 * 1024
"""Bytes read of an answer that isn't 200; a Java exception with its causes has a tenth of it."""

DEBUGGED = 20_000
"""Characters of a payload that `OpenMRS.Debug` logs."""

_CHUNK = 256 * 1024

_NETWORK_PROBLEMS = (
    requests.RequestException,
    urllib3.exceptions.HTTPError,
    HTTPException,
    OSError,
)


_REFUSED = ("credentials", "single-sign-on")
"""Problems of which another sign-in may be the end."""


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    url: str
    params: dict[str, str] | None
    json: object = field(repr=False)
    form: dict[str, str] | None = field(repr=False)


class Transport:
    """One account on one OpenMRS. Safe for several threads: each has its own session."""

    def __init__(
        self,
        *,
        sign_in: SignIn | None = None,
        verify: bool | str = True,
        client_certificate: tuple[str, str] | str | None = None,
        debug: bool = False,
    ) -> None:
        self._debug = debug
        self._sign_in = sign_in
        self._verify = system_certificates() if verify is True else verify
        self._certificate = client_certificate
        self._local = threading.local()
        self._closed = threading.Event()

    def ask(
        self,
        method: str,
        url: str,
        *,
        timeout: float,
        limit: int,
        params: dict[str, str] | None = None,
        json: object = None,
        form: dict[str, str] | None = None,
    ) -> Answer:
        """The answer of any status; one that isn't 200 is cut at MAX_PAGE. Where a sign-in was
        refused that can be renewed, it is asked for once more.

        Raises OpenMRSError where there is none within `timeout` seconds, or where it is longer
        than `limit` bytes.
        """
        request = _Request(method, url, params, json, form)
        if self._sign_in is None:
            return self._answer(request, "", timeout, limit)
        header = self._sign_in.header()
        answer = self._answer(request, header, timeout, limit)
        if answer.problem in _REFUSED and self._sign_in.renew(header):
            answer = self._answer(request, self._sign_in.header(), timeout, limit)
        return replace(answer, problem=self._sign_in.problem(answer.problem))

    def _answer(self, request: "_Request", header: str, timeout: float, limit: int) -> Answer:
        with self._exchange(request, header, timeout) as response:
            status = response.status_code
            body = self._read(response, limit if status == 200 else MAX_PAGE, timeout)
            location = response.headers.get("Location", "")
            return Answer(
                status,
                body,
                response.headers.get("Date", ""),
                problem_of(status, asked=request.url, location=location, body=body),
            )

    def close(self) -> None:
        """Let no new exchange start; one that waits is abandoned by its daemon thread."""
        self._closed.set()

    @contextmanager
    def _exchange(
        self, request: "_Request", header: str, timeout: float
    ) -> Iterator[requests.Response]:
        if self._debug:
            sent = str(request.json or "")[:DEBUGGED]
            _log.warning("Debug: %s %s %s", request.method, request.params or "", sent)
        if self._closed.is_set():
            raise OpenMRSError("unreachable", "the plugin is stopping")
        try:
            response = self._session().request(
                request.method,
                request.url,
                params=request.params,
                json=request.json,
                data=request.form,
                headers={"Authorization": header} if header else None,
                timeout=(min(timeout, 10), timeout),
                stream=True,
                allow_redirects=False,
            )
            try:
                yield response
            finally:
                response.close()
        except requests.exceptions.SSLError as problem:
            raise _tls_problem(problem) from None
        except (requests.Timeout, urllib3.exceptions.TimeoutError, TimeoutError):
            raise OpenMRSError("timeout", f"no answer within {timeout:g} s") from None
        except _NETWORK_PROBLEMS as problem:
            raise _connection_problem(problem) from None

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = _Session()
            session.trust_env = False
            session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
            session.mount("http://", _Adapter())
            session.mount("https://", _Adapter())
            session.verify = self._verify
            session.cert = self._certificate
            session.headers["User-Agent"] = f"orthanc-openmrs/{__version__}"
            session.headers["Accept"] = "application/json"
            # A list of years is a tenth as long; `_read` bounds what comes of it.
            session.headers["Accept-Encoding"] = "gzip"
            self._local.session = session
        return session

    def _read(self, response: requests.Response, limit: int, timeout: float) -> bytes:
        """The body, refused while it arrives where it is too long (cut, where it isn't the answer
        that was asked for) or takes too long in all."""
        deadline = time.monotonic() + timeout
        parts: list[bytes] = []
        size = 0
        raw = response.raw
        while True:
            try:
                # read1: what has come, for read(n) waits for all of n from a server that drips.
                part = raw.read1(_CHUNK, decode_content=True)
            except _NETWORK_PROBLEMS:
                if _is_exception(parts):
                    break
                raise
            if not part:
                break
            size += len(part)
            parts.append(part)
            if size > limit:
                if response.status_code != 200:
                    break
                raise OpenMRSError("too-big", f"the answer is longer than {limit} bytes")
            if time.monotonic() > deadline:
                raise OpenMRSError("timeout", f"the answer was not complete after {timeout:g} s")
        announced = response.headers.get("Content-Length", "")
        broke_off = size <= limit and announced.isdigit() and raw.tell() < int(announced)
        if broke_off and not _is_exception(parts):
            raise OpenMRSError("unreachable", f"the answer broke off after {raw.tell()} bytes")
        body = b"".join(parts)[:limit]
        if self._debug:
            _log.warning(
                "Debug: %s of OpenMRS answers %d: %s",
                response.request.method,
                response.status_code,
                body[:DEBUGGED].decode("utf-8", "replace"),
            )
        return body


def _is_exception(parts: list[bytes]) -> bool:
    """Whether what has come, before an answer broke off, is an exception of OpenMRS: that is an
    answer, though not a whole one."""
    return read_exception(b"".join(parts)) is not None


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


def system_certificates() -> bool | str:
    """The system's certificates where OpenSSL knows them, else those of certifi."""
    paths = ssl.get_default_verify_paths()
    return paths.cafile or paths.capath or True


def _tls_problem(problem: BaseException) -> OpenMRSError:
    for cause in _causes(problem):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return OpenMRSError("tls", f"certificate refused: {cause.verify_message}")
        if isinstance(cause, ssl.SSLError) and cause.reason in _NO_TLS:
            return OpenMRSError("http-port", "the answer to TLS is no TLS")
    return OpenMRSError("tls", "the TLS connection failed")


_NO_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE")
"""What OpenSSL calls an answer that is none, before and since 3.2."""

_TLS_RECORDS = ("\x15\x03", "\x16\x03")
"""How an alert or a handshake begins: a TLS port that was spoken to without TLS."""


def _connection_problem(problem: BaseException) -> OpenMRSError:
    for cause in _causes(problem):
        if isinstance(cause, socket.gaierror):
            return OpenMRSError("unreachable", "the host name is unknown")
        if isinstance(cause, BadStatusLine) and str(cause).startswith(_TLS_RECORDS):
            return OpenMRSError("tls-port", "the answer is TLS")
        if isinstance(cause, OSError) and cause.strerror:
            return OpenMRSError("unreachable", f"connection failed: {cause.strerror}")
    return OpenMRSError("unreachable", f"connection failed ({type(problem).__name__})")


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
