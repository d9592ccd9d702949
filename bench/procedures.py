"""What is timed of performed procedure steps (MPPS), one function a section.

Decides: what scanners report, and how the times are taken. Must not know: how results are shown.
"""

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from bench.client import Client, find_request
from bench.measure import Limits, Reported, median, p95, percentile
from bench.openmrs import UPDATE, OpenMRS
from bench.peers import NO_DELAY, wait_for_steps
from orthanc_openmrs.dimse.messages import Operation
from orthanc_openmrs.mpps.datasets import EXPLICIT, IMPLICIT, serialize
from trial import scanner
from trial.dimse_peer import Peer, peer
from trial.orthanc import ScratchOrthanc
from trial.ports import free_port
from trial.procedures import Reports, ended, started
from trial.waiting import eventually

STEPS = 1_000
CLIENTS = 4
USUAL_IMAGES = 120
BUSY = 10
"""N-CREATEs per second of a busy hospital."""

CREATE, SET, SET_USUAL = "N-CREATE", "N-SET, 2 images", f"N-SET, {USUAL_IMAGES} images"
FIND, FIND_BUSY = "C-FIND, one answer", f"C-FIND, one answer, {BUSY} N-CREATEs/s"
LAST_IMAGE, WITHOUT = "last image to completed", "last image to completed, no MPPS, StableAge 60"
MEMORY = "memory in MB: before, with 64 associations and all steps"


def reported(folder: Path, limits: Limits) -> list[Reported]:
    """Every section, on one Orthanc."""
    port = free_port()
    with OpenMRS() as openmrs:
        openmrs.grow(STEPS)
        section = {"MPPS": {"Port": port}}
        configuration = {**openmrs.keys, "StableAge": 60, "OpenMRS": section}
        with ScratchOrthanc(folder, configuration, environment=NO_DELAY) as orthanc:
            wait_for_steps(orthanc, STEPS)
            before = _megabytes(orthanc)
            found = list(_requests(port, limits))
            found += _find(orthanc, port, limits)
            with _idle(port):
                after = _megabytes(orthanc)
            found.append(Reported(MEMORY, 1, before, after, after, 0.0))
            found += _completed(orthanc, openmrs, port, folder, limits)
    return found


# --- requests --------------------------------------------------------------------------------


def _requests(port: int, limits: Limits) -> Iterator[Reported]:
    count = limits.reports
    begun = serialize(started(), IMPLICIT)
    few, usual = (serialize(_listing(images), IMPLICIT) for images in (2, USUAL_IMAGES))
    uids = [f"1.2.826.{at}" for at in range(count)]
    more = [f"1.2.827.{at}" for at in range(count)]
    yield _reported(CREATE, port, Operation.N_CREATE, begun, uids)
    yield _reported(SET, port, Operation.N_SET, few, uids)
    _reported(CREATE, port, Operation.N_CREATE, begun, more)
    yield _reported(SET_USUAL, port, Operation.N_SET, usual, more)


def _listing(images: int) -> Dataset:
    dataset = ended()
    item = Dataset()
    item.SeriesInstanceUID = generate_uid()
    item.ReferencedImageSequence = []
    for _ in range(images):
        reference = Dataset()
        reference.ReferencedSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
        reference.ReferencedSOPInstanceUID = generate_uid()
        item.ReferencedImageSequence.append(reference)
    dataset.PerformedSeriesSequence = [item]
    return dataset


def _reported(
    what: str, port: int, operation: Operation, dataset: bytes, uids: list[str]
) -> Reported:
    """The first half one after the other, the second half by several scanners at once."""
    half = len(uids) // 2
    with peer(port) as one:
        one.associate()
        times = [_asked(one, operation, dataset, uid) for uid in uids[:half]]
    parts = [uids[half:][at::CLIENTS] for at in range(CLIENTS)]

    def report(part: list[str]) -> None:
        with peer(port) as another:
            another.associate()
            for uid in part:
                _asked(another, operation, dataset, uid)

    threads = [threading.Thread(target=report, args=(part,)) for part in parts]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rate = sum(map(len, parts)) / (time.perf_counter() - began)
    return Reported(what, half, median(times), p95(times), percentile(times, 99), rate)


