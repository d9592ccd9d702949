"""The sockets: connections accepted, read, written and ended in one thread, requests in a few.

Decides: how many associations there are, how long each may take, whom it lets in. Each peer costs
what its bounds allow, whatever it does. Must not know: what a handler does.
"""

import contextlib
import errno
import logging
import queue
import selectors
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from orthanc_openmrs.dimse import pdu
from orthanc_openmrs.dimse.messages import (
    NO_SUCH_SOP_CLASS,
    PROCESSING_FAILURE,
    UNRECOGNIZED_OPERATION,
    VERIFICATION,
    Assembler,
    Handler,
    Malformed,
    Operation,
    Reply,
    Request,
    write_response,
)
from orthanc_openmrs.dimse.upper_layer import Ended, Released, State, UpperLayer

_log = logging.getLogger(__name__)

HANDLERS = 2
"""Threads that answer requests: one that waits for the disk doesn't keep the other from it."""

READ_AT_ONCE = 65536
HELD_AT_MOST = 32 * 1024 * 1024
"""Bytes of unfinished datasets of all peers together."""

MESSAGE_TIMEOUTS = 4
"""Time-outs that a whole message may take, however busily its peer sends."""

LINGER = 2.0
LINGER_BYTES = 1024 * 1024
"""Seconds that a peer is given to read our last word and to close, and what it may send yet: a
connection that is closed before loses that word."""

BACKLOG = 128

TOLD_AGAIN = 60.0
TOLD_AT_MOST = 20
"""Seconds in which the log has each refusal once, and how many of them."""

_TRANSFER_SYNTAXES = (pdu.EXPLICIT_LITTLE_ENDIAN, pdu.IMPLICIT_LITTLE_ENDIAN)


@dataclass(frozen=True, slots=True)
class Rules:
    """Who may do what. `services`: abstract syntax → what it answers; `refusal`: why an
    association from an address isn't taken, None where it is."""

    services: Mapping[str, Mapping[Operation, Handler]]
    refusal: Callable[[pdu.AssociateRequest, str], pdu.Rejection | None]
    max_associations: int = 64
    timeout: float = 30.0


