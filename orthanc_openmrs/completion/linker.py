"""From a noted study to a decision, in a thread of its own.

Decides: when a study is linked, and by which list. The database holds what is due, so that
nothing is lost with the thread. Must not know: HTTP, SQL, Orthanc's module.
"""

import logging
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Protocol

from orthanc_openmrs.completion.evidence import named_by
from orthanc_openmrs.completion.history import history_of
from orthanc_openmrs.completion.linking import Decision, Link, Outcome, Policy, link
from orthanc_openmrs.completion.lists import LIST_TIMEOUT, Lists, OrderIndex, waiting_for
from orthanc_openmrs.completion.retries import ToldOnce, pause_after, seconds_to_next
from orthanc_openmrs.errors import OpenMRSError, StoreError, Unstorable
from orthanc_openmrs.model import (
    NO_EXAM,
    DueStudy,
    Exam,
    Kind,
    Named,
    NewNotification,
    NotificationState,
    StepStatus,
    StudyRecord,
    StudySummary,
)
from orthanc_openmrs.worker import Worker
from orthanc_openmrs.worklist.snapshot import Snapshot

_log = logging.getLogger(__name__)

AWAY = 10.0
"""Seconds after a list that couldn't be read before another study asks for one."""

_CANT_LINK = "studies can't be linked now"


class NotedStudies(Protocol):
    """The database, as far as it is needed here; each method may raise StoreError."""

    def claim(self, what: str) -> AbstractContextManager[bool]: ...
    def due_studies(self, limit: int = 100) -> list[DueStudy]: ...
    def is_due(self, due: DueStudy) -> bool: ...
    def history(self, study: str, study_instance_uid: str) -> StudyRecord: ...
    def decide_study(
        self,
        due: DueStudy,
        outcome: str,
        reason: str,
        rows: Sequence[NewNotification],
        named: Collection[Named] = (),
        *,
        as_of: int = 0,
    ) -> int: ...
    def postpone_study(self, due: DueStudy, seconds: float, reason: str) -> None: ...
    def next_due(self) -> float | None: ...


