"""What is counted and measured, for Orthanc's Prometheus endpoint and for /openmrs/status.

Decides: the names, how often they are told, and what is told while the database doesn't answer.
Who counts waits for nobody: a query costs an append to a queue. Must not know: Orthanc's module,
SQL.
"""

import logging
import time
from collections import deque
from collections.abc import Callable

from orthanc_openmrs.completion.backlog import Known
from orthanc_openmrs.model import NotificationState, Source
from orthanc_openmrs.worker import Worker
from orthanc_openmrs.worklist.refresh import SourceStatus
from orthanc_openmrs.worklist.service import Worklist

_log = logging.getLogger(__name__)

PREFIX = "orthanc_openmrs_"

INTERVAL = 5.0
"""Seconds between two pushes."""

WINDOW = 60.0
"""Seconds over which the longest query is told: a scrape a minute misses none."""

UNREAD_QUERIES = 65536
"""Queries that are kept between two pushes; beyond, the oldest are forgotten uncounted."""

FAILED = -1
"""The number of answers of a query that failed."""

METRICS = {
    "worklist_age_seconds": "since OpenMRS gave the list; absent before the first one",
    "worklist_steps": "steps of the list",
    "worklist_offered": "steps that scanners can get",
    "worklist_skipped": "open steps that can't be offered",
    "reachable": "1 while OpenMRS gives its list, else 0",
    "refresh_failures_total": "reads of the list that failed",
    "orders_reachable": "1 while OpenMRS gives its own orders, else 0; absent where they are no "
    "source, as the next three are",
    "orders_age_seconds": "since OpenMRS gave its orders; absent before the first ones",
    "orders_offered": "orders that scanners can get",
    "orders_refresh_failures_total": "reads of the orders that failed",
    "queries_total": "C-FINDs of scanners, failed ones among them",
    "queries_failed_total": "C-FINDs that failed",
    "answers_total": "steps that were answered",
    "query_milliseconds_total": "time spent on C-FINDs; over queries_total, their mean",
    "query_milliseconds_max": "the longest C-FIND of the last minute, 0 where there was none",
    "notifications_pending": "notifications that wait for OpenMRS",
    "notifications_delivered": "notifications that OpenMRS has",
    "notifications_held": "notifications that wait for a person",
    "notifications_failed": "notifications that OpenMRS refused",
    "notifications_discarded": "notifications that are never sent",
    "studies_waiting": "studies whose link waits, for a list or for a file",
    "exams_in_progress": "exams (MPPS) that go on",
    "exams_lacking_images": "exams (MPPS) some of whose images haven't come",
    "oldest_pending_seconds": "since the oldest pending notification was made, 0 where none is",
    "database_answers": "1 while the plugin's database answers, else 0",
}
"""Each metric without its prefix, and what it is. Orthanc keeps 32-bit floats: above 16 million a
total is rounded, but never stands still."""


class Tally:
    """Counts C-FINDs. `note` may be called from any thread, and takes no lock: the queue's append
    is atomic. Only the thread that pushes may call `add_up`."""

    def __init__(self) -> None:
        self._noted: deque[tuple[float, int]] = deque(maxlen=UNREAD_QUERIES)
        self._recent: deque[tuple[float, float]] = deque()
        self._totals = dict.fromkeys(
            ("queries_total", "queries_failed_total", "answers_total", "query_milliseconds_total"),
            0.0,
        )

    def note(self, seconds: float, answers: int) -> None:
        """A query took so long and got so many answers, or `FAILED`."""
        self._noted.append((seconds, answers))

    def add_up(self, now: float) -> dict[str, float]:
        """The metrics of the queries until now (`now` of a clock that only goes on)."""
        longest = 0.0
        for _ in range(len(self._noted)):
            seconds, answers = self._noted.popleft()
            self._totals["queries_total"] += 1
            self._totals["query_milliseconds_total"] += seconds * 1000
            if answers == FAILED:
                self._totals["queries_failed_total"] += 1
            else:
                self._totals["answers_total"] += answers
            longest = max(longest, seconds * 1000)
        self._recent.append((now, longest))
        while self._recent[0][0] <= now - WINDOW:
            self._recent.popleft()
        return {
            **self._totals,
            "query_milliseconds_max": max(longest for _, longest in self._recent),
        }


class Metrics(Worker):
    """Pushes every figure to Orthanc, in a thread of its own.

    `push` is given the whole name and the value.
    """

    def __init__(
        self,
        push: Callable[[str, float], None],
        *,
        worklist: Worklist,
        source_status: Callable[[], SourceStatus],
        failed_reads: Callable[[], int],
        orders_status: Callable[[], SourceStatus] | None = None,
        failed_order_reads: Callable[[], int] = lambda: 0,
        backlog: Callable[[], Known],
        tally: Tally,
        clock: Callable[[], float],
        interval: float = INTERVAL,
    ) -> None:
        super().__init__("metrics")
        self._interval = interval
        self._push = push
        self._worklist = worklist
        self._source_status = source_status
        self._failed_reads = failed_reads
        self._orders_status = orders_status
        self._failed_order_reads = failed_order_reads
        self._backlog = backlog
        self._tally = tally
        self._clock = clock

    def figures(self) -> dict[str, float]:
        """Each metric that has a value now, by its name without prefix."""
        source = self._source_status()
        snapshot = self._worklist.snapshot
        age = self._worklist.age()
        known = self._backlog()
        found: dict[str, float] = {
            "reachable": source.reachable,
            "refresh_failures_total": self._failed_reads(),
            "database_answers": not known.problem and known.backlog is not None,
            **self._tally.add_up(time.monotonic()),
        }
        if age is not None:
            found["worklist_age_seconds"] = age
        if self._orders_status is not None:
            found["orders_reachable"] = self._orders_status().reachable
            found["orders_refresh_failures_total"] = self._failed_order_reads()
            of_orders = self._worklist.age(Source.ORDERS)
            if snapshot is not None and of_orders is not None:
                found["orders_age_seconds"] = of_orders
                found["orders_offered"] = sum(
                    item.request.source is Source.ORDERS for item in snapshot.offered
                )
        if snapshot is not None:
            found["worklist_steps"] = len(snapshot.items)
            found["worklist_offered"] = len(snapshot.offered)
            found["worklist_skipped"] = snapshot.skipped
        if known.backlog is not None:
            for state in NotificationState:
                found[f"notifications_{state.value}"] = known.backlog.counts[state]
            found["studies_waiting"] = known.backlog.waiting
            found["exams_in_progress"] = known.backlog.exams_in_progress
            found["exams_lacking_images"] = known.backlog.exams_lacking_images
            oldest = known.backlog.oldest_pending
            found["oldest_pending_seconds"] = (
                0.0 if oldest is None else max(0.0, self._clock() - oldest)
            )
        return {name: float(value) for name, value in found.items()}

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                for name, value in self.figures().items():
                    self._push(PREFIX + name, value)
            except Exception:  # the thread must live
                _log.exception("the metrics can't be told")
            self._stopping.wait(self._interval)
