"""Who answers: this plugin, Orthanc's own worklists plugin, DCMTK's wlmscpfs, the floor.

Decides: how each is configured, started and stopped, always over the same items. Every server
is told not to wait for acknowledgements (TCP_NODELAY), so that their own work is compared.
Must not know: what is timed.
"""

import os
import struct
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.client import CALLED, Client, QueryFailed
from bench.openmrs import OpenMRS
from bench.queries import Asked, queries
from orthanc_openmrs.openmrs.imaging_list import read_list
from orthanc_openmrs.worklist.datasets import worklist_file
from orthanc_openmrs.worklist.items import WorklistItem
from orthanc_openmrs.worklist.service import StationRules, Worklist
from orthanc_openmrs.worklist.snapshot import Snapshot
from trial.orthanc import PLUGINS, ScratchOrthanc
from trial.ports import free_port
from trial.waiting import eventually

NO_DELAY = {"TCP_NODELAY": "1"}
START_TIMEOUT = 120

OURS, NATIVE, WLMSCPFS, FLOOR = "this plugin", "native", "wlmscpfs", "floor"
BARE, NO_PLUGIN = "bare Python plugin", "no plugin"

FLOOR_SCRIPT = """
import os
import struct

import orthanc


def read(path):
    with open(path, "rb") as file:
        content = file.read()
    answers, at = [], 0
    while at < len(content):
        length = struct.unpack_from("<L", content, at)[0]
        answers.append(content[at + 4 : at + 4 + length])
        at += 4 + length
    return answers


FOLDER = os.path.dirname(os.path.abspath(__file__))
ANSWERS = {
    name[: -len(".answers")]: read(os.path.join(FOLDER, name))
    for name in os.listdir(FOLDER)
    if name.endswith(".answers")
}


def on_worklist(answers, query, issuer_aet, called_aet):
    for dataset in ANSWERS[issuer_aet]:
        answers.WorklistAddAnswer(query, dataset)


orthanc.RegisterWorklistCallback(on_worklist)
"""

BARE_SCRIPT = "import orthanc\n"


@dataclass(frozen=True, slots=True)
class Material:
    """The items of one size, in each form in which a peer takes them."""

    steps: int
    openmrs: OpenMRS
    body: bytes
    worklist: Worklist
    asked: tuple[Asked, ...]
    files: Path
    """The folder of `.wl` files, with the lock file that wlmscpfs wants."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A running server."""

    name: str
    port: int
    pid: int

    def megabytes(self) -> float:
        """The memory (RSS) of the process that serves: the largest of its family."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return max(_resident(pid) for pid in (str(self.pid), *children))


def _resident(pid: str) -> float:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:  # ended meanwhile
        return 0.0
    found = [line for line in status.splitlines() if line.startswith("VmRSS:")]
    return int(found[0].split()[1]) / 1024 if found else 0.0


class Items:
    """The growing list of items: one stand-in, one folder of files, for all sizes."""

    def __init__(self, folder: Path, openmrs: OpenMRS, *, write_files: bool) -> None:
        self._openmrs = openmrs
        self._write_files = write_files
        self._database = folder / "wl"
        self._files = self._database / CALLED
        self._files.mkdir(parents=True)
        (self._files / "lockfile").touch()

    def grow(self, steps: int) -> Material:
        """The material for a size that isn't smaller than the last one."""
        body = self._openmrs.grow(steps)
        snapshot = Snapshot.build(read_list(body), read_at=time.time(), day="20250701")
        if len(snapshot.offered) != steps:
            raise AssertionError(f"{len(snapshot.offered)} of {steps} steps are offered")
        if self._write_files:
            for item in snapshot.items:
                self._write(item)
        worklist = Worklist(StationRules(codec="utf-8"), max_staleness=1e9)
        worklist.replace(snapshot)
        asked = queries(snapshot.items)
        return Material(steps, self._openmrs, body, worklist, asked, self._files)

    def _write(self, item: WorklistItem) -> None:
        path = self._files / f"{item['ScheduledProcedureStepID']}.wl"
        if not path.exists():
            path.write_bytes(worklist_file(item, item["ScheduledStationAETitle"]))


