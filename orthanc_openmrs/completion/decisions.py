"""What a person decides: which step a study completes, what is sent again, what never is.

Decides: what may be asked of a notification in which state. Every decision is kept with its
time and the person's name in Orthanc. Must not know: HTTP, SQL.
"""

import time
from collections.abc import Callable, Sequence
from typing import Protocol

from orthanc_openmrs.completion.evidence import Orders
from orthanc_openmrs.completion.linker import notification
from orthanc_openmrs.completion.linking import (
    PERSON,
    WHOLE_PATIENT_ID,
    Link,
    Suggestion,
    has_whole_patient_id,
    identity_of,
    representative,
    suggest,
    tokens,
)
from orthanc_openmrs.completion.lists import Lists, OrderIndex
from orthanc_openmrs.completion.states import Event, allowed
from orthanc_openmrs.errors import Conflict, NotFound
from orthanc_openmrs.model import (
    Kind,
    NewNotification,
    Notification,
    NotificationFilter,
    NotificationState,
    PersonsDecision,
    StepIdentity,
    StudyRecord,
    StudySummary,
)
from orthanc_openmrs.worklist.items import WorklistItem
from orthanc_openmrs.worklist.snapshot import Snapshot


class Records(Protocol):
    """The database, as far as it is needed here; each method may raise StoreError."""

    def notification(self, notification_id: int) -> Notification | None: ...
    def list_notifications(
        self,
        *states: NotificationState,
        kind: Kind = Kind.COMPLETED,
        limit: int = 100,
        since: int = 0,
        study: str = "",
        named: NotificationFilter | None = None,
        delivered_after: float = 0.0,
        newest_first: bool = False,
    ) -> list[Notification]: ...
    def count_notifications(
        self,
        *states: NotificationState,
        kind: Kind = Kind.COMPLETED,
        named: NotificationFilter | None = None,
        delivered_after: float = 0.0,
    ) -> int: ...
    def decisions(self, notification: Notification) -> list[PersonsDecision]: ...
    def history(self, study: str, study_instance_uid: str) -> StudyRecord: ...
    def retry(self, notification: Notification, user: str, named: str = "") -> bool: ...
    def discard(self, notification: Notification, user: str, named: str = "") -> bool: ...
    def report(
        self, rows: Sequence[NewNotification], user: str, named: str = ""
    ) -> list[Notification]: ...


