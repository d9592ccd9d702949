"""A scanner that shows the server's own time: C-FIND over a raw socket.

Decides: which bytes are sent and when an answer is complete. pynetdicom and DCMTK's findscu
wait for the kernel's delayed acknowledgements or add their own work, which hides a server
that takes less than a millisecond. The standard library only: sixteen of these start at once
(`python -m bench.client`). Must not know: what a query asks.
"""

import argparse
import json
import socket
import struct
import sys
import time

MODALITY_WORKLIST_FIND = "1.2.840.10008.5.1.4.31"
EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
_APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
_IMPLEMENTATION = "2.25.80302813137786398554742050926734630921"

CALLED = "ORTHANC"
TIMEOUT = 300
"""Seconds without a byte from the server after which a query fails."""

_LARGEST_PDU = 131072
_RECEIVE = 1 << 18
_PENDING = (0xFF00, 0xFF01)
_CONTEXT = 1

# PDU types, PS3.8 9.3.1
_ASSOCIATE_RQ, _ASSOCIATE_AC, _DATA, _RELEASE_RQ, _RELEASE_RP = 1, 2, 4, 5, 6


class QueryFailed(Exception):
    """The server refused, failed or went away."""


class Client:
    """One association, for any number of queries, one after the other."""

    def __init__(
        self, port: int, calling: str = "BENCH", called: str = CALLED, timeout: int = TIMEOUT
    ) -> None:
        self._timeout = timeout
        self._received = bytearray()
        self._at = 0
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # Not settimeout(): with it, Python polls before each receive.
        limit = struct.pack("ll", timeout, 0)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        self._socket.sendall(_associate(calling, called))
        pdu, body = self._pdu()
        if pdu != _ASSOCIATE_AC or not _accepted(body):
            self._socket.close()
            raise QueryFailed(f"the association is refused (PDU type {pdu})")

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, problem: type[BaseException] | None, *_: object) -> None:
        if problem is None:
            self.close()
        else:  # perhaps in the middle of an answer: nothing sensible can be read any more
            self._socket.close()

    def close(self) -> None:
        """Release the association."""
        try:
            self._socket.sendall(struct.pack(">BxL4x", _RELEASE_RQ, 4))
            while self._pdu()[0] != _RELEASE_RP:
                continue
        except (OSError, QueryFailed):
            pass  # the server is gone already
        finally:
            self._socket.close()

    def ask(self, request: bytes) -> int:
        """Send what `request` made; the number of answers, once the final status came."""
        self._socket.sendall(request)
        answers = 0
        command = b""
        while True:
            pdu, body = self._pdu()
            if pdu != _DATA:
                raise QueryFailed(f"the server ends the association (PDU type {pdu})")
            at = 0
            while at < len(body):
                length, _, control = struct.unpack_from(">LBB", body, at)
                if control & 1:
                    command += body[at + 6 : at + 4 + length]
                    if control & 2:
                        status = _status(command)
                        command = b""
                        if status == 0:
                            return answers
                        if status not in _PENDING:
                            raise QueryFailed(f"status {status:04X}")
                        answers += 1
                at += 4 + length

    def _pdu(self) -> tuple[int, bytes]:
        self._fill(6)
        pdu, length = struct.unpack_from(">BxL", self._received, self._at)
        self._fill(6 + length)
        start = self._at + 6
        self._at = start + length
        return pdu, bytes(self._received[start : self._at])

    def _fill(self, size: int) -> None:
        while len(self._received) - self._at < size:
            if self._at:
                del self._received[: self._at]
                self._at = 0
            try:
                part = self._socket.recv(_RECEIVE)
            except BlockingIOError:
                raise QueryFailed(f"no answer within {self._timeout} s") from None
            # The kernel forgets it, so that it is said again after each receive.
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
            if not part:
                raise QueryFailed("the server closed the connection")
            self._received += part


