"""Core's orders, as webservices.rest and core search, page, show and fulfil them.

docs/orders.md has the public source of each row.
"""

import time
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from standin import DEFAULT_ACCOUNTS, RADIOLOGY, Account, Concept, Order, Standin
from standin.orders import LABORATORY, Orders, OrderSearch
from tests.contract.calls import IMAGING, REST, Reply, call

NOW = datetime(2025, 7, 3, 9, 30, tzinfo=UTC)
DAY = timedelta(days=1)
CHEST = Concept("12AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "Chest X-ray", (("LOINC", "24627-2"),))
ALL = "custom:(uuid,orderNumber,action,dateStopped,fulfillerStatus,previousOrder:(uuid))"


class Clinic:
    """A stand-in whose clock stands still, with one patient."""

    def __init__(self, standin: Standin) -> None:
        self.standin = standin
        self.orders: Orders = standin.orders
        self.now = NOW
        self.orders.clock = lambda: self.now
        self.patient = standin.records.add_patient("Ánh", "Nguyễn", degree="MD")

    def place(self, **fields: Any) -> Order:
        return self.orders.place(self.patient, CHEST, **fields)

    def get(self, path: str = "", /, *, account: tuple[str, str] = IMAGING, **query: Any) -> Reply:
        asked = urlencode({"orderTypes": RADIOLOGY, "v": ALL, **query} if not path else query)
        return call(self.standin, "GET", f"{REST}order{path}?{asked}", account=account)

    def found(self, **query: Any) -> list[str]:
        return [order["orderNumber"] for order in self.get(**query).json["results"]]

    def tell(self, order: Order, body: object, **options: Any) -> Reply:
        path = f"{REST}order/{order.uuid}/fulfillerdetails/"
        return call(self.standin, "POST", path, body, **options)


@pytest.fixture
def clinic(standin: Standin) -> Clinic:
    return Clinic(standin)


SEARCHES: list[tuple[dict[str, object], list[str]]] = [
    ({}, ["ORD-7", "ORD-6", "ORD-5", "ORD-4", "ORD-2", "ORD-1"]),  # without the voided one
    ({"isStopped": "false"}, ["ORD-7", "ORD-6", "ORD-5", "ORD-4", "ORD-2", "ORD-1"]),
    ({"isStopped": "true"}, ["ORD-4", "ORD-2"]),
    ({"excludeCanceledAndExpired": "true"}, ["ORD-6", "ORD-5", "ORD-1"]),
    ({"excludeDiscontinueOrders": "true"}, ["ORD-6", "ORD-5", "ORD-4", "ORD-2", "ORD-1"]),
    (
        {"excludeCanceledAndExpired": "true", "excludeDiscontinueOrders": "true"},
        ["ORD-6", "ORD-5", "ORD-1"],
    ),
    ({"action": "REVISE"}, ["ORD-5"]),
    ({"fulfillerStatus": "IN_PROGRESS"}, ["ORD-1"]),
    ({"fulfillerStatus": ""}, ["ORD-7", "ORD-6", "ORD-5", "ORD-4", "ORD-2", "ORD-1"]),
    ({"includeNullFulfillerStatus": "true"}, ["ORD-7", "ORD-5", "ORD-4", "ORD-2"]),
    ({"includeNullFulfillerStatus": "false"}, ["ORD-6", "ORD-1"]),
    (
        {"fulfillerStatus": "IN_PROGRESS", "includeNullFulfillerStatus": "true"},
        ["ORD-7", "ORD-5", "ORD-4", "ORD-2", "ORD-1"],
    ),
    (
        {"fulfillerStatus": "IN_PROGRESS", "includeNullFulfillerStatus": "false"},
        ["ORD-6", "ORD-1"],
    ),
    ({"activatedOnOrAfterDate": "2025-07-03T23:59:00.000+0000"}, ["ORD-7", "ORD-6", "ORD-5"]),
    ({"activatedOnOrAfterDate": "2025-07-03T09:00:00.000Z"}, ["ORD-7", "ORD-6", "ORD-5"]),
    ({"activatedOnOrBeforeDate": "2025-07-01"}, ["ORD-1"]),
    ({"orderNumber": "ord-5"}, ["ORD-5"]),
    ({"orderTypes": LABORATORY}, []),
    ({"orderTypes": f"nonsense,{RADIOLOGY}", "action": "RENEW"}, ["ORD-6"]),
    ({"concepts": CHEST.uuid, "action": "RENEW"}, ["ORD-6"]),
    ({"includeVoided": "true", "action": "NEW"}, ["ORD-4", "ORD-3", "ORD-2", "ORD-1"]),
]


@pytest.mark.parametrize(("query", "numbers"), SEARCHES)
def test_a_search_finds_what_core_finds_newest_first(
    clinic: Clinic, query: dict[str, object], numbers: list[str]
) -> None:
    orders = clinic.orders
    clinic.now = NOW - 2 * DAY
    clinic.place(fulfiller_status="IN_PROGRESS")
    clinic.now = NOW - DAY
    second = clinic.place()
    clinic.now += timedelta(minutes=1)
    orders.void(clinic.place())
    clinic.now += timedelta(minutes=1)
    fourth = clinic.place()
    clinic.now = NOW
    orders.revise(second)
    clinic.now += timedelta(minutes=1)
    orders.renew(orders.orders()[0], fulfiller_status="RECEIVED")
    clinic.now += timedelta(minutes=1)
    orders.discontinue(fourth)
    assert clinic.found(**query) == numbers


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"orderTypes": "nonsense"}, 404),
        ({"concepts": "nonsense"}, 404),
        ({"patient": "nonsense"}, 404),
        ({"careSetting": "nonsense"}, 404),
        ({"fulfillerStatus": "RECEIVED,IN_PROGRESS"}, 500),
        ({"action": "new"}, 500),
        ({"activatedOnOrAfterDate": "yesterday"}, 400),
        ({"v": "custom:(uuid,laterality)"}, 400),
        ({"limit": "101"}, 500),
        ({"limit": "0"}, 500),
        ({"startIndex": "7"}, 500),
    ],
)
def test_what_core_cannot_search_is_an_error(
    clinic: Clinic, query: dict[str, Any], status: int
) -> None:
    clinic.place()
    reply = clinic.get(**query)
    assert (reply.status, set(reply.json)) == (status, {"error"})


