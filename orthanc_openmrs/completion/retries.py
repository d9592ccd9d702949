"""How long to wait: before another try, and until something is due.

Must not know what is tried.
"""

import logging
import random
from collections.abc import Callable
from typing import Protocol

from orthanc_openmrs.errors import StoreError

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 300.0
"""Seconds before the second try, and at most between two tries."""

IDLE = 30.0
"""Seconds after which the database is looked at again without being told to."""


class Due(Protocol):
    """The database, as far as it is needed here."""

    def next_due(self) -> float | None:
        """When the next study or notification is due. Raises StoreError."""


def pause_after(attempts: int) -> float:
    """Seconds to wait after a try that failed, `attempts` having failed before it.

    Doubled each time and spread over the upper half, so that those who failed together don't
    come back together.
    """
    longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(attempts, 30))
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 - no secret


def seconds_to_next(outbox: Due, clock: Callable[[], float]) -> float:
    """Until something is due, IDLE at most."""
    try:
        due = outbox.next_due()
    except StoreError:
        return FIRST_PAUSE
    if due is None:
        return IDLE
    # What is due and under way already: who is at it wakes the others when it is done.
    return min(IDLE, max(FIRST_PAUSE, due - clock()))


class ToldOnce:
    """Tells a problem of the database once, for what meets it is tried again every second."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._told: dict[str, str] = {}

    def tell(self, what: str, problem: StoreError) -> None:
        """It is there."""
        if str(problem) != self._told.get(what):
            self._log.error("%s: %s", what, problem)
        self._told[what] = str(problem)

    def over(self, what: str) -> None:
        """It is over."""
        self._told.pop(what, None)