def find_request(identifier: bytes) -> bytes:
    """The bytes of a C-FIND-RQ with its identifier (explicit VR little endian)."""
    sop_class = MODALITY_WORKLIST_FIND.encode()
    sop_class += b"\0" * (len(sop_class) % 2)
    command = b"".join(
        struct.pack("<HHL", 0x0000, element, len(value)) + value
        for element, value in (
            (0x0002, sop_class),
            (0x0100, struct.pack("<H", 0x0020)),  # C-FIND-RQ
            (0x0110, struct.pack("<H", 1)),
            (0x0700, struct.pack("<H", 0)),  # medium
            (0x0800, struct.pack("<H", 0)),  # a dataset follows
        )
    )
    command = struct.pack("<HHLL", 0x0000, 0x0000, 4, len(command)) + command
    return _data(3, command) + _data(2, identifier)


def _data(control: int, content: bytes) -> bytes:
    value = struct.pack(">LBB", len(content) + 2, _CONTEXT, control) + content
    return struct.pack(">BxL", _DATA, len(value)) + value


def _associate(calling: str, called: str) -> bytes:
    """A-ASSOCIATE-RQ (PS3.8 9.3.2): the worklist in explicit VR little endian."""
    context = struct.pack(">B3x", _CONTEXT)
    context += _item(0x30, MODALITY_WORKLIST_FIND.encode())
    context += _item(0x40, EXPLICIT_LITTLE_ENDIAN.encode())
    user = _item(0x51, struct.pack(">L", _LARGEST_PDU)) + _item(0x52, _IMPLEMENTATION.encode())
    body = struct.pack(
        ">H2x16s16s32x", 1, called.ljust(16).encode("ascii"), calling.ljust(16).encode("ascii")
    )
    body += _item(0x10, _APPLICATION_CONTEXT.encode()) + _item(0x20, context) + _item(0x50, user)
    return struct.pack(">BxL", _ASSOCIATE_RQ, len(body)) + body


def _item(kind: int, content: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(content)) + content


def _accepted(body: bytes) -> bool:
    """Whether the only presentation context of an A-ASSOCIATE-AC is accepted (9.3.3.2)."""
    at = 68
    while at + 4 <= len(body):
        kind, length = struct.unpack_from(">BxH", body, at)
        if kind == 0x21:
            return body[at + 6] == 0
        at += 4 + length
    return False


def _status(command: bytes) -> int:
    """Status (0000,0900) of a C-FIND-RSP, in implicit VR little endian."""
    at = 0
    while at + 10 <= len(command):
        _, element, length = struct.unpack_from("<HHL", command, at)
        if element == 0x0900:
            found: int = struct.unpack_from("<H", command, at + 8)[0]
            return found
        at += 8 + length
    raise QueryFailed("a response without a status")


def run(client: Client, request: bytes, seconds: float, period: float) -> list[tuple[int, int]]:
    """Ask for some seconds; when each query began and what it took, in nanoseconds.

    Without a `period`, the next query follows the last. With one, a query is due every
    `period` seconds, and what a late one waits is part of its time.
    """
    taken = []
    now = time.perf_counter_ns()
    end = now + int(seconds * 1e9)
    due = now
    while now < end:
        start = now
        if period:
            if due > now:
                time.sleep((due - now) / 1e9)
                start = time.perf_counter_ns()
            else:
                start = due
        client.ask(request)
        now = time.perf_counter_ns()
        taken.append((start, now - start))
        due += int(period * 1e9)
    return taken


def main() -> None:
    """Associate, say "ready", wait for a line, ask, print the times as JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench.client", description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("calling")
    parser.add_argument("seconds", type=float)
    parser.add_argument("--period", type=float, default=0.0)
    options = parser.parse_args()
    request = find_request(bytes.fromhex(sys.stdin.readline()))
    with Client(options.port, options.calling) as client:
        client.ask(request)
        print("ready", flush=True)
        sys.stdin.readline()
        print(json.dumps(run(client, request, options.seconds, options.period)), flush=True)


if __name__ == "__main__":
    main()
