"""From a noted study to a delivered notification, in threads of its own.

Decides: when a study is linked, when a notification is sent, how long to wait after a
failure. The database holds what is due, so that nothing is lost with a thread. Must not know:
HTTP, SQL, Orthanc's module.
"""

import logging
import queue
import random
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from orthanc_openmrs.completion.linking import Decision, Link, Orders, Outcome, Policy, link
from orthanc_openmrs.errors import OpenMRSError, StoreError
from orthanc_openmrs.mapping.ownership import implied_patient
from orthanc_openmrs.model import (
    Answer,
    DueStudy,
    ImagingRequest,
    Kind,
    NewNotification,
    Notification,
    NotificationState,
    StepStatus,
    StudySummary,
)
from orthanc_openmrs.openmrs.verdicts import (
    Judgement,
    StatusUpdate,
    Verdict,
    judge,
    judge_step_status,
    status_update,
)
from orthanc_openmrs.worklist.snapshot import Snapshot

_log = logging.getLogger(__name__)

SENDERS = 8
"""Notifications that are under way at once, each of another request."""

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 300.0
"""Seconds before the second try, and at most between two tries."""

IDLE = 30.0
"""Seconds after which the database is looked at again without being told to."""

LIST_TIMEOUT = 60.0
"""Seconds that a decision waits for a fresh list before it is put off."""


AWAY = 10.0
"""Seconds after a list that couldn't be read before another study asks for one."""


class Updates(Protocol):
    """OpenMRS, as far as it is needed here. Each method raises OpenMRSError."""

    @property
    def has_step_status(self) -> bool: ...
    def post_update(self, update: StatusUpdate) -> Answer: ...
    def post_step_status(self, step_id: str, status: str) -> Answer: ...


class Lists(Protocol):
    """Where a list that is fresh for sure comes from."""

    def read_now(self, timeout: float) -> Snapshot:
        """A list read after this call. Raises OpenMRSError."""


class Outbox(Protocol):
    """The database, as far as it is needed here; each method may raise StoreError."""

    def claim(self, what: str) -> AbstractContextManager[bool]: ...
    def due_studies(self, limit: int = 100) -> list[DueStudy]: ...
    def is_due(self, due: DueStudy) -> bool: ...
    def decide_study(
        self, due: DueStudy, outcome: str, reason: str, found: Sequence[NewNotification]
    ) -> int: ...
    def postpone_study(self, due: DueStudy, seconds: float, reason: str) -> None: ...
    def due_notifications(self, limit: int = 100) -> list[Notification]: ...
    def begin(self, notification: Notification, seconds: float) -> bool: ...
    def next_due(self) -> float | None: ...
    def delivered(self, notification: Notification) -> None: ...
    def failed(self, notification: Notification, reason: str) -> None: ...
    def discarded(self, notification: Notification, reason: str) -> None: ...
    def discard_in_progress(self, reason: str) -> None: ...
    def retry_later(self, notification: Notification, seconds: float, reason: str) -> None: ...


def pause_after(attempts: int) -> float:
    """Seconds to wait after a try that failed, `attempts` having failed before it.

    Doubled each time and spread over the upper half, so that those who failed together don't
    come back together.
    """
    longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(attempts, 30))
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 - no secret


_UNLESS_COMPLETED = {
    Verdict.CONFIRM: Verdict.RETRY,
    Verdict.CONFIRM_UNKNOWN: Verdict.RETRY,
    Verdict.CONFIRM_REFUSED: Verdict.REFUSED,
}
"""The verdict where the list has the step, but not as completed."""


_GENERATIONS = {Verdict.DELIVERED: "v2", Verdict.CONFIRM: "v1"}
"""Only v2 and v3 answer with a score, only v1 with nothing."""


