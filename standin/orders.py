"""The orders of OpenMRS's core: what the order basket stores, and what fulfilling them changes.

Decides numbers, which order stops which, and what a search finds. Rows are frozen and replaced
when they change. Must not know JSON, HTTP or who asks. docs/orders.md has the sources.
"""

import threading
import uuid as uuids
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from .records import Patient

ACTIONS = frozenset({"NEW", "REVISE", "RENEW", "DISCONTINUE"})
URGENCIES = frozenset({"ROUTINE", "STAT", "ON_SCHEDULED_DATE"})
FULFILLER_STATUSES = frozenset(
    {"RECEIVED", "IN_PROGRESS", "COMPLETED", "EXCEPTION", "ON_HOLD", "DECLINED"}
)
COMMENT_COLUMN = 1024
ACCESSION_COLUMN = 255

RADIOLOGY = "b4a7c280-369e-4d12-9ce8-18e36783fed6"
"""The order type that KenyaEMR's radiology app is configured with."""
LABORATORY = "52a447d3-a64a-11e3-9aeb-50e549534c5e"
ORDER_TYPES = {RADIOLOGY: "Radiology Order", LABORATORY: "Test Order"}


@dataclass(frozen=True)
class Concept:
    """`mappings`: pairs of a source's name and its code, as ("LOINC", "24627-2")."""

    uuid: str
    display: str
    mappings: tuple[tuple[str, str], ...] = ()
    concept_class: str = "Radiology/Imaging Procedure"


@dataclass(frozen=True)
class Order:
    id: int
    uuid: str
    number: str
    patient: Patient
    concept: Concept
    order_type: str
    action: str
    date_activated: datetime
    urgency: str = "ROUTINE"
    previous: str | None = None  # the uuid of the order that this one revises, renews or stops
    scheduled_date: datetime | None = None
    date_stopped: datetime | None = None
    auto_expire_date: datetime | None = None
    fulfiller_status: str | None = None
    fulfiller_comment: str | None = None
    accession_number: str | None = None
    instructions: str | None = None
    comment_to_fulfiller: str | None = None
    order_reason_non_coded: str | None = None
    orderer: str = "Dr. Amina Traoré"
    voided: bool = False


@dataclass(frozen=True)
class OrderSearch:
    """As core's OrderSearchCriteria. `is_stopped` False restricts nothing, as there."""

    order_types: frozenset[str] = frozenset()
    concepts: frozenset[str] = frozenset()
    patient: str | None = None
    number: str | None = None
    accession_number: str | None = None
    activated_on_or_after: datetime | None = None
    activated_on_or_before: datetime | None = None
    is_stopped: bool = False
    action: str | None = None
    fulfiller_status: str | None = None
    include_null_fulfiller_status: bool | None = None
    exclude_canceled_and_expired: bool = False
    exclude_discontinue_orders: bool = False
    include_voided: bool = False

    def finds(self, order: Order, now: datetime) -> bool:
        return all(
            (
                not self.order_types or order.order_type in self.order_types,
                not self.concepts or order.concept.uuid in self.concepts,
                self.patient is None or order.patient.uuid == self.patient,
                _same(self.number, order.number),
                _same(self.accession_number, order.accession_number),
                self._in_time(order),
                not self.is_stopped or order.date_stopped is not None,
                self.action is None or order.action == self.action,
                self._fulfilled(order.fulfiller_status),
                not self.exclude_canceled_and_expired or not _is_over(order, now),
                not self.exclude_discontinue_orders or order.action != "DISCONTINUE",
                self.include_voided or not order.voided,
            )
        )

    def _in_time(self, order: Order) -> bool:
        """Whole days of the server's own, whatever time of day was asked for."""
        day = order.date_activated.astimezone(UTC).date()
        first, last = self.activated_on_or_after, self.activated_on_or_before
        return (first is None or first.date() <= day) and (last is None or day <= last.date())

    def _fulfilled(self, status: str | None) -> bool:
        """The status asked for, or (with both) whether there is one at all."""
        null = self.include_null_fulfiller_status
        asked = [] if self.fulfiller_status is None else [status == self.fulfiller_status]
        asked += [] if null is None else [(status is None) is null]
        return not asked or any(asked)


def _same(asked: str | None, found: str | None) -> bool:
    return asked is None or (found or "").casefold() == asked.casefold()


def _is_over(order: Order, now: datetime) -> bool:
    ends = (order.date_stopped, order.auto_expire_date)
    return any(end is not None and end <= now for end in ends)


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class _Found:
    """The last search, for its next page: nothing has changed and no time has passed."""

    search: OrderSearch | None = None
    revision: int = 0
    until: datetime = field(default_factory=utc_now)
    orders: tuple[Order, ...] = ()


