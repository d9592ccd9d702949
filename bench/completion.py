"""What is timed of a study's way to OpenMRS, one function a section.

Decides: what is sent to which Orthanc, when, and how the times are taken. Each section has its
own stand-in, so that none meets the steps that another has completed. Must not know: how
results are shown.
"""

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from itertools import chain, cycle, pairwise
from pathlib import Path
from typing import Any, ParamSpec, TypeVar
from urllib.parse import parse_qs

from bench import studies
from bench.measure import Limits, Meanwhile, Notified, Sustained, median, p95
from bench.openmrs import UPDATE, OpenMRS
from bench.peers import BARE, BARE_SCRIPT, NO_DELAY, NO_PLUGIN, OURS, wait_for_steps
from bench.studies import EndlessScan, Rest, Study
from trial.orthanc import ScratchOrthanc
from trial.waiting import eventually

T = TypeVar("T")
P = ParamSpec("P")

_TIMEOUT = 120


# --- the Orthanc with this plugin -----------------------------------------------------------


def _ours(folder: Path, openmrs: OpenMRS, *, in_progress: bool = False) -> ScratchOrthanc:
    configuration = {**openmrs.keys, "OpenMRS": {"ReportInProgress": in_progress}}
    return ScratchOrthanc(folder, configuration, environment=NO_DELAY)


@contextmanager
def _running(
    folder: Path, openmrs: OpenMRS, steps: int, *, in_progress: bool = False
) -> Iterator[ScratchOrthanc]:
    with _ours(folder, openmrs, in_progress=in_progress) as orthanc:
        wait_for_steps(orthanc, steps)
        yield orthanc


def _wait_until_delivered(orthanc: ScratchOrthanc, count: int) -> None:
    def delivered() -> bool:
        time.sleep(0.25)  # each question costs the plugin some time
        found: int = orthanc.get("/openmrs/status")["Notifications"]["Delivered"]
        return found == count

    eventually(delivered, f"the plugin hasn't delivered {count} notifications", _TIMEOUT)


def _rows(orthanc: ScratchOrthanc, query: str) -> list[Any]:
    """What the plugin's database says while the plugin runs."""
    path = orthanc.folder / "index" / "openmrs.db"
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        return connection.execute(query).fetchall()


def _arrivals(openmrs: OpenMRS) -> dict[str, float]:
    """When the stand-in was told of each step first (time.monotonic)."""
    found: dict[str, float] = {}
    for entry in openmrs.log(UPDATE):
        (step,) = parse_qs(entry["query"])["performedProcedureStepID"]
        found.setdefault(step, float(entry["time"]))
    return found


# --- from STABLE_STUDY to OpenMRS -----------------------------------------------------------

_PACE = 0.15
"""Seconds between two studies that come one by one: more than any hospital has."""


def notified(folder: Path, steps: int, limits: Limits, *, in_progress: bool) -> list[Notified]:
    """Studies that come one by one, then many in one association.

    The start is seen in /changes, the end is the request's arrival in the stand-in's log. The
    plugin's own `noted_at` would be too late where Orthanc is busy: its callbacks queue.
    """
    with OpenMRS() as openmrs:
        chosen = studies.studies(openmrs.grow(steps), limits.one_by_one + limits.at_once)
        one_by_one, at_once = chosen[: limits.one_by_one], chosen[limits.one_by_one :]
        paths = studies.write(folder / "images", at_once)
        with _running(folder, openmrs, steps, in_progress=in_progress) as orthanc:
            with _Changes(orthanc.http_port) as changes:
                _send_one_by_one(orthanc, one_by_one)
                _wait_until_delivered(orthanc, len(one_by_one))
                studies.storescu(orthanc.dicom_port, paths)
                _wait_until_delivered(orthanc, len(chosen))
            delays = _delays(orthanc, openmrs, changes.stable)
    return [
        Notified(
            steps=steps,
            in_progress=in_progress,
            sent=sent,
            studies=len(group),
            median=median(delays[study.step] for study in group),
            p95=p95(delays[study.step] for study in group),
            longest=max(delays[study.step] for study in group),
        )
        for sent, group in (("one by one", one_by_one), ("at once", at_once))
    ]


def _send_one_by_one(orthanc: ScratchOrthanc, chosen: Sequence[Study]) -> None:
    with Rest(orthanc.http_port) as rest:
        due = time.monotonic()
        for study in chosen:
            time.sleep(max(0.0, due - time.monotonic()))
            rest.store(study.first)
            due += _PACE