class Reporter:
    """Links the studies and sends the notifications that the database holds."""

    def __init__(
        self,
        *,
        outbox: Outbox,
        read_study: Callable[[str], StudySummary | None],
        snapshot: Callable[[], Snapshot | None],
        lists: Lists,
        updates: Updates,
        policy: Policy,
        report_in_progress: bool,
        on_link: Callable[[str], None],
        clock: Callable[[], float],
    ) -> None:
        self._report_in_progress = report_in_progress and updates.has_step_status
        self._outbox = outbox
        self._read_study = read_study
        self._snapshot = snapshot
        self._lists = lists
        self._updates = updates
        self._policy = policy
        self._on_link = on_link
        self._clock = clock
        self._orders: tuple[Snapshot, Orders] | None = None
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._hand_over: queue.Queue[Notification | None] = queue.Queue(SENDERS)
        self._under_way: set[str] = set()
        self._under_way_lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._link_studies, name="openmrs-link", daemon=True),
            threading.Thread(target=self._dispatch, name="openmrs-dispatch", daemon=True),
            *(
                threading.Thread(target=self._send, name=f"openmrs-send-{at}", daemon=True)
                for at in range(SENDERS)
            ),
        ]
        self._dispatch_wake = threading.Event()
        self._told: dict[str, str] = {}
        self._away: tuple[float, OpenMRSError] | None = None
        self._generation = ""

    @property
    def generation(self) -> str:
        """The generation of OpenMRS's Imaging module, as its answers tell it ("v1", "v2" for v2
        or v3), "" before the first."""
        return self._generation

    def start(self) -> None:
        """Start the threads; what the database holds is taken up at once."""
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """A study was noted, or a person decided something."""
        self._wake.set()
        self._dispatch_wake.set()

    def tell_to_stop(self) -> None:
        """Let the threads end. What is under way stays due in the database."""
        self._stopping.set()
        self.wake()
        for _ in range(SENDERS):
            try:
                self._hand_over.put_nowait(None)
            except queue.Full:
                break

    def join(self, deadline: float) -> None:
        """Wait for the threads until a moment of `time.monotonic`; a sender may hang in an
        exchange with OpenMRS, and is left to its daemon thread."""
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(max(0.0, deadline - time.monotonic()))

    # --- linking ---

    def _link_studies(self) -> None:
        while not self._stopping.is_set():
            self._wake.clear()
            progressed = False
            try:
                for due in self._outbox.due_studies():
                    if self._stopping.is_set():
                        return
                    with self._outbox.claim(f"study {due.study}") as mine:
                        if mine and self._outbox.is_due(due):
                            self._link_study(due)
                            progressed = True
                self._told.pop("studies can't be linked now", None)
            except StoreError as problem:
                self._tell("studies can't be linked now", problem)
            except Exception:  # the thread must live
                _log.exception("studies can't be linked now")
            if progressed:
                self._dispatch_wake.set()
            else:
                self._wake.wait(self._seconds_to_next())

    def _tell(self, what: str, problem: StoreError) -> None:
        """Once for each problem, for it is tried again every second."""
        if str(problem) != self._told.get(what):
            _log.error("%s: %s", what, problem)
        self._told[what] = str(problem)

    def _link_study(self, due: DueStudy) -> None:
        if due.arriving and not self._report_in_progress:
            self._outbox.decide_study(due, "", "", [])
            return
        try:
            decision, study = self._decide(due)
            kind = Kind.IN_PROGRESS if due.arriving else Kind.COMPLETED
            found = _notifications(decision, study, kind) if study is not None else []
            new = self._outbox.decide_study(due, decision.outcome, decision.reason, found)
        except StoreError:
            raise  # it's the same for every study
        except OpenMRSError as problem:
            seconds = pause_after(due.attempts)
            self._outbox.postpone_study(due, seconds, f"waiting for OpenMRS's list: {problem}")
            return
        except Exception as problem:  # one odd study must not stop the others
            _log.exception("study %s can't be linked now", due.study)
            seconds = pause_after(due.attempts)
            self._outbox.postpone_study(due, seconds, f"can't be read: {type(problem).__name__}")
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
            ", ".join(item.scheduled_procedure_step_id for item in found),
            found[0].requested_procedure_id,
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

    # --- sending ---

    def _dispatch(self) -> None:
        while not self._stopping.is_set():
            self._dispatch_wake.clear()
            handed = False
            try:
                for notification in self._outbox.due_notifications():
                    handed |= self._hand(notification)
                self._told.pop("notifications can't be sent now", None)
            except StoreError as problem:
                self._tell("notifications can't be sent now", problem)
            except Exception:  # the thread must live
                _log.exception("notifications can't be sent now")
            if not handed:
                self._dispatch_wake.wait(self._seconds_to_next())

    def _hand(self, notification: Notification) -> bool:
        with self._under_way_lock:
            if notification.requested_procedure_id in self._under_way:
                return False
            self._under_way.add(notification.requested_procedure_id)
        while not self._stopping.is_set():
            try:
                self._hand_over.put(notification, timeout=1)
            except queue.Full:
                continue
            return True
        return False

    def _send(self) -> None:
        while not self._stopping.is_set():
            notification = self._hand_over.get()
            if notification is None:
                return
            try:
                with self._outbox.claim(f"notification {notification.id}") as mine:
                    # On disk first: after a kill -9, or where the outcome can't be kept, the
                    # next try is a second one, which looks at the list before.
                    if mine and self._outbox.begin(
                        notification, pause_after(notification.attempts)
                    ):
                        self._deliver(notification)
                    elif not mine:
                        self._stopping.wait(FIRST_PAUSE)  # another Orthanc is at it
                self._told.pop("what became of notifications can't be kept", None)
            except StoreError as problem:
                self._tell("what became of notifications can't be kept", problem)
                self._stopping.wait(FIRST_PAUSE)
            except Exception:  # a sender must live; the notification stays due
                _log.exception("notification %d failed", notification.id)
                self._stopping.wait(FIRST_PAUSE)
            finally:
                with self._under_way_lock:
                    self._under_way.discard(notification.requested_procedure_id)
                self._dispatch_wake.set()

    def _deliver(self, notification: Notification) -> None:
        if notification.kind is Kind.IN_PROGRESS:
            self._deliver_in_progress(notification)
            return
        if notification.attempts and self._is_completed(notification):
            # The earlier try was saved, though its answer said otherwise or never came.
            self._outbox.delivered(notification)
            return
        words = ""  # of OpenMRS, which may name the patient, nothing is logged but the status
        try:
            answer = self._updates.post_update(StatusUpdate.from_json(notification.update))
            words = f"HTTP {answer.status}, see its LastError"
            judgement = judge(answer.status, answer.body)
            self._generation = _GENERATIONS.get(judgement.verdict, self._generation)
            judgement = self._confirmed(notification, judgement)
        except OpenMRSError as problem:
            judgement = Judgement(Verdict.RETRY, str(problem))
        if judgement.verdict is Verdict.DELIVERED:
            self._outbox.delivered(notification)
            _log.warning(
                "OpenMRS has step %s as completed (notification %d)",
                notification.scheduled_procedure_step_id,
                notification.id,
            )
        elif judgement.verdict is Verdict.REFUSED:
            self._outbox.failed(notification, judgement.reason)
            _log.error("notification %d is refused: %s", notification.id, words)
        else:
            self._retry(notification, judgement.reason, words)

    def _deliver_in_progress(self, notification: Notification) -> None:
        """Not worth a person's while: what OpenMRS refuses is discarded."""
        step_id = notification.scheduled_procedure_step_id
        try:
            item = self._lists.read_now(LIST_TIMEOUT).step(step_id)
            if item is None or item.step.status is not StepStatus.SCHEDULED:
                self._outbox.discarded(notification, "OpenMRS has the step otherwise")
                return
            answer = self._updates.post_step_status(step_id, StepStatus.IN_PROGRESS)
        except OpenMRSError as problem:
            self._retry(notification, str(problem))
            return
        verdict = judge_step_status(answer.status, answer.body)
        if verdict is Verdict.DELIVERED:
            self._outbox.delivered(notification)
        elif verdict is Verdict.REFUSED:
            # The step is known, so it is the route that isn't (v1).
            self._report_in_progress = False
            self._outbox.discard_in_progress("OpenMRS's Imaging module takes no step status")
        else:
            self._retry(notification, f"HTTP {answer.status}")

    def _retry(self, notification: Notification, reason: str, words: str = "") -> None:
        self._outbox.retry_later(notification, pause_after(notification.attempts), reason)
        if notification.attempts == 0:
            _log.error("notification %d waits: %s", notification.id, words or reason)

    def _is_completed(self, notification: Notification) -> bool:
        """Whether a fresh list has the step completed; False where there is none to ask."""
        try:
            snapshot = self._lists.read_now(LIST_TIMEOUT)
        except OpenMRSError:
            return False
        item = snapshot.step(notification.scheduled_procedure_step_id)
        return item is not None and item.step.status is StepStatus.COMPLETED

    def _confirmed(self, notification: Notification, judgement: Judgement) -> Judgement:
        """What the list says where the answer leaves it open."""
        if judgement.verdict not in _UNLESS_COMPLETED:
            return judgement
        item = self._lists.read_now(LIST_TIMEOUT).step(notification.scheduled_procedure_step_id)
        if item is not None and item.step.status is StepStatus.COMPLETED:
            return Judgement(Verdict.DELIVERED)
        verdict = Verdict.REFUSED if item is None else _UNLESS_COMPLETED[judgement.verdict]
        known = "has the step still open" if item else "knows no such step"
        return Judgement(verdict, judgement.reason or f"OpenMRS said nothing, and {known}")

    def _seconds_to_next(self) -> float:
        """Until something is due, IDLE at most."""
        try:
            due = self._outbox.next_due()
        except StoreError:
            return FIRST_PAUSE
        if due is None:
            return IDLE
        # What is due and under way already: its sender wakes the dispatcher when it is done.
        return min(IDLE, max(FIRST_PAUSE, due - self._clock()))


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
    if decision.outcome is not Outcome.LINKED or decision.request is None:
        return []
    return completions(study, decision.request, decision.links, decision.evidence)


