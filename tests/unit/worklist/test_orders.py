"""Orders as steps: each by a table, and that none can be taken for another."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orthanc_openmrs.model import (
    ImagingRequest,
    Order,
    OrderList,
    PreviousOrder,
    ProcedureStep,
    Rejected,
    Source,
    StepStatus,
)
from orthanc_openmrs.worklist import values
from orthanc_openmrs.worklist.items import WorklistItem
from orthanc_openmrs.worklist.orders import (
    Machine,
    OrderRules,
    is_of_order,
    order_id,
    requests_of,
    study_instance_uid,
    without_repetitions,
)
from orthanc_openmrs.worklist.values import is_uid
from tests.unit.builders import ALICE, BOB, items, request, step

EAST = timezone(timedelta(hours=3))
CHEST = "12AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
RULES = OrderRules(
    concepts={CHEST.casefold(): Machine("DX", "XRAY1", "Chest, two views")},
    zone=lambda moment: moment.astimezone(EAST),
)


def order(number: str = "ORD-7", **changes: Any) -> Order:
    fields: dict[str, Any] = {
        "uuid": f"uuid-{number}",
        "number": number,
        "urgency": "ROUTINE",
        "activated": datetime(2025, 7, 3, 9, 30, tzinfo=UTC),
        "concept_uuid": CHEST,
        "concept_name": "Chest X-ray",
        "concept_codes": ("LOINC:24627-2", "CIEL:12"),
        "orderer": "Dr. Who",
        "patient_id": ALICE,
        "patient_name": "Dr Ánh Nguyễn",
        "structured_name": "Nguyễn^Ánh^^Dr",
        "patient_birth_date": "1990-01-01",
        "patient_sex": "F",
    }
    return Order(**(fields | changes))


def read(*orders: Order, rules: OrderRules = RULES) -> tuple[ImagingRequest, ...]:
    return requests_of(OrderList(orders), rules).requests


def item(found: Order, rules: OrderRules = RULES) -> WorklistItem:
    (made,) = items(*read(found, rules=rules))
    return made


def test_an_order_is_one_step_whose_texts_are_the_orders_and_the_tables() -> None:
    made = item(order(scheduled=datetime(2025, 7, 3, 22, 15, tzinfo=UTC), urgency="STAT"))
    assert made.offered
    assert made.warnings == made.adjusted == ()
    expected = {
        "AccessionNumber": "ORD-7",
        "RequestedProcedureID": "OORD-7",
        "ScheduledProcedureStepID": "OORD-7",
        "StudyInstanceUID": study_instance_uid("uuid-ORD-7"),
        "Modality": "DX",
        "ScheduledStationAETitle": "XRAY1",
        "RequestedProcedureDescription": "Chest, two views",
        "ScheduledProcedureStepStartDate": "20250704",  # of the hospital's zone
        "ScheduledProcedureStepStartTime": "011500",
        "RequestedProcedurePriority": "STAT",
        "RequestingPhysician": "Dr. Who",
        "PatientName": "Nguyễn^Ánh^^Dr",
        "PatientID": ALICE,
        "PatientBirthDate": "19900101",
        "PatientSex": "F",
    }
    assert {keyword: made[keyword] for keyword in expected} == expected
    assert made.request.source is Source.ORDERS


def test_an_order_without_a_date_is_offered_as_of_today_and_that_is_no_warning() -> None:
    made = item(order(), OrderRules(default=Machine("CR")))
    assert made.offered
    assert made.undated
    assert made.untimed
    assert made.warnings == ()
    assert len(made.adjusted) == 3  # the date, the time, the station
    midnight = item(order(scheduled=datetime(2025, 7, 3, 21, 0, tzinfo=UTC)))
    assert (midnight["ScheduledProcedureStepStartDate"], midnight.untimed) == ("20250704", True)


CR, DX = Machine("CR", "CR1", "by code"), Machine("DX", "DX1", "by uuid")


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        (OrderRules({CHEST.casefold(): DX, "loinc:24627-2": CR}), DX),  # the uuid counts more
        (OrderRules({"loinc:24627-2": CR}), CR),
        (OrderRules({"ciel:12": DX, "loinc:24627-2": CR}), CR),  # the concept's first mapping
        (OrderRules({"loinc:0": CR}, DX), Machine("DX", "DX1", "Chest X-ray")),
        (OrderRules({"ciel:12": Machine("US")}, DX), Machine("US", "DX1", "Chest X-ray")),
        (OrderRules({"ciel:12": Machine(ae_title="US1")}, DX), Machine("DX", "US1", "Chest X-ray")),
        (OrderRules(), Machine("", "", "Chest X-ray")),
    ],
)
def test_what_a_concept_is_on_which_machine(rules: OrderRules, expected: Machine) -> None:
    assert rules.machine(order()) == expected


GATE = OrderRules(RULES.concepts, passing=frozenset({"IN_PROGRESS"}))


@pytest.mark.parametrize(
    ("changes", "rules", "reason"),
    [
        ({}, RULES, ""),
        ({"fulfiller_status": "RECEIVED"}, RULES, ""),
        ({"fulfiller_status": "IN_PROGRESS"}, GATE, ""),
        ({}, GATE, "its fulfillerStatus is null, which OpenMRS.Orders.FulfillerStatus"),
        ({"fulfiller_status": "EXCEPTION"}, RULES, "its fulfillerStatus is EXCEPTION"),
        ({"fulfiller_status": "DRAFT"}, RULES, "its fulfillerStatus is DRAFT"),
        ({"fulfiller_status": "COMPLETED"}, RULES, "the step is completed"),
        ({"fulfiller_status": "DECLINED"}, RULES, "the step is rejected"),
        (
            {"concept_uuid": "other", "concept_codes": ()},
            RULES,
            "no modality for its concept other",
        ),
        ({"concept_uuid": "", "concept_codes": ()}, RULES, "the privilege Get Concepts"),
        ({"structured_name": "", "patient_name": ""}, RULES, "PatientName is empty"),
        ({"patient_id": ""}, RULES, "PatientID is empty"),
    ],
)
def test_what_is_not_offered_says_why(
    changes: dict[str, Any], rules: OrderRules, reason: str
) -> None:
    made = item(order(**changes), rules)
    assert made.offered is not bool(reason)
    assert reason in made.reason


# --- identities ----------------------------------------------------------------------------

NUMBERS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40)


@given(st.lists(NUMBERS, unique=True, max_size=20))
def test_ids_are_valid_in_dicom_and_never_the_same_for_two_orders(numbers: list[str]) -> None:
    ids = [order_id(number) for number in numbers]
    assert len(set(ids)) == len(ids)
    for one in ids:
        assert values.identifier(one, 16) == (one, "", "")
        assert is_of_order(one)


@given(st.integers(0, 10**30))
def test_no_id_of_the_imaging_module_is_an_orders(number: int) -> None:
    assert not is_of_order(str(number))
    assert order_id(str(number)) != str(number)


def test_ids_are_short_and_plain_where_they_can_be() -> None:
    assert order_id("ORD-7") == "OORD-7"
    assert order_id("ORD-12345678901") == "OORD-12345678901"
    assert len(order_id("RADIOLOGY-2025-000017")) == 16
    assert is_uid(study_instance_uid("uuid-ORD-7"))


# --- who takes whose place -----------------------------------------------------------------


def after(number: str, *before: Order, action: str = "REVISE", **changes: Any) -> Order:
    """An order that follows others, the nearest first."""
    previous = tuple(PreviousOrder(one.uuid, one.number, one.fulfiller_status) for one in before)
    return order(number, action=action, previous=previous, **changes)


FIRST = order("ORD-1")
DONE = order("ORD-1", fulfiller_status="COMPLETED")
SECOND = after("ORD-2", FIRST)
LATER = datetime(2025, 7, 4, tzinfo=UTC)
RENEWED = after("ORD-3", FIRST, action="RENEW")

CHAINS: list[tuple[tuple[Order, ...], dict[str, str]]] = [
    # the list → the order whose StudyInstanceUID each one that is left has
    ((FIRST,), {"ORD-1": "ORD-1"}),
    ((SECOND,), {"ORD-2": "ORD-1"}),  # what was revised has stopped, and is not in the list
    ((after("ORD-3", SECOND, FIRST),), {"ORD-3": "ORD-1"}),
    ((FIRST, RENEWED), {"ORD-3": "ORD-1"}),  # what was renewed goes on, but is the same exam
    ((RENEWED, FIRST), {"ORD-3": "ORD-1"}),
    ((DONE, after("ORD-3", DONE, action="RENEW")), {"ORD-1": "ORD-1", "ORD-3": "ORD-3"}),
    ((after("ORD-3", DONE),), {"ORD-3": "ORD-3"}),
    (  # renewed twice: the first renewal takes the place, the second is an exam of its own
        (FIRST, after("ORD-4", FIRST, action="RENEW", activated=LATER), RENEWED),
        {"ORD-3": "ORD-1", "ORD-4": "ORD-4"},
    ),
    ((FIRST, SECOND, after("ORD-3", SECOND, FIRST, action="RENEW")), {"ORD-3": "ORD-1"}),
    ((order("ORD-5"), order("ORD-6")), {"ORD-5": "ORD-5", "ORD-6": "ORD-6"}),
]


@pytest.mark.parametrize(("orders", "expected"), CHAINS)
def test_a_revised_order_takes_the_place_of_the_one_before_it(
    orders: tuple[Order, ...], expected: dict[str, str]
) -> None:
    found = read(*orders)
    assert {one.accession_number: one.study_instance_uid for one in found} == {
        number: study_instance_uid(f"uuid-{root}") for number, root in expected.items()
    }
    assert all(one.offered or "completed" in one.reason for one in items(*found))


def test_the_orders_before_are_named_for_the_images_that_name_them() -> None:
    (found,) = read(after("ORD-3", SECOND, FIRST))
    assert found.predecessors == (("OORD-2", "ORD-2"), ("OORD-1", "ORD-1"))


def test_what_could_not_be_read_is_passed_on() -> None:
    rejected = (Rejected(3, "of the orders: is no object"),)
    assert requests_of(OrderList((), rejected), RULES).rejected == rejected


# --- the same exam in both sources ---------------------------------------------------------


def imaging(accession: str, *steps: ProcedureStep, patient: str = ALICE) -> ImagingRequest:
    return request("7", *steps, accession_number=accession, patient_id=patient)


@pytest.mark.parametrize(
    ("requests", "twice"),
    [
        ([imaging(" ORD-7 ", step())], True),
        ([imaging("ORD-7", step(status=StepStatus.COMPLETED))], True),
        ([imaging("ORD-7", step(), patient=ALICE.upper())], True),
        ([imaging("ORD-7", step(), patient=BOB)], False),
        ([imaging("ORD-70", step())], False),
        ([imaging("", step())], False),
        ([], False),
    ],
)
def test_the_same_exam_in_both_sources_is_offered_once(
    requests: Iterable[ImagingRequest], twice: bool
) -> None:
    (found,) = without_repetitions(list(requests), read(order()))
    (made,) = items(found)
    assert (found.instead, made.offered) == (("7", False) if twice else ("", True))
    assert not twice or "request 7 of the Imaging module is the same exam" in made.reason


def test_a_request_without_a_step_offers_nothing_and_so_hides_no_order() -> None:
    bare = ImagingRequest("7", accession_number="ORD-7", patient_id=ALICE)
    assert without_repetitions([bare], read(order())) == read(order())