class _Changes:
    """Looks at Orthanc's changes all the time, in a thread."""

    _PERIOD = 0.01

    def __init__(self, port: int) -> None:
        self.stable: dict[str, float] = {}
        """Orthanc ID → a moment (time.monotonic) when StableStudy was not yet there, at most
        one look before it was: the times that are counted from it are rather too long."""
        self._port = port
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> "_Changes":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        last, before = 0, time.monotonic()
        with Rest(self._port) as rest:
            while not self._over.wait(self._PERIOD):
                now = time.monotonic()
                page = json.loads(rest.get(f"/changes?since={last}&limit=1000"))
                for change in page["Changes"]:
                    if change["ChangeType"] == "StableStudy":
                        self.stable.setdefault(change["ID"], before)
                last, before = page["Last"], now


def _delays(
    orthanc: ScratchOrthanc, openmrs: OpenMRS, stable: Mapping[str, float]
) -> dict[str, float]:
    """Milliseconds for each step."""
    told = _rows(
        orthanc,
        "SELECT scheduled_procedure_step_id, study FROM notifications WHERE kind = 'completed'",
    )
    arrivals = _arrivals(openmrs)
    return {step: (arrivals[step] - stable[study]) * 1000 for step, study in told}


# --- notifications per second ---------------------------------------------------------------

ANSWER_TIME = 0.02
"""Seconds after which OpenMRS answers an update."""

WAITING, STORED = "waiting, while a scanner sends", "as a scanner sends them"


def sustained(folder: Path, limits: Limits) -> list[Sustained]:
    """As many as OpenMRS takes: those that wait for it, then those that come just now."""
    count = limits.sustained
    return [_waiting(folder / "waiting", count), _stored(folder / "stored", count)]


def _waiting(folder: Path, count: int) -> Sustained:
    """All became stable while Orthanc ran without the plugin; a scanner sends another study."""
    with OpenMRS() as openmrs:
        chosen = studies.studies(openmrs.grow(count + 1), count + 1)
        (other,) = studies.write(folder / "images", chosen[count:])
        with _running(folder, openmrs, count + 1) as orthanc:
            eventually(
                lambda: _rows(orthanc, "SELECT sequence FROM change_cursor"),
                "Orthanc's changes are not taken up",
            )
        without = ScratchOrthanc(folder, script=None, environment=NO_DELAY)
        with without, Rest(without.http_port) as rest:
            for study in chosen[:count]:
                rest.store(study.first)
            eventually(lambda: _stable(without) == count, "the studies are not stable")
        openmrs.fault("slow", "POST", UPDATE, seconds=ANSWER_TIME)
        with orthanc, EndlessScan(orthanc.dicom_port, other) as scan:
            before, start = _instances(orthanc), time.monotonic()
            _wait_until_delivered(orthanc, count)
            scan.check()
            stored = (_instances(orthanc) - before) / (time.monotonic() - start)
        return _rate(WAITING, openmrs, count, stored)


def _stored(folder: Path, count: int) -> Sustained:
    """One association sends a study after the other."""
    with OpenMRS() as openmrs:
        chosen = studies.studies(openmrs.grow(count), count)
        paths = studies.write(folder / "images", chosen)
        openmrs.fault("slow", "POST", UPDATE, seconds=ANSWER_TIME)
        with _running(folder, openmrs, count) as orthanc:
            start = time.monotonic()
            studies.storescu(orthanc.dicom_port, paths)
            seconds = time.monotonic() - start
            _wait_until_delivered(orthanc, count)
        return _rate(STORED, openmrs, count, count / seconds)


def _stable(orthanc: ScratchOrthanc) -> int:
    changes = orthanc.get("/changes?since=0&limit=100000")["Changes"]
    return sum(change["ChangeType"] == "StableStudy" for change in changes)


def _instances(orthanc: ScratchOrthanc) -> int:
    found: int = orthanc.get("/statistics")["CountInstances"]
    return found


def _rate(which: str, openmrs: OpenMRS, count: int, stored: float) -> Sustained:
    times = sorted(_arrivals(openmrs).values())
    if len(times) != count:
        raise AssertionError(f"OpenMRS was told of {len(times)} steps, not of {count}")
    return Sustained(
        notifications=which,
        count=count,
        per_second=(count - 1) / (times[-1] - times[0]),
        longest_gap=max(later - earlier for earlier, later in pairwise(times)),
        stored_per_second=stored,
    )


# --- Orthanc while OpenMRS hangs ------------------------------------------------------------

STEPS = 1_000
_HELD = 40
"""Studies that wait for OpenMRS before anything is timed: more than the plugin has senders."""

