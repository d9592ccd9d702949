"""`/order` and `/order/{uuid}/fulfillerdetails` of core's REST.

Decides parameters and JSON, as webservices.rest's OrderSearchHandler2_3, OrderResource2_2 and
FulfillerDetailsResource2_3 have them (docs/orders.md). Must not know who asks, nor sockets.
"""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from .answers import Answer
from .core import NOT_FOUND, Failure, patient_resource
from .orders import (
    ACCESSION_COLUMN,
    ACTIONS,
    COMMENT_COLUMN,
    FULFILLER_STATUSES,
    ORDER_TYPES,
    Concept,
    Order,
    Orders,
    OrderSearch,
)
from .records import Records
from .representations import DENIED, Resource

GET_ORDERS = "Get Orders"
GET_ORDER_TYPES = "Get Order Types"
GET_CONCEPTS = "Get Concepts"
GET_CARE_SETTINGS = "Get Care Settings"
EDIT_ORDERS = "Edit Orders"
ORDER_PRIVILEGES = frozenset(
    {GET_ORDERS, GET_ORDER_TYPES, GET_CONCEPTS, GET_CARE_SETTINGS, EDIT_ORDERS}
)

DATE_FORMATS = (
    *("%Y-%m-%dT%H:%M:%S.%f%z", "%Y-%m-%dT%H:%M:%S.%f", "%Y-%m-%dT%H:%M:%S%z"),
    *("%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y-%m-%d"),
)
CARE_SETTING = {"uuid": "6f0c9a92-6f24-11e3-af88-005056821db0", "display": "Outpatient"}


def read_search(orders: Orders, records: Records, query: Mapping[str, str]) -> OrderSearch:
    if not set(query) - {"v", "limit", "startIndex", "totalCount", "includeAll"}:
        raise Failure(400, "The Resource Does not Support the Requested Operation [null]")
    patient = _text(query, "patient")
    if patient is not None and records.patient(patient) is None:
        raise Failure(404, NOT_FOUND)
    concepts = _uuids(
        query, "concepts", {c for c in _split(query, "concepts") if orders.concept(c)}
    )
    _uuids(query, "careSetting", {CARE_SETTING["uuid"]} & _split(query, "careSetting"))
    types = _uuids(query, "orderTypes", ORDER_TYPES.keys() & _split(query, "orderTypes"))
    null = _text(query, "includeNullFulfillerStatus")
    return OrderSearch(
        order_types=types,
        concepts=_uuids(query, "concepts", concepts),
        patient=patient,
        number=_text(query, "orderNumber"),
        accession_number=_text(query, "accessionNumber"),
        activated_on_or_after=_date(query, "activatedOnOrAfterDate"),
        activated_on_or_before=_date(query, "activatedOnOrBeforeDate"),
        is_stopped=_is_true(query, "isStopped"),
        action=_one_of(query, "action", ACTIONS),
        fulfiller_status=_one_of(query, "fulfillerStatus", FULFILLER_STATUSES),
        include_null_fulfiller_status=None if null is None else null.lower() == "true",
        exclude_canceled_and_expired=_is_true(query, "excludeCanceledAndExpired"),
        exclude_discontinue_orders=_is_true(query, "excludeDiscontinueOrders"),
        include_voided=_is_true(query, "includeVoided"),
    )


def _text(query: Mapping[str, str], name: str) -> str | None:
    return query.get(name, "").strip() or None


def _split(query: Mapping[str, str], name: str) -> set[str]:
    return {one for one in query.get(name, "").split(",") if one.strip()}


def _uuids(query: Mapping[str, str], name: str, known: Iterable[str]) -> frozenset[str]:
    """Those that are known; none of them known is an error, one of them isn't."""
    found = frozenset(known)
    if _text(query, name) is not None and not found:
        raise Failure(404, NOT_FOUND)
    return found


def _is_true(query: Mapping[str, str], name: str) -> bool:
    return query.get(name, "").strip().lower() == "true"


def _one_of(query: Mapping[str, str], name: str, values: frozenset[str]) -> str | None:
    """Java's Enum.valueOf: one value exactly, and what is none is the server's failure."""
    text = query.get(name, "")
    if not text.strip():
        return None
    if text not in values:
        raise Failure(500, f"[No enum constant org.openmrs.Order.{name}.{text}]")
    return text


def _date(query: Mapping[str, str], name: str) -> datetime | None:
    text = _text(query, name)
    if text is None:
        return None
    for known in DATE_FORMATS:
        try:
            found = datetime.strptime(text, known)
        except ValueError:
            continue
        utc = found if found.tzinfo else found.replace(tzinfo=UTC)
        return utc.astimezone(UTC)
    raise Failure(400, "Unable to convert object into response content [Error converting date]")


# --- what is shown --------------------------------------------------------------------------

ORDER_DEFAULT = (
    *("uuid", "orderNumber", "accessionNumber", "patient:ref", "concept:ref", "action"),
    *("careSetting:ref", "previousOrder:ref", "dateActivated", "scheduledDate", "dateStopped"),
    *("autoExpireDate", "encounter:ref", "orderer:ref", "orderReason:ref", "orderReasonNonCoded"),
    *("orderType", "urgency", "instructions", "commentToFulfiller", "display"),
)
ORDER_FULL = (*ORDER_DEFAULT, "fulfillerStatus", "fulfillerComment", "auditInfo")


