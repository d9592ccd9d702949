"""A clinic's day in an hour: scanners ask, images come, OpenMRS restarts; is anything lost,
wrong or an error, and does the memory grow?

Decides: the load, what must hold, how growth is told. The same images go to an Orthanc without
the plugin, which grows too: the difference is the plugin's. Must not know: who asks for it.
"""

import argparse
import json
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field
from datetime import date, timedelta
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

from bench import studies
from bench.client import Client, QueryFailed
from bench.measure import machine, median, p95
from bench.openmrs import OpenMRS
from bench.peers import wait_for_steps
from bench.queries import Asked
from orthanc_openmrs.openmrs.imaging_list import read_list
from orthanc_openmrs.worklist.snapshot import Snapshot
from trial.orthanc import ScratchOrthanc, StartFailed
from trial.waiting import eventually

DELIVERY_TIMEOUT = 420
"""Seconds for the last notifications: the pause between two tries grows to five minutes."""

QUERY_TIMEOUT = 30

WITH, WITHOUT, DIFFERENCE = "with the plugin", "without it", "the difference"
RESIDENT, ANONYMOUS = "resident", "anonymous"

FLAT = 15.0
"""MB an hour by which the plugin may grow more than Orthanc, and be called flat."""

_DAYS = 7
"""Days that a scanner asks for."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The load. Times are in seconds; `down` the shortest and the longest restart."""

    seconds: float = 3600
    requests: int = 5_000
    scanners: int = 8
    query_every: float = 1
    study_every: float = 2
    restart_every: float = 300
    down: tuple[float, float] = (10, 30)
    refresh_interval: float = 10
    sample_every: float = 5
    warm_up: float = 600
    allow_threads: bool = False
    seed: int = 1

    @property
    def studies(self) -> int:
        """How many come."""
        return int(self.seconds / self.study_every)


@dataclass(frozen=True, slots=True)
class Memory:
    """Of one process at one moment (seconds from the start), in MB: all that is resident, and
    what of it is no file's (heaps and stacks)."""

    at: float
    resident: float
    anonymous: float


@dataclass(frozen=True, slots=True)
class Growth:
    """MB an hour after the warm-up; `margin` is half of the interval that has the true slope
    with a confidence of 95 %, taking the means of whole minutes as independent."""

    of: str
    which: str
    first: float
    last: float
    slope: float
    margin: float
    minutes: int


@dataclass(slots=True)
class Findings:
    """What a run has found out. `problems` is empty where all that must hold held."""

    plan: Plan
    problems: list[str] = field(default_factory=list)
    queries: int = 0
    answers: int = 0
    milliseconds: list[float] = field(default_factory=list)
    studies: int = 0
    restarts: int = 0
    seconds_down: float = 0
    seconds_until_told: float = 0
    errors_while_down: int = 0
    ours: list[Memory] = field(default_factory=list)
    without: list[Memory] = field(default_factory=list)

    def growth(self) -> list[Growth]:
        """Of Orthanc with the plugin, without it, and the difference; [] of too short a run."""
        differences = [
            Memory(a.at, a.resident - b.resident, a.anonymous - b.anonymous)
            for a, b in zip(self.ours, self.without, strict=True)
        ]
        rows = (
            (WITH, self.ours),
            (WITHOUT, self.without),
            (DIFFERENCE, differences),
        )
        found = [
            _growth(of, which, samples, self.plan.warm_up)
            for which in (RESIDENT, ANONYMOUS)
            for of, samples in rows
        ]
        return [growth for growth in found if growth is not None]

    @property
    def verdict(self) -> str:
        """Whether the plugin's own memory is flat."""
        found = [one for one in self.growth() if (one.of, one.which) == (DIFFERENCE, RESIDENT)]
        if not found:
            return "too short a run to tell"
        (own,) = found
        if own.slope + own.margin <= FLAT:
            return "flat"
        return "grows" if own.slope - own.margin > FLAT else "not clear: run it for longer"


