"""OpenMRS's own orders, as core REST has them: a list, an order, and what is told back.

Decides: what is asked of an order and how it is read, which bad order costs what, and what the
answer to a fulfiller status means. The names of its fields stand here and nowhere else; their
sources are in docs/orders.md. Must not know: HTTP, DICOM rules, which orders are offered.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from sys import intern
from typing import Any

from orthanc_openmrs.errors import PROBLEMS, OpenMRSError
from orthanc_openmrs.model import (
    Answer,
    Order,
    OrderList,
    PreviousOrder,
    Rejected,
    StepStatus,
)
from orthanc_openmrs.openmrs.answers import server_text
from orthanc_openmrs.openmrs.imaging_list import MAX_TEXT, elements
from orthanc_openmrs.openmrs.persons import structured_name
from orthanc_openmrs.openmrs.texts import whole_characters
from orthanc_openmrs.openmrs.verdicts import Judgement, Verdict

GENERATIONS = 6
"""Revisions of an order that are asked for with it; those before them are asked for one by one."""

MOST_PREVIOUS = 100
"""Orders that one took the place of, at most: as a guard against a ring."""

COMMENT_COLUMN = 1024
"""Characters of a fulfiller's comment in OpenMRS's database; a longer one is a 500."""

MOST_CODES = 100
"""Mappings of a concept that are read."""


def _previous(generations: int) -> str:
    inner = f",previousOrder:({_previous(generations - 1)})" if generations > 1 else ""
    return f"uuid,orderNumber,fulfillerStatus{inner}" if generations else ""


REPRESENTATION = (
    "custom:(uuid,orderNumber,action,urgency,dateActivated,scheduledDate,dateStopped,"
    "autoExpireDate,fulfillerStatus,voided,"
    "concept:(uuid,display,mappings:(conceptReferenceTerm:(code,conceptSource:(name)))),"
    "orderer:(display),patient:(uuid,person:(display,gender,birthdate,preferredName:full)),"
    f"previousOrder:({_previous(GENERATIONS)},previousOrder:(uuid)))"
)
"""What is asked of an order. Every kind of order has these: a property that one of them lacks is a
400 for all."""

PREVIOUS_REPRESENTATION = f"custom:({_previous(GENERATIONS)},previousOrder:(uuid))"
"""What is asked of an order only for those before it."""

# --- what core's words mean ----------------------------------------------------------------

FULFILLER_STATUSES = ("RECEIVED", "IN_PROGRESS", "COMPLETED", "EXCEPTION", "ON_HOLD", "DECLINED")
"""Core's enumeration (2.6.1); a newer core may have more."""

_STEP_STATUSES = {
    "": StepStatus.SCHEDULED,
    "RECEIVED": StepStatus.SCHEDULED,
    "IN_PROGRESS": StepStatus.IN_PROGRESS,
    "COMPLETED": StepStatus.COMPLETED,
    "DECLINED": StepStatus.REJECTED,
}

TOLD = {
    StepStatus.SCHEDULED: "RECEIVED",
    StepStatus.IN_PROGRESS: "IN_PROGRESS",
    StepStatus.COMPLETED: "COMPLETED",
    StepStatus.OTHER: "EXCEPTION",
}
"""The fulfiller status that tells a step's status. Nothing takes a status away again: an exam that
begins anew is RECEIVED, one that goes wrong for good an EXCEPTION."""


def step_status(order: Order) -> StepStatus:
    """The status of the one step that an order is."""
    if order.stopped is not None or order.voided or order.action == "DISCONTINUE":
        return StepStatus.REJECTED
    return _STEP_STATUSES.get(order.fulfiller_status, StepStatus.OTHER)


