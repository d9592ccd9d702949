"""One notification → OpenMRS, and what became of it.

Decides: whether what was decided is still so, by the study as it is and a list that was read
since (the second look), and what an answer and the list mean together. Must not know: threads,
HTTP, SQL.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from orthanc_openmrs.completion.evidence import Orders
from orthanc_openmrs.completion.history import history_of
from orthanc_openmrs.completion.linking import (
    PERSON,
    WHOLE_PATIENT_ID,
    Link,
    Policy,
    find_step,
    has_whole_patient_id,
    link,
    representative,
)
from orthanc_openmrs.completion.lists import LIST_TIMEOUT, Lists, OrderIndex
from orthanc_openmrs.completion.retries import pause_after
from orthanc_openmrs.errors import OpenMRSError
from orthanc_openmrs.model import (
    Answer,
    ImagingRequest,
    Kind,
    Notification,
    Order,
    ProcedureStep,
    Source,
    StepStatus,
    StudyRecord,
    StudySummary,
)
from orthanc_openmrs.openmrs.orders import judge_fulfilment, step_status
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

NO_STEP_STATUS = "OpenMRS's Imaging module takes no step status"

BROKEN_OFF = "broken off at the scanner"
"""What an order's fulfiller comments, for people who look at it in OpenMRS."""

SAME_WORDS = 3
"""Times that OpenMRS fails with the same words until they are believed: a data error doesn't
heal."""


STEP_STATUSES = {
    Kind.IN_PROGRESS: (StepStatus.SCHEDULED, StepStatus.IN_PROGRESS),
    Kind.SCHEDULED: (StepStatus.IN_PROGRESS, StepStatus.SCHEDULED),
}
"""What tells a step's status, whatever its images: the one that OpenMRS must have it in, and the
one that it gets."""


class Updates(Protocol):
    """OpenMRS, as far as it is needed here. Each method raises OpenMRSError."""

    @property
    def has_step_status(self) -> bool: ...
    def post_update(self, update: StatusUpdate) -> Answer: ...
    def post_step_status(self, step_id: str, status: str) -> Answer: ...


class OrderUpdates(Protocol):
    """OpenMRS's own orders, as far as they are needed here. Each method raises OpenMRSError."""

    def get_order(self, uuid_or_number: str) -> Order | None: ...
    def post_fulfilment(self, uuid: str, status: StepStatus, comment: str = "") -> Answer: ...


class Outcomes(Protocol):
    """The database, as far as it is needed here; each method may raise StoreError."""

    def history(self, study: str, study_instance_uid: str) -> StudyRecord: ...
    def delivered_of_step_since(self, step_id: str, moment: float) -> bool: ...
    def delivered(self, notification: Notification) -> bool: ...
    def failed(self, notification: Notification, reason: str) -> bool: ...
    def hold(self, notification: Notification, reason: str) -> bool: ...
    def withdraw(self, notification: Notification, reason: str) -> bool: ...
    def withdraw_in_progress(self, reason: str) -> None: ...
    def retry_later(
        self, notification: Notification, seconds: float, reason: str, repeats: int = 0
    ) -> bool: ...


class _Doubt(Exception):
    """The list or the study says otherwise by now; `str()` is the reason, for a person."""


class _Over(Exception):
    """There is nothing to tell any more; `str()` is why."""


class _Completed(Exception):
    """OpenMRS has the step as completed."""


@dataclass(frozen=True, slots=True)
class _Look:
    """What was seen before a try."""

    study: StudySummary
    item: Link
    taken: str = ""  # another request that OpenMRS has the study with


_UNLESS_COMPLETED = {
    Verdict.CONFIRM: Verdict.RETRY,
    Verdict.CONFIRM_UNKNOWN: Verdict.RETRY,
    Verdict.CONFIRM_REFUSED: Verdict.REFUSED,
    Verdict.EXCEPTION: Verdict.EXCEPTION,
}
"""The verdict where the list has the step, but not as completed."""