def order_resource(
    orders: Orders, records: Records, order: Order, privileges: frozenset[str]
) -> Resource:
    def patient() -> Resource:
        now = records.patient(order.patient.uuid) or order.patient
        return patient_resource(records, now)

    def previous() -> Resource | None:
        found = orders.order(order.previous) if order.previous else None
        return None if found is None else order_resource(orders, records, found, privileges)

    def concept() -> object:
        return concept_resource(order.concept) if GET_CONCEPTS in privileges else DENIED

    def order_type() -> object:
        named = {"uuid": order.order_type, "display": ORDER_TYPES.get(order.order_type, "")}
        return _small(named) if GET_ORDER_TYPES in privileges else DENIED

    def care_setting() -> object:
        return _small(CARE_SETTING) if GET_CARE_SETTINGS in privileges else DENIED

    properties: dict[str, object] = {
        "uuid": order.uuid,
        "orderNumber": order.number,
        "accessionNumber": order.accession_number,
        "patient": patient,
        "concept": concept,
        "action": order.action,
        "careSetting": care_setting,
        "previousOrder": previous,
        "dateActivated": order.date_activated,
        "scheduledDate": order.scheduled_date,
        "dateStopped": order.date_stopped,
        "autoExpireDate": order.auto_expire_date,
        "encounter": _small({"uuid": f"{order.id:032x}", "display": "Consultation"}),
        "orderer": _small({"uuid": f"{7:032x}", "display": order.orderer}),
        "orderReason": None,
        "orderReasonNonCoded": order.order_reason_non_coded,
        "orderType": order_type,
        "urgency": order.urgency,
        "instructions": order.instructions,
        "commentToFulfiller": order.comment_to_fulfiller,
        "display": order.concept.display,
        "fulfillerStatus": order.fulfiller_status,
        "fulfillerComment": order.fulfiller_comment,
        "voided": order.voided,
        "auditInfo": {},
    }
    return Resource(properties, ORDER_DEFAULT, ORDER_FULL)


def concept_resource(concept: Concept) -> Resource:
    name = _small({"uuid": f"{1:032x}", "display": concept.display, "name": concept.display})
    return Resource(
        {
            "uuid": concept.uuid,
            "display": concept.display,
            "name": name,
            "names": (name,),
            "conceptClass": _small({"uuid": f"{2:032x}", "display": concept.concept_class}),
            "mappings": tuple(_mapping(*pair) for pair in concept.mappings),
        },
        default=("uuid", "display", "name", "conceptClass:ref", "names:ref", "mappings:ref"),
    )


def _mapping(source: str, code: str) -> Resource:
    display = f"{source}: {code}"
    named = {"uuid": f"{3:032x}", "display": source, "name": source}
    term = Resource(
        {
            "uuid": f"{4:032x}",
            "display": display,
            "code": code,
            "name": None,
            "conceptSource": _small(named),
        },
        default=("uuid", "display", "name", "conceptSource:ref", "code"),
    )
    kind = _small({"uuid": f"{5:032x}", "display": "SAME-AS"})
    return Resource(
        {
            "uuid": f"{6:032x}",
            "display": display,
            "conceptReferenceTerm": term,
            "conceptMapType": kind,
        },
        default=("display", "uuid", "conceptReferenceTerm:ref", "conceptMapType:ref"),
    )


def _small(properties: Mapping[str, object]) -> Resource:
    return Resource(properties, tuple(properties))


# --- what is told ---------------------------------------------------------------------------


def fulfil(orders: Orders, uuid: str, body: bytes) -> Answer:
    """201 without a body, whatever state the order is in."""
    if orders.order(uuid) is None:
        raise Failure(404, NOT_FOUND)
    try:
        told = json.loads(body)
    except ValueError:
        raise Failure(400, "[JSON parse error]") from None
    known = {"fulfillerStatus", "fulfillerComment", "accessionNumber"}
    if not isinstance(told, dict) or set(told) - known:
        raise Failure(400, f"[Some properties are not allowed to be set: {told}]")
    texts = {name: told.get(name) for name in known}
    if not all(isinstance(text, str | None) for text in texts.values()):
        raise Failure(400, "Unable to convert object into response content [not a text]")
    status = texts["fulfillerStatus"]
    if status is not None:
        status = status.upper()
        if status not in FULFILLER_STATUSES:
            said = "Unable to convert object into response content [fulfillerStatus on class]"
            raise Failure(400, said)
    comment, accession = texts["fulfillerComment"], texts["accessionNumber"]
    if len(comment or "") > COMMENT_COLUMN or len(accession or "") > ACCESSION_COLUMN:
        raise Failure(500, "[could not execute statement => Data too long for column]")
    found = orders.order(uuid)
    assert found is not None
    orders.fulfil(found.uuid, status, comment, accession)
    return Answer(201)
