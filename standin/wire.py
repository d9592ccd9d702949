"""The wire: HTTP requests in, answers out, and the faults that happen to a connection.

Decides how bytes are read, written, delayed and cut. Must not know OpenMRS: a Site answers.
"""

import base64
import binascii
import gzip
import select
import socket
import struct
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol
from urllib.parse import parse_qsl, urlsplit

from .answers import JSON, Answer, exception_answer, page_answer
from .faults import INSTEAD, Fault

LEAST_GZIP = 2048
"""Bytes of an answer that a servlet container packs, where the client asks for it."""


@dataclass(frozen=True)
class LoggedRequest:
    """A request as received. `status` is None until, or unless, it is answered, `seconds` (what
    the answer took, until the last byte was sent) likewise."""

    method: str
    path: str
    query: str
    body: bytes
    user: str | None
    time: float  # monotonic
    status: int | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class Received:
    method: str
    path: str
    query: Mapping[str, str]
    body: bytes
    content_type: str
    credentials: tuple[str, str] | None
    bearer: str | None = None
    authorization: str = ""


class Site(Protocol):
    def answer(self, received: Received) -> Answer: ...
    def control(self, received: Received) -> Answer: ...
    def pick_fault(self, method: str, path: str) -> tuple[Fault, threading.Event] | None: ...
    def log_received(self, entry: LoggedRequest) -> int: ...
    def log_answered(self, number: int, status: int) -> None: ...
    def log_sent(self, number: int) -> None: ...


class Server(ThreadingHTTPServer):
    """Knows its open connections, so that stopping and clearing a fault can end them."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], site: Site) -> None:
        super().__init__(address, _Handler)
        self.site = site
        self.stopping = False
        self.streams: set[socket.socket] = set()  # endless and drip
        self._connections: set[socket.socket] = set()
        self._packed = (b"", b"")

    def gzipped(self, body: bytes) -> bytes:
        """Packed once as long as the same answer is asked for: a long list takes its time."""
        last = self._packed
        if last[0] != body:
            last = self._packed = (body, gzip.compress(body, 1))
        return last[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), OSError):  # a client that left is no error
            super().handle_error(request, client_address)

    def cut_connections(self) -> None:
        _shut(self._connections.copy())

    def cut_streams(self) -> None:
        _shut(self.streams.copy())


def _shut(connections: set[socket.socket]) -> None:
    for connection in connections:
        try:
            connection.shutdown(socket.SHUT_RDWR)
        except OSError:  # already closed
            continue


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: Server

    def do_GET(self) -> None:
        site = self.server.site
        url = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        authorization = self.headers.get("Authorization")
        credentials = _credentials(authorization)
        received = Received(
            self.command,
            url.path,
            dict(reversed(parse_qsl(url.query, keep_blank_values=True))),  # the first one counts
            body,
            self.headers.get("Content-Type") or "",
            credentials,
            _bearer(authorization),
            authorization or "",
        )
        if url.path.startswith("/standin/"):
            self._send(site.control(received))
            return
        # Picked before it is logged: a request that a test sees in the log is already held.
        picked = site.pick_fault(self.command, url.path)
        user = credentials[0] if credentials else None
        self._entry = site.log_received(
            LoggedRequest(self.command, url.path, url.query, body, user, time.monotonic())
        )
        answer = site.answer(received) if picked is None else self._fail(received, *picked)
        if answer is not None:
            site.log_answered(self._entry, answer.status)
            self._send(answer)
            site.log_sent(self._entry)

    do_POST = do_PUT = do_DELETE = do_GET

    def _fail(self, received: Received, fault: Fault, over: threading.Event) -> Answer | None:
        """The answer to give, or None where the connection is done with."""
        site = self.server.site
        if fault.kind in INSTEAD:
            return INSTEAD[fault.kind](fault)
        match fault.kind:
            case "slow" | "hang":
                over.wait(fault.seconds if fault.kind == "slow" else None)
                gone = fault.kind == "hang" and self._client_left()
                if not self.server.stopping and not gone:
                    return site.answer(received)
            case "error_after_save":
                site.answer(received)
                return page_answer(500)
            case "exception_after_save":
                site.answer(received)
                return exception_answer(fault.text or "null")
            case "cut_after_save":
                site.answer(received)
                self._reset()
            case "cut":
                self._reset()
            case "truncated":
                self._begin(("Content-Length", "4096"))
                self.wfile.write(b'[{"AccessionNumber":"1')
            case "endless" | "drip":
                self._stream(fault.kind, over)
        self.close_connection = True
        return None

    def _stream(self, kind: str, over: threading.Event) -> None:
        self.server.streams.add(self.connection)  # where clearing the fault ends a blocked write
        try:
            if kind == "endless":
                self._begin(("Transfer-Encoding", "chunked"))
                piece = b"{}, " * 16384
                self.wfile.write(b"1\r\n[\r\n")
                while not over.is_set():
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            else:
                self._begin(("Content-Length", str(1 << 40)))
                while not over.wait(0.2):
                    self.wfile.write(b" ")
                    self.wfile.flush()
        finally:
            self.server.streams.discard(self.connection)

    def _begin(self, length: tuple[str, str]) -> None:
        self.server.site.log_answered(self._entry, 200)
        self.send_response(200)
        self.send_header("Content-Type", JSON)
        self.send_header(*length)
        self.end_headers()
        self.wfile.flush()

    def _send(self, answer: Answer) -> None:
        body, headers = answer.body, {"Content-Type": answer.content_type} if answer.body else {}
        if answer.breaks_off:
            self._break_off(answer, headers)
            return
        asked = "gzip" in (self.headers.get("Accept-Encoding") or "")
        if asked and len(body) >= LEAST_GZIP and "Content-Encoding" not in answer.headers:
            headers["Content-Encoding"] = "gzip"
            body = self.server.gzipped(body)
        headers |= {"Content-Length": str(len(body))} | dict(answer.headers)
        self._head(answer.status, headers)
        self.wfile.write(body)

    def _break_off(self, answer: Answer, headers: dict[str, str]) -> None:
        self._head(answer.status, headers | {"Transfer-Encoding": "chunked"})
        self.wfile.write(b"%x\r\n%s\r\n" % (len(answer.body), answer.body))
        self.close_connection = True

    def _head(self, status: int, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _client_left(self) -> bool:
        if not select.select([self.connection], [], [], 0)[0]:
            return False
        return not self.connection.recv(1, socket.MSG_PEEK)

    def _reset(self) -> None:
        linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet: requests_log has it."""


def _credentials(header: str | None) -> tuple[str, str] | None:
    """As webservices.rest splits them, at every colon: what comes after a second one is lost."""
    scheme, _, encoded = (header or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, *password = base64.b64decode(encoded).decode("utf-8").split(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return (user, password[0]) if password else None


def _bearer(header: str | None) -> str | None:
    scheme, _, token = (header or "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None
