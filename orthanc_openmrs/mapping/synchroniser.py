"""Brings the mapping up to date with the studies that there are, in a thread.

Decides: when a study is checked. Orthanc says that a study is deleted also where it is
replaced at once by the same one (`OverwriteInstances`), so that it is checked before anything
is forgotten. Must not know: what is done then.
"""

import logging
import threading
from collections.abc import Callable
from typing import Protocol

from orthanc_openmrs.worker import Worker

_log = logging.getLogger(__name__)

MOST_WAITING = 100_000
"""Studies in the queue. Beyond, all of which anything was said are checked."""

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0
"""Seconds after a failure before it is tried again, doubled each time."""


class Mapping(Protocol):
    """What is done with a study."""

    def synchronise(self, study: str) -> None: ...
    def forget_gone(self, stopping: Callable[[], bool]) -> None: ...


class Synchroniser(Worker):
    """Checks studies of which something became, first all of which anything was said."""

    def __init__(self, mapping: Mapping) -> None:
        super().__init__("mapping")
        self._mapping = mapping
        self._waiting: set[str] = set()
        self._all = True  # what went while Orthanc was down
        self._lock = threading.Lock()

    def enqueue(self, study: str) -> None:
        """Something became of a study; it is checked soon."""
        with self._lock:
            if len(self._waiting) < MOST_WAITING:
                self._waiting.add(study)
            else:
                self._all = True
        self._wake.set()

    def _run(self) -> None:
        pause = FIRST_PAUSE
        while not self._stopping.is_set():
            self._wake.clear()
            if self.work():
                pause = FIRST_PAUSE
                self._wake.wait()
            else:
                self._stopping.wait(pause)
                pause = min(2 * pause, LONGEST_PAUSE)

    def work(self) -> bool:
        """Check all that waits; False where some of it can't be checked now."""
        with self._lock:
            waiting, self._waiting = self._waiting, set()
            everything, self._all = self._all, False
        failed: set[str] = set()
        problem = ""
        for study in waiting:
            if self._stopping.is_set():
                return True
            try:
                self._mapping.synchronise(study)
            except Exception as error:  # one odd study must not stop the others
                failed.add(study)
                problem = type(error).__name__
        try:
            if everything:
                self._mapping.forget_gone(self._stopping.is_set)
                everything = False
        except Exception as error:  # the thread must live
            problem = type(error).__name__
        if problem:
            _log.warning(
                "the patients of %d studies can't be brought up to date now: %s",
                len(failed),
                problem,
            )
        with self._lock:
            self._waiting |= failed
            self._all |= everything
        return not problem
