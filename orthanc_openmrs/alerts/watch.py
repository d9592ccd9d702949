"""When alerts are sent, in a thread of its own.

Decides: how often conditions are looked at, and when what wasn't taken is sent again. There is no
queue: what is sent is how things are then. What was told is forgotten with the process, so that
after a restart what is still so is told once more. Must not know: HTTP, SQL.
"""

import logging
from collections.abc import Callable, Mapping
from typing import Any

from orthanc_openmrs.alerts.conditions import Condition, Counts, NotTaken, fallen, news
from orthanc_openmrs.errors import StoreError
from orthanc_openmrs.worker import Worker

_log = logging.getLogger(__name__)

INTERVAL = 10.0
"""Seconds between two looks."""

QUIET = 60.0
"""Seconds between two alerts of one condition: of many studies that come together one is enough."""

LONGEST_PAUSE = 300.0
"""Seconds after an alert that wasn't taken, at most."""


class AlertWatch(Worker):
    """Looks at `counts`, which may raise StoreError, and gives each alert's document to `send`."""

    def __init__(
        self,
        counts: Callable[[], Counts],
        send: Callable[[Mapping[str, Any]], None],
        *,
        page: str,
        name: str,
        clock: Callable[[], float],
        interval: float = INTERVAL,
    ) -> None:
        super().__init__("alerts")
        self._counts = counts
        self._send = send
        self._page = page
        self._name = name
        self._clock = clock
        self._interval = interval
        self._told: dict[Condition, int] = {}
        self._quiet_until: dict[Condition, float] = {}
        self._failures = 0
        self._problem = ""
        self._next = 0.0

    def look(self) -> None:
        """Send what is news, where it is time to."""
        now = self._clock()
        if now < self._next:
            return
        try:
            counts = self._counts()
        except StoreError:
            return  # the database's own trouble is told elsewhere
        self._told = fallen(self._told, counts)
        for alert in news(self._told, counts):
            if now < self._quiet_until.get(alert.condition, 0.0):
                continue
            try:
                self._send(alert.document(self._page, self._name))
            except NotTaken as problem:
                self._not_taken(now, str(problem))
                return
            self._told[alert.condition] = alert.count
            self._quiet_until[alert.condition] = now + QUIET
            if self._failures:
                _log.warning("the webhook takes alerts again, after %d tries", self._failures)
            self._failures, self._problem = 0, ""

    def _not_taken(self, now: float, problem: str) -> None:
        self._failures += 1
        pause: float = self._interval * 2.0 ** min(self._failures - 1, 16)
        self._next = now + min(LONGEST_PAUSE, pause)
        if problem != self._problem:
            _log.error("the webhook doesn't take an alert (%s): it is sent again", problem)
        self._problem = problem

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self.look()
            except Exception:  # the thread must live
                _log.exception("alerts can't be sent")
            self._stopping.wait(self._interval)
