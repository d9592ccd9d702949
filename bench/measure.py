"""What is timed: one function a section, one frozen class a kind of result.

Decides: warm-ups, repetitions, time limits, statistics. A new section is a class, a function
that makes it and a field of `Results`; `__main__` calls the function, `report` shows the
field. The functions of a study's way to OpenMRS are in `completion`. Must not know: how a
server is configured, how results are shown.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from bench import peers
from bench.client import Client
from bench.openmrs import LIST, ROOT
from bench.peers import Material, Peer
from bench.queries import Asked
from orthanc_openmrs.openmrs.imaging_list import read_list
from orthanc_openmrs.store.database import Database
from orthanc_openmrs.worklist.board import Board
from orthanc_openmrs.worklist.items import PersonNames
from orthanc_openmrs.worklist.refresh import REST, Refresher
from orthanc_openmrs.worklist.service import StationRules, Worklist
from orthanc_openmrs.worklist.snapshot import Snapshot
from orthanc_openmrs.worklist.uid_registry import UidRegistry
from trial.waiting import eventually


def median(values: Iterable[float]) -> float:
    """The median, 0 of nothing."""
    found = list(values)
    return statistics.median(found) if found else 0.0


def p95(values: Iterable[float]) -> float:
    """The 95th percentile, interpolated; the largest of a few values, 0 of nothing."""
    found = sorted(values)
    if len(found) < 20:
        return found[-1] if found else 0.0
    return statistics.quantiles(found, n=20, method="inclusive")[18]


def percentile(values: Iterable[float], percent: int) -> float:
    """So many of a hundred values are at most this, interpolated."""
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


@dataclass(frozen=True, slots=True)
class Limits:
    """How long things are measured, in seconds."""

    quick_cell: float = 1.5  # for a cell that has got `enough` repetitions by then
    slow_cell: float = 8.0  # for any cell with at least one
    enough: int = 40
    most: int = 400
    throughput: float = 3.0
    refreshing: float = 20.0
    findscu: int = 15
    one_by_one: int = 30  # studies
    at_once: int = 150  # studies
    sustained: int = 600  # notifications
    turns: int = 5  # of each Orthanc while OpenMRS hangs
    turn: float = 2.5
    archive: int = 10_000  # studies
    routes: float = 6.0
    reports: int = 2_000  # performed procedure steps
    exams: int = 15
    waits_for_stable: bool = True  # a minute


QUICK = Limits(0.5, 2.0, 20, 100, 1.0, 6.0, 5, 20, 100, 300, 3, 2.0, 1_000, 2.0, 400, 5, False)


# --- results --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Cell:
    """One query to one peer: times in ms. `first` is what the first query took."""

    peer: str
    steps: int
    query: str
    answers: int
    repetitions: int
    median: float
    p95: float
    first: float


@dataclass(frozen=True, slots=True)
class Memory:
    """RSS in MB: when all items were loaded, and after all queries."""

    peer: str
    steps: int
    loaded: float
    asked: float


@dataclass(frozen=True, slots=True)
class Throughput:
    """Queries per second of so many scanners at once, and what one of them waits (p95, ms)."""

    peer: str
    steps: int
    scanners: int
    per_second: float
    p95: float


@dataclass(frozen=True, slots=True)
class Loading:
    """Seconds of one load: `outside` as the plugin's clients see it, the rest in a process of
    its own. `from_start` counts from Orthanc's start, `from_read` from the GET at OpenMRS."""

    steps: int
    megabytes: float
    from_start: float
    from_read: float
    read_list: float
    build: float
    handled: float
    unchanged: float
    one_changed: float


@dataclass(frozen=True, slots=True)
class Refreshing:
    """Queries while the list is read again each second: times in ms. `refresh` is the time of
    one refresh in seconds, from the GET to its end."""

    steps: int
    list_is: str
    refreshes: int
    refresh: float
    quiet_median: float
    quiet_p95: float
    during_queries: int
    during_median: float
    during_p95: float
    during_longest: float


@dataclass(frozen=True, slots=True)
class Asking:
    """How often OpenMRS is asked for a list that it takes `seconds` for, where the plugin may ask
    each second: seconds from one beginning to the next, and the share of its time that it works
    for this. `megabytes` and `packed` are the list's on the wire, without and with gzip."""

    steps: int
    seconds: float
    reads: int
    period: float
    share: float
    megabytes: float
    packed: float


@dataclass(frozen=True, slots=True)
class Findscu:
    """DCMTK's findscu as a whole, in ms, by TCP_NODELAY of the server and of itself."""

    server: str
    client: str
    steps: int
    median: float
    p95: float


