"""A peer of raw bytes: it sends what a scanner would, and what none would."""

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager

from orthanc_openmrs.dimse import pdu
from orthanc_openmrs.dimse.messages import Operation

MPPS = "1.2.840.10008.3.1.2.3.3"
VERIFICATION = "1.2.840.10008.1.1"
TIMEOUT = 10.0


def item(kind: int, body: bytes) -> bytes:
    """An item of an A-ASSOCIATE-RQ."""
    return struct.pack(">BxH", kind, len(body)) + body


def associate_request(
    contexts: dict[int, tuple[str, tuple[str, ...]]] | None = None,
    *,
    max_length: int = 16384,
    called: str = "ORTHANC",
    calling: str = "CT1",
    version: int = 1,
    application_context: str = pdu.APPLICATION_CONTEXT,
) -> bytes:
    """An A-ASSOCIATE-RQ."""
    if contexts is None:
        contexts = {
            1: (MPPS, (pdu.IMPLICIT_LITTLE_ENDIAN,)),
            3: (VERIFICATION, (pdu.IMPLICIT_LITTLE_ENDIAN,)),
        }
    body = struct.pack(
        ">H2x16s16s32x", version, called.ljust(16).encode(), calling.ljust(16).encode()
    )
    body += item(0x10, application_context.encode())
    for number, (abstract, transfer) in contexts.items():
        inside = item(0x30, abstract.encode()) + b"".join(
            item(0x40, one.encode()) for one in transfer
        )
        body += item(0x20, struct.pack(">B3x", number) + inside)
    body += item(0x50, item(0x51, struct.pack(">L", max_length)) + item(0x52, b"1.2.3"))
    return struct.pack(">BxL", 1, len(body)) + body


def command(
    operation: int,
    *,
    message_id: int = 1,
    uid: str = "",
    dataset: bool = False,
    sop_class: str = MPPS,
) -> bytes:
    """A command set."""
    by_requested = operation in (Operation.N_SET, Operation.N_GET)
    elements = [
        (0x0003 if by_requested else 0x0002, sop_class.encode() + b"\0" * (len(sop_class) % 2)),
        (0x0100, struct.pack("<H", operation)),
        (0x0110, struct.pack("<H", message_id)),
        (0x0800, struct.pack("<H", 1 if dataset else 0x0101)),
    ]
    if uid:
        elements.append((0x1001 if by_requested else 0x1000, uid.encode() + b"\0" * (len(uid) % 2)))
    body = b"".join(struct.pack("<HHL", 0, tag, len(value)) + value for tag, value in elements)
    return struct.pack("<HHLL", 0, 0, 4, len(body)) + body


def message(context: int, operation: int, dataset: bytes | None = None, **values: str) -> bytes:
    """A whole request as P-DATA-TF."""
    sent = command(operation, dataset=dataset is not None, **values)  # type: ignore[arg-type]
    parts = [*pdu.data(context, True, sent, 16384)]
    if dataset is not None:
        parts += pdu.data(context, False, dataset, 16384)
    return b"".join(parts)


RELEASE_RQ = struct.pack(">BxL4x", 5, 4)
ABORT = struct.pack(">BxL4x", 7, 4)


def statuses(content: bytes) -> list[int]:
    """The statuses of the responses in a command stream."""
    found = []
    at = content.find(b"\0\0\0\x09\x02\0\0\0")
    while at >= 0:
        found.append(int.from_bytes(content[at + 8 : at + 10], "little"))
        at = content.find(b"\0\0\0\x09\x02\0\0\0", at + 1)
    return found


class Peer:
    """A connection to the server."""

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), TIMEOUT)

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.sock.sendall(data)

    def pdu(self) -> tuple[int, bytes]:
        """The next PDU: its type and body; (0, b"") at the connection's end."""
        head = self._exactly(6)
        if not head:
            return 0, b""
        kind, length = struct.unpack(">BxL", head)
        return kind, self._exactly(length)

    def _exactly(self, length: int) -> bytes:
        data = b""
        while len(data) < length:
            try:
                part = self.sock.recv(length - len(data))
            except ConnectionResetError:
                part = b""
            if not part:
                return b""
            data += part
        return data

    def associate(self, **values: object) -> int:
        """Ask for an association; the type of the answer."""
        self.send(associate_request(**values))  # type: ignore[arg-type]
        return self.pdu()[0]

    def ask(self, operation: int, dataset: bytes | None = None, **values: str) -> int:
        """One request; the status of its response."""
        context = 3 if operation == Operation.C_ECHO else 1
        self.send(message(context, operation, dataset, **values))
        kind, body = self.pdu()
        assert kind == 4, kind
        return statuses(body)[0]

    def close(self) -> None:
        """Break off."""
        self.sock.close()


@contextmanager
def peer(port: int) -> Iterator[Peer]:
    """A connection that is closed in the end."""
    one = Peer(port)
    try:
        yield one
    finally:
        one.close()