def _in_progress(decision: Decision, study: StudySummary) -> list[NewNotification]:
    if decision.outcome is not Outcome.LINKED or decision.request is None:
        return []
    return [
        NewNotification(
            study=study.study,
            study_instance_uid=study.study_instance_uid,
            state=NotificationState.PENDING,
            kind=Kind.IN_PROGRESS,
            requested_procedure_id=decision.request.requested_procedure_id,
            scheduled_procedure_step_id=item.step.scheduled_procedure_step_id,
            evidence=decision.evidence,
            patient_id=implied_patient(decision.request.patient_id),
        )
        for item in decision.links
        if item.step.status is StepStatus.SCHEDULED
    ]


def completions(
    study: StudySummary, request: ImagingRequest, links: Sequence[Link], evidence: str
) -> list[NewNotification]:
    """One notification for each step that a study completes."""
    pairs = [(item.step.scheduled_procedure_step_id, item.series) for item in links]
    return [
        NewNotification(
            study=study.study,
            study_instance_uid=study.study_instance_uid,
            state=NotificationState.PENDING,
            requested_procedure_id=request.requested_procedure_id,
            scheduled_procedure_step_id=target[0],
            evidence=evidence,
            update=status_update(
                study, request, [target, *(pair for pair in pairs if pair != target)]
            ).to_json(),
            patient_id=implied_patient(request.patient_id),
        )
        for target in pairs
    ]
