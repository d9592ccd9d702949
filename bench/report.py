"""The results for people, for machines and for the documents; and the aims.

Decides: the tables, the limits that this project has set itself, the picture. Must not know:
how anything was measured.
"""

import importlib
import importlib.util
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench import orders
from bench.completion import ASKED, STEPS, STORED, WAITING
from bench.measure import Cell, Meanwhile, Results, Routed, Throughput, median
from bench.peers import BARE, FLOOR, NATIVE, NO_PLUGIN, OURS, PEERS
from bench.procedures import CREATE, FIND, FIND_BUSY, LAST_IMAGE, SET
from bench.queries import ALL, NAMES, ONE
from bench.rest import CANDIDATES, LISTED, PATIENTS, SEARCH, STATES, STATUS, SYSTEM, UNASSIGNED

# --- the aims -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Aim:
    """What was wanted and what was found; `found` is None where it wasn't measured."""

    what: str
    found: float | None
    at_least: float | None = None
    at_most: float | None = None

    @property
    def met(self) -> bool | None:
        """Whether it is met, None where it wasn't measured."""
        if self.found is None:
            return None
        if self.at_least is not None:
            return self.found >= self.at_least
        return self.at_most is None or self.found <= self.at_most


def aims(results: Results) -> list[Aim]:
    """The aims, with what this run says of each."""
    return [
        *_worklist_aims(results),
        *_completion_aims(results),
        *_rest_aims(results),
        *_procedure_aims(results),
    ]


def _worklist_aims(results: Results) -> list[Aim]:
    loading = [found for found in results.loading if found.steps == 20_000]
    refreshing = {
        found.list_is: found.during_p95 for found in results.refreshing if found.steps == 20_000
    }
    memory = [found for found in results.memory if (found.peer, found.steps) == (OURS, 20_000)]
    bare = results.bare_memory
    rates = {
        found.peer: found.per_second
        for found in results.throughput
        if (found.steps, found.scanners) == (1_000, 16)
    }
    return [
        Aim("station and day, 1,000 steps: native / ours", _ratio(results, NATIVE, ONE, 1_000), 60),
        Aim(
            "station and day, 1,000 steps: ours / floor",
            _against_floor(results, 1_000),
            at_most=2,
        ),
        Aim(
            "station and day, 20,000 steps: ours / floor",
            _against_floor(results, 20_000),
            at_most=2.5,
        ),
        Aim("everything, 1,000 steps: native / ours", _ratio(results, NATIVE, ALL, 1_000), 2),
        Aim("everything, 5,000 steps: native / ours", _ratio(results, NATIVE, ALL, 5_000), 2),
        Aim(
            "16 scanners, 1,000 steps: throughput ours / native",
            _quotient(rates.get(OURS), rates.get(NATIVE)),
            50,
        ),
        Aim(
            "first load of 20,000 steps, s", _first(found.from_read for found in loading), at_most=5
        ),
        Aim(
            "unchanged refresh of 20,000 steps, s",
            _first(found.unchanged for found in loading),
            at_most=0.5,
        ),
        Aim(
            "share of its time that OpenMRS works for a list that takes a second",
            _first(found.share for found in results.asking),
            at_most=0.2,
        ),
        Aim("queries meanwhile, p95 in ms", refreshing.get("unchanged"), at_most=20),
        Aim(
            "queries while one step has changed, p95 in ms",
            refreshing.get("one changed"),
            at_most=20,
        ),
        Aim(
            "memory at 20,000 steps above a bare Python plugin, all loaded, MB",
            _first(found.loaded - bare for found in memory),
            at_most=100,
        ),
        Aim(
            "memory at 20,000 steps above a bare Python plugin, after all queries, MB",
            _first(found.asked - bare for found in memory),
            at_most=100,
        ),
    ]


def _completion_aims(results: Results) -> list[Aim]:
    notified = {
        found.sent: found
        for found in results.notified
        if found.steps == STEPS and not found.in_progress
    }
    rates = {found.notifications: found.per_second for found in results.sustained}
    return [
        *(
            Aim(
                f"a stable study to OpenMRS, {STEPS:,} steps, {sent}, {name} in ms",
                getattr(notified.get(sent), name, None),
                at_most=500,
            )
            for sent in ("one by one", "at once")
            for name in ("median", "p95")
        ),
        *(
            Aim(f"notifications/s, {which}, OpenMRS answers in 20 ms", rates.get(which), 100)
            for which in (WAITING, STORED)
        ),
        *(
            Aim(
                f"{asked}, OpenMRS hangs: median ours / no plugin",
                _beside(results, asked, OURS, NO_PLUGIN),
                at_most=1.05,
            )
            for asked in ASKED
        ),
    ]


