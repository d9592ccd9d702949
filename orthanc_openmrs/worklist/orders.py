"""OpenMRS's own orders → requests of the worklist, one step each.

Decides: what a concept is on which machine (`OpenMRS.Orders.Concepts`), which orders aren't
offered and why, which order takes another one's place, and how they are named: "O" before the
order's number, which no number of the Imaging module can be. Must not know: HTTP, core's fields,
the clock.
"""

import base64
import hashlib
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from orthanc_openmrs.model import (
    ImagingRequest,
    Order,
    OrderList,
    Predecessor,
    ProcedureStep,
    RequestList,
    Source,
    StepStatus,
)
from orthanc_openmrs.openmrs.orders import step_status
from orthanc_openmrs.worklist import values
from orthanc_openmrs.worklist.items import UID_NAMESPACE

MARK = "O"
"""What the IDs of orders begin with: those of the Imaging module are digits."""

LONGEST_ID = 16
"""Characters of SH."""

_HASHED = 15
"""Characters of base 32 in the ID of an order whose number doesn't fit: 75 bits."""

DONE = "COMPLETED"
"""The fulfiller status after which a revision or renewal is another exam."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What a concept is in imaging; "" where nothing is said."""

    modality: str = ""
    ae_title: str = ""
    description: str = ""


@dataclass(frozen=True, slots=True)
class OrderRules:
    """`OpenMRS.Orders`. `concepts` are by uuid or "source:code", case-folded; `passing` are the
    fulfiller statuses that let an order be offered ("" for none); `zone` turns a moment into the
    hospital's time."""

    concepts: Mapping[str, Machine] = field(default_factory=dict)
    default: Machine = field(default=Machine())
    passing: frozenset[str] = frozenset({"", "RECEIVED", "IN_PROGRESS"})
    zone: Callable[[datetime], datetime] = datetime.astimezone

    def machine(self, order: Order) -> Machine:
        """What an order's concept is; the default where nothing is said of it."""
        names = (order.concept_uuid, *order.concept_codes)
        rows = (self.concepts.get(name.casefold()) for name in names)
        row = next((row for row in rows if row is not None), Machine())
        return Machine(
            row.modality or self.default.modality,
            row.ae_title or self.default.ae_title,
            row.description or order.concept_name or self.default.description,
        )


def order_id(number: str) -> str:
    """RequestedProcedureID and ScheduledProcedureStepID of an order: valid in DICOM, and another
    one for each number."""
    plain = MARK + number
    if len(plain) <= LONGEST_ID and values.clean(plain) == plain:
        return plain
    digest = hashlib.sha256(number.encode("utf-8", "replace")).digest()
    return MARK + base64.b32encode(digest).decode()[:_HASHED]


def is_of_order(identifier: str) -> bool:
    """Whether a RequestedProcedureID or ScheduledProcedureStepID is that of an order."""
    return identifier.startswith(MARK)


def study_instance_uid(order_uuid: str) -> str:
    """The UID of an order, the same on every Orthanc: "2.25." and a version-5 UUID (PS3.5 B.2)."""
    return f"2.25.{uuid.uuid5(UID_NAMESPACE, f'order {order_uuid}').int}"


def requests_of(found: OrderList, rules: OrderRules) -> RequestList:
    """The requests that OpenMRS's orders are."""
    lines = _lines(found.orders)
    return RequestList(
        tuple(_request(line, rules) for line in lines),
        found.rejected,
    )


# --- which order takes another one's place -------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Line:
    """An order that stands for itself and for those that it revised or renewed."""

    order: Order
    root: str
    predecessors: tuple[str, ...] = ()