def _growth(of: str, which: str, samples: Sequence[Memory], warm_up: float) -> Growth | None:
    """The slope of the minutes' means, by least squares."""
    later = [sample for sample in samples if sample.at >= warm_up]
    minutes = [
        (60.0 * minute + 30, _mean([getattr(one, which) for one in group]))
        for minute, group in (
            (at, list(found)) for at, found in groupby(later, lambda one: int(one.at // 60))
        )
    ]
    if len(minutes) < 5:
        return None
    slope, error = _line([at / 3600 for at, _ in minutes], [size for _, size in minutes])
    return Growth(of, which, minutes[0][1], minutes[-1][1], slope, 2 * error, len(minutes))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _line(xs: Sequence[float], ys: Sequence[float]) -> tuple[float, float]:
    """The slope of the regression and its standard error."""
    x_mean, y_mean = _mean(xs), _mean(ys)
    spread = sum((x - x_mean) ** 2 for x in xs)
    slope = sum((x - x_mean) * (y - y_mean) for x, y in zip(xs, ys, strict=True)) / spread
    residues = (y - y_mean - slope * (x - x_mean) for x, y in zip(xs, ys, strict=True))
    return slope, (sum(r * r for r in residues) / (len(xs) - 2) / spread) ** 0.5


# --- the load -------------------------------------------------------------------------------


class Ledger:
    """The steps whose images were sent, and what went wrong."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sent: set[str] = set()
        self.problems: list[str] = []

    def sends(self, step: str) -> None:
        """Noted before the first byte leaves."""
        with self._lock:
            self._sent.add(step)

    def sent(self, steps: frozenset[str]) -> int:
        """How many of these steps were sent so far."""
        with self._lock:
            return len(steps & self._sent)

    def wrong(self, what: str) -> None:
        """Something that must not be."""
        with self._lock:
            self.problems.append(what)


class Scanner:
    """Asks for the steps of one station in a week, an association a query.

    Which answers are right: never fewer than the steps whose images nobody sent, never more
    than the last time, since a step that has left the list doesn't come back.
    """

    def __init__(self, port: int, station: str, days: str, steps: frozenset[str]) -> None:
        self._port = port
        self.station = station
        self.steps = steps
        keys = {"ScheduledStationAETitle": station, "ScheduledProcedureStepStartDate": days}
        self._request = Asked(days, station, keys, len(steps)).request
        self._last = len(steps)
        self.answers = 0
        self.milliseconds: list[float] = []

    def ask(self, ledger: Ledger) -> int:
        """One query; the number of its answers."""
        start = time.perf_counter()
        try:
            with Client(self._port, self.station, timeout=QUERY_TIMEOUT) as client:
                count = client.ask(self._request)
        except (OSError, QueryFailed) as problem:
            ledger.wrong(f"a query of {self.station} failed: {problem}")
            return -1
        self.milliseconds.append((time.perf_counter() - start) * 1000)
        least = len(self.steps) - ledger.sent(self.steps)
        if not least <= count <= self._last:
            ledger.wrong(
                f"{self.station} got {count} answers, not between {least} and {self._last}"
            )
        self._last = count
        self.answers += count
        return count


def _every(period: float, over: threading.Event, do: Callable[[], object], after: float) -> None:
    """Do it at every period, the first time `after` seconds from now, until it is over."""
    due = time.monotonic() + after
    while not over.wait(max(0.0, due - time.monotonic())):
        do()
        due += period


def _restart(openmrs: OpenMRS, plan: Plan, over: threading.Event, findings: Findings) -> None:
    """OpenMRS goes down and comes back, again and again."""
    chance = random.Random(plan.seed)
    while not over.wait(plan.restart_every):
        down = chance.uniform(*plan.down)
        openmrs.go_down()
        over.wait(down)
        openmrs.come_back()
        findings.restarts += 1
        findings.seconds_down += down


def _memory(pid: int, at: float) -> Memory:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    resident, anonymous = (
        int(text.partition(f"\n{key}:")[2].split(maxsplit=1)[0]) / 1024
        for key in ("Rss", "Anonymous")
    )
    return Memory(at, resident, anonymous)


_ERROR = re.compile(r"^E\d{4} .*$", re.MULTILINE)
_AWAY = re.compile(
    r"OpenMRS: (OpenMRS can't be reached"
    r"|notification \d+ waits: (connection failed|the answer broke off))"
)
"""What the plugin says of an OpenMRS that is down."""


def run(folder: Path, plan: Plan, say: Callable[[str], None] = lambda text: None) -> Findings:
    """The load, then every account. Raises only where the load can't be made."""
    if plan.studies > plan.requests:
        raise ValueError(f"{plan.studies} studies need as many requests, not {plan.requests}")
    findings = Findings(plan)
    ledger = Ledger()
    with OpenMRS() as openmrs:
        listed = openmrs.grow(plan.requests)
        chosen = studies.studies(listed, plan.studies)
        images = dict(
            zip((one.step for one in chosen), studies.write(folder / "images", chosen), strict=True)
        )
        random.Random(plan.seed).shuffle(chosen)
        keys = {
            **openmrs.keys,
            "Python": {"AllowThreads": plan.allow_threads},
            "OpenMRS": {"RefreshInterval": plan.refresh_interval},
        }
        ours = ScratchOrthanc(folder / "ours", keys)
        without = ScratchOrthanc(folder / "without", script=None)
        with ours, without:
            wait_for_steps(ours, plan.requests)
            scanners = _scanners(ours.dicom_port, listed, plan)
            began = time.monotonic()
            over = threading.Event()
            coming = iter(chosen)

            def send() -> None:
                study = next(coming, None)
                if study is None:
                    return
                ledger.sends(study.step)
                findings.studies += 1
                for orthanc in (ours, without):
                    try:
                        studies.storescu(orthanc.dicom_port, [images[study.step]])
                    except subprocess.CalledProcessError as problem:
                        ledger.wrong(f"step {study.step} can't be stored: {problem}")

            def sample() -> None:
                at = time.monotonic() - began
                findings.ours.append(_memory(ours.pid, at))
                findings.without.append(_memory(without.pid, at))

            def tell() -> None:
                say(_progress(findings, scanners, ledger))

            with ThreadPoolExecutor(plan.scanners + 4) as others:
                tasks = [
                    others.submit(
                        _every,
                        plan.query_every,
                        over,
                        partial(one.ask, ledger),
                        plan.query_every * at / plan.scanners,
                    )
                    for at, one in enumerate(scanners)
                ]
                tasks += [
                    others.submit(_every, plan.study_every, over, send, 0),
                    others.submit(_every, plan.sample_every, over, sample, 0),
                    others.submit(_every, 60, over, tell, 60),
                    others.submit(_restart, openmrs, plan, over, findings),
                ]
                try:
                    wait(tasks, plan.seconds, FIRST_EXCEPTION)
                finally:
                    over.set()
                for task in tasks:
                    task.result()
            ended = time.monotonic()
            _settle(ours, plan, findings, ledger, scanners)
            findings.seconds_until_told = time.monotonic() - ended
        sent = {study.step for study in chosen[: findings.studies]}
        _check_openmrs(openmrs.requests(), listed, sent, ledger)
        _check_log(ours.log, findings, ledger)
    findings.queries = sum(len(one.milliseconds) for one in scanners)
    findings.answers = sum(one.answers for one in scanners)
    findings.milliseconds = [taken for one in scanners for taken in one.milliseconds]
    findings.problems = ledger.problems
    return findings


def _scanners(port: int, listed: bytes, plan: Plan) -> list[Scanner]:
    """A station each, and another week for each."""
    items = Snapshot.build(read_list(listed), read_at=0, day="20250701").items
    stations = sorted({item["ScheduledStationAETitle"] for item in items})
    first = date(2025, 7, 1)
    found = []
    for number in range(plan.scanners):
        station = stations[number % len(stations)]
        start = first + timedelta(days=3 * number % (30 - _DAYS))
        days = [(start + timedelta(days=offset)).strftime("%Y%m%d") for offset in (0, _DAYS - 1)]
        steps = frozenset(
            item["ScheduledProcedureStepID"]
            for item in items
            if item["ScheduledStationAETitle"] == station
            and days[0] <= item["ScheduledProcedureStepStartDate"] <= days[1]
        )
        found.append(Scanner(port, station, "-".join(days), steps))
    return found


def _settle(
    ours: ScratchOrthanc,
    plan: Plan,
    findings: Findings,
    ledger: Ledger,
    scanners: Sequence[Scanner],
) -> None:
    """Everything is told, and every scanner gets exactly what is left."""
    counts = dict.fromkeys(("Pending", "Held", "Failed", "Discarded", "Waiting"), 0)
    counts["Delivered"] = findings.studies
    try:
        eventually(
            lambda: ours.get("/openmrs/status")["Notifications"] == counts,
            f"not all of {findings.studies} notifications are delivered, and no other is there",
            DELIVERY_TIMEOUT,
        )
        wait_for_steps(ours, plan.requests - findings.studies)
    except AssertionError as problem:
        found = ours.get("/openmrs/status")["Notifications"]
        ledger.wrong(f"{problem}: {found}")
    for one in scanners:
        right = len(one.steps) - ledger.sent(one.steps)
        count = one.ask(ledger)
        if count != right:
            ledger.wrong(f"at last {one.station} got {count} answers; {right} are right")


def _check_openmrs(
    requests: Sequence[Mapping[str, Any]], listed: bytes, sent: set[str], ledger: Ledger
) -> None:
    """The steps that were sent are completed with their study, no other is."""
    items = Snapshot.build(read_list(listed), read_at=0, day="20250701").items
    uids = {item["ScheduledProcedureStepID"]: item["StudyInstanceUID"] for item in items}
    for request in requests:
        for step, status in zip(map(str, request["steps"]), request["statuses"], strict=True):
            right = ("completed", uids[step]) if step in sent else ("scheduled", None)
            if (status, request["studyInstanceUID"]) != right:
                ledger.wrong(f"step {step} is {status} with {request['studyInstanceUID']}")


def _check_log(log: str, findings: Findings, ledger: Ledger) -> None:
    """No error but that OpenMRS is away, no trace."""
    for line in _ERROR.findall(log):
        if findings.restarts and _AWAY.search(line):
            findings.errors_while_down += 1
        else:
            ledger.wrong(f"Orthanc's log: {line}")
    if "Traceback" in log:
        ledger.wrong("Orthanc's log has a Traceback")


# --- for people -----------------------------------------------------------------------------


def _progress(findings: Findings, scanners: Sequence[Scanner], ledger: Ledger) -> str:
    last = findings.ours[-1]
    return (
        f"[{last.at / 60:3.0f} min] {sum(len(one.milliseconds) for one in scanners):,} queries, "
        f"{findings.studies:,} studies, {findings.restarts} restarts, "
        f"{len(ledger.problems)} problems, {last.resident:.1f} MB, "
        f"{findings.without[-1].resident:.1f} MB without the plugin"
    )


def table(findings: Findings) -> str:
    """The findings as Markdown."""
    plan = findings.plan
    a_study = 3600 / plan.study_every
    lines = [
        "| what | found |",
        "|---|---|",
        f"| time | {plan.seconds / 60:g} min, {plan.requests:,} requests |",
        f"| queries of {plan.scanners} scanners | {findings.queries:,}, "
        f"with {findings.answers:,} answers |",
        f"| a query: median, p95, longest | {median(findings.milliseconds):.1f}, "
        f"{p95(findings.milliseconds):.1f}, {max(findings.milliseconds, default=0):.1f} ms |",
        f"| studies, each completed its step | {findings.studies:,} |",
        f"| restarts of OpenMRS | {findings.restarts}, {findings.seconds_down:.0f} s down |",
        f"| errors in the log that say that OpenMRS is away | {findings.errors_while_down} |",
        f"| all told, after the last image | {findings.seconds_until_told:.0f} s |",
        f"| problems | {len(findings.problems)} |",
        "",
        "| Orthanc's memory (MB) | | first | last | slope an hour | KiB a study |",
        "|---|---|--:|--:|--:|--:|",
    ]
    lines += [
        f"| {one.of} | {one.which} | {one.first:.1f} | {one.last:.1f} "
        f"| {one.slope:+.2f} ± {one.margin:.2f} | {one.slope * 1024 / a_study:+.2f} |"
        for one in findings.growth()
    ]
    lines += ["", f"The plugin's memory: {findings.verdict}."]
    lines += [f"PROBLEM: {problem}" for problem in findings.problems[:50]]
    return "\n".join(lines)


def main() -> int:
    """The command line; 1 where something was lost, wrong or an error, or the memory grows."""
    usual = Plan()
    parser = argparse.ArgumentParser(prog="script/soak", description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=usual.seconds / 60)
    parser.add_argument("--requests", type=int, default=usual.requests)
    parser.add_argument("--scanners", type=int, default=usual.scanners)
    parser.add_argument("--study-every", type=float, default=usual.study_every, metavar="SECONDS")
    parser.add_argument(
        "--restart-every", type=float, default=usual.restart_every, metavar="SECONDS"
    )
    parser.add_argument("--warm-up", type=float, default=usual.warm_up / 60, metavar="MINUTES")
    parser.add_argument("--allow-threads", action="store_true", help="Python.AllowThreads")
    parser.add_argument("--seed", type=int, default=usual.seed, help="another run of chance")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all findings")
    options = parser.parse_args()
    plan = Plan(
        seconds=options.minutes * 60,
        requests=options.requests,
        scanners=options.scanners,
        study_every=options.study_every,
        restart_every=options.restart_every,
        warm_up=options.warm_up * 60,
        allow_threads=options.allow_threads,
        seed=options.seed,
    )
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with tempfile.TemporaryDirectory(prefix="orthanc-openmrs-soak-") as name:
            findings = run(Path(name), plan, lambda text: print(text, file=sys.stderr, flush=True))
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130
    except (AssertionError, StartFailed, OSError, RuntimeError, ValueError) as problem:
        print(f"FAILED: {problem}", file=sys.stderr)
        return 1
    print(table(findings))
    if options.json:
        document = asdict(findings) | {"machine": machine(), "verdict": findings.verdict}
        document["growth"] = [asdict(one) for one in findings.growth()]
        options.json.write_text(json.dumps(document))
    return 1 if findings.problems or findings.verdict == "grows" else 0


if __name__ == "__main__":
    sys.exit(main())