def _rest_aims(results: Results) -> list[Aim]:
    found = {(each.asked, each.state): each for each in results.routed}
    return [
        *(
            Aim(f"{asked}, p95 in ms", getattr(found.get((asked, OURS)), "p95", None), at_most=most)
            for asked, most in ((UNASSIGNED, 100), (PATIENTS, 50), (SEARCH, 50), (CANDIDATES, 250))
        ),
        *(
            Aim(f"{STATUS}, {state}, p99 in ms", _p99(found.get((STATUS, state))), at_most=5)
            for state in STATES
        ),
        *(
            Aim(
                f"{asked}: median ours / no plugin",
                _ratio_of_batches(found.get((asked, OURS)), found.get((asked, NO_PLUGIN))),
                at_most=1.05,
            )
            for asked in (SYSTEM, LISTED)
        ),
    ]


def _procedure_aims(results: Results) -> list[Aim]:
    found = {each.what: each for each in results.reported}
    idle, busy = (getattr(found.get(what), "median", None) for what in (FIND, FIND_BUSY))
    return [
        *(
            Aim(f"{what}, median in ms", getattr(found.get(what), "median", None), at_most=2)
            for what in (CREATE, SET)
        ),
        *(
            Aim(f"{what} per second", getattr(found.get(what), "per_second", None), 500)
            for what in (CREATE, SET)
        ),
        Aim("C-FIND during N-CREATEs / idle, medians", _quotient(busy, idle), at_most=1.1),
        Aim(
            f"{LAST_IMAGE}, longest in ms",
            getattr(found.get(LAST_IMAGE), "p99", None),
            at_most=1_000,
        ),
    ]


def _p99(found: Routed | None) -> float | None:
    return found.p99 if found else None


def _ratio_of_batches(
    one: Routed | Meanwhile | None, another: Routed | Meanwhile | None
) -> float | None:
    if one is None or another is None:
        return None
    ratios = [here / there for here, there in zip(one.batches, another.batches, strict=True)]
    return median(ratios) if ratios else None


def _beside(results: Results, asked: str, orthanc: str, other: str) -> float | None:
    """How many times as long as another Orthanc one takes: the median of what the batches say,
    for what else the machine does changes from one batch to the next."""
    found = {each.orthanc: each for each in results.meanwhile if each.asked == asked}
    return _ratio_of_batches(found.get(orthanc), found.get(other))


def _median(results: Results, peer: str, query: str, steps: int) -> float | None:
    wanted = (peer, query, steps)
    return _first(
        cell.median for cell in results.cells if (cell.peer, cell.query, cell.steps) == wanted
    )


def _ratio(results: Results, peer: str, query: str, steps: int) -> float | None:
    """How many times as long as ours another peer takes."""
    return _quotient(_median(results, peer, query, steps), _median(results, OURS, query, steps))


def _against_floor(results: Results, steps: int) -> float | None:
    return _quotient(_median(results, OURS, ONE, steps), _median(results, FLOOR, ONE, steps))


def _first(values: Iterable[float]) -> float | None:
    return next(iter(values), None)


def _quotient(above: float | None, below: float | None) -> float | None:
    return above / below if above is not None and below else None


# --- text -----------------------------------------------------------------------------------


