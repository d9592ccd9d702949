"""The command line: what is run, in which order, and where the results go."""

import argparse
import os
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from http.client import HTTPException
from pathlib import Path
from subprocess import SubprocessError

from bench import completion, measure, orders, peers, procedures, report, rest
from bench.client import QueryFailed
from bench.measure import QUICK, Limits, Results
from bench.openmrs import OpenMRS
from bench.peers import OURS, PEERS, Items
from trial.orthanc import StartFailed

SIZES = (10, 100, 1_000, 5_000, 20_000)
QUICK_SIZES = (10, 100, 1_000)
SCANNERS = (1, 4, 16)
WORKLIST, COMPLETION, REST, MPPS, ORDERS = "worklist", "completion", "rest", "mpps", "orders"
PARTS = (WORKLIST, COMPLETION, REST, MPPS, ORDERS)
USUAL_SIZE = 1_000
"""The size for several scanners and for findscu."""


class Progress:
    """One line a stage, on the standard error: the tables own the standard output."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    def __call__(self, what: str) -> None:
        print(f"[{time.monotonic() - self._start:4.0f} s] {what}", file=sys.stderr, flush=True)


def run_worklist(
    results: Results,
    folder: Path,
    sizes: Sequence[int],
    only: Sequence[str],
    limits: Limits,
    say: Progress,
) -> None:
    """Every section of the worklist, in a scratch folder."""
    usual = USUAL_SIZE if USUAL_SIZE in sizes else sizes[-1]
    files = any(name in only for name in (peers.NATIVE, peers.WLMSCPFS))
    with OpenMRS() as openmrs:
        items = Items(folder, openmrs, write_files=files)
        for steps in sizes:
            say(f"{steps:,} steps: the items")
            material = items.grow(steps)
            with ExitStack() as running:
                started = []
                for name in only:
                    say(f"{steps:,} steps: starting {name}")
                    place = folder / f"{name.replace(' ', '-')}-{steps}"
                    started.append(running.enter_context(PEERS[name](place, material)))
                loaded = [peer.megabytes() for peer in started]
                for asked in material.asked:
                    say(f"{steps:,} steps: {asked.name}, {asked.expected:,} answer(s) each")
                    peers.check(started, asked)
                    results.cells += measure.cells(started, steps, asked, limits)
                results.memory += [
                    measure.Memory(peer.name, steps, before, peer.megabytes())
                    for peer, before in zip(started, loaded, strict=True)
                ]
                if steps == usual:
                    for peer in started:
                        for scanners in SCANNERS:
                            say(f"{steps:,} steps: {scanners} scanner(s) ask {peer.name}")
                            results.throughput.append(
                                measure.throughput(
                                    peer, steps, material.asked[0], scanners, limits.throughput
                                )
                            )
                say(f"{steps:,} steps: stopping the servers")
            if OURS in only and steps == usual:
                say(f"{steps:,} steps: DCMTK's findscu")
                results.findscu += measure.findscu(folder / "findscu", material, limits)
        if OURS in only:
            say("a bare Python plugin")
            results.bare_memory = measure.bare_memory(folder / "bare")
            say(f"{steps:,} steps: the first load, and queries during refreshes")
            loading, refreshing, asking = measure.reading(folder / "reading", material, limits)
            results.loading.append(loading)
            results.refreshing += refreshing
            results.asking.append(asking)


def run_completion(results: Results, folder: Path, limits: Limits, say: Progress) -> None:
    """Every section of a study's way to OpenMRS, in a scratch folder."""
    for steps, in_progress in ((200, False), (1_000, False), (1_000, True)):
        say(f"{steps:,} steps: studies{', in progress and' if in_progress else ''} completed")
        place = folder / f"notified-{steps}-{in_progress}"
        results.notified += completion.notified(place, steps, limits, in_progress=in_progress)
    say(f"{limits.sustained} notifications, twice, to an OpenMRS that takes its time")
    results.sustained += completion.sustained(folder / "sustained", limits)
    say("Orthanc with this plugin, a bare one and none, while OpenMRS hangs")
    results.meanwhile += completion.meanwhile(folder / "meanwhile", limits)


def run_rest(results: Results, folder: Path, limits: Limits, say: Progress) -> None:
    """The REST API over an archive, in a scratch folder."""
    say(f"{limits.archive:,} studies: filling Orthanc, then its routes and this plugin's")
    results.routed += rest.routes(folder / "rest", limits)


def run_mpps(results: Results, folder: Path, limits: Limits, say: Progress) -> None:
    """Performed procedure steps, in a scratch folder."""
    say(f"{limits.reports:,} performed procedure steps")
    results.reported += procedures.reported(folder / "mpps", limits)


def main() -> int:
    """The command line; returns the exit status, which doesn't depend on the aims."""
    parser = argparse.ArgumentParser(
        prog="script/bench", description="This plugin's speed beside that of its peers."
    )
    parser.add_argument("--sizes", type=_sizes, help="steps, such as 10,1000 (10 to 20,000)")
    parser.add_argument("--quick", action="store_true", help="up to 1,000 steps, short")
    parser.add_argument("--only", action="append", choices=list(PEERS), help="may be repeated")
    parser.add_argument("--part", choices=PARTS, help="only this one")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all results")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the medians (SVG)")
    options = parser.parse_args()
    if options.plot and options.part not in (None, WORKLIST):
        parser.error("--plot draws the worklist's part")
    if options.plot and not report.can_plot():
        parser.error("--plot needs matplotlib: .venv/bin/pip install -e '.[bench]'")
    sizes = options.sizes or (QUICK_SIZES if options.quick else SIZES)
    only = [name for name in PEERS if not options.only or name in options.only]
    # An administrator's own choice would be measured in the plugin's place.
    os.environ.pop("TCP_NODELAY", None)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    say = Progress()
    limits = QUICK if options.quick else Limits()
    results = Results(measure.machine())
    try:
        with tempfile.TemporaryDirectory(prefix="orthanc-openmrs-bench-") as name:
            folder = Path(name)
            if options.part in (None, WORKLIST):
                run_worklist(results, folder, sizes, only, limits, say)
            if options.part in (None, COMPLETION) and OURS in only:
                run_completion(results, folder, limits, say)
            if options.part in (None, REST) and OURS in only:
                run_rest(results, folder, limits, say)
            if options.part in (None, MPPS) and OURS in only:
                run_mpps(results, folder, limits, say)
            if options.part in (None, ORDERS) and OURS in only:
                say("OpenMRS's own orders")
                results.ordered += orders.ordered(folder / "orders", sizes[-2:])
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130
    except (
        AssertionError,
        StartFailed,
        OSError,
        RuntimeError,
        QueryFailed,
        HTTPException,
        SubprocessError,
    ) as problem:
        print(f"FAILED: {problem}", file=sys.stderr)
        return 1
    say("done")
    print(report.text(results))
    if options.json:
        report.write_json(results, options.json)
    if options.plot:
        report.write_plot(results, options.plot)
    return 0


def _sizes(words: str) -> tuple[int, ...]:
    sizes = sorted({int(word) for word in words.split(",")})
    if not sizes or sizes[0] < 1:
        raise argparse.ArgumentTypeError("sizes are positive numbers")
    return tuple(sizes)


if __name__ == "__main__":
    sys.exit(main())
