"""The plugin's client of orders on the stand-in: a list that moves while it is read is whole."""

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from orthanc_openmrs.errors import OpenMRSError
from orthanc_openmrs.model import Answer, StepStatus
from orthanc_openmrs.openmrs.order_client import OVERLAP, PAGE, SMALL_PAGE, WHOLE_REST, OrderClient
from orthanc_openmrs.openmrs.orders import GENERATIONS, read_orders
from orthanc_openmrs.openmrs.sign_in import Password
from orthanc_openmrs.openmrs.transport import Transport
from standin import RADIOLOGY, Concept, Fault, Order, Standin
from standin.orders import LABORATORY
from tests.contract.calls import REST
from tests.unit.builders import FrozenClock

NOW = datetime(2025, 7, 3, 9, 30, tzinfo=UTC)
CHEST = Concept("12AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "Chest X-ray", (("LOINC", "24627-2"),))


class Clinic:
    """A stand-in whose clock goes on by a second for each order."""

    def __init__(self, standin: Standin) -> None:
        self.standin = standin
        self.orders = standin.orders
        self.now = NOW
        self.orders.clock = lambda: self.now
        self.patient = standin.records.add_patient("Ánh", "Nguyễn", degree="MD")
        self.monotonic = FrozenClock(1000.0)
        self.took = 0.0
        self.pages: list[int] = []
        self.meanwhile: Callable[[int], None] = lambda page: None
        self.client = self.connect()

    def connect(self, **changes: Any) -> OrderClient:
        fields: dict[str, Any] = {
            "rest_url": self.standin.origin + REST.rstrip("/"),
            "order_types": (RADIOLOGY,),
            "days_back": 30,
            "today": lambda: date(2025, 7, 3),
            "monotonic": self.monotonic,
        }
        transport = Transport(sign_in=Password("imaging", "Imaging123"))
        ask = transport.ask

        def watched(method: str, url: str, **content: Any) -> Answer:
            answer = ask(method, url, **content)
            if "startIndex" in (content.get("params") or {}):
                self.pages.append(int(content["params"]["startIndex"]))
                self.monotonic.now += self.took
                self.meanwhile(len(self.pages))
            return answer

        transport.ask = watched  # type: ignore[method-assign]
        return OrderClient(transport, **(fields | changes))

    def place(self, count: int = 1, **fields: Any) -> list[Order]:
        placed = []
        for _ in range(count):
            self.now += timedelta(seconds=1)
            placed.append(self.orders.place(self.patient, CHEST, **fields))
        return placed

    def read(self) -> set[str]:
        found = read_orders(self.client.get_list())
        assert found.rejected == ()
        return {one.number for one in found.orders}

    def active(self) -> set[str]:
        """What a list at rest has."""
        return {
            one.number
            for one in self.orders.orders()
            if one.date_stopped is None and not one.voided and one.action != "DISCONTINUE"
        }


@pytest.fixture
def clinic(standin: Standin) -> Clinic:
    return Clinic(standin)


def test_an_order_comes_with_all_that_a_worklist_needs(clinic: Clinic) -> None:
    (placed,) = clinic.place(urgency="STAT")
    (found,) = read_orders(clinic.client.get_list()).orders
    assert (found.uuid, found.number, found.urgency) == (placed.uuid, "ORD-1", "STAT")
    assert (found.concept_uuid, found.concept_codes) == (CHEST.uuid, ("LOINC:24627-2",))
    assert found.patient_id == clinic.patient.uuid
    assert found.structured_name == "Nguyễn^Ánh^^^MD"
    assert found.patient_name
    assert found.orderer == placed.orderer
    assert found.activated == clinic.now


def test_only_what_may_be_wanted_is_asked_for(clinic: Clinic) -> None:
    clinic.place(order_type=LABORATORY)
    clinic.orders.discontinue(clinic.place()[0])
    clinic.orders.void(clinic.place()[0])
    clinic.place(date_activated=NOW - timedelta(days=31))
    (wanted,) = clinic.place(date_activated=NOW - timedelta(days=30))
    assert clinic.read() == {wanted.number}


@pytest.mark.parametrize("count", [0, 1, PAGE - 1, PAGE, PAGE + 1, 2 * PAGE, 3 * PAGE - OVERLAP])
def test_every_order_is_read_however_many_pages_there_are(clinic: Clinic, count: int) -> None:
    clinic.place(count)
    assert clinic.read() == clinic.active()
    assert clinic.client.get_list() == clinic.client.get_list()


def come(clinic: Clinic, page: int) -> None:
    if page == 1:
        clinic.place(7)


def go(clinic: Clinic, page: int) -> None:
    """Fewer than overlap, of those that were read."""
    if page == 1:
        for one in clinic.orders.orders()[-OVERLAP + 1 :]:
            clinic.orders.discontinue(one)


def go_in_droves(clinic: Clinic, page: int) -> None:
    """So many that the next page begins behind ones that were never seen."""
    if page == 1:
        for one in clinic.orders.orders()[-3 * OVERLAP :]:
            clinic.orders.discontinue(one)


def come_and_go(clinic: Clinic, page: int) -> None:
    if page < 4:
        clinic.place(3)
        for one in clinic.orders.orders()[-20:-10]:
            clinic.orders.void(one)


def nearly_all_go(clinic: Clinic, page: int) -> None:
    """The next page's position is beyond the end: a 500 of core."""
    if page == 1:
        for one in clinic.orders.orders()[10:]:
            clinic.orders.void(one)


@pytest.mark.parametrize("moves", [come, go, go_in_droves, come_and_go, nearly_all_go])
def test_no_order_is_missed_while_others_come_and_go(
    clinic: Clinic, moves: Callable[[Clinic, int], None]
) -> None:
    clinic.place(3 * PAGE)
    before = clinic.active()
    clinic.meanwhile = lambda page: moves(clinic, page)
    found = clinic.read()
    assert before & clinic.active() <= found
    clinic.meanwhile = lambda page: None
    clinic.monotonic.now += 3600
    assert clinic.read() == clinic.active()


def test_a_list_that_never_holds_still_is_given_up(clinic: Clinic) -> None:
    clinic.place(5 * PAGE)

    def melt(page: int) -> None:
        for one in [one for one in clinic.orders.orders() if not one.voided][-30:]:
            clinic.orders.void(one)

    clinic.meanwhile = melt
    with pytest.raises(OpenMRSError, match="change faster than they can be read"):
        clinic.read()


def test_a_site_that_gives_shorter_pages_is_read_in_those(clinic: Clinic) -> None:
    clinic.place(PAGE)
    clinic.standin.set_behaviour(most_results=SMALL_PAGE)
    assert clinic.read() == clinic.active()
    clinic.pages.clear()
    assert clinic.read() == clinic.active()
    assert clinic.pages[0] == 0
    assert clinic.pages[1] == SMALL_PAGE - OVERLAP


def test_a_long_list_is_read_whole_from_time_to_time_and_its_newest_orders_each_time(
    clinic: Clinic,
) -> None:
    old = clinic.place(3 * PAGE, date_activated=NOW - timedelta(days=10))
    (new,) = clinic.place()
    clinic.took = 1.0
    clinic.read()
    whole = len(clinic.pages)
    clinic.pages.clear()
    clinic.orders.discontinue(new)
    clinic.orders.fulfil(old[0].uuid, "COMPLETED")
    (newer,) = clinic.place()
    assert clinic.read() == clinic.active()
    assert newer.number in clinic.active()
    assert len(clinic.pages) == 1
    assert not any(
        one.fulfiller_status for one in read_orders(clinic.client.get_list()).orders
    )  # of the old ones nothing is asked yet
    clinic.monotonic.now += WHOLE_REST * whole
    clinic.pages.clear()
    found = read_orders(clinic.client.get_list()).orders
    assert len(clinic.pages) == whole
    assert [one.number for one in found if one.fulfiller_status] == [old[0].number]


def test_an_order_that_was_revised_ever_so_often_is_known_to_its_first(clinic: Clinic) -> None:
    (order,) = clinic.place()
    numbers: list[str] = []
    for _ in range(3 * GENERATIONS):
        numbers.insert(0, order.number)
        order = clinic.orders.revise(order)
    (found,) = read_orders(clinic.client.get_list()).orders
    assert [one.number for one in found.previous] == numbers
    asked = len(clinic.standin.requests_log)
    clinic.client.get_list()
    assert len(clinic.standin.requests_log) == asked + 1  # what was never changes


def test_one_order_by_uuid_or_number(clinic: Clinic) -> None:
    (placed,) = clinic.place()
    for name in (placed.uuid, placed.number):
        found = clinic.client.get_order(name)
        assert found is not None
        assert (found.uuid, found.stopped, found.voided) == (placed.uuid, None, False)
    clinic.orders.discontinue(placed)
    stopped = clinic.client.get_order(placed.uuid)
    assert stopped is not None
    assert stopped.stopped is not None
    assert clinic.client.get_order("ORD-99/../x?y") is None


@pytest.mark.parametrize("status", [one for one in StepStatus if one is not StepStatus.REJECTED])
def test_a_status_is_told(clinic: Clinic, status: StepStatus) -> None:
    (placed,) = clinic.place()
    assert clinic.client.post_fulfilment(placed.uuid, status, "broken off").status == 201
    told = clinic.client.get_order(placed.uuid)
    assert told is not None
    assert told.fulfiller_status in ("RECEIVED", "IN_PROGRESS", "COMPLETED", "EXCEPTION")
    assert clinic.orders.orders()[0].fulfiller_comment == "broken off"


PROBLEMS = {
    "no privilege": (Fault("forbidden"), "orders-privilege"),
    "no such type": (Fault("says", status=404, text=json.dumps({"error": {}})), "orders-unknown"),
    "a page": (Fault("status", status=404), "not-found"),
    "signed out": (Fault("unauthorized"), "credentials"),
    "fails": (Fault("status"), "server-error"),
    "login": (Fault("login_page"), "not-a-list"),
    "garbage": (Fault("garbage"), "not-a-list"),
    "deep": (Fault("deep"), "not-a-list"),
}


@pytest.mark.parametrize(("fault", "kind"), PROBLEMS.values(), ids=PROBLEMS)
def test_what_goes_wrong_is_said(clinic: Clinic, fault: Fault, kind: str) -> None:
    clinic.place()
    clinic.standin.set_fault(fault, path="/order")
    with pytest.raises(OpenMRSError) as raised:
        clinic.client.get_list()
    assert raised.value.kind == kind


def test_a_list_beyond_the_limit_is_refused(clinic: Clinic) -> None:
    clinic.place(2 * PAGE)
    client = clinic.connect(max_response_size=100_000)
    with pytest.raises(OpenMRSError) as raised:
        client.get_list()
    assert raised.value.kind == "too-big"
