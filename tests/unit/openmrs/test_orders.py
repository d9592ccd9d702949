"""OpenMRS's own orders: a bad order costs itself only, and so does a bad answer to a status."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from orthanc_openmrs.errors import OpenMRSError
from orthanc_openmrs.model import Answer, Order, PreviousOrder, StepStatus
from orthanc_openmrs.openmrs.orders import (
    COMMENT_COLUMN,
    FULFILLER_STATUSES,
    GENERATIONS,
    MOST_PREVIOUS,
    PREVIOUS_REPRESENTATION,
    REPRESENTATION,
    fulfilment,
    judge_fulfilment,
    read_order,
    read_orders,
    read_page,
    step_status,
    unknown_previous,
)
from orthanc_openmrs.openmrs.verdicts import Verdict

GOOD: dict[str, Any] = {
    "uuid": "0e8ad4c5-0ac6-4dba-8a33-b8a0d9b1d0e1",
    "orderNumber": "ORD-7",
    "action": "REVISE",
    "urgency": "ON_SCHEDULED_DATE",
    "dateActivated": "2025-07-03T09:30:00.000+0300",
    "scheduledDate": "2025-07-04T08:15:00.000+0300",
    "dateStopped": None,
    "autoExpireDate": "2025-07-31T23:59:59.000+0300",
    "fulfillerStatus": "RECEIVED",
    "voided": False,
    "concept": {
        "uuid": "12AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "display": "Chest X-ray",
        "mappings": [
            {"conceptReferenceTerm": {"code": "24627-2", "conceptSource": {"name": "LOINC"}}},
            {"conceptReferenceTerm": {"code": "12", "conceptSource": {"name": "CIEL"}}},
        ],
    },
    "orderer": {"display": "1-8 - Dr. Amina Traoré"},
    "patient": {
        "uuid": "aaaaaaaa-1111-4222-8333-444444444444",
        "person": {
            "display": "Dr Ánh Thị Nguyễn",
            "gender": "F",
            "birthdate": "1990-01-01T00:00:00.000+0300",
            "preferredName": {
                "display": "Dr Ánh Thị Nguyễn",
                "prefix": "Dr",
                "givenName": "Ánh",
                "middleName": "Thị",
                "familyName": "Nguyễn",
                "degree": None,
            },
        },
    },
    "previousOrder": {"uuid": "p1", "orderNumber": "ORD-3", "previousOrder": None},
}


def order(**changes: Any) -> dict[str, Any]:
    return {**GOOD, **changes}


def test_every_property_is_read() -> None:
    east = datetime.fromisoformat("2025-07-03T09:30:00+03:00")
    assert read_order(GOOD) == Order(
        uuid=GOOD["uuid"],
        number="ORD-7",
        action="REVISE",
        urgency="ON_SCHEDULED_DATE",
        fulfiller_status="RECEIVED",
        activated=east,
        scheduled=east + timedelta(hours=22, minutes=45),
        stopped=None,
        expires=datetime.fromisoformat("2025-07-31T23:59:59+03:00"),
        concept_uuid="12AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        concept_name="Chest X-ray",
        concept_codes=("LOINC:24627-2", "CIEL:12"),
        orderer="Dr. Amina Traoré",
        patient_id="aaaaaaaa-1111-4222-8333-444444444444",
        patient_name="Dr Ánh Thị Nguyễn",
        structured_name="Nguyễn^Ánh^Thị^Dr",
        patient_birth_date="1990-01-01",
        patient_sex="F",
        previous=(PreviousOrder("p1", "ORD-3"),),
    )


@pytest.mark.parametrize(
    ("element", "reason"),
    [
        ("text", "is no object"),
        (None, "is no object"),
        (order(uuid=None), "has no uuid"),
        (order(orderNumber=" "), "has no orderNumber"),
        (order(orderNumber=7), "orderNumber is no text"),
        (order(scheduledDate="tomorrow"), "scheduledDate is no date"),
        (order(scheduledDate=1751527800000), "scheduledDate is no text"),
        (order(dateStopped="0000-00-00T00:00:00.000+0000"), "dateStopped is no date"),
    ],
)
def test_a_bad_order_costs_itself_only(element: object, reason: str) -> None:
    found = read_orders(json.dumps([GOOD, element, order(uuid="u2")]).encode())
    assert [one.uuid for one in found.orders] == [GOOD["uuid"], "u2"]
    assert [(one.position, one.reason) for one in found.rejected] == [
        (1, f"of the orders: {reason}")
    ]


@pytest.mark.parametrize("missing", [key for key in GOOD if key not in ("uuid", "orderNumber")])
def test_what_the_account_may_not_see_or_nobody_filled_in_is_empty(missing: str) -> None:
    without = {key: value for key, value in GOOD.items() if key != missing}
    assert read_order(without) == read_order(order(**{missing: None}))


@pytest.mark.parametrize("odd", [[], 7, "text", {"x": []}, [[]], True])
@pytest.mark.parametrize("key", ["concept", "patient", "orderer", "previousOrder"])
def test_an_odd_object_is_no_object(key: str, odd: object) -> None:
    assert read_order(order(**{key: odd})) == read_order(order(**{key: None}))


@pytest.mark.parametrize(
    ("display", "name"),
    [("Dr. Who", "Dr. Who"), ("1-8 - Dr. Who", "Dr. Who"), ("7 - A - B", "A - B"), ("", "")],
)
def test_the_orderer_is_named_without_the_providers_identifier(display: str, name: str) -> None:
    assert read_order(order(orderer={"display": display})).orderer == name


def test_the_chain_of_previous_orders_is_read_to_its_end_and_no_ring_is_followed_for_ever() -> None:
    ring: dict[str, Any] = {"uuid": "r", "orderNumber": "ORD-1"}
    ring["previousOrder"] = ring
    assert len(read_order(order(previousOrder=ring)).previous) == MOST_PREVIOUS
    short = {"uuid": "p2", "orderNumber": "ORD-2", "previousOrder": {"uuid": "p1"}}
    assert unknown_previous(order(previousOrder=short)) == "p1"
    assert unknown_previous(order(previousOrder=None)) == ""
    assert unknown_previous(GOOD) == ""


def test_the_representations_ask_for_one_order_more_than_they_show() -> None:
    for representation in (REPRESENTATION, PREVIOUS_REPRESENTATION):
        assert representation.count("(") == representation.count(")")
        assert representation.count("previousOrder:(uuid)") == 1
    assert REPRESENTATION.count("previousOrder:") == GENERATIONS + 1


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"fulfillerStatus": None}, StepStatus.SCHEDULED),
        ({"fulfillerStatus": "RECEIVED"}, StepStatus.SCHEDULED),
        ({"fulfillerStatus": "IN_PROGRESS"}, StepStatus.IN_PROGRESS),
        ({"fulfillerStatus": "COMPLETED"}, StepStatus.COMPLETED),
        ({"fulfillerStatus": "DECLINED"}, StepStatus.REJECTED),
        ({"fulfillerStatus": "EXCEPTION"}, StepStatus.OTHER),
        ({"fulfillerStatus": "ON_HOLD"}, StepStatus.OTHER),
        ({"fulfillerStatus": "DRAFT"}, StepStatus.OTHER),  # a newer core's
        ({"action": "DISCONTINUE"}, StepStatus.REJECTED),
        ({"dateStopped": "2025-07-03T10:00:00.000+0000"}, StepStatus.REJECTED),
        ({"voided": True}, StepStatus.REJECTED),
    ],
)
def test_the_status_of_the_step_that_an_order_is(
    changes: dict[str, Any], status: StepStatus
) -> None:
    assert step_status(read_order(order(**changes))) is status


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"results": []}, (0, False, 0)),
        ({"results": [GOOD, None], "links": [{"rel": "prev"}], "totalCount": 7}, (1, False, 7)),
        ({"results": [GOOD], "links": [{"rel": "next", "uri": None}]}, (1, True, 0)),
        ({"results": [GOOD], "links": ["next"], "totalCount": True}, (1, False, 0)),
    ],
)
def test_a_page(document: object, expected: tuple[int, bool, int]) -> None:
    page = read_page(json.dumps(document).encode())
    assert (len(page.orders), page.more, page.total) == expected


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[]", b"{}", b'{"results": {}}', b"\xff", b'{"results": ' + b"[" * 9999],
)
def test_what_is_no_page_is_said_to_be_none(body: bytes) -> None:
    with pytest.raises(OpenMRSError) as raised:
        read_page(body)
    assert raised.value.kind == "not-a-list"


# --- back ----------------------------------------------------------------------------------


def test_each_status_that_is_told_is_one_of_cores() -> None:
    for status in StepStatus:
        if status is not StepStatus.REJECTED:  # nothing here declines an order
            assert fulfilment(status)["fulfillerStatus"] in FULFILLER_STATUSES
    assert fulfilment(StepStatus.COMPLETED) == {"fulfillerStatus": "COMPLETED"}
    told = fulfilment(StepStatus.OTHER, "x" * 5000)
    assert len(told["fulfillerComment"]) == COMMENT_COLUMN


ERROR = b'{"error": {"message": "[no]", "code": "x", "detail": ""}}'


@pytest.mark.parametrize(
    ("answer", "verdict", "reason"),
    [
        (Answer(201, b""), Verdict.DELIVERED, ""),
        (Answer(200, b"{}"), Verdict.DELIVERED, ""),
        (Answer(200, b"<html>sign in</html>"), Verdict.RETRY, "HTTP 200"),
        (Answer(400, ERROR, "", "server-error"), Verdict.REFUSED, "HTTP 400: [no]"),
        (Answer(404, ERROR, "", "not-found"), Verdict.REFUSED, "HTTP 404: [no]"),
        (Answer(409, ERROR, "", "server-error"), Verdict.REFUSED, "HTTP 409: [no]"),
        (Answer(404, b"<html>", "", "not-found"), Verdict.RETRY, "HTTP 404"),
        (Answer(400, b"HTTPS port", "", "tls-port"), Verdict.RETRY, ""),
        (Answer(401, ERROR, "", "credentials"), Verdict.RETRY, ""),
        (Answer(403, ERROR, "", "privilege"), Verdict.RETRY, ""),
        (Answer(302, b"", "", "single-sign-on"), Verdict.RETRY, ""),
        (Answer(503, b"", "", "proxy"), Verdict.RETRY, ""),
        (Answer(500, ERROR, "", "server-error"), Verdict.EXCEPTION, "HTTP 500: [no]"),
    ],
)
def test_the_verdict_on_an_answer_to_a_status(
    answer: Answer, verdict: Verdict, reason: str
) -> None:
    judgement = judge_fulfilment(answer)
    assert judgement.verdict is verdict
    assert not reason or judgement.reason == reason
    assert judgement.reason or verdict is Verdict.DELIVERED


def test_moments_without_a_zone_are_of_the_zone_here() -> None:
    found = read_order(order(scheduledDate="2025-07-04T08:15:00"))
    assert found.scheduled == datetime(2025, 7, 4, 8, 15).astimezone(UTC)
