"""What is counted, what is told of it, and that nobody waits for the database."""

import json
import re
import threading
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from orthanc_openmrs.completion.backlog import Backlog, Known
from orthanc_openmrs.metrics import (
    FAILED,
    METRICS,
    PREFIX,
    UNREAD_QUERIES,
    Metrics,
    Tally,
)
from orthanc_openmrs.model import NotificationState, RequestList, Source, StepStatus
from orthanc_openmrs.worklist.refresh import SourceStatus
from orthanc_openmrs.worklist.service import StationRules, Worklist
from orthanc_openmrs.worklist.snapshot import PartRead, Snapshot
from tests.unit.builders import TODAY, FrozenClock, request, step
from trial.waiting import eventually

NOON = datetime(2025, 7, 3, 12, 0).timestamp()
LISTED = RequestList(
    (
        request("7", step("1"), step("2", status=StepStatus.COMPLETED)),
        request("8", step("1" * 17)),
    )
)
DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "operation.md"


def backlog(oldest: float | None = None, **counts: int) -> Backlog:
    """A backlog with these counts, 0 where none is given."""
    return Backlog({state: counts.get(state.value, 0) for state in NotificationState}, oldest)


# --- the queries ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("noted", "expected"),
    [
        ([], (0, 0, 0, 0, 0)),
        ([(0.25, 3)], (1, 0, 3, 250, 250)),
        ([(0.25, 3), (0.5, 0), (0.125, 2)], (3, 0, 5, 875, 500)),
        ([(0.25, FAILED), (0.25, 1)], (2, 1, 1, 500, 250)),
    ],
)
def test_queries_are_added_up(noted: list[tuple[float, int]], expected: tuple[float, ...]) -> None:
    tally = Tally()
    for seconds, answers in noted:
        tally.note(seconds, answers)
    names = ("queries", "queries_failed", "answers", "query_milliseconds")
    found = tally.add_up(0)
    assert (*(found[f"{name}_total"] for name in names), found["query_milliseconds_max"]) == (
        expected
    )
    again = tally.add_up(1)
    assert again == found


def test_the_longest_query_is_that_of_the_last_minute() -> None:
    tally = Tally()
    longest = []
    for now, seconds in ((0, 0.5), (5, 0.25), (59, None), (60, None), (65, None), (70, 0.125)):
        if seconds:
            tally.note(seconds, 0)
        longest.append(tally.add_up(now)["query_milliseconds_max"])
    assert longest == [500, 500, 500, 250, 0, 125]


def test_queries_of_many_threads_are_all_counted_and_memory_is_bounded() -> None:
    tally = Tally()

    def ask() -> None:
        for _ in range(5000):
            tally.note(0.001, 1)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        tally.add_up(0)
    assert tally.add_up(0)["queries_total"] == 40000

    for _ in range(UNREAD_QUERIES + 10):
        tally.note(0, 0)
    assert tally.add_up(0)["queries_total"] == 40000 + UNREAD_QUERIES


# --- what is pushed ------------------------------------------------------------------------


def metrics(
    push: Callable[[str, float], None] = lambda name, value: None,
    *,
    found: RequestList | None = LISTED,
    source: SourceStatus | None = None,
    known: Known | None = None,
    orders: SourceStatus | None = None,
) -> Metrics:
    """The metrics of a moment: a list of ten seconds ago, one query, an empty outbox."""
    clock = FrozenClock(NOON)
    worklist = Worklist(StationRules(), max_staleness=100, clock=clock)
    if found:
        parts = tuple(PartRead(source, NOON - 10, 0.0) for source in Source)
        worklist.replace(Snapshot.build(found, read_at=NOON - 10, day=TODAY, parts=parts))
    tally = Tally()
    tally.note(0.002, 4)
    return Metrics(
        push,
        worklist=worklist,
        source_status=lambda: source or SourceStatus(last_success=NOON),
        failed_reads=lambda: 3,
        orders_status=lambda: orders or SourceStatus(),
        failed_order_reads=lambda: 2,
        backlog=lambda: known or Known(backlog()),
        tally=tally,
        clock=clock,
        interval=0.01,
    )


