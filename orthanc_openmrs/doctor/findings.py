"""What a check says, and how a table of checks is gone through.

Decides: what is checked after what failed, and how long all of it may take. Must not know: what
is checked.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Generic, TypeVar

_log = logging.getLogger(__name__)


class State(StrEnum):
    """How bad a finding is, the best first."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: what was looked at, what is so, and what to do. It names no person, and holds no
    password."""

    state: State
    subject: str
    meaning: str
    advice: str = ""

    def describe(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "State": self.state.value,
            "Subject": self.subject,
            "Meaning": self.meaning,
            "Advice": self.advice,
        }


def ok(subject: str, meaning: str) -> Finding:
    """It is as it should be."""
    return Finding(State.OK, subject, meaning)


def warning(subject: str, meaning: str, advice: object) -> Finding:
    """It works, or may work, but not as a hospital wants it."""
    return Finding(State.WARNING, subject, meaning, str(advice))


def error(subject: str, meaning: str, advice: object) -> Finding:
    """It doesn't work."""
    return Finding(State.ERROR, subject, meaning, str(advice))


def worst(findings: Iterable[Finding]) -> State:
    """The worst state of all."""
    order = list(State)
    return max((finding.state for finding in findings), key=order.index, default=State.OK)


_Case = TypeVar("_Case")


@dataclass(frozen=True, slots=True)
class Check(Generic[_Case]):
    """One row of a table: what it is called, how it is made, and the checks without whose success
    it makes no sense. `limit` is in seconds."""

    name: str
    run: Callable[[_Case], Iterator[Finding]]
    needs: tuple[str, ...] = ()
    limit: float = 15


class Examination:
    """Goes through a table, each check in a thread of its own, which is left alone where it takes
    too long. Orthanc's HTTP threads, with their small stack, only wait."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._stopping = False

    def tell_to_stop(self) -> None:
        """Let whoever waits go on at once."""
        with self._condition:
            self._stopping = True
            self._condition.notify_all()

    def make(self, case: _Case, checks: Sequence[Check[_Case]], limit: float) -> list[Finding]:
        """The findings of all the checks, after `limit` seconds at most."""
        deadline = time.monotonic() + limit
        failed: set[str] = set()
        left_out: list[str] = []
        findings: list[Finding] = []
        for check in checks:
            if failed.intersection(check.needs):
                failed.add(check.name)
                left_out.append(check.name)
                continue
            seconds = max(0.0, min(check.limit, deadline - time.monotonic()))
            made = self._made(case, check, seconds)
            if made is None:
                made = [warning(check.name, f"not checked: no answer in {seconds:.0f} s", _LATER)]
                failed.add(check.name)
            if worst(made) is State.ERROR:
                failed.add(check.name)
            findings += made
        if left_out:
            names = ", ".join(left_out)
            findings.append(warning("not checked", names, "fix the errors above first"))
        return findings

    def _made(self, case: _Case, check: Check[_Case], limit: float) -> list[Finding] | None:
        if not limit or self._stopping:
            return None
        made: list[list[Finding]] = []

        def run() -> None:
            try:
                found = list(check.run(case))
            except Exception as problem:  # one check that fails must not hide what others find
                _log.exception("the check %s fails", check.name)
                found = [_crashed(check.name, problem)]
            with self._condition:
                made.append(found)
                self._condition.notify_all()

        threading.Thread(target=run, name="openmrs-doctor", daemon=True).start()
        with self._condition:
            self._condition.wait_for(lambda: made or self._stopping, limit)
            return made[0] if made else None


_LATER = "run it again; the command line waits longer than /openmrs/status?full"


def _crashed(name: str, problem: Exception) -> Finding:
    return error(name, f"the check fails ({type(problem).__name__})", "report this; see the log")