def text(results: Results) -> str:
    """All tables, as Markdown that can also be read as it is."""
    parts = [
        ", ".join(f"{name} {value}" for name, value in results.machine.items()),
        _section(
            "One scanner: times in ms",
            "steps|query|peer|answers|median|p95|first|/ native|/ floor|RSS MB|n",
            (_cell_row(results, cell) for cell in results.cells),
        ),
        _section(
            "Several scanners, station and day",
            "steps|peer|scanners|queries/s|/ native|p95 ms",
            (_throughput_row(results, found) for found in results.throughput),
        ),
        _section(
            "Memory in MB"
            + (
                f" (a bare Python plugin: {results.bare_memory:.0f})" if results.bare_memory else ""
            ),
            "steps|peer|loaded|after all queries",
            (
                (f"{each.steps:,}", each.peer, f"{each.loaded:.0f}", f"{each.asked:.0f}")
                for each in results.memory
            ),
        ),
        _section(
            "Reading the list: seconds (handled, unchanged, one changed: without Orthanc)",
            "steps|list MB|Orthanc's start to served|GET to served|parse|build|handled|unchanged"
            "|one changed",
            (
                (
                    f"{each.steps:,}",
                    f"{each.megabytes:.1f}",
                    *(
                        f"{seconds:.3f}"
                        for seconds in (
                            each.from_start,
                            each.from_read,
                            each.read_list,
                            each.build,
                            each.handled,
                            each.unchanged,
                            each.one_changed,
                        )
                    ),
                )
                for each in results.loading
            ),
        ),
        _section(
            "Queries during a refresh, station and day: times in ms",
            "steps|list|refreshes|one takes s|median between|p95 between|queries during|median|p95"
            "|longest",
            (
                (
                    f"{each.steps:,}",
                    each.list_is,
                    str(each.refreshes),
                    f"{each.refresh:.3f}",
                    _figure(each.quiet_median),
                    _figure(each.quiet_p95),
                    str(each.during_queries),
                    _figure(each.during_median),
                    _figure(each.during_p95),
                    _figure(each.during_longest),
                )
                for each in results.refreshing
            ),
        ),
        _section(
            "OpenMRS's own load: a list that it takes long for, read each second where that may be",
            "steps|one takes s|reads|seconds from one to the next|share of OpenMRS's time|list MB"
            "|with gzip",
            (
                (
                    f"{each.steps:,}",
                    f"{each.seconds:.2f}",
                    str(each.reads),
                    f"{each.period:.2f}",
                    f"{each.share:.0%}",
                    f"{each.megabytes:.1f}",
                    f"{each.packed:.1f}",
                )
                for each in results.asking
            ),
        ),
        _section(
            "DCMTK's findscu as a whole, station and day: times in ms",
            "steps|TCP_NODELAY of Orthanc|of findscu|median|p95",
            (
                (
                    f"{each.steps:,}",
                    each.server,
                    each.client,
                    _figure(each.median),
                    _figure(each.p95),
                )
                for each in results.findscu
            ),
        ),
        _section(
            "From STABLE_STUDY to OpenMRS: times in ms",
            "steps|studies come|in progress told|median|p95|longest|n",
            (
                (
                    f"{each.steps:,}",
                    each.sent,
                    "yes" if each.in_progress else "no",
                    _figure(each.median),
                    _figure(each.p95),
                    _figure(each.longest),
                    str(each.studies),
                )
                for each in results.notified
            ),
        ),
        _section(
            "Notifications per second, OpenMRS answers in 20 ms",
            "notifications|per second|longest gap s|images stored per second|n",
            (
                (
                    each.notifications,
                    _figure(each.per_second),
                    _figure(each.longest_gap),
                    _figure(each.stored_per_second),
                    str(each.count),
                )
                for each in results.sustained
            ),
        ),
        _section(
            "Orthanc while OpenMRS hangs: times in ms",
            "asked|Orthanc with|median|p95|/ no plugin|/ bare|n",
            (_meanwhile_row(results, each) for each in results.meanwhile),
        ),
        _section(
            "REST over an archive of studies: times in ms",
            "asked|meanwhile, or Orthanc with|median|p95|p99|longest|first|/ no plugin|n",
            (_routed_row(results, each) for each in results.routed),
        ),
        _section(
            "Performed procedure steps (MPPS): times in ms",
            "what|median|p95|p99|per second|n",
            (
                (
                    each.what,
                    _figure(each.median),
                    _figure(each.p95),
                    _figure(each.p99),
                    _figure(each.per_second) if each.per_second else "",
                    str(each.repetitions),
                )
                for each in results.reported
            ),
        ),
        _section(orders.HEAD, orders.COLUMNS, map(orders.row, results.ordered)),
        _section("Aims", "aim|limit|found|verdict", map(_aim_row, aims(results))),
    ]
    return "\n\n".join(part for part in parts if part)


def _cell_row(results: Results, cell: Cell) -> Sequence[str]:
    memory = next(
        (each for each in results.memory if (each.peer, each.steps) == (cell.peer, cell.steps)),
        None,
    )
    native, floor = (_median(results, peer, cell.query, cell.steps) for peer in (NATIVE, FLOOR))
    return (
        f"{cell.steps:,}",
        cell.query,
        cell.peer,
        f"{cell.answers:,}",
        _figure(cell.median),
        _figure(cell.p95),
        _figure(cell.first),
        _figure(_quotient(cell.median, native)),
        _figure(_quotient(cell.median, floor)),
        f"{memory.asked:.0f}" if memory else "",
        str(cell.repetitions),
    )