@dataclass(frozen=True, slots=True)
class Notified:
    """From STABLE_STUDY to the update's arrival at OpenMRS, in ms. `in_progress`: whether that
    is told too."""

    steps: int
    in_progress: bool
    sent: str
    studies: int
    median: float
    p95: float
    longest: float


@dataclass(frozen=True, slots=True)
class Sustained:
    """Updates that arrive per second where OpenMRS answers each after 20 ms, the longest time
    without one (s), and the images that Orthanc stores per second meanwhile."""

    notifications: str
    count: int
    per_second: float
    longest_gap: float
    stored_per_second: float


@dataclass(frozen=True, slots=True)
class Meanwhile:
    """What an Orthanc takes while OpenMRS hangs, in ms. `batches`: the medians of its batches,
    each of which is to be compared with the same one of another Orthanc."""

    asked: str
    orthanc: str
    repetitions: int
    median: float
    p95: float
    batches: Sequence[float]


@dataclass(frozen=True, slots=True)
class Routed:
    """A route over many studies: times in ms. `state` says which Orthanc, or how OpenMRS and the
    database are meanwhile; `first` is the first answer of its kind; `batches` as in `Meanwhile`."""

    asked: str
    state: str
    repetitions: int
    median: float
    p95: float
    p99: float
    longest: float
    first: float | None
    batches: Sequence[float] = ()


@dataclass(frozen=True, slots=True)
class Reported:
    """Of performed procedure steps: times in ms, and how many a second by several scanners (0:
    not measured)."""

    what: str
    repetitions: int
    median: float
    p95: float
    p99: float
    per_second: float


@dataclass(frozen=True, slots=True)
class Ordered:
    """Seconds and pages: of all orders at the start, until they are served, and of a read of those
    of the last days while nothing changed, or one came; `handled` are the seconds of the plugin's
    own, with the whole list at hand."""

    orders: int
    megabytes: float
    pages: int
    served: float
    recent_pages: int
    unchanged: float
    one_new: float
    handled: float


@dataclass(slots=True)
class Results:
    """All that a run has found out."""

    machine: Mapping[str, str]
    cells: list[Cell] = field(default_factory=list)
    memory: list[Memory] = field(default_factory=list)
    bare_memory: float = 0.0
    throughput: list[Throughput] = field(default_factory=list)
    loading: list[Loading] = field(default_factory=list)
    refreshing: list[Refreshing] = field(default_factory=list)
    asking: list[Asking] = field(default_factory=list)
    findscu: list[Findscu] = field(default_factory=list)
    notified: list[Notified] = field(default_factory=list)
    sustained: list[Sustained] = field(default_factory=list)
    meanwhile: list[Meanwhile] = field(default_factory=list)
    routed: list[Routed] = field(default_factory=list)
    reported: list[Reported] = field(default_factory=list)
    ordered: list[Ordered] = field(default_factory=list)


def machine() -> Mapping[str, str]:
    """Where the figures come from."""
    orthanc, dcmtk = (_first_line([name, "--version"]) for name in ("Orthanc", "wlmscpfs"))
    return {
        "Date": time.strftime("%Y-%m-%d"),
        "CPUs": str(os.cpu_count()),
        "Load before": f"{os.getloadavg()[0]:.1f}",
        "Python": sys.version.split()[0],
        "Orthanc": orthanc.removeprefix("Orthanc "),
        "DCMTK": dcmtk.partition(" v")[2].partition(" ")[0],
    }


def _first_line(command: Sequence[str]) -> str:
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    return run.stdout.strip().partition("\n")[0].strip()


# --- the cells of the table -----------------------------------------------------------------


def cells(running: Sequence[Peer], steps: int, asked: Asked, limits: Limits) -> list[Cell]:
    """Ask all peers in turns, so that a busy moment of the machine hits each of them."""
    with ExitStack() as open_:
        series = [
            _Series(peer, open_.enter_context(Client(peer.port, asked.calling)), asked)
            for peer in running
        ]
        while waiting := [one for one in series if not one.done(limits)]:
            for one in waiting:
                one.batch()
        return [one.cell(steps) for one in series]