def test_an_order_without_any_parameter_is_not_searched(clinic: Clinic) -> None:
    assert call(clinic.standin, "GET", REST + "order").status == 400


def test_what_a_worklist_needs_comes_in_one_custom_representation(clinic: Clinic) -> None:
    order = clinic.place(
        urgency="ON_SCHEDULED_DATE",
        scheduled_date=NOW + DAY,
        instructions="fasting",
        accession_number="A1",
    )
    parts = (
        "uuid,orderNumber,accessionNumber,action,urgency,dateActivated,scheduledDate,dateStopped,"
        "autoExpireDate,fulfillerStatus,fulfillerComment,instructions,commentToFulfiller,"
        "previousOrder:(uuid,orderNumber),orderer:(display),"
        "concept:(uuid,display,mappings:(conceptReferenceTerm:(code,conceptSource:(name)))),"
        "patient:(uuid,voided,identifiers:(identifier,preferred),"
        "person:(gender,birthdate,birthdateEstimated,preferredName:full))"
    )
    (shown,) = clinic.get(v=f"custom:({parts})").json["results"]
    assert (shown["uuid"], shown["orderNumber"], shown["accessionNumber"]) == (
        order.uuid,
        "ORD-1",
        "A1",
    )
    assert shown["dateActivated"] == "2025-07-03T09:30:00.000+0000"
    assert shown["scheduledDate"] == "2025-07-04T09:30:00.000+0000"
    (mapping,) = shown["concept"]["mappings"]
    term = mapping["conceptReferenceTerm"]
    assert (term["conceptSource"]["name"], term["code"]) == ("LOINC", "24627-2")
    person = shown["patient"]["person"]
    assert person["preferredName"]["degree"] == "MD"
    assert shown["patient"]["identifiers"][0]["identifier"] == clinic.patient.identifier
    assert shown["fulfillerStatus"] is None


