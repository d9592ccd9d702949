"""The server's sockets, against peers of raw bytes: good ones, slow ones, hostile ones."""

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from typing import Any

import pytest

from orthanc_openmrs.dimse import pdu
from orthanc_openmrs.dimse.messages import Operation, Reply, Request
from orthanc_openmrs.dimse.server import Rules, Server
from trial.dimse_peer import (
    ABORT,
    MPPS,
    RELEASE_RQ,
    TIMEOUT,
    VERIFICATION,
    associate_request,
    command,
    message,
    peer,
)

Start = Callable[..., Server]
SHORT = 0.4
"""Seconds that a peer is given where a test waits for its end."""


class Kept:
    """What a handler was given, and what it answers."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.reply = Reply()
        self.breaks = False
        self.may_go = threading.Event()
        self.may_go.set()

    def __call__(self, request: Request) -> Reply:
        assert self.may_go.wait(TIMEOUT)
        if self.breaks:
            raise ValueError("the handler broke")
        self.requests.append(request)
        return self.reply


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture
def start(kept: Kept) -> Iterator[Start]:
    with ExitStack() as stack:

        def started(
            refusal: Callable[[pdu.AssociateRequest, str], pdu.Rejection | None] | None = None,
            **rules: Any,
        ) -> Server:
            services = {MPPS: {Operation.N_CREATE: kept, Operation.N_SET: kept}}
            services["1.2.840.10008.3.1.2.3.4"] = {Operation.N_GET: kept}
            server = Server(
                Rules(services, refusal or (lambda request, address: None), **rules),
                ("127.0.0.1", 0),
            )
            server.start()
            stack.callback(_stop, server)
            return server

        yield started


def _stop(server: Server) -> None:
    started = time.monotonic()
    server.tell_to_stop()
    server.join(started + 5)
    assert time.monotonic() - started < 1


def until(promise: Callable[[], bool]) -> None:
    """Wait for what another thread is to do."""
    deadline = time.monotonic() + TIMEOUT
    while not promise():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.002)


# --- good peers ----------------------------------------------------------------------------


def test_an_association_with_requests_and_a_release(start: Start, kept: Kept) -> None:
    server = start()
    with peer(server.port) as scanner:
        assert scanner.associate() == 2
        assert scanner.ask(Operation.C_ECHO, sop_class=VERIFICATION) == 0
        assert scanner.ask(Operation.N_CREATE, b"dataset!", uid="1.2.3") == 0
        kept.reply = Reply(0x0110, error_id=0xA710)
        assert scanner.ask(Operation.N_SET, b"more", uid="1.2.3") == 0x0110
        scanner.send(RELEASE_RQ)
        assert scanner.pdu()[0] == 6
        assert scanner.pdu()[0] == 0
    first, second = kept.requests
    assert (first.command, first.sop_instance_uid, first.dataset) == (0x140, "1.2.3", b"dataset!")
    assert (first.calling_ae_title, first.transfer_syntax) == ("CT1", "1.2.840.10008.1.2")
    assert (second.command, second.dataset) == (0x120, b"more")


@pytest.mark.parametrize(
    ("syntaxes", "result", "chosen"),
    [
        (("1.2.840.10008.1.2",), 0, "1.2.840.10008.1.2"),
        (("1.2.840.10008.1.2", "1.2.840.10008.1.2.1"), 0, "1.2.840.10008.1.2.1"),
        (("1.2.840.10008.1.2.2",), 4, "1.2.840.10008.1.2"),
        ((), 4, "1.2.840.10008.1.2"),
    ],
)
def test_contexts_are_answered_one_by_one(
    start: Start, syntaxes: tuple[str, ...], result: int, chosen: str
) -> None:
    with peer(start().port) as scanner:
        scanner.send(associate_request({1: (MPPS, syntaxes), 7: ("1.2.3.4", syntaxes)}))
        kind, body = scanner.pdu()
    assert kind == 2
    assert b"\x21\x00" + struct.pack(">HBxBx", len(chosen) + 8, 1, result) in body
    assert b"\x21\x00" + struct.pack(">HBxBx", len(chosen) + 8, 7, 3) in body


@pytest.mark.parametrize(
    ("values", "answer"),
    [
        ({"version": 2}, (1, 2, 2)),
        ({"application_context": "1.2.3"}, (1, 1, 2)),
        ({"called": "OTHER"}, (1, 1, 7)),
    ],
)
def test_an_association_is_refused_in_the_words_of_the_standard(
    start: Start, values: dict[str, Any], answer: tuple[int, int, int]
) -> None:
    def refusal(request: pdu.AssociateRequest, address: str) -> pdu.Rejection | None:
        assert address == "127.0.0.1"
        return pdu.CALLED_NOT_RECOGNIZED if request.called_ae_title != "ORTHANC" else None

    with peer(start(refusal).port) as scanner:
        scanner.send(associate_request(**values))
        assert scanner.pdu() == (3, bytes([0, *answer]))
        assert scanner.pdu()[0] == 0


def test_an_operation_that_is_not_served_has_a_status(start: Start) -> None:
    with peer(start().port) as scanner:
        scanner.associate()
        assert scanner.ask(Operation.N_GET, uid="1.2.3") == 0x0118  # not in this context
        assert scanner.ask(0x0150, uid="1.2.3") == 0x0211  # N-DELETE


def test_a_handler_that_fails_costs_its_request_only(start: Start, kept: Kept) -> None:
    with peer(start().port) as scanner:
        scanner.associate()
        kept.breaks = True
        assert scanner.ask(Operation.N_CREATE, b"x", uid="1.2") == 0x0110
        kept.breaks = False
        assert scanner.ask(Operation.N_CREATE, b"x", uid="1.2") == 0


def test_requests_that_are_sent_ahead_are_answered_in_turn(start: Start, kept: Kept) -> None:
    with peer(start().port) as scanner:
        scanner.associate()
        scanner.send(
            b"".join(message(1, Operation.N_CREATE, b"x", uid=f"1.{at}") for at in range(50))
            + RELEASE_RQ
        )
        answers = [scanner.pdu()[0] for _ in range(51)]
    assert answers == [4] * 50 + [6]
    assert [one.sop_instance_uid for one in kept.requests] == [f"1.{at}" for at in range(50)]


# --- bounds --------------------------------------------------------------------------------


def test_one_association_too_many_is_refused_for_now(start: Start) -> None:
    server = start(max_associations=3)
    with ExitStack() as stack:
        peers = [stack.enter_context(peer(server.port)) for _ in range(4)]
        assert [one.associate() for one in peers[:3]] == [2, 2, 2]
        peers[3].send(associate_request())
        assert peers[3].pdu() == (3, b"\0\2\3\2")
        peers[0].send(RELEASE_RQ)
        assert peers[0].pdu()[0] == 6
        until(lambda: server.associations == 2)
        with peer(server.port) as another:
            assert another.associate() == 2


def test_silent_connections_make_room_for_a_scanner(start: Start) -> None:
    server = start(max_associations=4)
    with ExitStack() as stack:
        silent = [stack.enter_context(peer(server.port)) for _ in range(40)]
        with peer(server.port) as scanner:
            assert scanner.associate() == 2
        assert silent[0].pdu()[0] in (0, 7)


SILENT = {
    "nothing": b"",
    "three bytes": associate_request()[:3],
    "half a request": associate_request()[:80],
}


@pytest.mark.parametrize("sent", SILENT.values(), ids=SILENT)
def test_a_peer_that_never_asks_is_closed(start: Start, sent: bytes) -> None:
    with peer(start(timeout=SHORT).port) as one:
        one.send(sent)
        assert one.pdu()[0] == 0


@pytest.mark.parametrize(
    "sent",
    [b"", b"\x04\0\0", message(1, 0x0030)[:-2], message(1, Operation.N_SET, b"x" * 99)[:-20]],
    ids=["idle", "three bytes", "half a command", "half a dataset"],
)
def test_an_association_that_falls_silent_is_aborted(start: Start, sent: bytes) -> None:
    server = start(timeout=SHORT)
    with peer(server.port) as one:
        one.associate()
        one.send(sent)
        assert one.pdu()[0] == 7
        assert one.pdu()[0] == 0
    until(lambda: server.associations == 0)


def test_a_peer_that_drips_is_aborted(start: Start) -> None:
    """A byte now and then is no progress."""
    with peer(start(timeout=SHORT).port) as one:
        one.associate()
        started = time.monotonic()
        one.sock.settimeout(SHORT / 8)
        drips = iter(message(1, Operation.N_SET, b"x" * 500))
        while time.monotonic() - started < TIMEOUT:
            try:
                one.send(bytes([next(drips)]))
                if one.sock.recv(10):
                    break
            except TimeoutError:
                continue
            except OSError:
                break
        assert time.monotonic() - started < 8 * SHORT


HOSTILE = {
    "2 GiB": b"\x04\0\x80\0\0\0",
    "unknown type": b"\x55\0\0\0\0\4abcd",
    "no fragment": struct.pack(">BxL", 4, 0),
    "a fragment longer than its PDU": struct.pack(">BxLLBB", 4, 6, 200, 1, 3),
    "no such context": message(9, 0x0030),
    "a dataset before its command": b"".join(pdu.data(1, False, b"x", 0)),
    "a command that is none": b"".join(pdu.data(1, True, b"garbage!", 0)),
    "another association": associate_request(),
}


@pytest.mark.parametrize("sent", HOSTILE.values(), ids=HOSTILE)
def test_garbage_after_a_good_association_is_aborted(start: Start, sent: bytes) -> None:
    server = start()
    with peer(server.port) as hostile, peer(server.port) as scanner:
        assert scanner.associate() == 2
        hostile.associate()
        hostile.send(sent)
        assert hostile.pdu()[0] == 7
        assert scanner.ask(Operation.N_CREATE, b"x", uid="1.2") == 0


def test_endless_fragments_are_aborted(start: Start) -> None:
    server = start()
    with peer(server.port) as hostile:
        hostile.associate()
        n_set = command(Operation.N_SET, uid="1.2", dataset=True)
        hostile.send(b"".join(pdu.data(1, True, n_set, 0)))
        part = struct.pack(">BxLLBB", 4, 60006, 60002, 1, 0) + bytes(60000)
        sent = 0
        with suppress(OSError):
            while sent < 64 * 1024 * 1024:
                hostile.send(part)
                sent += len(part)
        assert sent < 16 * 1024 * 1024
    until(lambda: server.associations == 0)


def test_a_peer_that_does_not_read_its_answer_is_closed(start: Start, kept: Kept) -> None:
    server = start(timeout=SHORT)
    kept.reply = Reply(dataset=bytes(4 * 1024 * 1024))
    with peer(server.port) as one:
        one.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        one.associate(contexts={1: ("1.2.840.10008.3.1.2.3.4", ("1.2.840.10008.1.2",))})
        for _ in range(20):
            one.send(message(1, Operation.N_GET, uid="1.2"))
        until(lambda: server.associations == 0)


def test_others_are_served_while_a_handler_waits(start: Start, kept: Kept) -> None:
    server = start()
    kept.may_go.clear()
    with peer(server.port) as slow, peer(server.port) as scanner:
        slow.associate()
        slow.send(message(1, Operation.N_CREATE, b"x", uid="1.2"))
        scanner.associate()
        assert scanner.ask(Operation.C_ECHO, sop_class=VERIFICATION) == 0
        kept.may_go.set()
        assert slow.pdu()[0] == 4


def test_a_peer_that_goes_while_its_request_is_answered_harms_nobody(
    start: Start, kept: Kept
) -> None:
    server = start()
    kept.may_go.clear()
    for gone, last in enumerate((b"", ABORT)):
        with peer(server.port) as one:
            one.associate()
            one.send(message(1, Operation.N_CREATE, b"x", uid="1.2") + last)
            until(lambda: server.associations == gone + 1)  # noqa: B023 - it is waited for
    kept.may_go.set()
    until(lambda: len(kept.requests) == 2 and server.associations == 0)
    with peer(server.port) as scanner:
        assert scanner.associate() == 2


def test_it_stops_at_once_with_peers_of_every_kind(start: Start) -> None:
    server = start()
    with ExitStack() as stack:
        for sent in (*SILENT.values(), *HOSTILE.values(), RELEASE_RQ[:4]):
            one = stack.enter_context(peer(server.port))
            if sent in HOSTILE.values():
                one.associate()
            one.send(sent)
        # the fixture stops it, and measures


def test_the_port_is_free_again_at_once(start: Start) -> None:
    server = start()
    port = server.port
    with peer(port) as one:
        one.associate()
        _stop(server)
    again = Server(Rules({}, lambda request, address: None), ("127.0.0.1", port))
    again.join(time.monotonic())


def test_a_port_that_is_taken_is_an_error() -> None:
    rules = Rules({}, lambda request, address: None)
    first = Server(rules, ("", 0))
    with pytest.raises(OSError, match="in use"):
        Server(rules, ("", first.port))
    first.join(time.monotonic())