class _Series:
    """The repetitions of one cell."""

    _BATCH = 0.25
    _WARM_UP = 5

    def __init__(self, peer: Peer, client: Client, asked: Asked) -> None:
        self._peer = peer
        self._client = client
        self._asked = asked
        self._request = asked.request
        self._taken: list[float] = []
        self._first = self._once()
        warm = time.perf_counter() + self._BATCH
        for _ in range(self._WARM_UP):
            if time.perf_counter() < warm:
                self._once()

    def done(self, limits: Limits) -> bool:
        spent, count = sum(self._taken) / 1000, len(self._taken)
        quick = spent >= limits.quick_cell and count >= limits.enough
        return count >= limits.most or quick or spent >= limits.slow_cell

    def batch(self) -> None:
        end = time.perf_counter() + self._BATCH
        while True:
            self._taken.append(self._once())
            if time.perf_counter() >= end:
                return

    def _once(self) -> float:
        start = time.perf_counter_ns()
        answers = self._client.ask(self._request)
        taken = time.perf_counter_ns() - start
        if answers != self._asked.expected:
            raise AssertionError(
                f"{self._peer.name}, {self._asked.name}: {answers} answers,"
                f" not {self._asked.expected}"
            )
        return taken / 1e6

    def cell(self, steps: int) -> Cell:
        return Cell(
            peer=self._peer.name,
            steps=steps,
            query=self._asked.name,
            answers=self._asked.expected,
            repetitions=len(self._taken),
            median=median(self._taken),
            p95=p95(self._taken),
            first=self._first,
        )


# --- several scanners -----------------------------------------------------------------------


def throughput(peer: Peer, steps: int, asked: Asked, scanners: int, seconds: float) -> Throughput:
    """So many scanners, each a process that asks again as soon as it is answered."""
    with ExitStack() as running:
        started = [running.enter_context(_Scanner(peer, asked, seconds)) for _ in range(scanners)]
        for scanner in started:
            scanner.wait()
        for scanner in started:
            scanner.go()
        taken = [scanner.times() for scanner in started]
    rate = sum(len(times) / ((times[-1][0] + times[-1][1] - times[0][0]) / 1e9) for times in taken)
    waits = (took / 1e6 for times in taken for _, took in times)
    return Throughput(peer.name, steps, scanners, rate, p95(waits))


class _Scanner:
    """`bench.client` in a process of its own."""

    def __init__(self, peer: Peer, asked: Asked, seconds: float, period: float = 0.0) -> None:
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "bench.client"),
                *(str(peer.port), asked.calling, str(seconds), f"--period={period}"),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        self._say(asked.identifier.hex())

    def __enter__(self) -> "_Scanner":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.communicate()

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        print(line, file=self._process.stdin, flush=True)

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise AssertionError("a scanner ended too early")
        return line

    def wait(self) -> None:
        """Until it has asked once."""
        self._line()

    def go(self) -> None:
        """Let it ask."""
        self._say("go")

    def times(self) -> list[tuple[int, int]]:
        """Begin and duration of each query, in ns of time.monotonic."""
        return [(begin, took) for begin, took in json.loads(self._line())]


# --- reading the list -----------------------------------------------------------------------


def bare_memory(folder: Path) -> float:
    """The memory of an Orthanc whose Python plugin has nothing to do."""
    with peers.bare(folder) as peer:
        time.sleep(1)
        return peer.megabytes()


PERIOD = 0.025
"""Seconds from one query to the next while the list is read again."""

INTERVAL = 1.0
"""Seconds between two reads: the shortest that the plugin can be told."""

SLOW = 1.0
"""Seconds that an OpenMRS with the list of years takes for it."""

SLOW_READS = 4


def reading(
    folder: Path, material: Material, limits: Limits
) -> tuple[Loading, tuple[Refreshing, ...], Asking]:
    """The first load of a plugin without a kept list, then queries during its refreshes, then how
    often it asks an OpenMRS that is slow."""
    openmrs, asked = material.openmrs, material.asked[0]
    already = len(openmrs.reads())
    start = time.monotonic()
    section = {"RefreshInterval": INTERVAL}
    with peers.ours(folder, material, section=section) as peer:
        loaded = time.monotonic()
        first_read, _ = openmrs.reads()[already]
        unchanged = _refreshing(peer, material, "unchanged", limits.refreshing)
        openmrs.change_each_second(True)
        changed = _refreshing(peer, material, "one changed", limits.refreshing)
        openmrs.change_each_second(False)
        peers.check([peer], asked)
        asking = _asking(material)
    loading = _in_process(folder, material, loaded - start, loaded - first_read)
    return loading, (unchanged, changed), asking


def _asking(material: Material) -> Asking:
    openmrs = material.openmrs
    plain, packed = openmrs.size("identity"), openmrs.size("gzip")
    openmrs.fault("slow", "GET", LIST, seconds=SLOW)
    already = len(openmrs.reads())
    eventually(
        lambda: len(openmrs.reads()) > already + SLOW_READS,
        "the list isn't read",
        SLOW_READS * 10 * SLOW + 30,
    )
    openmrs.mend()
    reads = openmrs.reads()[already + 1 :]  # the first had begun before
    periods = [after - before for (before, _), (after, _) in pairwise(reads)]
    return Asking(
        steps=material.steps,
        seconds=median(took for _, took in reads),
        reads=len(reads),
        period=median(periods),
        share=sum(took for _, took in reads[:-1]) / sum(periods),
        megabytes=plain / 1e6,
        packed=packed / 1e6,
    )