class Sender:
    """Tells OpenMRS of one notification at a time; safe for several threads.

    `order_updates` is what is told of OpenMRS's own orders, where they are a source; `broken_off`
    what one is that a scanner broke off. `on_doubt` is called where a study is to be decided anew.
    `monotonic` is the clock of `Snapshot.began`.
    """

    def __init__(
        self,
        *,
        outcomes: Outcomes,
        read_study: Callable[[str], StudySummary | None],
        lists: Lists,
        orders: OrderIndex,
        updates: Updates,
        order_updates: OrderUpdates | None = None,
        policy: Policy,
        report_in_progress: bool,
        broken_off: StepStatus = StepStatus.SCHEDULED,
        on_doubt: Callable[[], None] = lambda: None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._outcomes = outcomes
        self._read_study = read_study
        self._lists = lists
        self._orders = orders
        self._updates = updates
        self._order_updates = order_updates
        self._policy = policy
        self._reports_in_progress = report_in_progress and updates.has_step_status
        self._reports_orders_in_progress = report_in_progress and order_updates is not None
        self._broken_off = broken_off
        self._on_doubt = on_doubt
        self._monotonic = monotonic
        self._generation = ""

    @property
    def generation(self) -> str:
        """The generation of OpenMRS's Imaging module, as its answers tell it, "" before the
        first that does."""
        return self._generation

    def reports_in_progress(self, source: Source | None = None) -> bool:
        """Whether first images are told to a source, or to any: as configured, until OpenMRS turns
        out not to know how."""
        imaging = self._reports_in_progress and source is not Source.ORDERS
        orders = self._reports_orders_in_progress and source is not Source.IMAGING
        return imaging or orders

    def deliver(self, notification: Notification, snapshot: Snapshot) -> None:
        """Try once, by a list that was read after the notification was due. Raises StoreError
        where what became of it can't be kept."""
        try:
            if notification.kind in STEP_STATUSES:
                request = self._look_at_step(notification, snapshot)
                if request.source is Source.ORDERS:
                    self._tell_order(notification, request)
                else:
                    self._tell_step_status(notification)
            else:
                look = self._second_look(notification, snapshot)
                if look.item.request.source is Source.ORDERS:
                    self._tell_order(notification, look.item.request)
                else:
                    self._tell_completed(notification, look)
        except _Completed:
            self._already_completed(notification)
        except _Over as reason:
            self._outcomes.withdraw(notification, str(reason))
            _log.warning("notification %d is withdrawn: %s", notification.id, reason)
        except _Doubt as reason:
            self._doubt(notification, str(reason))
        except OpenMRSError as problem:
            self._retry(notification, str(problem))

    # --- the second look ---

    def _look_at_step(self, notification: Notification, snapshot: Snapshot) -> ImagingRequest:
        """Before the status of a step is told: of a study's first images, or of no study."""
        if notification.study:
            self._second_look(notification, snapshot)
        request, step = self._step(notification, self._orders.of(snapshot))
        self._see_status(notification, step.status)
        return request

    def _see_status(self, notification: Notification, status: StepStatus) -> None:
        before = STEP_STATUSES.get(notification.kind)
        if before is not None and status is not before[0]:
            raise _Over("OpenMRS has the step otherwise")

    def _step(
        self, notification: Notification, orders: Orders
    ) -> tuple[ImagingRequest, ProcedureStep]:
        """The step that was meant, which waits for images still."""
        step_id = notification.scheduled_procedure_step_id
        found = find_step(orders, notification.step)
        if found is None:
            raise _Doubt(
                f"step {step_id[:16]} of OpenMRS's list is not of that request, patient and "
                "accession number any more"
            )
        status = found[1].status
        if status is StepStatus.COMPLETED:
            raise _Completed
        if not status.is_open:
            raise _Doubt(f"step {step_id[:16]} is {status} in OpenMRS by now")
        return found

    def _second_look(self, notification: Notification, snapshot: Snapshot) -> _Look:
        known = self._outcomes.history(notification.study, notification.study_instance_uid)
        if known.life != notification.life:
            raise _Over("the study was deleted")
        study = self._read_study(notification.study)
        if study is None or not study.series:
            raise _Over("the study is no longer in Orthanc")
        step_id = notification.scheduled_procedure_step_id
        if self._outcomes.delivered_of_step_since(step_id, snapshot.read_at):
            # By another study, whose turn came first.
            snapshot = self._fresh_list(notification)
        orders = self._orders.of(snapshot)
        request, step = self._step(notification, orders)
        if notification.evidence == PERSON:
            if orders.wants_whole_patient_id(request) and not has_whole_patient_id(
                study.patient_id, request.patient_id
            ):
                raise _Doubt(WHOLE_PATIENT_ID)
            item = Link(request, step, representative(step, study.series))
            return _Look(study, item, _taken(orders, study, request))
        before = history_of(known, notification.study, besides=notification.id)
        decision = link(study, orders, self._policy, before)
        for item in decision.links:
            if item.identity == notification.step:
                return _Look(study, item)
        raise _Doubt(decision.reason or f"the study is of another step than {step_id[:16]} by now")

    def _fresh_list(self, notification: Notification) -> Snapshot:
        return self._lists.read_after(
            self._monotonic(), LIST_TIMEOUT, notification.requested_procedure_id
        )

    def _doubt(self, notification: Notification, reason: str) -> None:
        if notification.kind in STEP_STATUSES:
            self._outcomes.withdraw(notification, reason)  # not worth a person's while
            return
        if self._outcomes.hold(notification, reason):
            _log.warning("notification %d is held: %s", notification.id, reason)
            self._on_doubt()

    def _already_completed(self, notification: Notification) -> None:
        if notification.attempts and notification.kind is Kind.COMPLETED:
            # The earlier try was saved, though its answer said otherwise or never came.
            self._delivered(notification)
        else:
            self._outcomes.withdraw(notification, "OpenMRS has the step as completed already")

    # --- telling ---

    def _tell_completed(self, notification: Notification, look: _Look) -> None:
        if look.taken:
            self._tell_by_status(notification, look.taken)
            return
        update = status_update(look.study, look.item.request, look.item.step, look.item.series)
        words = ""  # of OpenMRS, which may name the patient, nothing is logged but the status
        try:
            answer = self._updates.post_update(update)
            words = f"HTTP {answer.status}, see its LastError"
            judgement = judge(answer)
            self._generation = judgement.generation or self._generation
            judgement = self._confirmed(notification, judgement)
        except OpenMRSError as problem:
            judgement = Judgement(Verdict.RETRY, str(problem))
        self._conclude(notification, judgement, words)

    def _conclude(self, notification: Notification, judgement: Judgement, words: str) -> None:
        match judgement.verdict:
            case Verdict.DELIVERED:
                self._delivered(notification)
            case Verdict.REFUSED if notification.kind in STEP_STATUSES:
                self._outcomes.withdraw(notification, judgement.reason)
            case Verdict.REFUSED:
                self._failed(notification, judgement.reason, words)
            case Verdict.EXCEPTION:
                same = notification.last_error == judgement.reason
                repeats = notification.repeats + 1 if same else 1
                if repeats >= SAME_WORDS:
                    self._failed(notification, judgement.reason, words)
                else:
                    self._retry(notification, judgement.reason, words, repeats)
            case _:
                self._retry(notification, judgement.reason, words)

    def _tell_order(self, notification: Notification, request: ImagingRequest) -> None:
        """OpenMRS's core takes any status of any order, stopped or not: it's asked for right
        before, for a long list of orders isn't read as a whole each time."""
        if self._order_updates is None:
            raise _Doubt("OpenMRS's own orders are no source any more")
        order = self._order_updates.get_order(request.order_uuid)
        if order is None or order.patient_id.lower() != request.patient_id.lower():
            raise _Doubt("OpenMRS has the order otherwise")
        status = step_status(order)
        if status is StepStatus.COMPLETED:
            raise _Completed
        if not status.is_open:
            over = "voided" if order.voided else "stopped" if order.stopped else "declined"
            raise _Doubt(f"order {order.number[:32]} is {over} in OpenMRS by now")
        self._see_status(notification, status)
        told, comment = StepStatus.COMPLETED, ""
        if notification.kind is Kind.IN_PROGRESS:
            told = StepStatus.IN_PROGRESS
        elif notification.kind is Kind.SCHEDULED:
            told, comment = self._broken_off, BROKEN_OFF
        answer = self._order_updates.post_fulfilment(request.order_uuid, told, comment)
        words = f"HTTP {answer.status}, see its LastError"
        self._conclude(notification, judge_fulfilment(answer), words)

    def _tell_by_status(self, notification: Notification, taken: str) -> None:
        """OpenMRS keeps a StudyInstanceUID with one request only: of another request of the same
        study nothing can be told but the step's status."""
        step_id = notification.scheduled_procedure_step_id
        reason = f"OpenMRS has this study with request {taken} already, and takes it for no other"
        if not self._updates.has_step_status:
            self._failed(notification, reason, reason)
            return
        judgement = judge_step_status(self._updates.post_step_status(step_id, StepStatus.COMPLETED))
        if judgement.verdict is Verdict.DELIVERED:
            judgement = self._confirmed(notification, Judgement(Verdict.CONFIRM))
        if judgement.verdict is Verdict.DELIVERED:
            self._delivered(notification)
        elif judgement.verdict is Verdict.REFUSED:
            self._failed(notification, f"{reason}; {judgement.reason}", reason)
        else:
            self._retry(notification, judgement.reason)

    def _confirmed(self, notification: Notification, judgement: Judgement) -> Judgement:
        """What the list says where the answer leaves it open."""
        if judgement.verdict not in _UNLESS_COMPLETED:
            return judgement
        snapshot = self._fresh_list(notification)
        found = find_step(self._orders.of(snapshot), notification.step)
        if found is not None and found[1].status is StepStatus.COMPLETED:
            return Judgement(Verdict.DELIVERED)
        verdict = Verdict.REFUSED if found is None else _UNLESS_COMPLETED[judgement.verdict]
        known = "has the step still open" if found else "knows no such step"
        return Judgement(verdict, judgement.reason or f"OpenMRS said nothing, and {known}")

    def _tell_step_status(self, notification: Notification) -> None:
        """Not worth a person's while: what OpenMRS refuses is withdrawn."""
        if not self._reports_in_progress:  # but orders are told of
            self._outcomes.withdraw(notification, NO_STEP_STATUS)
            return
        step_id = notification.scheduled_procedure_step_id
        answer = self._updates.post_step_status(step_id, STEP_STATUSES[notification.kind][1])
        judgement = judge_step_status(answer)
        if judgement.verdict is Verdict.DELIVERED:
            self._outcomes.delivered(notification)
        elif judgement.verdict is Verdict.REFUSED:
            # The step is known, so it is the route that isn't (v1).
            self._reports_in_progress = False
            self._outcomes.withdraw_in_progress(NO_STEP_STATUS)
        else:
            self._retry(notification, judgement.reason, f"HTTP {answer.status}")

    # --- what became of it ---

    def _delivered(self, notification: Notification) -> None:
        if self._outcomes.delivered(notification):
            _log.warning(
                "OpenMRS has step %s as completed (notification %d)",
                notification.scheduled_procedure_step_id,
                notification.id,
            )

    def _failed(self, notification: Notification, reason: str, words: str) -> None:
        if self._outcomes.failed(notification, reason):
            _log.error("notification %d is refused: %s", notification.id, words)

    def _retry(
        self, notification: Notification, reason: str, words: str = "", repeats: int = 0
    ) -> None:
        pause = pause_after(notification.attempts)
        self._outcomes.retry_later(notification, pause, reason, repeats)
        if notification.attempts == 0:
            _log.error("notification %d waits: %s", notification.id, words or reason)


def _taken(orders: Orders, study: StudySummary, request: ImagingRequest) -> str:
    """Another request that OpenMRS has the study with."""
    for other in orders.by_uid.get(study.study_instance_uid, ()):
        if other is not request and other.study_instance_uid == study.study_instance_uid:
            return other.requested_procedure_id[:16]
    return ""