class Decisions:
    """Takes the decisions of persons."""

    def __init__(
        self,
        *,
        records: Records,
        read_study: Callable[[str], StudySummary | None],
        snapshot: Callable[[], Snapshot | None],
        lists: Lists,
        orders: OrderIndex,
        list_timeout: float,
        keep_delivered: float,
        on_decision: Callable[[str], None],
        clock: Callable[[], float],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._records = records
        self._read_study = read_study
        self._snapshot = snapshot
        self._lists = lists
        self._orders = orders
        self._list_timeout = list_timeout
        self._keep_delivered = keep_delivered
        self._on_decision = on_decision
        self._clock = clock
        self._monotonic = monotonic

    def notifications(
        self,
        *states: NotificationState,
        kind: Kind,
        named: NotificationFilter | None = None,
        limit: int,
        since: int,
        newest_first: bool = False,
    ) -> tuple[list[Notification], int]:
        """Notifications by id from `since` on, without those delivered long ago; and how many
        there are in all."""
        oldest = self._clock() - self._keep_delivered
        found = self._records.list_notifications(
            *states,
            kind=kind,
            named=named,
            limit=limit,
            since=since,
            delivered_after=oldest,
            newest_first=newest_first,
        )
        return found, self._records.count_notifications(
            *states, kind=kind, named=named, delivered_after=oldest
        )

    def notification(self, notification_id: int) -> tuple[Notification, list[PersonsDecision]]:
        """One notification and what persons decided about it. Raises NotFound."""
        found = self._records.notification(notification_id)
        if found is None:
            raise NotFound(f"there is no notification {notification_id}")
        return found, self._records.decisions(found)

    def compare(self, held: Notification) -> tuple[StudySummary | None, list[Suggestion]]:
        """The study of a held notification, None where it is gone, and the steps that it may
        complete."""
        study = self._read_study(held.study)
        snapshot = self._snapshot()
        if study is None or snapshot is None:
            return study, []
        return study, suggest(study, self._orders.of(snapshot))

    def retry(self, notification_id: int, user: str) -> Notification:
        """Send it again now; link a held study again. Raises NotFound, Conflict."""
        found, _ = self.notification(notification_id)
        if Event.RETRY not in allowed(found.state):
            raise Conflict(f"notification {found.id} is {found.state}: there is nothing to retry")
        if not self._records.retry(found, user):
            raise _changed(found)
        return self._decided(found)

    def discard(self, notification_id: int, user: str) -> Notification:
        """Never send it. Raises NotFound, Conflict."""
        found, _ = self.notification(notification_id)
        if Event.DISCARD not in allowed(found.state):
            raise Conflict(f"notification {found.id} is {found.state} already")
        study = self._read_study(found.study)
        if not self._records.discard(found, user, _seen(study)):
            raise _changed(found)
        return self._decided(found)

    def report(self, study_id: str, step_ids: Sequence[str], user: str) -> list[Notification]:
        """A study (Orthanc ID) completes these steps, of one request or of several, says a person.

        Raises NotFound for a study or step that doesn't exist, Conflict for a step that is
        completed or rejected, is told of already, or can't be told of, OpenMRSError where a list
        is needed to know the step and there is none.
        """
        study = self._read_study(study_id)
        if study is None or not study.series:
            raise NotFound(f"Orthanc has no study {study_id} with images")
        rows = []
        known = self._records.history(study.study, study.study_instance_uid)
        for step_id in dict.fromkeys(step_ids):
            item, orders = self._step(step_id)
            if _is_told(known, study.study, identity_of(item.request, item.step)):
                # Only a list that was read since says whether it is to be told again.
                item, orders = self._step_of(self._fresh_list(), step_id)
            if not item.step.status.is_open:
                raise Conflict(f"step {step_id} is {item.step.status} in OpenMRS")
            if orders.wants_whole_patient_id(item.request) and not has_whole_patient_id(
                study.patient_id, item.request.patient_id
            ):
                raise Conflict(WHOLE_PATIENT_ID)
            link = Link(item.request, item.step, representative(item.step, study.series))
            rows.append(notification(study, link, PERSON))
        reported = self._records.report(rows, user, _seen(study))
        self._on_decision(study_id)
        return reported

    def _step(self, step_id: str) -> tuple[WorklistItem, Orders]:
        snapshot = self._snapshot()
        if snapshot is None or snapshot.step(step_id) is None:
            snapshot = self._fresh_list()
        return self._step_of(snapshot, step_id)

    def _step_of(self, snapshot: Snapshot, step_id: str) -> tuple[WorklistItem, Orders]:
        item = snapshot.step(step_id)
        if item is None:
            raise NotFound(f"OpenMRS's list has no step {step_id}")
        return item, self._orders.of(snapshot)

    def _fresh_list(self) -> Snapshot:
        return self._lists.read_after(self._monotonic(), self._list_timeout)

    def _decided(self, before: Notification) -> Notification:
        self._on_decision(before.study)
        return self.notification(before.id)[0]


def _changed(found: Notification) -> Conflict:
    return Conflict(f"notification {found.id} changed meanwhile: look at it again")


def _seen(study: StudySummary | None) -> str:
    """What a person saw of a study, as the history keeps it."""
    return " ".join(sorted(tokens(study))) if study else ""


def _is_told(known: StudyRecord, study: str, step: StepIdentity) -> bool:
    """Whether it stands as told for the images that are here."""
    return any(
        row.kind is Kind.COMPLETED
        and (row.study, row.life, row.step) == (study, known.life, step)
        and row.state is NotificationState.DELIVERED
        for row in known.rows
    )
