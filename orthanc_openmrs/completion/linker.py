"""From a noted study to a decision, in a thread of its own.

Decides: when a study is linked, and by which list. The database holds what is due, so that
nothing is lost with the thread. Must not know: HTTP, SQL, Orthanc's module.
"""

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from orthanc_openmrs.completion.evidence import Orders
from orthanc_openmrs.completion.linking import (
    Decision,
    Link,
    Outcome,
    Policy,
    identity_of,
    link,
)
from orthanc_openmrs.completion.retries import ToldOnce, pause_after, seconds_to_next
from orthanc_openmrs.errors import OpenMRSError, StoreError, Unstorable
from orthanc_openmrs.model import (
    DueStudy,
    Kind,
    NewNotification,
    NotificationState,
    StepStatus,
    StudySummary,
)
from orthanc_openmrs.openmrs.verdicts import status_update
from orthanc_openmrs.worker import Worker
from orthanc_openmrs.worklist.snapshot import Snapshot

_log = logging.getLogger(__name__)

LIST_TIMEOUT = 60.0
"""Seconds that a decision waits for a fresh list before it is put off."""

AWAY = 10.0
"""Seconds after a list that couldn't be read before another study asks for one."""

_CANT_LINK = "studies can't be linked now"


class Lists(Protocol):
    """Where a list that is fresh for sure comes from."""

    def read_now(self, timeout: float) -> Snapshot:
        """A list read after this call. Raises OpenMRSError."""


class NotedStudies(Protocol):
    """The database, as far as it is needed here; each method may raise StoreError."""

    def claim(self, what: str) -> AbstractContextManager[bool]: ...
    def due_studies(self, limit: int = 100) -> list[DueStudy]: ...
    def is_due(self, due: DueStudy) -> bool: ...
    def decide_study(
        self,
        due: DueStudy,
        outcome: str,
        reason: str,
        rows: Sequence[NewNotification],
        *,
        as_of: int = 0,
    ) -> int: ...
    def postpone_study(self, due: DueStudy, seconds: float, reason: str) -> None: ...
    def next_due(self) -> float | None: ...


