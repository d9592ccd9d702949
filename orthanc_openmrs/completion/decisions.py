"""What a person decides: which step a study completes, what is sent again, what never is.

Decides: what may be asked of a notification in which state. Every decision is kept with its
time and the person's name in Orthanc. Must not know: HTTP, SQL.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from orthanc_openmrs.completion.evidence import Orders
from orthanc_openmrs.completion.linker import Lists, completions
from orthanc_openmrs.completion.linking import Link, Suggestion, suggest
from orthanc_openmrs.errors import Conflict, NotFound
from orthanc_openmrs.model import (
    Kind,
    NewNotification,
    Notification,
    NotificationFilter,
    NotificationState,
    PersonsDecision,
    SeriesSummary,
    StudySummary,
)
from orthanc_openmrs.worklist.items import WorklistItem
from orthanc_openmrs.worklist.snapshot import Snapshot

EVIDENCE = "person"
"""The evidence of a notification that a person asked for."""

_MAY_RETRY = (NotificationState.PENDING, NotificationState.FAILED, NotificationState.HELD)
_MAY_DISCARD = _MAY_RETRY


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
    def retry(self, notification: Notification, user: str) -> bool: ...
    def discard(self, notification: Notification, user: str) -> bool: ...
    def report(self, rows: Sequence[NewNotification], user: str) -> list[Notification]: ...


class Decisions:
    """Takes the decisions of persons."""

    def __init__(
        self,
        *,
        records: Records,
        read_study: Callable[[str], StudySummary | None],
        snapshot: Callable[[], Snapshot | None],
        lists: Lists,
        list_timeout: float,
        keep_delivered: float,
        on_decision: Callable[[str], None],
        clock: Callable[[], float],
    ) -> None:
        self._records = records
        self._read_study = read_study
        self._snapshot = snapshot
        self._lists = lists
        self._list_timeout = list_timeout
        self._keep_delivered = keep_delivered
        self._on_decision = on_decision
        self._clock = clock

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
        return study, suggest(study, Orders.of(snapshot.requests))

    def retry(self, notification_id: int, user: str) -> Notification:
        """Send it again now; link a held study again. Raises NotFound, Conflict."""
        found, _ = self.notification(notification_id)
        if found.state not in _MAY_RETRY:
            raise Conflict(f"notification {found.id} is {found.state}: there is nothing to retry")
        if not self._records.retry(found, user):
            raise Conflict(f"notification {found.id} is another one by now")
        self._on_decision(found.study)
        return self.notification(notification_id)[0]

    def discard(self, notification_id: int, user: str) -> Notification:
        """Never send it. Raises NotFound, Conflict."""
        found, _ = self.notification(notification_id)
        if found.state not in _MAY_DISCARD:
            raise Conflict(f"notification {found.id} is {found.state} already")
        if not self._records.discard(found, user):
            raise Conflict(f"notification {found.id} is another one by now")
        self._on_decision(found.study)
        return self.notification(notification_id)[0]

    def report(self, study_id: str, step_id: str, user: str) -> Notification:
        """A study (Orthanc ID) completes a step, says a person.

        Raises NotFound for a study or step that doesn't exist, Conflict for a step that is
        completed or rejected or a study that has told of it already, OpenMRSError where a list
        is needed to know the step and there is none.
        """
        study = self._read_study(study_id)
        if study is None or not study.series:
            raise NotFound(f"Orthanc has no study {study_id} with images")
        item = self._step(step_id)
        if not item.step.status.is_open:
            raise Conflict(f"step {step_id} is {item.step.status} in OpenMRS")
        same = [
            told
            for told in self._records.list_notifications(study=study.study)
            if told.scheduled_procedure_step_id == step_id
            and told.state is NotificationState.DELIVERED
        ]
        if same:
            raise Conflict(f"step {step_id} was told of this study already")
        series = _representative(study, item)
        (row,) = completions(study, [Link(item.request, item.step, series)], EVIDENCE)
        (told,) = self._records.report([row], user)
        self._on_decision(study_id)
        return told

    def _step(self, step_id: str) -> WorklistItem:
        snapshot = self._snapshot()
        item = snapshot.step(step_id) if snapshot else None
        if item is None:
            item = self._lists.read_now(self._list_timeout).step(step_id)
        if item is None:
            raise NotFound(f"OpenMRS's list has no step {step_id}")
        return item


def _representative(study: StudySummary, item: WorklistItem) -> SeriesSummary:
    """The series of the step's modality, else the first."""
    of_modality = [one for one in study.series if one.modality == item["Modality"]]
    return (of_modality or list(study.series))[0]