_IMAGES = 20
"""Images of a study that a turn sends."""

_SETTLING = 1.2
"""Seconds after a batch, in which its last studies become stable and are linked."""

POST, STORESCU = "POST /instances", "storescu, one image"
GET_STUDY, GET_CHANGES = "GET /studies/{id}", "GET /changes"
ASKED = (POST, STORESCU, GET_STUDY, GET_CHANGES)


def meanwhile(folder: Path, limits: Limits) -> list[Meanwhile]:
    """Orthanc with this plugin, with a bare Python plugin, and without any, in turns.

    The stand-in hangs in GET and POST, once the list was read. All three get the same images.
    A batch lasts so long that most of the plugin's work with it falls into the batch itself.
    """
    bare = folder / "bare.py"
    folder.mkdir(parents=True, exist_ok=True)
    bare.write_text(BARE_SCRIPT)
    with OpenMRS() as openmrs, ExitStack() as running:
        chosen = studies.studies(openmrs.grow(STEPS), STEPS)
        ours = running.enter_context(_running(folder / "ours", openmrs, STEPS))
        openmrs.fault("hang", "GET", "/openmrs")
        openmrs.fault("hang", "POST", "/openmrs")
        others = {
            NO_PLUGIN: ScratchOrthanc(folder / "none", script=None, environment=NO_DELAY),
            BARE: ScratchOrthanc(folder / "bare", script=bare, environment=NO_DELAY),
        }
        for other in others.values():
            running.enter_context(other)
        batches = [
            running.enter_context(_Batches(name, orthanc, chosen))
            for name, orthanc in ({OURS: ours} | others).items()
        ]
        for one in batches:
            one.begin()
        eventually(
            lambda: openmrs.log(UPDATE) and _waits(ours) >= _HELD, "OpenMRS is told of nothing"
        )
        for turn in range(limits.turns):
            at = turn % len(batches)
            for one in batches[at:] + batches[:at]:
                one.batch(limits.turn)
                time.sleep(_SETTLING)
        if any(entry["status"] is not None for entry in openmrs.log(UPDATE)):
            raise AssertionError("OpenMRS answered, though it was to hang")
        return [one.found(asked) for asked in ASKED for one in batches]


def _waits(orthanc: ScratchOrthanc) -> int:
    found: int = orthanc.get("/openmrs/status")["Notifications"]["Pending"]
    return found


class _Batches:
    """What one Orthanc is asked, sequentially."""

    def __init__(self, name: str, orthanc: ScratchOrthanc, chosen: Sequence[Study]) -> None:
        self._name = name
        self._port = orthanc.dicom_port
        self._rest = Rest(orthanc.http_port)
        self._image = orthanc.folder / "image.dcm"
        self._held = chosen[:_HELD]
        self._studies = cycle(chosen[_HELD:])
        self._taken: dict[str, list[float]] = {asked: [] for asked in ASKED}
        self._batches: list[Mapping[str, Sequence[float]]] = []

    def __enter__(self) -> "_Batches":
        return self

    def __exit__(self, *_: object) -> None:
        self._rest.__exit__()

    def begin(self) -> None:
        """The studies that wait for OpenMRS, and a first turn that doesn't count."""
        for study in self._held:
            self._rest.store(study.first)
        self._turn()

    def batch(self, seconds: float) -> None:
        """Ask for some seconds."""
        self._rest.renew()
        self._taken = {asked: [] for asked in ASKED}
        self._batches.append(self._taken)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._turn()

    def _turn(self) -> None:
        study = next(self._studies)
        answer = b""
        for _ in range(_IMAGES):
            answer = self._timed(POST, self._rest.store, study.another())
        path = f"/studies/{json.loads(answer)['ParentStudy']}"
        for _ in range(5):
            self._timed(GET_STUDY, self._rest.get, path)
            self._timed(GET_CHANGES, self._rest.get, "/changes")
        for _ in range(2):
            self._image.write_bytes(study.another())
            self._timed(STORESCU, studies.storescu, self._port, [self._image])

    def _timed(self, asked: str, ask: Callable[P, T], *what: P.args, **more: P.kwargs) -> T:
        start = time.perf_counter_ns()
        answer = ask(*what, **more)
        self._taken[asked].append((time.perf_counter_ns() - start) / 1e6)
        return answer

    def found(self, asked: str) -> Meanwhile:
        """What was timed."""
        batches = [taken[asked] for taken in self._batches]
        times = list(chain(*batches))
        each = [median(batch) for batch in batches]
        return Meanwhile(asked, self._name, len(times), median(times), p95(times), each)
