"""What is timed of the REST API over an archive of many studies, one function a section.

Decides: what is asked of which Orthanc, and in which state of OpenMRS and the database. Every
request goes over one kept connection, one after the other. Must not know: how results are shown.
"""

import json
import shutil
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from itertools import chain
from pathlib import Path

from bench import archive
from bench.measure import Limits, Routed, median, p95, percentile
from bench.openmrs import OpenMRS
from bench.peers import NO_DELAY, NO_PLUGIN, OURS, wait_for_steps
from bench.studies import Rest
from tests.people import CULTURES
from trial.orthanc import ScratchOrthanc
from trial.waiting import eventually

STEPS = 5_000
THEIRS = 5
"""Studies of the patient who is asked for."""

UNASSIGNED, PATIENTS, CANDIDATES = (
    "100 studies that are nobody's",
    "a patient's studies",
    "candidates",
)
SEARCH = "search of a name, 20 studies"
STATUS = "status"
SYSTEM, LISTED = "Orthanc's /system", "Orthanc's /studies?limit=100&since=0"
UP, REFRESHING, LOCKED, DOWN = (
    "OpenMRS up",
    "a step of 5,000 changes each second",
    "another process locks the database",
    "OpenMRS down",
)
STATES = (UP, REFRESHING, LOCKED, DOWN)


def routes(folder: Path, limits: Limits) -> list[Routed]:
    """Orthanc with this plugin and without any, over the same studies."""
    full = ScratchOrthanc(folder / "none", script=None, environment=NO_DELAY)
    with full:
        archive.fill(full.http_port, limits.archive)
    shutil.copytree(folder / "none", folder / "ours")
    with OpenMRS() as openmrs, ExitStack() as running:
        openmrs.grow(STEPS)
        configuration = {**openmrs.keys, "OpenMRS": {"RefreshInterval": 1}}
        ours = ScratchOrthanc(folder / "ours", configuration, environment=NO_DELAY)
        for orthanc in (ours, full):
            running.enter_context(orthanc)
        wait_for_steps(ours, STEPS)
        found = _asked(ours, openmrs.add_patient(**_somebody()), limits)
        found += _beside(ours, full, limits)
        found.append(_status(ours, UP, limits))
        openmrs.change_each_second(True)
        found.append(_status(ours, REFRESHING, limits))
        openmrs.change_each_second(False)
        with _locked(ours.folder / "index" / "openmrs.db"):
            found.append(_status(ours, LOCKED, limits))
        openmrs.stop()
        eventually(
            lambda: not ours.get("/openmrs/status")["OpenMRS"]["Reachable"],
            "the plugin doesn't notice that OpenMRS is down",
        )
        found.append(_status(ours, DOWN, limits))
    return found


def _somebody() -> dict[str, str]:
    """A patient of whom the archive has many namesakes."""
    culture = CULTURES["Vietnamese"]
    given, family = (names[0].partition("|")[0] for names in (culture.women, culture.families))
    return {"givenName": given, "familyName": family, "birthdate": "1984-02-29", "gender": "F"}


def _asked(ours: ScratchOrthanc, patient: str, limits: Limits) -> list[Routed]:
    """This plugin's own routes; the first answer after its start is told apart."""
    path = f"/openmrs/patients/{patient}"
    page = "/openmrs/studies?assigned=false&limit=100"
    with Rest(ours.http_port) as rest:
        found = [_route(rest, CANDIDATES, "", f"{path}/candidates", limits)]
        for one in json.loads(rest.get(page))[:THEIRS]:
            rest.put(f"{path}/studies/{one['ID']}")
        search = "/openmrs/studies?search=nguyen&newest=true&limit=20"
        found.append(_route(rest, SEARCH, "", search, limits, answers=20))
        found.append(_route(rest, UNASSIGNED, "", page, limits, answers=100))
        found.append(_route(rest, PATIENTS, "", f"{path}/studies", limits, answers=THEIRS))
    return found


def _status(ours: ScratchOrthanc, state: str, limits: Limits) -> Routed:
    """At an even pace, as a monitor or the administrator's page asks, but more often."""
    with Rest(ours.http_port) as rest:
        return _route(rest, STATUS, state, "/openmrs/status", limits, pause=0.005)


def _route(
    rest: Rest,
    what: str,
    state: str,
    path: str,
    limits: Limits,
    *,
    answers: int | None = None,
    pause: float = 0.0,
) -> Routed:
    rest.renew()
    first, body = _timed(rest, path)
    if answers is not None and len(json.loads(body)) != answers:
        raise AssertionError(f"{path}: {answers} answers are right, not {len(json.loads(body))}")
    times = list(_times(rest, path, limits.routes, pause))
    return _result(what, state or OURS, [times], first)


def _times(rest: Rest, path: str, seconds: float, pause: float = 0.0) -> Iterator[float]:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        yield _timed(rest, path)[0]
        time.sleep(pause)


def _timed(rest: Rest, path: str) -> tuple[float, bytes]:
    start = time.perf_counter_ns()
    body = rest.get(path)
    return (time.perf_counter_ns() - start) / 1e6, body


def _beside(ours: ScratchOrthanc, none: ScratchOrthanc, limits: Limits) -> list[Routed]:
    """Orthanc's own routes, in many short turns, for the machine does other things too."""
    paths = {SYSTEM: "/system", LISTED: "/studies?limit=100&since=0"}
    both = {OURS: ours, NO_PLUGIN: none}
    batches: dict[tuple[str, str], list[Sequence[float]]] = {}
    for turn in range(10 * limits.turns):
        for name in sorted(both, reverse=turn % 2 == 0):
            with Rest(both[name].http_port) as rest:
                for what, path in paths.items():
                    _timed(rest, path)
                    times = list(_times(rest, path, limits.turn / 25))
                    batches.setdefault((what, name), []).append(times)
    return [_result(what, name, batches[what, name]) for what in paths for name in both]


def _result(
    what: str, state: str, batches: Sequence[Sequence[float]], first: float | None = None
) -> Routed:
    times = list(chain(*batches))
    return Routed(
        asked=what,
        state=state,
        repetitions=len(times),
        median=median(times),
        p95=p95(times),
        p99=percentile(times, 99),
        longest=max(times),
        first=first,
        batches=[median(batch) for batch in batches],
    )


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Write the database and don't come to an end."""
    with closing(sqlite3.connect(path, isolation_level=None, timeout=30)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        yield
        connection.execute("ROLLBACK")
