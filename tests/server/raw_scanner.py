"""A scanner that sends whatever bytes it is told to, and keeps what comes back."""

import struct
from dataclasses import dataclass
from io import BytesIO

import pydicom
from pydicom.dataset import Dataset

from bench.client import Client, find_request

PENDING = (0xFF00, 0xFF01)


@dataclass(frozen=True, slots=True)
class Answered:
    """The answers to a query, and its final status."""

    answers: list[Dataset]
    status: int

    @property
    def step_ids(self) -> list[str]:
        """ScheduledProcedureStepID of each answer, where it was asked for; fails where one has not
        exactly one step."""
        found = []
        for answer in self.answers:
            items = list(answer.ScheduledProcedureStepSequence)
            assert len(items) == 1, "an answer without its step"
            found.append(str(items[0].get("ScheduledProcedureStepID", "")))
        return found


class RawScanner(Client):
    """One association (explicit VR little endian)."""

    def __enter__(self) -> "RawScanner":
        return self

    def find(self, identifier: bytes) -> Answered:
        """Ask with the bytes of an identifier."""
        self._socket.sendall(find_request(identifier))
        answers: list[Dataset] = []
        command, data = b"", b""
        while True:
            _, body = self._pdu()
            at = 0
            while at < len(body):
                length, _, control = struct.unpack_from(">LBB", body, at)
                part = body[at + 6 : at + 4 + length]
                at += 4 + length
                if control & 1:
                    command += part
                else:
                    data += part
                if control == 2:
                    answers.append(pydicom.dcmread(BytesIO(data), force=True))
                    data = b""
                if control == 3:
                    status = _status(command)
                    command = b""
                    if status not in PENDING:
                        return Answered(answers, status)


def _status(command: bytes) -> int:
    at = 0
    while at + 10 <= len(command):
        _, element, length = struct.unpack_from("<HHL", command, at)
        if element == 0x0900:
            return int(struct.unpack_from("<H", command, at + 8)[0])
        at += 8 + length
    raise AssertionError("a response without a status")