@contextmanager
def ours(
    folder: Path,
    material: Material,
    *,
    section: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] = NO_DELAY,
) -> Iterator[Peer]:
    """This plugin, once it offers every step."""
    configuration = {**material.openmrs.keys, "OpenMRS": dict(section or {})}
    with _orthanc(OURS, folder, configuration, environment) as (peer, orthanc):
        wait_for_steps(orthanc, material.steps)
        yield peer


def wait_for_steps(orthanc: ScratchOrthanc, steps: int) -> None:
    """Until the plugin offers `steps` steps."""
    eventually(
        lambda: orthanc.get("/openmrs/status")["Worklist"]["Offered"] == steps,
        f"the plugin doesn't offer {steps} steps",
        START_TIMEOUT,
    )


@contextmanager
def native(folder: Path, material: Material) -> Iterator[Peer]:
    """Orthanc's own plugin over `.wl` files."""
    configuration = {
        "Plugins": [str(PLUGINS / "libModalityWorklists.so")],
        "Worklists": {"Enable": True, "Database": str(material.files)},
    }
    with _orthanc(NATIVE, folder, configuration, NO_DELAY, script=None) as (peer, _):
        yield peer


@contextmanager
def floor(folder: Path, material: Material) -> Iterator[Peer]:
    """A callback that adds answers which were encoded before: WorklistAddAnswer and the net."""
    folder.mkdir(parents=True)
    for asked in material.asked:
        datasets = material.worklist.answers(asked.identifier, asked.calling).datasets
        content = b"".join(struct.pack("<L", len(dataset)) + dataset for dataset in datasets)
        (folder / f"{asked.calling}.answers").write_bytes(content)
    script = folder / "floor.py"
    script.write_text(FLOOR_SCRIPT)
    with _orthanc(FLOOR, folder, {}, NO_DELAY, script=script) as (peer, _):
        yield peer


@contextmanager
def bare(folder: Path) -> Iterator[Peer]:
    """An Orthanc whose Python plugin has nothing to do."""
    folder.mkdir(parents=True)
    script = folder / "bare.py"
    script.write_text(BARE_SCRIPT)
    with _orthanc("bare", folder, {}, NO_DELAY, script=script) as (peer, _):
        yield peer


@contextmanager
def wlmscpfs(folder: Path, material: Material) -> Iterator[Peer]:
    """DCMTK's server: a process an association, over the same `.wl` files."""
    folder.mkdir(parents=True)
    port = free_port()
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                *("wlmscpfs", "-q", "-dfr", "-csk", "-dhl"),
                *("-dfp", str(material.files.parent), str(port)),
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, **NO_DELAY},
        )
        try:
            eventually(lambda: _listens(port), "wlmscpfs doesn't listen")
            yield Peer(WLMSCPFS, port, process.pid)
        finally:
            process.terminate()
            process.wait()


def _listens(port: int) -> bool:
    try:
        Client(port).close()
    except (OSError, QueryFailed):
        return False
    return True


Start = Callable[[Path, Material], Any]

PEERS: Mapping[str, Start] = {OURS: ours, NATIVE: native, WLMSCPFS: wlmscpfs, FLOOR: floor}


@contextmanager
def _orthanc(
    name: str,
    folder: Path,
    configuration: Mapping[str, Any],
    environment: Mapping[str, str],
    **options: Any,
) -> Iterator[tuple[Peer, ScratchOrthanc]]:
    # An association stays open while other peers are asked.
    merged = {"DicomScpTimeout": 0, **configuration}
    with ScratchOrthanc(folder, merged, environment=environment, **options) as orthanc:
        yield Peer(name, orthanc.dicom_port, orthanc.pid), orthanc


def check(peers: Sequence[Peer], asked: Asked) -> None:
    """Every peer must give the same number of answers. Raises AssertionError."""
    found = {}
    for peer in peers:
        with Client(peer.port, asked.calling) as client:
            found[peer.name] = client.ask(asked.request)
    wrong = {name: count for name, count in found.items() if count != asked.expected}
    if wrong:
        raise AssertionError(f"{asked.name}: {asked.expected} answers are right, not {wrong}")
