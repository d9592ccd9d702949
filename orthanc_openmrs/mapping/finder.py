"""Finds studies among all that Orthanc has.

Decides: in which order they come, what a page is, when Orthanc is asked again. What is kept of each
study follows Orthanc: its list of studies is read before a search where it may have changed, and
a study that changed is read anew. Must not know: how words are found, HTTP, SQL.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from orthanc_openmrs.errors import Conflict
from orthanc_openmrs.mapping.search import Index, entry_of
from orthanc_openmrs.mapping.studies import StudyHead

PAGE = 1000
"""Orthanc IDs that are listed in one call."""

EXPANDED = 50
"""Studies that are read of Orthanc in one call: 2 ms, in which the interpreter does nothing
else."""

MOST_STUDIES = 200_000
"""Studies that are searched: 150 MB. Where Orthanc has more, a search is refused: a part of them
would read as all."""

FRESH = 1.0
"""Seconds that Orthanc's list of studies isn't read again, unless a study came or went."""


_DESCENDING = str.maketrans("0123456789 ", "9876543210~")
"""Turns a moment so that the newest is the first, and what has none the last."""


class Studies(Protocol):
    """Orthanc, as far as it is needed here."""

    def study(self, study: str) -> StudyHead | None: ...
    def ids(self, since: int, limit: int) -> list[str]: ...
    def heads(self, since: int, limit: int) -> list[StudyHead]: ...
    def with_modality(self, modality: str) -> set[str]: ...


class Owned(Protocol):
    """The database, as far as it is needed here."""

    def owned(self, ids: Sequence[str] | None = None) -> dict[str, bool]: ...


@dataclass(frozen=True, slots=True)
class Question:
    """What is looked for: `dates` are the first and the last day (DA), "" for any; `newest`: the
    newest first, else Orthanc's own order."""

    words: str = ""
    dates: tuple[str, str] = ("", "")
    modality: str = ""
    assigned: bool | None = None
    newest: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """A page of Orthanc IDs, how many studies there are in all, and the cursor of the next page
    ("": this is the last)."""

    studies: tuple[str, ...]
    total: int
    after: str = ""


class Finder:
    """Finds studies. It may be asked by several threads at once."""

    def __init__(
        self,
        studies: Studies,
        owned: Owned,
        clock: Callable[[], float],
        most: int = MOST_STUDIES,
    ) -> None:
        self._studies = studies
        self._owned = owned
        self._clock = clock
        self._most = most
        self._index = Index()
        self._order: dict[str, int] = {}
        self._listed = -FRESH
        self._changed: set[str] = set()
        self._lock = threading.Lock()

    def changed(self, study: str) -> None:
        """A study came, changed or went. Waits for nothing."""
        self._changed.add(study)

    def find(
        self, question: Question, *, limit: int, since: int = 0, after: str | None = None
    ) -> Found:
        """A page of what is found, from a position or a cursor on ("": from the first). Raises
        Conflict where Orthanc has more studies than can be searched."""
        with self._lock:
            self._follow()
            ranked = self._ranked(question, stable=after is not None)
        ranked = self._of(question.assigned, ranked)
        total = len(ranked)
        if after:
            ranked = [one for one in ranked if one[0] > after]
        page = ranked[since : since + limit]
        more = len(ranked) > since + limit
        return Found(tuple(study for _, study in page), total, page[-1][0] if more and page else "")

    def _ranked(self, question: Question, *, stable: bool) -> list[tuple[str, str]]:
        """What is found, as cursors and IDs, in order: what stands there as it was typed first."""
        found = self._index.search(question.words)
        if question.modality:
            having = self._studies.with_modality(question.modality)
            found = {study: how for study, how in found.items() if study in having}
        first, last = question.dates
        if first or last:
            entries = ((study, self._index.entry(study)) for study in found)
            within = {
                study
                for study, entry in entries
                if entry and first <= entry.day and entry.day and (not last or entry.day <= last)
            }
            found = {study: how for study, how in found.items() if study in within}
        ranked = [
            (f"{0 if as_typed else 1}{self._place(study, question.newest, stable)}{study}", study)
            for study, as_typed in found.items()
        ]
        ranked.sort()
        return ranked

    def _place(self, study: str, newest: bool, stable: bool) -> str:
        """A position in Orthanc's list isn't stable, for studies before it may go."""
        if newest:
            entry = self._index.entry(study)
            return entry.moment.translate(_DESCENDING) if entry else ""
        return "" if stable else f"{self._order.get(study, 0):09}"

    def _of(self, assigned: bool | None, ranked: list[tuple[str, str]]) -> list[tuple[str, str]]:
        """Those that are somebody's, or nobody's."""
        if assigned is None or not ranked:
            return ranked
        ids = [study for _, study in ranked]
        owned = self._owned.owned(ids if len(ids) <= PAGE else None)
        return [one for one in ranked if self._is_owned(one[1], owned) is assigned]

    def _is_owned(self, study: str, owned: dict[str, bool]) -> bool:
        known = owned.get(study)
        entry = self._index.entry(study)
        return known if known is not None else entry is not None and entry.implied

    def _follow(self) -> None:
        """Bring what is kept up to date with Orthanc."""
        changed, self._changed = self._changed, set()
        if not changed and self._clock() - self._listed < FRESH:
            return
        try:
            self._read(changed)
        except BaseException:
            self._changed |= changed
            raise
        self._listed = self._clock()

    def _read(self, changed: set[str]) -> None:
        order: dict[str, int] = {}
        while ids := self._studies.ids(len(order), PAGE):
            if len(order) + len(ids) > self._most:
                raise Conflict(f"Orthanc has more than {self._most} studies: they aren't searched")
            at = len(order)
            for start in range(0, len(ids), EXPANDED):
                self._put(ids[start : start + EXPANDED], at + start, changed)
            order |= {study: at + place for place, study in enumerate(ids)}
            if len(ids) < PAGE:
                break
        for entry in [one for one in self._index.entries() if one.study not in order]:
            self._index.drop(entry.study)
        self._order = order

    def _put(self, ids: list[str], since: int, changed: set[str]) -> None:
        wanted = [study for study in ids if study in changed or study not in self._index]
        if not wanted:
            return
        heads = self._studies.heads(since, EXPANDED) if len(wanted) > 3 else []
        read = {head.study: head for head in heads}
        for study in wanted:
            head = read.get(study) or self._studies.study(study)
            if head is not None:
                self._index.put(entry_of(head))