def test_only_full_and_custom_tell_the_fulfiller_status(clinic: Clinic) -> None:
    order = clinic.place()
    for v, told in (("default", False), ("full", True), ("ref", False)):
        (listed,) = clinic.get(v=v).json["results"]
        assert ("fulfillerStatus" in listed) is told
    for name in (order.uuid, order.number):
        one = clinic.get(f"/{name}", v="full").json
        assert (one["uuid"], one["concept"]["display"]) == (order.uuid, "Chest X-ray")
        assert "mappings" not in one["concept"]  # a reference only
    assert clinic.get("/nonsense").status == 404


def test_a_revised_order_stops_and_the_new_one_names_it(clinic: Clinic) -> None:
    first = clinic.place(urgency="STAT")
    second = clinic.orders.revise(first)
    assert (second.number, second.previous, second.urgency) == ("ORD-2", first.uuid, "STAT")
    newest, oldest = clinic.get().json["results"]
    assert {newest["orderNumber"], oldest["orderNumber"]} == {"ORD-1", "ORD-2"}
    old, new = sorted((newest, oldest), key=lambda order: order["orderNumber"])
    assert (old["dateStopped"], new["previousOrder"]["uuid"]) == (
        "2025-07-03T09:29:59.000+0000",
        first.uuid,
    )
    assert clinic.found(excludeCanceledAndExpired="true") == ["ORD-2"]
    clinic.orders.void(second)
    assert clinic.found(excludeCanceledAndExpired="true") == ["ORD-1"]


def test_a_merged_patients_orders_go_to_the_preferred_one(clinic: Clinic) -> None:
    clinic.place()
    kept = clinic.standin.records.add_patient("Ánh", "Nguyen")
    clinic.standin.merge_patients(kept, clinic.patient)
    (order,) = clinic.get(v="custom:(patient:(uuid,voided))").json["results"]
    assert (order["patient"]["uuid"], order["patient"]["voided"]) == (kept.uuid, False)


def test_pages_move_when_orders_come_and_go_meanwhile(clinic: Clinic) -> None:
    placed = []
    for _ in range(5):
        clinic.now += timedelta(minutes=1)
        placed.append(clinic.place())
    assert clinic.found(limit=2) == ["ORD-5", "ORD-4"]
    clinic.now += timedelta(minutes=1)
    clinic.place()
    assert clinic.found(limit=2, startIndex=2) == ["ORD-4", "ORD-3"]  # one comes twice
    clinic.orders.void(placed[4])
    assert clinic.found(limit=2, startIndex=4) == ["ORD-1"]  # and ORD-2 never
    page = clinic.get(limit=2, startIndex=2, totalCount="true").json
    assert [link["rel"] for link in page["links"]] == ["next", "prev"]
    assert (page["totalCount"], f"orderTypes={RADIOLOGY}" in page["links"][0]["uri"]) == (5, True)


@pytest.mark.parametrize("status", ["RECEIVED", "IN_PROGRESS", "COMPLETED", "EXCEPTION"])
def test_an_order_is_fulfilled_with_201_and_no_body(clinic: Clinic, status: str) -> None:
    order = clinic.place(fulfiller_comment="here")
    reply = clinic.tell(order, {"fulfillerStatus": status})
    assert (reply.status, reply.body) == (201, b"")
    (shown,) = clinic.get(v="full").json["results"]
    assert (shown["fulfillerStatus"], shown["fulfillerComment"]) == (status, "here")
    clinic.tell(order, {"fulfillerComment": "done", "accessionNumber": "A9"})
    told = clinic.orders.order(order.uuid)
    assert told is not None
    assert (told.fulfiller_status, told.fulfiller_comment) == (status, "done")
    assert told.accession_number == "A9"