# --- reading -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the list: its orders as they came, whether another one follows, and how many there
    are in all (0 where that isn't told)."""

    orders: tuple[Mapping[str, Any], ...]
    more: bool
    total: int


def read_page(body: bytes) -> Page:
    """The answer of `GET order?…`. Raises OpenMRSError ("not-a-list") where it is none."""
    try:
        document = json.loads(body.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        document = None
    results = document.get("results") if isinstance(document, dict) else None
    if not isinstance(document, dict) or not isinstance(results, list):
        raise OpenMRSError("not-a-list", "the answer is no list of orders of core REST")
    links = document.get("links")
    total = document.get("totalCount")
    return Page(
        tuple(one for one in results if isinstance(one, dict)),
        any(
            isinstance(link, dict) and link.get("rel") == "next"
            for link in (links if isinstance(links, list) else ())
        ),
        total if isinstance(total, int) and not isinstance(total, bool) else 0,
    )


def read_orders(body: bytes) -> OrderList:
    """Read a JSON array of orders, as `OrderClient.get_list` makes it of all pages.

    A bad order costs that order only. Raises OpenMRSError where the body is no such array.
    """
    orders: list[Order] = []
    rejected: list[Rejected] = []
    for position, element in enumerate(elements(body)):
        if isinstance(element, Rejected):
            rejected.append(Rejected(position, f"of the orders: {element.reason}"))
            continue
        try:
            orders.append(read_order(element))
        except ValueError as problem:
            rejected.append(Rejected(position, f"of the orders: {problem}"))
    return OrderList(tuple(orders), tuple(rejected))


def read_order(element: object) -> Order:
    """Read one order. Raises ValueError with the reason, free of the order's values."""
    if not isinstance(element, dict):
        raise ValueError("is no object")
    uuid, number = _text(element, "uuid"), _text(element, "orderNumber")
    if not uuid or not number:
        raise ValueError(f"has no {'orderNumber' if uuid else 'uuid'}")
    patient = _object(element, "patient")
    person = _object(patient, "person")
    concept = _object(element, "concept")
    name = person.get("preferredName")
    return Order(
        uuid=uuid,
        number=number,
        action=_text(element, "action").upper() or "NEW",
        urgency=_text(element, "urgency").upper(),
        fulfiller_status=_text(element, "fulfillerStatus").upper(),
        activated=_moment(element, "dateActivated"),
        scheduled=_moment(element, "scheduledDate"),
        stopped=_moment(element, "dateStopped"),
        expires=_moment(element, "autoExpireDate"),
        voided=element.get("voided") is True,
        concept_uuid=_text(concept, "uuid"),
        concept_name=_text(concept, "display"),
        concept_codes=tuple(_codes(concept)),
        orderer=_provider_name(_text(_object(element, "orderer"), "display")),
        patient_id=_text(patient, "uuid"),
        patient_name=_text(person, "display") or _text(_object(person, "preferredName"), "display"),
        structured_name=intern(structured_name(name)),
        # Midnight in the server's zone, as it is written: a day, whatever the zone is here.
        patient_birth_date=_text(person, "birthdate")[:10],
        patient_sex=_text(person, "gender"),
        previous=read_previous(element),
    )


def read_previous(element: object) -> tuple[PreviousOrder, ...]:
    """The orders before one, the nearest first; the last may have a uuid only, and is to be
    asked for."""
    found: list[PreviousOrder] = []
    before = _object(element, "previousOrder")
    while (uuid := _text(before, "uuid")) and len(found) < MOST_PREVIOUS:
        number = _text(before, "orderNumber")
        found.append(PreviousOrder(uuid, number, _text(before, "fulfillerStatus").upper()))
        before = _object(before, "previousOrder")
    return tuple(found)


def unknown_previous(element: Mapping[str, Any]) -> str:
    """The uuid of the order before all that are known of one, "" where all are."""
    found = read_previous(element)
    return found[-1].uuid if found and not found[-1].number else ""


def _codes(concept: Mapping[str, Any]) -> Iterator[str]:
    mappings = concept.get("mappings")
    for mapping in mappings[:MOST_CODES] if isinstance(mappings, list) else ():
        term = _object(mapping, "conceptReferenceTerm")
        source, code = _text(_object(term, "conceptSource"), "name"), _text(term, "code")
        if source and code:
            yield intern(f"{source}:{code}")


def _provider_name(display: str) -> str:
    """Core shows a provider as "identifier - name"."""
    return display.partition(" - ")[2] or display


def _object(source: object, key: str) -> Mapping[str, Any]:
    found = source.get(key) if isinstance(source, Mapping) else None
    return found if isinstance(found, dict) else {}


def _text(source: Mapping[str, Any], key: str) -> str:
    value = source.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ValueError(f"{key} is no text")
    return intern(whole_characters(value[:MAX_TEXT]).strip())


def _moment(source: Mapping[str, Any], key: str) -> datetime | None:
    text = _text(source, key)
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
        return moment if moment.tzinfo else moment.astimezone()
    except (ValueError, OverflowError):
        raise ValueError(f"{key} is no date") from None


# --- what is told back ---------------------------------------------------------------------


def fulfilment(status: StepStatus, comment: str = "") -> dict[str, str]:
    """The body that tells a step's status. Without a comment, what somebody wrote stays."""
    told = {"fulfillerStatus": TOLD[status]}
    if comment:
        told["fulfillerComment"] = comment[:COMMENT_COLUMN]
    return told


def judge_fulfilment(answer: Answer) -> Judgement:
    """The verdict on the answer to a fulfiller status. Core answers 201, without a body."""
    text = answer.body.decode("utf-8-sig", "replace").strip()
    if answer.status in (200, 201, 204) and text[:1] != "<":
        return Judgement(Verdict.DELIVERED)
    status = f"HTTP {answer.status}"
    words = "" if text[:1] == "<" else server_text(text)
    reason = f"{status}: {words}" if words else status
    if text[:1] == "<":
        # A page is of a proxy, a sign-in or a servlet container: OpenMRS itself said nothing.
        return Judgement(Verdict.RETRY, status)
    if answer.status in (400, 404, 405, 409, 422) and answer.problem != "tls-port":
        return Judgement(Verdict.REFUSED, reason)
    if answer.problem == "server-error":
        return Judgement(Verdict.EXCEPTION, reason, words)
    known = PROBLEMS.get(answer.problem, "")
    return Judgement(Verdict.RETRY, f"{known} ({status})" if known else reason)