class Server:
    """The server behind one port."""

    def __init__(
        self, rules: Rules, address: tuple[str, int], tls: ssl.SSLContext | None = None
    ) -> None:
        """Opens the port. Raises OSError where it can't."""
        self._rules = rules
        self._services = {**rules.services, VERIFICATION: {Operation.C_ECHO: _echo}}
        self._tls = tls
        self._listener = _listen(address)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._waker, self._woken = socket.socketpair()
        for end in (self._waker, self._woken, self._listener):
            end.setblocking(False)
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._connections: set[_Connection] = set()
        self._work: queue.SimpleQueue[tuple[_Connection, Request] | None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[tuple[_Connection, Request, Reply]] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._told: set[tuple[str, str]] = set()
        self._told_since = time.monotonic()
        self._threads = [
            threading.Thread(target=self._serve, name="openmrs-dimse", daemon=True),
            *(
                threading.Thread(target=self._handle, name=f"openmrs-dimse-{at}", daemon=True)
                for at in range(HANDLERS)
            ),
        ]

    @property
    def port(self) -> int:
        """The port that is open."""
        port: int = self._listener.getsockname()[1]
        return port

    @property
    def associations(self) -> int:
        """How many are established now."""
        return sum(one.layer.state in _ESTABLISHED for one in list(self._connections))

    def start(self) -> None:
        """Begin to answer."""
        for thread in self._threads:
            thread.start()

    def tell_to_stop(self) -> None:
        """Let the threads end; a request that is being answered may end first."""
        self._stopping.set()
        self._wake()
        for _ in range(HANDLERS):
            self._work.put(None)

    def join(self, deadline: float) -> None:
        """Wait for the threads until a moment of `time.monotonic`, and close the port."""
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(max(0.0, deadline - time.monotonic()))
        if self._threads[0].ident is None:
            self._release()

    def _release(self) -> None:
        for end in (self._listener, self._waker, self._woken):
            end.close()
        self._selector.close()

    def _wake(self) -> None:
        with contextlib.suppress(OSError):  # it is woken already, or has ended
            self._waker.send(b"\0")

    # --- the threads that answer ---

    def _handle(self) -> None:
        while (job := self._work.get()) is not None and not self._stopping.is_set():
            connection, request = job
            self._done.put((connection, request, self._reply(connection, request)))
            self._wake()

    def _reply(self, connection: "_Connection", request: Request) -> Reply:
        abstract_syntax = connection.contexts[request.context][0]
        handlers = self._services[abstract_syntax]
        try:
            handler = handlers.get(Operation(request.command))
        except ValueError:
            handler = None
        if handler is None:
            known = any(request.command in one for one in self._services.values())
            return Reply(NO_SUCH_SOP_CLASS if known else UNRECOGNIZED_OPERATION)
        try:
            return handler(request)
        except Exception:  # the thread must live
            _log.exception("a request of %s failed", request.calling_ae_title)
            return Reply(PROCESSING_FAILURE, error_comment="the server failed")

    # --- the thread of the sockets ---

    def _serve(self) -> None:
        while not self._stopping.is_set():
            try:
                self._turn()
            except Exception:  # the thread must live
                _log.exception("the server of performed procedure steps stumbles")
                self._stopping.wait(0.1)
        for connection in list(self._connections):
            connection.abort("Orthanc stops")
            self._write(connection)
            self._close(connection)
        self._release()

    def _turn(self) -> None:
        now = time.monotonic()
        nearest = min((one.deadline for one in self._connections), default=now + 1.0)
        for key, events in self._selector.select(max(0.0, min(nearest - now, 1.0))):
            if key.fileobj is self._listener:
                self._accept()
            elif key.fileobj is self._woken:
                self._take_replies()
            else:
                self._attend(key.data, events)
        now = time.monotonic()
        for connection in [one for one in self._connections if one.deadline <= now]:
            self._expire(connection)

    def _accept(self) -> None:
        try:
            sock, address = self._listener.accept()
        except OSError as problem:  # the peer has gone, or there are no more descriptors
            _log.warning("a connection can't be accepted: %s", problem.strerror)
            self._stopping.wait(0.01)
            return
        if len(self._connections) >= 2 * self._rules.max_associations:
            self._make_room()
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        host = address[0].removeprefix("::ffff:")  # IPv4 at a socket of both
        connection = _Connection(sock, host, self._tls, self._rules.timeout)
        self._connections.add(connection)
        self._watch(connection)

    def _make_room(self) -> None:
        """Those that never asked for an association go first, the longest waiting of them:
        a scanner asks at once."""
        silent = [one for one in self._connections if one.layer.state is not State.STA6]
        oldest = min(silent or self._connections, key=lambda one: one.deadline)
        oldest.abort("too many connections")
        self._write(oldest)
        self._close(oldest)

    def _attend(self, connection: "_Connection", events: int) -> None:
        if connection not in self._connections:
            return
        try:
            if events & selectors.EVENT_READ:
                connection.read()
            self._advance(connection)
        except OSError:  # the connection broke, or isn't TLS
            self._close(connection)
        except Exception:
            _log.exception("the association of %s breaks", connection.name)
            self._close(connection)

    def _advance(self, connection: "_Connection") -> None:
        """Take what has come, unless an answer is under way; then write."""
        while not connection.is_busy and (indication := connection.layer.next()) is not None:
            match indication:
                case pdu.AssociateRequest():
                    self._associate(connection, indication)
                case pdu.Fragment():
                    self._take(connection, indication)
                case Released():
                    connection.layer.release()
                case Ended(why):
                    _log.info("the association of %s ends: %s", connection.name, why)
        self._write(connection)

    def _associate(self, connection: "_Connection", request: pdu.AssociateRequest) -> None:
        connection.name = f"{request.calling_ae_title[:16]!r} at {connection.address}"
        rejection = self._refusal(request, connection.address)
        if rejection is not None:
            self._tell(connection.name, rejection.words)
            connection.layer.reject(rejection)
            return
        connection.calling_ae_title = request.calling_ae_title
        answers = [self._answer(context) for context in request.contexts]
        connection.contexts = {
            context.id: (context.abstract_syntax, answer.transfer_syntax)
            for context, answer in zip(request.contexts, answers, strict=True)
            if answer.result == pdu.Accepted.ACCEPTANCE
        }
        connection.layer.accept(request, answers)

    def _tell(self, name: str, words: str) -> None:
        """Each refusal once in a while, and not too many: a peer may ask again and again."""
        now = time.monotonic()
        if now - self._told_since > TOLD_AGAIN:
            self._told.clear()
            self._told_since = now
        if (name, words) not in self._told and len(self._told) < TOLD_AT_MOST:
            self._told.add((name, words))
            _log.warning("%s is refused: %s", name, words)

    def _refusal(self, request: pdu.AssociateRequest, address: str) -> pdu.Rejection | None:
        if not request.protocol_version & 1:
            return pdu.VERSION_NOT_SUPPORTED
        if request.application_context != pdu.APPLICATION_CONTEXT:
            return pdu.APPLICATION_CONTEXT_NOT_SUPPORTED
        if self.associations > self._rules.max_associations:  # with this one
            return pdu.LOCAL_LIMIT_EXCEEDED
        return self._rules.refusal(request, address)

    def _answer(self, context: pdu.Context) -> pdu.Accepted:
        offered = context.transfer_syntaxes
        chosen = next((one for one in _TRANSFER_SYNTAXES if one in offered), "")
        if context.abstract_syntax not in self._services:
            result = pdu.Accepted.ABSTRACT_SYNTAX_NOT_SUPPORTED
        elif not chosen:
            result = pdu.Accepted.TRANSFER_SYNTAXES_NOT_SUPPORTED
        else:
            result = pdu.Accepted.ACCEPTANCE
        return pdu.Accepted(context.id, result, chosen or pdu.IMPLICIT_LITTLE_ENDIAN)

    def _take(self, connection: "_Connection", fragment: pdu.Fragment) -> None:
        if fragment.context not in connection.contexts:
            connection.abort("a fragment is of no accepted presentation context")
            return
        try:
            request = connection.assembler.add(fragment)
        except Malformed as problem:
            connection.abort(str(problem))
            return
        if request is not None:
            connection.is_busy = True
            request = replace(
                request,
                transfer_syntax=connection.contexts[fragment.context][1],
                calling_ae_title=connection.calling_ae_title,
            )
            self._work.put((connection, request))
        elif sum(one.assembler.held for one in self._connections) > HELD_AT_MOST:
            connection.abort("the datasets under way need too much memory")

    def _take_replies(self) -> None:
        self._woken.recv(4096)
        while True:
            try:
                connection, request, reply = self._done.get_nowait()
            except queue.Empty:
                return
            if connection not in self._connections:
                continue
            connection.is_busy = False
            if connection.layer.state is State.STA6:
                connection.layer.send(request.context, True, write_response(request, reply))
                if reply.dataset is not None:
                    connection.layer.send(request.context, False, reply.dataset)
            self._attend(connection, 0)

    def _write(self, connection: "_Connection") -> None:
        try:
            connection.write()
        except OSError:
            connection.layer.receive(b"")
        if connection.layer.is_closed:
            self._close(connection)
            return
        connection.set_deadline(self._rules.timeout)
        self._watch(connection)

    def _watch(self, connection: "_Connection") -> None:
        """Read only what can be taken: a peer that floods fills its own buffers."""
        wanted = connection.wanted()
        if wanted == connection.watched:
            return
        if not wanted:
            self._selector.unregister(connection.sock)
        elif connection.watched:
            self._selector.modify(connection.sock, wanted, connection)
        else:
            self._selector.register(connection.sock, wanted, connection)
        connection.watched = wanted

    def _expire(self, connection: "_Connection") -> None:
        layer = connection.layer
        if layer.state in _ESTABLISHED:
            connection.abort("nothing has come for too long")
            self._advance(connection)
        else:
            layer.time_out()
            self._close(connection)

    def _close(self, connection: "_Connection") -> None:
        if connection.watched:
            self._selector.unregister(connection.sock)
        self._connections.discard(connection)
        connection.sock.close()


_ESTABLISHED = (State.STA3, State.STA6, State.STA8)


class _Connection:
    """One peer: its socket, its association, what is to be written, when it has to be done."""

    def __init__(
        self, sock: socket.socket, address: str, tls: ssl.SSLContext | None, timeout: float
    ) -> None:
        self.sock = sock
        self.address = address
        self.name = address
        self.layer = UpperLayer()
        self.assembler = Assembler()
        self.contexts: dict[int, tuple[str, str]] = {}
        self.calling_ae_title = ""
        self.is_busy = False
        self.watched = 0
        self.deadline = time.monotonic() + timeout
        self._tls = _Tls(tls) if tls else None
        self._out = bytearray()
        self._progress = time.monotonic()
        self._exchange: float | None = None
        self._has_said_all = False
        self._dropped = 0

    def read(self) -> None:
        """Take what has come."""
        try:
            data = self.sock.recv(READ_AT_ONCE)
        except BlockingIOError:
            return
        self._progress = time.monotonic()
        if self.layer.state is State.STA13:
            self._dropped += len(data)
            if self._dropped > LINGER_BYTES:
                data = b""
        if data and self._tls:
            data = self._tls.decrypted(data)
            if not data:
                return  # of the handshake
        self.layer.receive(data)

    def write(self) -> None:
        """Write as much as the peer takes."""
        while self._fill():
            try:
                sent = self.sock.send(self._out)
            except BlockingIOError:
                return
            self._progress = time.monotonic()
            del self._out[:sent]

    def _fill(self) -> bool:
        """Get the next bytes to be written; whether there are any."""
        outgoing = self.layer.outgoing
        while outgoing and len(self._out) < READ_AT_ONCE:
            part = next(outgoing[0], None)
            if part is None:
                outgoing.popleft()
            else:
                self._out += self._tls.encrypted(part) if self._tls else part
        if self._tls:
            self._out += self._tls.waiting()
        return bool(self._out)

    def abort(self, why: str) -> None:
        """End the association from this side."""
        self.layer.abort(why)

    def wanted(self) -> int:
        """The events of the socket that can be dealt with now."""
        if self._out:
            return selectors.EVENT_WRITE
        return 0 if self.is_busy else selectors.EVENT_READ

    def set_deadline(self, timeout: float) -> None:
        """Reckon anew until when the peer has to do what it is to do next."""
        if self.is_busy:
            self._exchange = None
            self.deadline = float("inf")
        elif self.layer.state is State.STA6:
            self.deadline = self._progress + timeout
            if not (self._out or self.layer.has_part_of_pdu or self.assembler.has_part_of_message):
                self._exchange = None
                return
            if self._exchange is None:
                self._exchange = time.monotonic()
            self.deadline = min(self.deadline, self._exchange + MESSAGE_TIMEOUTS * timeout)
        elif self.layer.state is State.STA13 and not self._has_said_all:
            self._has_said_all = not self._out
            if self._has_said_all:
                with contextlib.suppress(OSError):
                    self.sock.shutdown(socket.SHUT_WR)
            self.deadline = min(self.deadline, time.monotonic() + LINGER)


class _Tls:
    """TLS between the socket's bytes and the association's. Raises ssl.SSLError, an OSError."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._is_open = False

    def decrypted(self, data: bytes) -> bytes:
        """What the peer's bytes hold, b"" where nothing yet."""
        self._incoming.write(data)
        found = bytearray()
        try:
            if not self._is_open:
                self._object.do_handshake()
                self._is_open = True
            while part := self._object.read(READ_AT_ONCE):
                found += part
        except ssl.SSLWantReadError:
            pass
        return bytes(found)

    def encrypted(self, data: bytes) -> bytes:
        """The bytes to be sent for these."""
        if self._is_open:
            self._object.write(data)
        return self.waiting()

    def waiting(self) -> bytes:
        """What TLS itself has to send."""
        return self._outgoing.read()


def _listen(address: tuple[str, int]) -> socket.socket:
    """The open port; on all addresses of IPv4 and IPv6 where none is named."""
    host, port = address
    if host:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server(address, family=family, backlog=BACKLOG)
    if socket.has_dualstack_ipv6():
        try:
            return socket.create_server(
                ("::", port), family=socket.AF_INET6, backlog=BACKLOG, dualstack_ipv6=True
            )
        except OSError as problem:
            if problem.errno == errno.EADDRINUSE:
                raise
    return socket.create_server(("0.0.0.0", port), backlog=BACKLOG)  # noqa: S104 - all, as Orthanc


def _echo(request: Request) -> Reply:
    return Reply()