class Linker(Worker):
    """Links the studies that the database holds.

    `in_progress` says whether first images are to be told, `last_change` the number of Orthanc's
    last change, so that none is news that was there already; `on_link` hears of every study that
    was looked at, `on_decisions` that there may be something to send.
    """

    def __init__(
        self,
        *,
        noted: NotedStudies,
        read_study: Callable[[str], StudySummary | None],
        snapshot: Callable[[], Snapshot | None],
        lists: Lists,
        policy: Policy,
        in_progress: Callable[[], bool],
        last_change: Callable[[], int] = lambda: 0,
        on_link: Callable[[str], None],
        on_decisions: Callable[[], None],
        clock: Callable[[], float],
    ) -> None:
        super().__init__("link")
        self._noted = noted
        self._read_study = read_study
        self._snapshot = snapshot
        self._lists = lists
        self._policy = policy
        self._in_progress = in_progress
        self._last_change = last_change
        self._on_link = on_link
        self._on_decisions = on_decisions
        self._clock = clock
        self._orders: tuple[Snapshot, Orders] | None = None
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
                for due in self._noted.due_studies():
                    if self._stopping.is_set():
                        return
                    with self._noted.claim(f"study {due.study}") as mine:
                        if mine and self._noted.is_due(due):
                            self.link_study(due)
                            progressed = True
                self._problems.over(_CANT_LINK)
            except StoreError as problem:
                self._problems.tell(_CANT_LINK, problem)
            except Exception:  # the thread must live
                _log.exception(_CANT_LINK)
            if progressed:
                self._on_decisions()
            else:
                self._wake.wait(seconds_to_next(self._noted, self._clock))

    def link_study(self, due: DueStudy) -> None:
        """Decide about one study. Raises StoreError."""
        if due.arriving and not self._in_progress():
            self._noted.decide_study(due, "", "", [])
            return
        try:
            as_of = 0 if due.arriving else self._last_change()  # before the study is read
            decision, study = self._decide(due)
            kind = Kind.IN_PROGRESS if due.arriving else Kind.COMPLETED
            found = _notifications(decision, study, kind) if study is not None else []
            new = self._noted.decide_study(
                due, decision.outcome, decision.reason, found, as_of=as_of
            )
        except Unstorable as problem:
            self._noted.postpone_study(due, pause_after(due.attempts), str(problem))
            _log.error("study %s can't be linked: %s", due.study, problem)
            return
        except StoreError:
            raise  # it's the same for every study
        except OpenMRSError as problem:
            seconds = pause_after(due.attempts)
            self._noted.postpone_study(due, seconds, f"waiting for OpenMRS's list: {problem}")
            return
        except Exception as problem:  # one odd study must not stop the others
            _log.exception("study %s can't be linked now", due.study)
            seconds = pause_after(due.attempts)
            self._noted.postpone_study(due, seconds, f"can't be read: {type(problem).__name__}")
            return
        if study is not None:
            self._on_link(study.study)
        if not new:
            return
        if decision.outcome is Outcome.HELD:
            _log.warning("study %s is held: %s", due.study, decision.reason)
            return
        _log.warning(
            "study %s is of step %s of request %s (%s)",
            due.study,
            ", ".join(item.step.scheduled_procedure_step_id for item in found),
            found[0].step.requested_procedure_id,
            decision.evidence,
        )

    def _decide(self, due: DueStudy) -> tuple[Decision, StudySummary | None]:
        """Link with the list at hand; what that one can't settle is asked of a list that was
        read after the study came."""
        study = self._read_study(due.study)
        if study is None:
            return Decision(Outcome.GONE, "the study is no longer in Orthanc"), None
        snapshot = self._snapshot()
        if snapshot is not None:
            decision = link(study, self._orders_of(snapshot), self._policy)
            if (
                due.arriving
                or decision.outcome is Outcome.LINKED
                or snapshot.read_at > due.noted_at
            ):
                return decision, study
        snapshot = self._fresh_list()
        return link(study, self._orders_of(snapshot), self._policy), study

    def _fresh_list(self) -> Snapshot:
        """A list read from now on. While OpenMRS is away, only one study in AWAY seconds waits
        for it: the others may be linked without."""
        if self._away is not None and self._clock() - self._away[0] < AWAY:
            raise self._away[1]
        try:
            snapshot = self._lists.read_now(LIST_TIMEOUT)
        except OpenMRSError as problem:
            self._away = (self._clock(), problem)
            raise
        self._away = None
        return snapshot

    def _orders_of(self, snapshot: Snapshot) -> Orders:
        if self._orders is None or self._orders[0].requests is not snapshot.requests:
            self._orders = (snapshot, Orders.of(snapshot.requests))
        return self._orders[1]


def _notifications(decision: Decision, study: StudySummary, kind: Kind) -> list[NewNotification]:
    if kind is Kind.IN_PROGRESS:
        return _in_progress(decision, study)
    if decision.outcome is Outcome.HELD:
        return [
            NewNotification(
                study=study.study,
                study_instance_uid=study.study_instance_uid,
                state=NotificationState.HELD,
                evidence=decision.evidence,
                reason=decision.reason,
            )
        ]
    if decision.outcome is not Outcome.LINKED:
        return []
    return completions(study, decision.links, decision.evidence)


def _in_progress(decision: Decision, study: StudySummary) -> list[NewNotification]:
    if decision.outcome is not Outcome.LINKED:
        return []
    return [
        NewNotification(
            study=study.study,
            study_instance_uid=study.study_instance_uid,
            state=NotificationState.PENDING,
            kind=Kind.IN_PROGRESS,
            step=identity_of(item.request, item.step),
            evidence=decision.evidence,
        )
        for item in decision.links
        if item.step.status is StepStatus.SCHEDULED
    ]


def completions(study: StudySummary, links: Sequence[Link], evidence: str) -> list[NewNotification]:
    """One notification for each step that a study completes."""
    return [
        NewNotification(
            study=study.study,
            study_instance_uid=study.study_instance_uid,
            state=NotificationState.PENDING,
            step=identity_of(item.request, item.step),
            evidence=evidence,
            update=status_update(study, item.request, item.step, item.series).to_json(),
        )
        for item in links
    ]