def _throughput_row(results: Results, found: Throughput) -> Sequence[str]:
    native = _first(
        other.per_second
        for other in results.throughput
        if (other.peer, other.scanners) == (NATIVE, found.scanners)
    )
    return (
        f"{found.steps:,}",
        found.peer,
        str(found.scanners),
        _figure(found.per_second),
        _figure(_quotient(found.per_second, native)),
        _figure(found.p95),
    )


def _meanwhile_row(results: Results, found: Meanwhile) -> Sequence[str]:
    return (
        found.asked,
        found.orthanc,
        _figure(found.median),
        _figure(found.p95),
        _figure(_beside(results, found.asked, found.orthanc, NO_PLUGIN)),
        _figure(_beside(results, found.asked, found.orthanc, BARE)),
        str(found.repetitions),
    )


def _routed_row(results: Results, found: Routed) -> Sequence[str]:
    none = next(
        (each for each in results.routed if (each.asked, each.state) == (found.asked, NO_PLUGIN)),
        None,
    )
    return (
        found.asked,
        found.state,
        _figure(found.median),
        _figure(found.p95),
        _figure(found.p99),
        _figure(found.longest),
        _figure(found.first),
        _figure(_ratio_of_batches(found, none)),
        str(found.repetitions),
    )


def _aim_row(aim: Aim) -> Sequence[str]:
    at_least = aim.at_least is not None
    limit = f"{'≥' if at_least else '≤'} {aim.at_least if at_least else aim.at_most:g}"
    verdict = {True: "met", False: "MISSED", None: "not measured"}[aim.met]
    return (aim.what, limit, _figure(aim.found), verdict)


def _figure(value: float | None) -> str:
    """Three digits that count."""
    if value is None:
        return ""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 1 else f"{value:.3f}"


def _section(title: str, columns: str, rows: Iterable[Sequence[str]]) -> str:
    """A table with a title; nothing where there are no rows."""
    head = columns.split("|")
    lines = [list(row) for row in rows]
    if not lines:
        return ""
    widths = [max(len(row[at]) for row in [head, *lines]) for at in range(len(head))]
    numeric = [all(_is_number(row[at]) for row in lines) for at in range(len(head))]

    def line(row: Sequence[str]) -> str:
        filled = (
            value.rjust(width) if right else value.ljust(width)
            for value, width, right in zip(row, widths, numeric, strict=True)
        )
        return "| " + " | ".join(filled) + " |"

    rule = "|".join(
        "-" * (width + 1) + (":" if right else "-")
        for width, right in zip(widths, numeric, strict=True)
    )
    return "\n".join([f"## {title}", "", line(head), f"|{rule}|", *map(line, lines)])


def _is_number(value: str) -> bool:
    return value.replace(",", "").replace(".", "").isdigit() or not value


# --- JSON and the picture -------------------------------------------------------------------


def write_json(results: Results, path: Path) -> None:
    """Everything, in the names of the classes of `measure`, and the aims."""
    found = {**asdict(results), "aims": [{**asdict(aim), "met": aim.met} for aim in aims(results)]}
    path.write_text(json.dumps(found, indent=1) + "\n")


def can_plot() -> bool:
    """Whether matplotlib is installed: only the extra `bench` brings it."""
    return importlib.util.find_spec("matplotlib") is not None


def write_plot(results: Results, path: Path) -> None:
    """Median times over sizes, one panel a query, as SVG (or as the path's suffix says)."""
    matplotlib: Any = importlib.import_module("matplotlib")
    matplotlib.use("Agg")
    # The same results give the same file; text stays text.
    matplotlib.rcParams.update({"svg.hashsalt": "orthanc-openmrs", "svg.fonttype": "none"})
    pyplot: Any = importlib.import_module("matplotlib.pyplot")
    figure, panels = pyplot.subplots(1, len(NAMES), figsize=(12, 4), sharey=True)
    for panel, query in zip(panels, NAMES, strict=True):
        for peer in PEERS:
            cells = [cell for cell in results.cells if (cell.peer, cell.query) == (peer, query)]
            if cells:
                style = {"linestyle": "--", "color": "grey"} if peer == FLOOR else {"marker": "o"}
                panel.plot(
                    [cell.steps for cell in cells],
                    [cell.median for cell in cells],
                    label=peer,
                    **style,
                )
        panel.set(title=query, xlabel="steps", xscale="log", yscale="log")
        panel.grid(visible=True, which="major", alpha=0.3)
    panels[0].set_ylabel("one query, ms (median)")
    panels[0].legend()
    figure.tight_layout()
    metadata = {"Date": None} if path.suffix == ".svg" else None
    figure.savefig(path, metadata=metadata)
    pyplot.close(figure)