class Linker(Worker):
    """Links the studies that the database holds.

    `max_staleness`: seconds after which a list decides nothing. `in_progress` says whether first
    images are to be told, `last_change` the number of Orthanc's last change, so that none is news
    that was there already, `exam` what the scanner itself says of a study that was noted at a
    moment; `on_link` hears of every study that was looked at, `on_decisions` that
    there may be something to send. `monotonic` is the clock of `Snapshot.began`.
    """

    def __init__(
        self,
        *,
        noted: NotedStudies,
        read_study: Callable[[str], StudySummary | None],
        snapshot: Callable[[], Snapshot | None],
        lists: Lists,
        orders: OrderIndex,
        policy: Policy,
        max_staleness: float,
        in_progress: Callable[[], bool],
        last_change: Callable[[], int] = lambda: 0,
        exam: Callable[[StudySummary, float], Exam] = lambda study, noted_at: NO_EXAM,
        on_link: Callable[[str], None],
        on_decisions: Callable[[], None],
        clock: Callable[[], float],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__("link")
        self._noted = noted
        self._read_study = read_study
        self._snapshot = snapshot
        self._lists = lists
        self._orders = orders
        self._policy = policy
        self._max_staleness = max_staleness
        self._in_progress = in_progress
        self._last_change = last_change
        self._exam = exam
        self._on_link = on_link
        self._on_decisions = on_decisions
        self._clock = clock
        self._monotonic = monotonic
        self._problems = ToldOnce(_log)
        self._away: tuple[float, OpenMRSError] | None = None

    def wake(self) -> None:
        """A study was noted, or a person decided something."""
        self._wake.set()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._wake.clear()
            progressed = False
            try:
                seen = self._monotonic()
                for due in self._noted.due_studies():
                    if self._stopping.is_set():
                        return
                    with self._noted.claim(f"study {due.study}") as mine:
                        if mine and self._noted.is_due(due):
                            progressed |= self.link_study(due, seen)
                self._problems.over(_CANT_LINK)
            except StoreError as problem:
                self._problems.tell(_CANT_LINK, problem)
            except Exception:  # the thread must live
                _log.exception(_CANT_LINK)
            if not progressed:
                self._wake.wait(seconds_to_next(self._noted, self._clock))

    def link_study(self, due: DueStudy, seen: float) -> bool:
        """Decide about one study, which was found due at a moment of the clock that can't jump;
        whether it is decided now. Raises StoreError."""
        if due.arriving and not self._in_progress():
            self._noted.decide_study(due, "", "", [])
            return True
        try:
            self._decide(due, seen)
        except Unstorable as problem:  # it will be no other the next time, but a person can see it
            _log.error("study %s can't be linked: %s", due.study, problem)
            reason = f"can't be kept: {problem}"
        except StoreError:
            raise  # it's the same for every study
        except _Waits as waiting:
            self._noted.postpone_study(due, waiting.exam.seconds, waiting.exam.wait)
            return False
        except OpenMRSError as problem:
            reason = waiting_for(problem)
        except Exception as problem:  # one odd study must not stop the others
            _log.exception("study %s can't be linked now", due.study)
            reason = f"can't be read: {type(problem).__name__}"
        else:
            return True
        self._noted.postpone_study(due, pause_after(due.attempts), reason)
        return False

    def _decide(self, due: DueStudy, seen: float) -> None:
        as_of = 0 if due.arriving else self._last_change()  # before the study is read
        study = self._read_study(due.study)
        if study is None:
            self._noted.decide_study(
                due, Outcome.GONE, "the study is no longer in Orthanc", [], as_of=as_of
            )
            return
        exam = NO_EXAM if due.arriving else self._exam(study, due.noted_at)
        if exam.wait:
            raise _Waits(exam)
        decision = _as_the_scanner_says(self._link(due, study, seen), exam)
        rows = _notifications(decision, study, arriving=due.arriving)
        new = self._noted.decide_study(
            due, decision.outcome, decision.reason, rows, _bears_on(decision, study), as_of=as_of
        )
        self._on_link(study.study)
        if new:
            self._on_decisions()
            _tell(decision, study)

    def _link(self, due: DueStudy, study: StudySummary, seen: float) -> Decision:
        """Link with the list at hand; what that one can't settle is asked of a list that was
        read after the study was noted."""
        history = history_of(
            self._noted.history(study.study, study.study_instance_uid), study.study
        )
        snapshot = self._snapshot()
        if snapshot is not None and not self._is_stale(snapshot):
            decision = link(study, self._orders.of(snapshot), self._policy, history)
            if due.arriving or snapshot.began > seen or decision.outcome is Outcome.LINKED:
                return decision
        return link(study, self._orders.of(self._fresh_list(seen)), self._policy, history)

    def _is_stale(self, snapshot: Snapshot) -> bool:
        return self._clock() - snapshot.read_at > self._max_staleness

    def _fresh_list(self, seen: float) -> Snapshot:
        """A list that was read since. While OpenMRS is away, only one study in AWAY seconds waits
        for it: the others may be linked without."""
        if self._away is not None and self._monotonic() - self._away[0] < AWAY:
            raise self._away[1]
        try:
            snapshot = self._lists.read_after(seen, LIST_TIMEOUT)
        except OpenMRSError as problem:
            self._away = (self._monotonic(), problem)
            raise
        self._away = None
        return snapshot


class _Waits(Exception):
    """The scanner isn't done."""

    def __init__(self, exam: Exam) -> None:
        super().__init__(exam.wait)
        self.exam = exam


def _as_the_scanner_says(decision: Decision, exam: Exam) -> Decision:
    """A scanner's own report counts more than its images: what it holds back, or says is the
    wrong step, a person decides."""
    if decision.outcome is not Outcome.LINKED:
        return decision
    wrong = [
        link.step.scheduled_procedure_step_id
        for link in decision.links
        if link.step.scheduled_procedure_step_id in exam.ruled_out
    ]
    reason = exam.hold
    if wrong and not reason:
        reason = f"the scanner says that step {', '.join(wrong)} is the wrong worklist entry"
    return replace(decision, outcome=Outcome.HELD, reason=reason, links=()) if reason else decision


def _tell(decision: Decision, study: StudySummary) -> None:
    if decision.links:
        _log.warning(
            "study %s is of step %s of request %s (%s)",
            study.study,
            ", ".join(item.step.scheduled_procedure_step_id for item in decision.links),
            decision.links[0].request.requested_procedure_id,
            decision.evidence,
        )
    if decision.reason and decision.outcome in (Outcome.HELD, Outcome.LINKED):
        _log.warning("study %s is held: %s", study.study, decision.reason)


def _bears_on(decision: Decision, study: StudySummary) -> Collection[Named]:
    """What a list must bring for the study to be decided anew. One that is linked whole has what
    it needs: what OpenMRS changes of its steps is seen when they are told, and after."""
    if decision.outcome is Outcome.LINKED and not decision.reason:
        return ()
    return named_by(study)


# --- what a decision has told ---------------------------------------------------------------


def _notifications(
    decision: Decision, study: StudySummary, *, arriving: bool
) -> list[NewNotification]:
    rows = [
        notification(
            study, item, decision.evidence, Kind.IN_PROGRESS if arriving else Kind.COMPLETED
        )
        for item in decision.links
        if not arriving or item.step.status is StepStatus.SCHEDULED
    ]
    if not arriving and decision.reason and decision.outcome in (Outcome.HELD, Outcome.LINKED):
        rows.append(
            NewNotification(
                study=study.study,
                study_instance_uid=study.study_instance_uid,
                state=NotificationState.HELD,
                evidence=decision.evidence,
                reason=decision.reason,
            )
        )
    return rows


def notification(
    study: StudySummary, item: Link, evidence: str, kind: Kind = Kind.COMPLETED
) -> NewNotification:
    """That a study is of a step."""
    return NewNotification(
        study=study.study,
        study_instance_uid=study.study_instance_uid,
        state=NotificationState.PENDING,
        kind=kind,
        step=item.identity,
        evidence=evidence,
    )