def _asked(one: Peer, operation: Operation, dataset: bytes, uid: str) -> float:
    """Milliseconds of a request."""
    began = time.perf_counter()
    status = one.ask(operation, dataset, uid=uid)
    taken = (time.perf_counter() - began) * 1000
    if status:
        raise RuntimeError(f"{operation.name} of {uid}: {status:04X}")
    return taken


# --- C-FIND meanwhile ------------------------------------------------------------------------


def _find(orthanc: ScratchOrthanc, port: int, limits: Limits) -> list[Reported]:
    query, step = Dataset(), Dataset()
    for keyword in ("PatientName", "PatientID", "StudyInstanceUID", "AccessionNumber"):
        setattr(query, keyword, "")
    step.ScheduledProcedureStepID = str(STEPS)
    query.ScheduledProcedureStepSequence = [step]
    request = find_request(serialize(query, EXPLICIT))

    def times(count: int) -> list[float]:
        with Client(orthanc.dicom_port) as client:
            return [_timed(lambda: client.ask(request)) for _ in range(count)]

    times(100)
    # In turns, for the machine has its own moods.
    idle: list[float] = []
    busy: list[float] = []
    for _ in range(4):
        idle += times(limits.reports // 4)
        with _reporting(port):
            busy += times(limits.reports // 4)
    return [
        Reported(what, len(those), median(those), p95(those), percentile(those, 99), 0.0)
        for what, those in ((FIND, idle), (FIND_BUSY, busy))
    ]


def _timed(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return (time.perf_counter() - began) * 1000


_numbers = itertools.count()


@contextmanager
def _reporting(port: int) -> Iterator[None]:
    """Scanners begin exams meanwhile."""
    stop = threading.Event()
    dataset = serialize(started(), IMPLICIT)

    def report() -> None:
        with peer(port) as one:
            one.associate()
            while not stop.wait(1 / BUSY):
                _asked(one, Operation.N_CREATE, dataset, f"1.2.828.{next(_numbers)}")

    thread = threading.Thread(target=report)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


# --- to OpenMRS, and memory ------------------------------------------------------------------


@contextmanager
def _idle(port: int) -> Iterator[None]:
    peers = [Peer(port) for _ in range(64)]
    try:
        for one in peers:
            one.associate()
        yield
    finally:
        for one in peers:
            one.close()


def _megabytes(orthanc: ScratchOrthanc) -> float:
    status = Path(f"/proc/{orthanc.pid}/status").read_text()
    return int(next(line for line in status.splitlines() if "VmRSS" in line).split()[1]) / 1024


def _completed(
    orthanc: ScratchOrthanc, openmrs: OpenMRS, port: int, folder: Path, limits: Limits
) -> list[Reported]:
    reports = Reports(port)
    answers = scanner.find(orthanc.dicom_port, ["ScheduledProcedureStepSequence[0].Modality=CT"])
    chosen = iter(answers.answers)
    with_mpps = []
    for answer in itertools.islice(chosen, limits.exams):
        uid = reports.start(answer)
        images = [scanner.acquire(answer, folder) for _ in range(3)]
        scanner.store(orthanc.dicom_port, images[:2])
        reports.end(uid, images)
        with_mpps.append(_until_completed(orthanc, openmrs, answer, images[2:]))
    found = [
        Reported(LAST_IMAGE, len(with_mpps), median(with_mpps), p95(with_mpps), max(with_mpps), 0.0)
    ]
    if limits.waits_for_stable:
        answer = next(chosen)
        taken = _until_completed(orthanc, openmrs, answer, [scanner.acquire(answer, folder)])
        found.append(Reported(WITHOUT, 1, taken, taken, taken, 0.0))
    return found


def _until_completed(
    orthanc: ScratchOrthanc, openmrs: OpenMRS, answer: Dataset, images: list[Path]
) -> float:
    """Milliseconds from the end of the last image's association until OpenMRS has the update."""
    before = len(openmrs.log(UPDATE))
    scanner.store(orthanc.dicom_port, images)
    stored = time.monotonic()
    told = eventually(lambda: openmrs.log(UPDATE)[before:], "OpenMRS isn't told", 90)
    return max(0.0, (float(told[0]["time"]) - stored) * 1000)
