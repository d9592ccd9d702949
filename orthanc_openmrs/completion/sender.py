"""One notification → OpenMRS, and what became of it.

Decides: what is asked before a try, and what an answer and the list mean together. Must not
know: threads, HTTP, SQL.
"""

import logging
from typing import Protocol

from orthanc_openmrs.completion.linker import LIST_TIMEOUT, Lists
from orthanc_openmrs.completion.retries import pause_after
from orthanc_openmrs.errors import OpenMRSError
from orthanc_openmrs.model import Answer, Kind, Notification, StepStatus
from orthanc_openmrs.openmrs.verdicts import (
    Judgement,
    StatusUpdate,
    Verdict,
    judge,
    judge_step_status,
)

_log = logging.getLogger(__name__)


class Updates(Protocol):
    """OpenMRS, as far as it is needed here. Each method raises OpenMRSError."""

    @property
    def has_step_status(self) -> bool: ...
    def post_update(self, update: StatusUpdate) -> Answer: ...
    def post_step_status(self, step_id: str, status: str) -> Answer: ...


class Outcomes(Protocol):
    """The database, as far as it is needed here; each method may raise StoreError."""

    def delivered(self, notification: Notification) -> bool: ...
    def failed(self, notification: Notification, reason: str) -> bool: ...
    def withdraw(self, notification: Notification, reason: str) -> bool: ...
    def withdraw_in_progress(self, reason: str) -> None: ...
    def retry_later(self, notification: Notification, seconds: float, reason: str) -> bool: ...


_UNLESS_COMPLETED = {
    Verdict.CONFIRM: Verdict.RETRY,
    Verdict.CONFIRM_UNKNOWN: Verdict.RETRY,
    Verdict.CONFIRM_REFUSED: Verdict.REFUSED,
}
"""The verdict where the list has the step, but not as completed."""


STEP_STATUSES = {
    Kind.IN_PROGRESS: (StepStatus.SCHEDULED, StepStatus.IN_PROGRESS),
    Kind.SCHEDULED: (StepStatus.IN_PROGRESS, StepStatus.SCHEDULED),
}
"""What tells a step's status, whatever its images: the one that OpenMRS must have it in, and the
one that it gets."""


class Sender:
    """Tells OpenMRS of one notification at a time; safe for several threads."""

    def __init__(
        self, *, outcomes: Outcomes, lists: Lists, updates: Updates, report_in_progress: bool
    ) -> None:
        self._outcomes = outcomes
        self._lists = lists
        self._updates = updates
        self._reports_in_progress = report_in_progress and updates.has_step_status
        self._generation = ""

    @property
    def generation(self) -> str:
        """The generation of OpenMRS's Imaging module, as its answers tell it ("v1", "v2" for v2
        or v3), "" before the first."""
        return self._generation

    def reports_in_progress(self) -> bool:
        """Whether first images are told: as configured, until OpenMRS turns out not to know how."""
        return self._reports_in_progress

    def deliver(self, notification: Notification) -> None:
        """Try once. Raises StoreError where what became of it can't be kept."""
        if notification.kind in STEP_STATUSES:
            self._deliver_step_status(notification)
            return
        if notification.attempts and self._is_completed(notification):
            # The earlier try was saved, though its answer said otherwise or never came.
            self._outcomes.delivered(notification)
            return
        words = ""  # of OpenMRS, which may name the patient, nothing is logged but the status
        try:
            answer = self._updates.post_update(StatusUpdate.from_json(notification.update))
            words = f"HTTP {answer.status}, see its LastError"
            judgement = judge(answer)
            self._generation = judgement.generation or self._generation
            judgement = self._confirmed(notification, judgement)
        except OpenMRSError as problem:
            judgement = Judgement(Verdict.RETRY, str(problem))
        if judgement.verdict is Verdict.DELIVERED:
            self._outcomes.delivered(notification)
            _log.warning(
                "OpenMRS has step %s as completed (notification %d)",
                notification.scheduled_procedure_step_id,
                notification.id,
            )
        elif judgement.verdict is Verdict.REFUSED:
            self._outcomes.failed(notification, judgement.reason)
            _log.error("notification %d is refused: %s", notification.id, words)
        else:
            self._retry(notification, judgement.reason, words)

    def _deliver_step_status(self, notification: Notification) -> None:
        """Not worth a person's while: what OpenMRS refuses is discarded."""
        step_id = notification.scheduled_procedure_step_id
        before, after = STEP_STATUSES[notification.kind]
        try:
            item = self._lists.read_now(LIST_TIMEOUT).step(step_id)
            if item is None or item.step.status is not before:
                self._outcomes.withdraw(notification, "OpenMRS has the step otherwise")
                return
            answer = self._updates.post_step_status(step_id, after)
        except OpenMRSError as problem:
            self._retry(notification, str(problem))
            return
        judgement = judge_step_status(answer)
        if judgement.verdict is Verdict.DELIVERED:
            self._outcomes.delivered(notification)
        elif judgement.verdict is Verdict.REFUSED:
            # The step is known, so it is the route that isn't (v1).
            self._reports_in_progress = False
            self._outcomes.withdraw_in_progress("OpenMRS's Imaging module takes no step status")
        else:
            self._retry(notification, judgement.reason, f"HTTP {answer.status}")

    def _retry(self, notification: Notification, reason: str, words: str = "") -> None:
        self._outcomes.retry_later(notification, pause_after(notification.attempts), reason)
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
