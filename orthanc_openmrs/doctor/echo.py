"""A C-ECHO to the port for performed procedure steps, as a scanner makes it (PS3.7 9.1.5).

Decides: what an answer says. It needs no tool, for one message of either side is all of it.
"""

import socket
import struct

from orthanc_openmrs.dimse import pdu
from orthanc_openmrs.dimse.messages import VERIFICATION, Operation

TIMEOUT = 5
"""Seconds for each part of the exchange."""

SUCCESS = "Success"


def echo(host: str, port: int, called: str, calling: str) -> str:
    """SUCCESS, or why not."""
    try:
        with socket.create_connection((host, port), TIMEOUT) as sock:
            sock.sendall(_associate_request(called, calling))
            kind, body = _pdu(sock)
            if kind == pdu.Type.ASSOCIATE_RJ:
                return f"the association is refused: {_REASONS.get(body[1:], 'another reason')}"
            if kind != pdu.Type.ASSOCIATE_AC:
                return "the association is aborted"
            for part in pdu.data(1, True, _COMMAND, 0):
                sock.sendall(part)
            kind, body = _pdu(sock)
            sock.sendall(struct.pack(">BxL4x", pdu.Type.RELEASE_RQ, 4))
            _pdu(sock)
    except TimeoutError:
        return "no answer in time"
    except (OSError, pdu.Invalid, EOFError) as problem:
        return getattr(problem, "strerror", None) or "it breaks off: is that a DICOM server?"
    status = struct.pack("<HHLH", 0, 0x0900, 2, 0)
    return SUCCESS if kind == pdu.Type.P_DATA and status in body else "it fails"


_REASONS = {
    bytes((one.result, one.source, one.reason)): one.words
    for one in (
        pdu.CALLING_NOT_RECOGNIZED,
        pdu.CALLED_NOT_RECOGNIZED,
        pdu.LOCAL_LIMIT_EXCEEDED,
    )
}


def _associate_request(called: str, calling: str) -> bytes:
    def item(kind: int, body: bytes) -> bytes:
        return struct.pack(">BxH", kind, len(body)) + body

    context = item(0x30, VERIFICATION.encode()) + item(0x40, pdu.IMPLICIT_LITTLE_ENDIAN.encode())
    user = item(0x51, struct.pack(">L", pdu.LONGEST))
    user += item(0x52, pdu.IMPLEMENTATION_CLASS_UID.encode())
    titles = f"{called:16.16}{calling:16.16}".encode("ascii", "replace")
    body = struct.pack(">H2x", 1) + titles + bytes(32)
    body += item(0x10, pdu.APPLICATION_CONTEXT.encode())
    body += item(0x20, struct.pack(">B3x", 1) + context) + item(0x50, user)
    return struct.pack(">BxL", pdu.Type.ASSOCIATE_RQ, len(body)) + body


def _command() -> bytes:
    uid = VERIFICATION.encode() + b"\0" * (len(VERIFICATION) % 2)
    body = struct.pack("<HHL", 0, 0x0002, len(uid)) + uid
    for element, value in ((0x0100, Operation.C_ECHO), (0x0110, 1), (0x0800, 0x0101)):
        body += struct.pack("<HHLH", 0, element, 2, value)
    return struct.pack("<HHLL", 0, 0, 4, len(body)) + body


_COMMAND = _command()


def _pdu(sock: socket.socket) -> tuple[pdu.Type, bytes]:
    kind, length = pdu.header(_exactly(sock, pdu.HEADER))
    return kind, _exactly(sock, length)


def _exactly(sock: socket.socket, length: int) -> bytes:
    data = b""
    while len(data) < length:
        part = sock.recv(length - len(data))
        if not part:
            raise EOFError
        data += part
    return data