@pytest.mark.parametrize(
    ("moment", "figures"),
    [
        ({}, {"worklist_age_seconds": 10, "worklist_steps": 3, "worklist_offered": 1}),
        ({}, {"worklist_skipped": 1, "refresh_failures_total": 3, "reachable": 1}),
        ({}, {"queries_total": 1, "answers_total": 4, "query_milliseconds_max": 2}),
        ({}, {"oldest_pending_seconds": 0, "database_answers": 1}),
        ({"found": None}, {"worklist_age_seconds": None, "worklist_steps": None}),
        ({}, {"orders_reachable": 0, "orders_refresh_failures_total": 2}),
        ({"orders": SourceStatus(last_success=NOON)}, {"orders_reachable": 1, "reachable": 1}),
        ({"orders": SourceStatus(last_success=NOON)}, {"orders_age_seconds": 10}),
        ({"found": None}, {"orders_age_seconds": None, "orders_offered": None}),
        ({"source": SourceStatus()}, {"reachable": 0}),
        ({"source": SourceStatus(last_success=NOON, failures=1)}, {"reachable": 0}),
        ({"source": SourceStatus(last_success=NOON, last_error="no step")}, {"reachable": 1}),
        (
            {"known": Known(backlog(NOON - 60, pending=2, held=1))},
            {"notifications_pending": 2, "notifications_held": 1, "oldest_pending_seconds": 60},
        ),
        ({"known": Known(backlog(NOON + 60, pending=1))}, {"oldest_pending_seconds": 0}),
        (
            {"known": Known(backlog(NOON - 60, pending=1), "it is locked")},
            {"notifications_pending": 1, "oldest_pending_seconds": 60, "database_answers": 0},
        ),
        (
            {"known": Known(None, "it is locked")},
            {"notifications_pending": None, "oldest_pending_seconds": None, "database_answers": 0},
        ),
        ({"known": Known()}, {"database_answers": 0}),
    ],
)
def test_figures(moment: dict[str, Any], figures: dict[str, float | None]) -> None:
    found = metrics(**moment).figures()
    assert {name: found.get(name) for name in figures} == figures


def test_every_figure_is_pushed_and_documented() -> None:
    pushed: dict[str, float] = {}
    running = metrics(pushed.__setitem__)
    running.start()
    names = {PREFIX + name for name in METRICS}
    eventually(lambda: set(pushed) == names, "not every metric is pushed")
    running.tell_to_stop()
    running.join(time.monotonic() + 5)
    documented = dict(
        re.findall(r"^\| (orthanc_openmrs_\w+) \| (.*) \|$", DOCUMENT.read_text(), re.M)
    )
    assert {name: text.replace("`", "") for name, text in documented.items()} == {
        PREFIX + name: text for name, text in METRICS.items()
    }


def test_pushing_goes_on_after_a_failure() -> None:
    pushed: list[str] = []

    def push(name: str, value: float) -> None:
        pushed.append(name)
        raise RuntimeError("Orthanc is stopping")

    running = metrics(push)
    running.start()
    eventually(lambda: len(pushed) > 1, "nothing is pushed any more")
    running.tell_to_stop()
    running.join(time.monotonic() + 5)


def test_grafanas_dashboard_shows_metrics_that_there_are() -> None:
    dashboard = json.loads((DOCUMENT.parent / "grafana.json").read_text())
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert dashboard["schemaVersion"] >= 36
    cells: set[tuple[int, int]] = set()
    expressions = []
    for panel in panels:
        place = panel["gridPos"]
        own = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & own, f"{panel['title']} lies on another"
        assert max(x for x, _ in own) < 24
        cells |= own
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
        expressions += [target["expr"] for target in panel["targets"]]
    variables = {one["name"] for one in dashboard["templating"]["list"]}
    for expression in expressions:
        names = re.findall(rf"{PREFIX}(\w+)", expression)
        assert names
        assert set(names) <= set(METRICS), expression
        assert set(re.findall(r"\$(\w+)", expression)) <= variables
        for opening, closing in ("()", "[]", "{}"):
            assert expression.count(opening) == expression.count(closing)