def test_an_order_that_is_over_takes_a_status_as_well(clinic: Clinic) -> None:
    order = clinic.place()
    clinic.orders.discontinue(order)
    assert clinic.tell(order, {"fulfillerStatus": "COMPLETED"}).status == 201
    assert clinic.orders.statuses()["ORD-1"] == "COMPLETED"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"fulfillerStatus": "DONE"}, 400),
        ({"fulfillerStatus": 1}, 400),
        ({"weather": "rain"}, 400),
        (b"{", 400),
        ([], 400),
        ({"fulfillerComment": "x" * 1025}, 500),
    ],
)
def test_what_core_cannot_read_changes_nothing(clinic: Clinic, body: object, status: int) -> None:
    order = clinic.place()
    reply = clinic.tell(order, body)
    assert (reply.status, set(reply.json)) == (status, {"error"})
    assert clinic.orders.order(order.uuid) == order
    unknown = f"{REST}order/nonsense/fulfillerdetails"
    assert call(clinic.standin, "POST", unknown, {"fulfillerStatus": "COMPLETED"}).status == 404


def without(*privileges: str) -> Account:
    return Account("x", DEFAULT_ACCOUNTS["imaging"].privileges - set(privileges))


def test_orders_ask_for_cores_privileges(standin: Standin) -> None:
    clinic = Clinic(standin)
    standin.accounts = {
        **DEFAULT_ACCOUNTS,
        "all": without(),
        "orders": without("Get Orders"),
        "types": without("Get Order Types"),
        "edit": without("Edit Orders"),
        "concepts": without("Get Concepts"),
    }
    order, told = clinic.place(), {"fulfillerStatus": "COMPLETED"}
    shown = "custom:(uuid,concept:(uuid),orderType)"
    for name, get, post in (
        ("all", 200, 201),
        ("orders", 403, 403),
        ("types", 403, 201),
        ("edit", 200, 403),
        ("concepts", 200, 201),
    ):
        assert clinic.get(account=(name, "x"), v=shown).status == get
        assert clinic.tell(order, told, account=(name, "x")).status == post
    assert clinic.get(account=("all", "wrong")).status == 401
    (left_out,) = clinic.get(account=("concepts", "x"), v=shown).json["results"]
    assert ("concept" in left_out, "orderType" in left_out) == (False, True)


def test_a_long_list_of_orders_is_paged_quickly(clinic: Clinic) -> None:
    clinic.standin.set_behaviour(most_results=1000)
    for _ in range(20_000):
        clinic.place()
    assert len(clinic.orders.search(OrderSearch(frozenset({RADIOLOGY})))) == 20_000
    start = time.monotonic()
    found: set[str] = set()
    for index in range(0, 20_000, 1000):
        found.update(clinic.found(limit=1000, startIndex=index))
    assert (len(found), time.monotonic() - start < 5) == (20_000, True)


def test_the_control_routes_place_and_change_orders(standin: Standin) -> None:
    def control(method: str, path: str, body: object = None, status: int = 200) -> Any:
        reply = call(standin, method, "/standin/" + path, body, account=None)
        assert reply.status == status, reply.body
        return reply.json

    patient = standin.records.add_patient("A", "B")
    concept = {"uuid": CHEST.uuid, "display": "Chest X-ray", "mappings": {"LOINC": "24627-2"}}
    asked = {"patient": patient.uuid, "concept": concept, "urgency": "STAT"}
    made = control("POST", "orders", asked, 201)
    assert (made["orderNumber"], made["action"]) == ("ORD-1", "NEW")
    revised = control("POST", f"orders/{made['uuid']}", {"action": "revise"})
    assert revised["previousOrder"] == made["uuid"]
    told = {"action": "fulfil", "fulfillerStatus": "DECLINED"}
    assert control("POST", f"orders/{revised['uuid']}", told)["fulfillerStatus"] == "DECLINED"
    assert [order["orderNumber"] for order in control("GET", "orders")] == ["ORD-1", "ORD-2"]
    control("POST", f"orders/{made['uuid']}", {"action": "dance"}, 400)
    control("POST", "orders", {**asked, "patient": "nobody"}, 404)
    listed = call(standin, "GET", f"{REST}order?orderTypes={RADIOLOGY}&v={quote(ALL)}").json
    assert len(listed["results"]) == 2