def _lines(orders: Sequence[Order]) -> list[_Line]:
    """The orders that others haven't taken the place of. One that is done stays, and what revises
    or renews it is another exam. Where an order was renewed twice, the first takes its place."""
    lines = [_line(order) for order in orders]
    replaced = {number for line in lines for number in line.predecessors}
    first: dict[str, Order] = {}
    left = [line for line in lines if line.order.number not in replaced]
    for line in left:
        before = first.get(line.root)
        if before is None or _age(line.order) < _age(before):
            first[line.root] = line.order
    return [
        line if first[line.root] is line.order else _Line(line.order, line.order.uuid)
        for line in left
    ]


def _line(order: Order) -> _Line:
    root, numbers = order.uuid, []
    for before in order.previous:
        if before.fulfiller_status == DONE or not before.number:
            break
        root = before.uuid
        numbers.append(before.number)
    return _Line(order, root, tuple(numbers))


def _age(order: Order) -> tuple[float, str]:
    return (order.activated.timestamp() if order.activated else 0.0, order.uuid)


# --- one order -----------------------------------------------------------------------------


def _request(line: _Line, rules: OrderRules) -> ImagingRequest:
    order = line.order
    machine = rules.machine(order)
    identifier = order_id(order.number)
    start = rules.zone(order.scheduled) if order.scheduled else None
    status = step_status(order)
    step = ProcedureStep(
        scheduled_procedure_step_id=identifier,
        status=status,
        modality=machine.modality,
        scheduled_station_ae_title=machine.ae_title,
        start_date=start.strftime("%Y%m%d") if start else "",
        # Midnight is how a day without a time is written.
        start_time=start.strftime("%H%M%S").replace("000000", "") if start else "",
        description=machine.description,
        withheld=_withheld(order, rules) if status.is_open else "",
        unusable=_unusable(order, machine) if status.is_open else "",
    )
    return ImagingRequest(
        requested_procedure_id=identifier,
        accession_number=order.number,
        patient_id=order.patient_id,
        patient_name=order.patient_name,
        patient_birth_date=order.patient_birth_date,
        patient_sex=order.patient_sex,
        study_instance_uid=study_instance_uid(line.root),
        requesting_physician=order.orderer,
        description=machine.description,
        priority="STAT" if order.urgency == "STAT" else "ROUTINE",
        steps=(step,),
        source=Source.ORDERS,
        order_uuid=order.uuid,
        structured_name=order.structured_name,
        predecessors=tuple(Predecessor(order_id(number), number) for number in line.predecessors),
    )


def _withheld(order: Order, rules: OrderRules) -> str:
    if order.fulfiller_status in rules.passing:
        return ""
    status = order.fulfiller_status[:32] or "null"
    return f"its fulfillerStatus is {status}, which OpenMRS.Orders.FulfillerStatus doesn't pass"


def _unusable(order: Order, machine: Machine) -> str:
    if machine.modality:
        return ""
    if not order.concept_uuid:
        return "OpenMRS doesn't show its concept: give the account the privilege Get Concepts"
    return f"OpenMRS.Orders.Concepts has no modality for its concept {order.concept_uuid[:64]}"


# --- the same exam in both sources ---------------------------------------------------------


def without_repetitions(
    imaging: Sequence[ImagingRequest], orders: Sequence[ImagingRequest]
) -> tuple[ImagingRequest, ...]:
    """The orders beside the Imaging module's requests: one whose number is the accession number of
    a request of the same patient isn't offered a second time."""
    if not orders or not imaging:
        return tuple(orders)
    known = {
        (request.accession_number.strip(), request.patient_id.casefold()): request
        for request in imaging
        if request.steps and request.accession_number.strip()
    }
    return tuple(
        _instead(order, known.get((order.accession_number, order.patient_id.casefold())))
        for order in orders
    )


def _instead(order: ImagingRequest, request: ImagingRequest | None) -> ImagingRequest:
    if request is None:
        return order
    number = request.requested_procedure_id
    reason = f"request {number[:LONGEST_ID]} of the Imaging module is the same exam"
    steps = tuple(
        replace(step, withheld=reason) if step.status is not StepStatus.COMPLETED else step
        for step in order.steps
    )
    return replace(order, instead=number, steps=steps)
