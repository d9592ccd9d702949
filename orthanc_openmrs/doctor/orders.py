"""The check of OpenMRS's own orders, where they are a source of the worklist.

Decides: the words for what the newest of them tell. Nothing is changed, and no order is named by
its patient. Must not know: HTTP.
"""

from collections.abc import Iterator

from orthanc_openmrs.doctor.case import Case
from orthanc_openmrs.doctor.findings import Finding, error, ok, warning
from orthanc_openmrs.errors import PROBLEMS, OpenMRSError
from orthanc_openmrs.openmrs.orders import step_status

SUBJECT = "orders"

SHOWN = 5
"""Concepts that are named."""


def orders(case: Case) -> Iterator[Finding]:
    """The orders can be read, and what is ordered has a modality."""
    settings = case.known_settings.orders
    client = case.orders()
    if settings is None or client is None:
        return
    try:
        found, total = client.first_orders()
    except OpenMRSError as problem:
        meaning, _, advice = PROBLEMS[problem.kind].partition(": ")
        yield error(SUBJECT, f"{meaning} ({problem})", advice)
        return
    if not total:
        yield warning(
            SUBJECT,
            f"OpenMRS has no active order of these types of the last {settings.days_back} days",
            "check OpenMRS.Orders.OrderTypes where there should be some",
        )
        return
    yield ok(SUBJECT, f"{total} can be read")
    waiting = [order for order in found.orders if step_status(order).is_open]
    if any(not order.concept_uuid for order in waiting):
        yield error(
            SUBJECT,
            "OpenMRS doesn't show what is ordered",
            "give the account the privilege Get Concepts",
        )
    unknown = {
        order.concept_uuid: order.concept_name
        for order in waiting
        if order.concept_uuid and not settings.rules.machine(order).modality
    }
    for uuid, name in list(unknown.items())[:SHOWN]:
        yield warning(
            SUBJECT,
            f"what is ordered as {name[:64]} has no modality, and isn't offered",
            f"add the concept {uuid[:64]} to OpenMRS.Orders.Concepts, or a Default",
        )
    if len(unknown) > SHOWN:
        yield warning(
            SUBJECT,
            f"{len(unknown) - SHOWN} more concepts have no modality",
            "see Reason in /openmrs/worklist?source=orders",
        )
    for rejected in found.rejected[:SHOWN]:
        yield warning(SUBJECT, f"an order is left out: it {rejected.reason}", "fix it in OpenMRS")
