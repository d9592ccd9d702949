"""The outbox's backlog: how much waits, and how much of what was delivered is kept.

Decides: how often it is counted, what is told while the database doesn't answer, when what is
old is deleted. Must not know: SQL, who is told.
"""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from orthanc_openmrs.errors import StoreError
from orthanc_openmrs.model import NotificationState
from orthanc_openmrs.worker import Worker

_log = logging.getLogger(__name__)

INTERVAL = 5.0
"""Seconds between two counts at most."""

LEAST_PAUSE = 0.1
"""Seconds between two counts at least, however often somebody looks."""

SLOW = 1.0
"""Seconds after which a count that doesn't end is told as a problem of the database."""

FIRST_EXPIRY = 60.0
EXPIRY_INTERVAL = 3600.0
"""Seconds until what is old is deleted first, and between two times."""


class Backlog(NamedTuple):
    """How many notifications there are in each state, when the oldest pending one was made, how
    many studies wait to be linked, and how many exams (MPPS) go on or lack images."""

    counts: Mapping[NotificationState, int]
    oldest_pending: float | None
    waiting: int = 0
    exams_in_progress: int = 0
    exams_lacking_images: int = 0


@dataclass(frozen=True, slots=True)
class Known:
    """The last backlog that the database told, None before the first; `problem` says why it isn't
    newer, "" where it is new enough."""

    backlog: Backlog | None = None
    problem: str = ""


class BacklogWatch(Worker):
    """Counts the notifications in a thread of its own, so that nobody waits for the database.

    Now and then it has the old ones deleted: `expire` says whether there may be more.
    What is known is replaced as a whole, so that who asks never waits for a count that goes on.
    """

    def __init__(
        self, count: Callable[[], Backlog], *, expire: Callable[[], bool] = lambda: False
    ) -> None:
        super().__init__("count")
        self._count = count
        self._expire = expire
        self._known = Known()
        self._counting_since: float | None = None

    def want(self) -> None:
        """The notifications have changed, or somebody looks at them: count soon."""
        if not self._wake.is_set():
            self._wake.set()

    def asked(self) -> Known:
        """The last backlog that is known, for somebody who looks: the next look sees a newer
        one."""
        self.want()
        return self.last()

    def last(self) -> Known:
        """The last backlog that is known."""
        since, known = self._counting_since, self._known
        seconds = 0.0 if since is None else time.monotonic() - since
        if seconds < SLOW:
            return known
        return Known(known.backlog, f"the database hasn't answered for {seconds:.0f} s")

    def _run(self) -> None:
        expiry = time.monotonic() + FIRST_EXPIRY
        while not self._stopping.is_set():
            self._wake.clear()
            self._counting_since = time.monotonic()
            try:
                known = Known(self._count())
            except StoreError as problem:
                known = Known(self._known.backlog, str(problem))
            except Exception as problem:  # the thread must live
                _log.exception("the notifications can't be counted")
                known = Known(self._known.backlog, f"can't be counted: {type(problem).__name__}")
            self._known = known
            self._counting_since = None
            if time.monotonic() >= expiry:
                expiry = time.monotonic() + (0.0 if self._expired() else EXPIRY_INTERVAL)
            self._stopping.wait(LEAST_PAUSE)
            self._wake.wait(INTERVAL - LEAST_PAUSE)

    def _expired(self) -> bool:
        try:
            return self._expire()
        except StoreError:
            return False  # the count tells of it
        except Exception:  # the thread must live
            _log.exception("old notifications can't be deleted")
            return False