class Orders:
    """Every method may be called from any thread. `clock` is the server's."""

    def __init__(self, clock: Callable[[], datetime] = utc_now) -> None:
        self.clock = clock
        self._lock = threading.RLock()
        self._orders: dict[str, Order] = {}
        self._concepts: dict[str, Concept] = {}
        self._revision = 0
        self._found = _Found()

    # --- what the order basket does ---

    def add_concept(
        self, display: str, *mappings: tuple[str, str], uuid: str | None = None
    ) -> Concept:
        with self._lock:
            concept = Concept(uuid or str(uuids.uuid4()), display, mappings)
            self._concepts[concept.uuid] = concept
            return concept

    def place(
        self, patient: Patient, concept: Concept, order_type: str = RADIOLOGY, **fields: Any
    ) -> Order:
        """A NEW order, or with `action` another one. `fields` are those of Order."""
        with self._lock:
            self._concepts.setdefault(concept.uuid, concept)
            number = len(self._orders) + 1
            order = Order(
                **{
                    "id": number,
                    "uuid": str(uuids.uuid4()),
                    "number": f"ORD-{number}",
                    "patient": patient,
                    "concept": concept,
                    "order_type": order_type,
                    "action": "NEW",
                    "date_activated": self.clock(),
                    **fields,
                }
            )
            if order.action not in ACTIONS or order.urgency not in URGENCIES:
                raise ValueError(f"no action {order.action!r} or no urgency {order.urgency!r}")
            return self._save(order)

    def revise(self, order: Order, **changes: Any) -> Order:
        """A new order with a new number; the old one stops a moment before."""
        return self._follow(order, "REVISE", stops=True, **changes)

    def renew(self, order: Order, **changes: Any) -> Order:
        """As revise, but the old order goes on until somebody stops it or it expires."""
        return self._follow(order, "RENEW", stops=False, **changes)

    def discontinue(self, order: Order) -> Order:
        """The order of action DISCONTINUE, which is over at once; the one it names stops."""
        now = self.clock()
        return self._follow(order, "DISCONTINUE", stops=True, auto_expire_date=now)

    def void(self, order: Order) -> Order:
        """What a revision or a discontinuation stopped is active again."""
        with self._lock:
            if order.previous is not None and order.action in ("REVISE", "DISCONTINUE"):
                self.change(order.previous, date_stopped=None)
            return self.change(order.uuid, voided=True)

    def _follow(self, order: Order, action: str, *, stops: bool, **changes: Any) -> Order:
        with self._lock:
            old = self._orders[order.uuid]
            if stops:
                stopped = self.clock() - timedelta(seconds=1)
                self._save(replace(old, date_stopped=stopped))
            kept = {
                name: getattr(old, name)
                for name in ("urgency", "scheduled_date", "instructions", "comment_to_fulfiller")
            }
            fields: dict[str, Any] = {**kept, "previous": old.uuid, "action": action, **changes}
            concept = fields.pop("concept", old.concept)
            return self.place(old.patient, concept, old.order_type, **fields)

    def move(self, preferred: Patient, duplicate: Patient) -> None:
        """What a merge of patients does: the orders go with their encounters."""
        with self._lock:
            for order in self.orders():
                if order.patient.uuid == duplicate.uuid:
                    self.change(order.uuid, patient=preferred)

    # --- what a department does ---

    def fulfil(
        self,
        uuid: str,
        status: str | None = None,
        comment: str | None = None,
        accession_number: str | None = None,
    ) -> Order:
        """What is None stays. Core asks nothing else: a stopped order takes it too.

        KeyError where there is no such order.
        """
        given = {
            "fulfiller_status": status,
            "fulfiller_comment": comment,
            "accession_number": accession_number,
        }
        return self.change(uuid, **{name: text for name, text in given.items() if text is not None})

    def change(self, uuid: str, **fields: Any) -> Order:
        with self._lock:
            return self._save(replace(self._orders[uuid], **fields))

    def _save(self, order: Order) -> Order:
        self._orders[order.uuid] = order
        self._revision += 1
        return order

    # --- what is asked ---

    def order(self, uuid_or_number: str) -> Order | None:
        with self._lock:
            found = self._orders.get(uuid_or_number)
            if found is None:
                numbers = (o for o in self._orders.values() if o.number == uuid_or_number)
                found = next(numbers, None)
            return found

    def orders(self) -> list[Order]:
        with self._lock:
            return list(self._orders.values())

    def concept(self, uuid: str) -> Concept | None:
        with self._lock:
            return self._concepts.get(uuid)

    def search(self, search: OrderSearch) -> tuple[Order, ...]:
        """The newest first."""
        now = self.clock()
        with self._lock:
            last = self._found
            same = (last.search, last.revision) == (search, self._revision)
            if not same or now > last.until:
                found = [order for order in self._orders.values() if search.finds(order, now)]
                found.sort(key=lambda order: order.date_activated, reverse=True)
                until = now + timedelta(seconds=1)
                self._found = _Found(search, self._revision, until, tuple(found))
            return self._found.orders

    def statuses(self) -> dict[str, str | None]:
        """By the order's number."""
        with self._lock:
            return {order.number: order.fulfiller_status for order in self._orders.values()}
