"""An exam that begins or is broken off → what OpenMRS is told of its scheduled steps.

Decides: which steps are meant, by the same evidence that links images, and that a step which
another exam goes on with isn't set back. Must not know: sockets, SQL, HTTP.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from orthanc_openmrs.completion.evidence import Orders
from orthanc_openmrs.completion.linking import Outcome, Policy, link
from orthanc_openmrs.model import (
    Kind,
    NewNotification,
    NotificationState,
    ProcedureRecord,
    ProcedureState,
    Source,
)
from orthanc_openmrs.mpps.meaning import as_study
from orthanc_openmrs.worklist.snapshot import Snapshot

EVIDENCE = "MPPS"

KINDS = {
    ProcedureState.IN_PROGRESS: Kind.IN_PROGRESS,
    ProcedureState.DISCONTINUED: Kind.SCHEDULED,
}
"""What is told of a step in which state; that it is completed is told when its images are here."""


class NotYet(Exception):
    """A newer list of OpenMRS is needed first."""


class Outbox(Protocol):
    """The database, as far as it is needed here; each method may raise StoreError."""

    def tell_steps(self, rows: Sequence[NewNotification]) -> int: ...
    def procedures_of_steps(self, step_ids: Collection[str]) -> list[ProcedureRecord]: ...


class Announcer:
    """Passes the state of a performed step on to the notifications."""

    def __init__(
        self,
        *,
        outbox: Outbox,
        snapshot: Callable[[], Snapshot | None],
        takes_status: Callable[[Source], bool],
        sets_back: bool,
        hold_patient_mismatch: bool,
        on_news: Callable[[], None],
    ) -> None:
        """`takes_status`: whether a source is told of steps in progress at all; `sets_back`:
        whether those of the Imaging module that were broken off are scheduled again; `on_news`
        hears that there is something to send."""
        self._outbox = outbox
        self._snapshot = snapshot
        self._takes_status = takes_status
        self._sets_back = sets_back
        self._policy = Policy((EVIDENCE,), hold_patient_mismatch)
        self._on_news = on_news
        self._orders: tuple[Snapshot, Orders] | None = None

    def tell(self, record: ProcedureRecord) -> None:
        """Pass on the state that it has now. Raises NotYet, StoreError."""
        kind = KINDS.get(record.procedure.state)
        if kind is None or not any(self._tells(kind, source) for source in Source):
            return
        snapshot = self._snapshot()
        if snapshot is None:
            raise NotYet("OpenMRS's list was never read")
        decision = link(as_study(record.procedure), self._orders_of(snapshot), self._policy)
        if decision.outcome is not Outcome.LINKED:
            if snapshot.read_at <= record.changed:
                raise NotYet("its steps may be in a newer list")
            return
        steps = [one.identity for one in decision.links if self._tells(kind, one.request.source)]
        if kind is Kind.SCHEDULED:
            going_on = self._going_on(record, [one.scheduled_procedure_step_id for one in steps])
            steps = [one for one in steps if one.scheduled_procedure_step_id not in going_on]
        rows = [
            # Of no study: there may be no image yet, or never.
            NewNotification("", "", NotificationState.PENDING, kind, step, EVIDENCE)
            for step in steps
        ]
        if self._outbox.tell_steps(rows):
            self._on_news()

    def _tells(self, kind: Kind, source: Source) -> bool:
        sets_back = self._sets_back or source is Source.ORDERS
        return self._takes_status(source) and (kind is not Kind.SCHEDULED or sets_back)

    def _going_on(self, record: ProcedureRecord, step_ids: Sequence[str]) -> set[str]:
        """Steps that another performed step is about, which wasn't broken off."""
        return {
            reference.scheduled_procedure_step_id
            for other in self._outbox.procedures_of_steps(step_ids)
            if other.id != record.id and other.procedure.state is not ProcedureState.DISCONTINUED
            for reference in other.procedure.references
        }

    def _orders_of(self, snapshot: Snapshot) -> Orders:
        if self._orders is None or self._orders[0].requests is not snapshot.requests:
            self._orders = (snapshot, Orders.of(snapshot.requests))
        return self._orders[1]
