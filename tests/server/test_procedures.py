"""Performed procedure steps (MPPS) in a running Orthanc, with foreign clients."""

import json
import socket
import statistics
import subprocess
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from bench.client import Client, find_request
from orthanc_openmrs.dimse import pdu
from orthanc_openmrs.dimse.messages import Operation
from orthanc_openmrs.mpps.datasets import IMPLICIT
from standin import Standin, StepFields
from tests.server.conftest import Start
from tests.unit.mpps.datasets import encoded, end, item, start
from trial.dimse_peer import associate_request, command, message, peer
from trial.orthanc import ScratchOrthanc, StartFailed
from trial.ports import free_port
from trial.procedures import Reports, ended, started
from trial.waiting import eventually

DCMJS = Path(__file__).parent / "dcmjs"


@pytest.fixture
def port() -> int:
    """The port for performed procedure steps."""
    return free_port()


# --- foreign clients -------------------------------------------------------------------------


def test_pynetdicom_reports_an_exam(start_orthanc: Start, port: int) -> None:
    start_orthanc({"MPPS": {"Port": port}})
    reports = Reports(port)
    uid = reports.start(PatientName="Thị^Ánh")
    assert reports.get("1.2.3")[0] == 0x0112
    assert reports.set("1.2.3", ended()) == 0x0112
    assert reports.set(uid, started(PerformedProcedureStepDescription="Head")) == 0
    reports.end(uid)
    assert reports.set(uid, ended()) == 0x0110
    status, found = reports.get(uid)
    assert status == 0
    assert found is not None
    assert str(found.PatientName) == "Thị^Ánh"
    assert found.PerformedProcedureStepDescription == "Head"
    assert found.PerformedProcedureStepStatus == "COMPLETED"


def test_dcmjs_dimse_has_the_statuses_of_the_standard(start_orthanc: Start, port: int) -> None:
    start_orthanc({"MPPS": {"Port": port}})
    run = subprocess.run(
        ["node", "procedure.js", str(port), "CT1", "1.2.3.5"],
        cwd=DCMJS,
        capture_output=True,
        timeout=60,
        check=True,
    )
    (said,) = [line for line in run.stdout.decode().splitlines() if line.startswith("[")]
    assert json.loads(said) == [0, 0x0112, 0x0106, 0, 0x0111, 0, 0x0110]


def echo(port: int, *arguments: str) -> int:
    """DCMTK's echoscu; its exit status."""
    done = subprocess.run(
        ["echoscu", *arguments, "127.0.0.1", str(port)],
        capture_output=True,
        timeout=60,
        check=False,
    )
    return done.returncode


def test_echoscu_is_answered_where_it_is_known(start_orthanc: Start, port: int) -> None:
    known = {"ct": {"AET": "CT1", "Host": "127.0.0.1", "Port": 104}}
    orthanc = start_orthanc(
        {"MPPS": {"Port": port}}, DicomModalities=known, DicomAlwaysAllowFindWorklist=False
    )
    assert echo(port, "-aet", "CT1") == 0
    assert echo(port, "-aet", "MR1") != 0
    assert "'MR1' at 127.0.0.1 is refused: calling AE title not recognized" in orthanc.log
    modality = {"AET": "MR1", "Host": "127.0.0.1", "Port": 104}
    orthanc.session.put(f"{orthanc.url}/modalities/mr", json=modality).raise_for_status()
    eventually(lambda: echo(port, "-aet", "MR1") == 0, "a new modality isn't let in")


