"""What the port for performed procedure steps says to a C-ECHO."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from orthanc_openmrs.dimse import pdu
from orthanc_openmrs.dimse.server import Rules, Server
from orthanc_openmrs.doctor import running
from orthanc_openmrs.doctor.echo import SUCCESS, echo
from tests.unit.doctor.cases import case, told


@contextmanager
def serving(refusal: pdu.Rejection | None = None) -> Iterator[int]:
    """The port of a server that takes or refuses everybody."""
    server = Server(Rules({}, lambda request, address: refusal), ("127.0.0.1", 0))
    server.start()
    try:
        yield server.port
    finally:
        server.tell_to_stop()
        server.join(time.monotonic() + 5)


@contextmanager
def saying(words: bytes) -> Iterator[int]:
    """The port of something that isn't a DICOM server, and says these words."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            with suppress(OSError):
                other, _ = listener.accept()
                with other:
                    other.recv(1024)
                    other.sendall(words)

        thread = threading.Thread(target=answer)
        thread.start()
        yield listener.getsockname()[1]
        thread.join()


def unused() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def test_a_server_answers() -> None:
    with serving() as port:
        assert echo("127.0.0.1", port, "ORTHANC", "CT1") == SUCCESS


@pytest.mark.parametrize(
    ("refusal", "words"),
    [
        (pdu.CALLING_NOT_RECOGNIZED, "calling AE title not recognized"),
        (pdu.LOCAL_LIMIT_EXCEEDED, "local limit exceeded"),
        (pdu.VERSION_NOT_SUPPORTED, "another reason"),
    ],
)
def test_a_refusal_is_told_in_words(refusal: pdu.Rejection, words: str) -> None:
    with serving(refusal) as port:
        assert echo("127.0.0.1", port, "ORTHANC", "CT1") == f"the association is refused: {words}"


@pytest.mark.parametrize(
    "words", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x07\0\0\0\0\x04\0\0\0\0"]
)
def test_what_is_no_dicom_server_is_told(words: bytes) -> None:
    with saying(words) as port:
        assert echo("127.0.0.1", port, "ORTHANC", "CT1") != SUCCESS


def test_nobody_listens() -> None:
    assert echo("127.0.0.1", unused(), "ORTHANC", "CT1") == "Connection refused"


ANYBODY: dict[str, Any] = {"DicomAlwaysAllowFindWorklist": True}


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        (lambda port: {}, "ok MPPS: is off: steps are completed by their images alone"),
        (
            lambda port: {"OpenMRS": {"MPPS": {"Port": port}}, **ANYBODY},
            "ok MPPS: DOCTOR is answered; enter in the scanner: this host, AE title ORTHANC, port ",
        ),
        (
            lambda port: {"OpenMRS": {"MPPS": {"Port": unused()}}, **ANYBODY},
            "error MPPS: DOCTOR asks port ",
        ),
        (
            lambda port: {
                "OpenMRS": {"MPPS": {"Port": port}},
                "DicomModalities": {},
                "DicomAlwaysAllowFindWorklist": False,
            },
            "ok MPPS: not tried: no scanner may report from this machine",
        ),
    ],
)
def test_the_check_says_what_to_enter_in_the_scanner(
    tmp_path: Path, keys: Callable[[int], dict[str, Any]], line: str
) -> None:
    with serving() as port:
        (found,) = told(running.procedures(case(tmp_path, **keys(port))))
    assert found.startswith(line)