def _refreshing(peer: Peer, material: Material, list_is: str, seconds: float) -> Refreshing:
    already = len(material.openmrs.reads())
    with _Scanner(peer, material.asked[0], seconds, PERIOD) as scanner:
        scanner.wait()
        scanner.go()
        times = scanner.times()
    time.sleep(INTERVAL + 0.5)
    # A read begins INTERVAL seconds after the one before has ended, or later where that took long.
    reads = material.openmrs.reads()[already:]
    windows = [
        (begin, following - max(INTERVAL, REST * took))
        for (begin, took), (following, _) in pairwise(reads)
    ]
    during: list[float] = []
    quiet: list[float] = []
    for begin, took in times:
        start, end = begin / 1e9, (begin + took) / 1e9
        overlaps = any(start < closing and end > opening for opening, closing in windows)
        (during if overlaps else quiet).append(took / 1e6)
    return Refreshing(
        steps=material.steps,
        list_is=list_is,
        refreshes=len(windows),
        refresh=median(closing - opening for opening, closing in windows),
        quiet_median=median(quiet),
        quiet_p95=p95(quiet),
        during_queries=len(during),
        during_median=median(during),
        during_p95=p95(during),
        during_longest=max(during, default=0.0),
    )


class _Bodies:
    """A source that gives the bodies that it is told to."""

    def __init__(self, body: bytes) -> None:
        self.body = body

    def get_list(self) -> bytes:
        return self.body


def _in_process(folder: Path, material: Material, from_start: float, from_read: float) -> Loading:
    """What the plugin does with a list, without Orthanc and the network."""
    before = time.perf_counter()
    found = read_list(material.body)
    read = time.perf_counter()
    Snapshot.build(found, read_at=0, day="20250701")
    built = time.perf_counter()

    material.openmrs.change()
    other = material.openmrs.read()
    material.openmrs.change()
    source = _Bodies(material.body)
    worklist = Worklist(StationRules(codec="utf-8"), max_staleness=1e9)
    database = Database(f"sqlite:///{folder / 'bench.db'}")
    names = PersonNames()
    board = Board(worklist, names=lambda: names, uids=UidRegistry(database), max_staleness=1e9)
    refresher = Refresher(source, board, database, interval=3600)

    def handled(body: bytes) -> float:
        source.body = body
        start = time.perf_counter()
        refresher.read_now(60)
        return time.perf_counter() - start

    try:
        start = time.perf_counter()
        refresher.start()
        eventually(lambda: worklist.snapshot is not None, "no list is read", 60)
        first = time.perf_counter() - start
        refresher.read_now(60)
        unchanged = median(handled(material.body) for _ in range(5))
        changed = median(handled(body) for body in (other, material.body) * 2)
    finally:
        refresher.tell_to_stop()
        refresher.join(time.monotonic() + 5)
        database.close()
    return Loading(
        steps=material.steps,
        megabytes=len(material.body) / 1e6,
        from_start=from_start,
        from_read=from_read,
        read_list=read - before,
        build=built - read,
        handled=first,
        unchanged=unchanged,
        one_changed=changed,
    )


# --- waiting for acknowledgements -----------------------------------------------------------

_CASES = (
    # TCP_NODELAY of the server (None: not set, so the plugin sets it), of findscu
    ("0", None),
    (None, None),
    (None, "1"),
)


def findscu(folder: Path, material: Material, limits: Limits) -> list[Findscu]:
    """DCMTK's findscu, start to end, against this plugin with and without TCP_NODELAY."""
    asked = material.asked[0]
    found = []
    for server, group in (("0", _CASES[:1]), (None, _CASES[1:])):
        environment = {} if server is None else {"TCP_NODELAY": server}
        with peers.ours(folder / f"server-{server}", material, environment=environment) as peer:
            for _, client in group:
                times = [_findscu(peer, asked, client) for _ in range(limits.findscu + 2)][2:]
                found.append(
                    Findscu(
                        server or "not set",
                        client or "not set",
                        material.steps,
                        median(times),
                        p95(times),
                    )
                )
    return found


def _findscu(peer: Peer, asked: Asked, no_delay: str | None) -> float:
    command = ["findscu", "-W", "-aet", asked.calling]
    command += [word for key in asked.findscu_keys for word in ("-k", key)]
    command += ["127.0.0.1", str(peer.port)]
    environment = {**os.environ, **({"TCP_NODELAY": no_delay} if no_delay else {})}
    start = time.perf_counter()
    subprocess.run(command, env=environment, check=True, capture_output=True)
    return (time.perf_counter() - start) * 1000