def test_tls_with_orthancs_keys(start_orthanc: Start, port: int, tmp_path: Path) -> None:
    made = ("-x509", "-nodes", "-days", "2", "-newkey", "rsa:2048", "-subj", "/CN=localhost")
    subprocess.run(
        ["openssl", "req", *made, "-keyout", "key.pem", "-out", "cert.pem"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    certificate, key = str(tmp_path / "cert.pem"), str(tmp_path / "key.pem")
    keys = {
        "DicomTlsEnabled": True,
        "DicomTlsCertificate": certificate,
        "DicomTlsPrivateKey": key,
        "DicomTlsTrustedCertificates": certificate,
    }
    start_orthanc({"MPPS": {"Port": port}}, **keys)
    assert echo(port, "+tls", key, certificate, "+cf", certificate) == 0
    assert echo(port, "+tla", "+cf", certificate) != 0
    assert echo(port) != 0


def test_a_port_that_is_taken_stops_the_start(start_orthanc: Start, port: int) -> None:
    with socket.create_server(("0.0.0.0", port)), pytest.raises(StartFailed) as failure:
        start_orthanc({"MPPS": {"Port": port}})
    assert f"OpenMRS.MPPS.Port: {port} can't be opened" in failure.value.log


# --- durable ---------------------------------------------------------------------------------


def test_what_was_answered_outlives_kill_9(start_orthanc: Start, port: int) -> None:
    """Orthanc is killed while steps come; each that was answered is there, and can be ended."""
    orthanc = start_orthanc({"MPPS": {"Port": port}})
    answered: list[str] = []

    def report() -> None:
        dataset = encoded(start(), IMPLICIT)
        with suppress(OSError, AssertionError, IndexError), peer(port) as one:
            assert one.associate() == 2
            for at in range(100000):
                assert one.ask(Operation.N_CREATE, dataset, uid=f"1.2.{at}") == 0
                answered.append(f"1.2.{at}")

    thread = threading.Thread(target=report)
    thread.start()
    eventually(lambda: len(answered) > 300, "no step is answered")
    orthanc.kill()
    thread.join()
    orthanc.start()
    last = encoded(end(), IMPLICIT)
    with peer(port) as one:
        assert one.associate() == 2
        for uid in answered[-100:]:
            assert one.ask(Operation.N_SET, last, uid=uid) == 0
            assert one.ask(Operation.N_SET, last, uid=uid) == 0x0110
        assert one.ask(Operation.N_CREATE, encoded(start(), IMPLICIT), uid=answered[0]) == 0x0111


# --- hostile peers ---------------------------------------------------------------------------

ASSOCIATED = associate_request()
N_SET = command(Operation.N_SET, uid="1.2", dataset=True)
FRAGMENT = bytes.fromhex("04000000ea660000ea620100") + bytes(60000)
"""A P-DATA-TF with a part of a dataset that doesn't end."""

HOSTILE: dict[str, tuple[bytes, bytes]] = {
    "idle": (ASSOCIATED, b""),
    "silent": (b"", b""),
    "three bytes": (ASSOCIATED[:3], b""),
    "half a request": (ASSOCIATED[:-9], b""),
    "2 GiB": (ASSOCIATED, bytes.fromhex("040080000000")),
    "garbage": (ASSOCIATED, b"\xff" * 500),
    "dataset that is none": (ASSOCIATED, message(1, Operation.N_CREATE, b"\xfe" * 999, uid="1.2")),
    "nested": (
        ASSOCIATED,
        message(1, Operation.N_CREATE, bytes.fromhex("40007002ffffffff") * 4000, uid="1.2"),
    ),
}
"""What a peer sends first, and then."""


def flood(port: int, stop: threading.Event) -> None:
    """A dataset without an end, as fast as it goes, again and again."""
    while not stop.is_set():
        with suppress(OSError), peer(port) as one:
            one.associate()
            one.send(b"".join(pdu.data(1, True, N_SET, 0)))
            while not stop.is_set():
                one.send(FRAGMENT)


def memory(orthanc: ScratchOrthanc) -> int:
    """MiB of the process."""
    status = Path(f"/proc/{orthanc.pid}/status").read_text()
    return int(next(line for line in status.splitlines() if "VmRSS" in line).split()[1]) // 1024


def find_time(orthanc: ScratchOrthanc) -> float:
    """Seconds of a C-FIND, the median of some."""
    query = item(PatientName="", ScheduledProcedureStepSequence=[item(Modality="CT")])
    request = find_request(encoded(query))
    with Client(orthanc.dicom_port, "CT1") as client:
        times = []
        for _ in range(40):
            began = time.perf_counter()
            client.ask(request)
            times.append(time.perf_counter() - began)
    return statistics.median(times)


def test_hostile_peers_cost_themselves_only(
    openmrs: Standin, start_orthanc: Start, port: int
) -> None:
    """A hundred of them, and three that flood: a scanner and a C-FIND are served, memory has a
    bound, and Orthanc stops at once."""
    patient = openmrs.records.add_patient("Ann", "Onymous")
    openmrs.records.add_request(patient, steps=[StepFields()])
    orthanc = start_orthanc({"MPPS": {"Port": port, "MaxAssociations": 200}})
    eventually(
        lambda: orthanc.get("/openmrs/status")["Worklist"]["Offered"] == 1, "no worklist is read"
    )
    usual, before = find_time(orthanc), memory(orthanc)
    stop = threading.Event()
    floods = [threading.Thread(target=flood, args=(port, stop)) for _ in range(3)]
    with ExitStack() as stack:
        for at in range(100):
            first, then = list(HOSTILE.values())[at % len(HOSTILE)]
            one = stack.enter_context(peer(port))
            one.send(first)
            if then:
                one.pdu()
                one.send(then)
        for thread in floods:
            thread.start()
        reports = Reports(port)
        uid = reports.start()
        reports.end(uid)
        assert find_time(orthanc) < 10 * usual + 0.02
        assert memory(orthanc) < before + 100
        began = time.monotonic()
        orthanc.stop()
        assert time.monotonic() - began < 5
        stop.set()
    for thread in floods:
        thread.join()
