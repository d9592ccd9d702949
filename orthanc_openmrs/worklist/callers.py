"""Who asked for a worklist lately: is a scanner reaching us, and what did it get?

Decides: how many callers are remembered. A query notes its caller without a lock: each step of it
is one of the interpreter's. Must not know: Orthanc, what was asked.
"""

from collections.abc import Callable
from dataclasses import dataclass

MOST_CALLERS = 200
"""Callers that are remembered, those that asked last. An AE title is what a caller says of itself:
anybody may make up new ones."""

LONGEST_TITLE = 64
"""Characters of a title and of an address."""


@dataclass(frozen=True, slots=True)
class CallingAE:
    """One that asked: when it did last, how many answers it got then (-1: the query failed), and
    how often it asked since the start. `address` is "" where Orthanc doesn't tell it."""

    ae_title: str
    address: str
    at: float
    answers: int
    queries: int


class CallingAEs:
    """Those that asked since the start."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._known: dict[tuple[str, str], CallingAE] = {}

    def note(self, ae_title: str, address: str, answers: int) -> None:
        """One asked, and got so many answers."""
        key = ae_title.strip()[:LONGEST_TITLE], address[:LONGEST_TITLE]
        before = self._known.pop(key, None)
        queries = before.queries + 1 if before else 1
        self._known[key] = CallingAE(*key, self._clock(), answers, queries)
        if len(self._known) > MOST_CALLERS:
            self._known.pop(next(iter(self._known)), None)

    def newest_first(self) -> list[CallingAE]:
        """Who asked, the last one first."""
        return list(self._known.copy().values())[::-1]
