"""Orders are told back by the same outbox: what is asked before, and what an answer means."""

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from orthanc_openmrs.completion.sender import BROKEN_OFF, SAME_WORDS
from orthanc_openmrs.errors import OpenMRSError
from orthanc_openmrs.model import (
    Answer,
    ImagingRequest,
    Kind,
    NewNotification,
    Notification,
    NotificationState,
    Order,
    OrderList,
    PreviousOrder,
    StepIdentity,
    StepStatus,
)
from orthanc_openmrs.worklist.orders import Machine, OrderRules, requests_of
from orthanc_openmrs.worklist.snapshot import Snapshot
from tests.unit.builders import ALICE, BOB, series, study
from tests.unit.completion.site import DELIVERED, DISCARDED, FAILED, HELD, PENDING, SEVEN, Site

RULES = OrderRules(default=Machine("CT"))
FIRST = Order(
    uuid="u1",
    number="ORD-1",
    patient_id=ALICE,
    patient_name="Alice Jones",
    concept_uuid="c",
    concept_name="Head",
)
SECOND = replace(FIRST, uuid="u2", number="ORD-2", patient_id=BOB)
CREATED = Answer(201, b"")
REFUSED = Answer(400, b'{"error": {"message": "[no]"}}', "", "server-error")
FAILING = Answer(500, b'{"error": {"message": "[data too long]"}}', "", "server-error")


class Core:
    """OpenMRS's orders as completion sees them."""

    def __init__(self, site: Site, *orders: Order) -> None:
        self.site = site
        self.orders = {order.uuid: order for order in orders}
        self.told: list[tuple[str, StepStatus, str]] = []
        self.answers: deque[Answer | str] = deque()
        self.saves = True
        self.asked = 0
        self.at_look: Callable[[], None] = lambda: None

    def get_order(self, uuid_or_number: str) -> Order | None:
        """The order now."""
        self.asked += 1
        self.at_look()
        return self.orders.get(uuid_or_number)

    def post_fulfilment(self, uuid: str, status: StepStatus, comment: str = "") -> Answer:
        """Take a status."""
        self.told.append((uuid, status, comment))
        answer = self.answers.popleft() if self.answers else CREATED
        if self.saves:
            words = {StepStatus.SCHEDULED: "RECEIVED", StepStatus.OTHER: "EXCEPTION"}
            text = words.get(status, status.value.upper().replace(" ", "_"))
            self.change(uuid, fulfiller_status=text)
        if isinstance(answer, str):
            raise OpenMRSError(answer, "broke off")
        return answer

    def change(self, uuid: str, **changes: Any) -> None:
        """Somebody changes an order, and the list has it."""
        self.orders[uuid] = replace(self.orders[uuid], **changes)
        self.list()

    def list(self) -> None:
        """The list of both sources has the orders as they are."""
        active = [one for one in self.orders.values() if not one.stopped]
        self.site.openmrs.requests = [
            SEVEN,
            *requests_of(OrderList(tuple(active)), RULES).requests,
        ]
        self.site.at_hand = self.site.openmrs.snapshot()


class OrderSite(Site):
    """Completion with orders as a second source."""

    def __init__(self, path: Path, **options: bool) -> None:
        super().__init__(path, **options)
        self.core = Core(self, FIRST, SECOND)
        self.core.list()
        self.order_updates = self.core
        self.build()

    def request(self, number: str = "ORD-1") -> ImagingRequest:
        return next(one for one in self.openmrs.requests if one.accession_number == number)

    def images(self, number: str = "ORD-1", **changes: Any) -> Any:
        of = self.request(number)
        fields: dict[str, Any] = {
            "study": f"s{number}",
            "study_instance_uid": of.study_instance_uid,
            "patient_id": of.patient_id,
            "accession_number": number,
        }
        return study(series("CT"), **(fields | changes))

    def linked(self, number: str = "ORD-1") -> Notification:
        self.note(self.images(number))
        self.link()
        return self.database.due_notifications()[-1]

    def deliver(self, one: Notification, snapshot: Snapshot | None = None) -> Notification:
        snapshot = snapshot or self.openmrs.snapshot()
        assert self.database.begin(one, 1)
        self.sender.deliver(one, snapshot)
        found = self.database.notification(one.id)
        assert found is not None
        return found


@pytest.fixture
def site(tmp_path: Path) -> OrderSite:
    return OrderSite(tmp_path)


def test_a_study_of_an_order_completes_it_and_the_module_hears_nothing(site: OrderSite) -> None:
    one = site.linked()
    assert one.step == StepIdentity("OORD-1", "OORD-1", ALICE, "ORD-1")
    assert site.deliver(one).state is DELIVERED
    assert site.core.told == [("u1", StepStatus.COMPLETED, "")]
    assert site.openmrs.posts == site.openmrs.told == []


ANSWERS: list[tuple[Answer | str, bool, NotificationState, str]] = [
    (CREATED, True, DELIVERED, ""),
    (Answer(200, b"{}"), True, DELIVERED, ""),
    (REFUSED, False, FAILED, "HTTP 400: [no]"),
    (Answer(404, b'{"error": {}}', "", "not-found"), False, FAILED, "HTTP 404"),
    (Answer(409, b'{"error": {"message": "busy"}}'), False, FAILED, "HTTP 409: busy"),
    (Answer(404, b"<html>", "", "not-found"), False, PENDING, "HTTP 404"),
    (Answer(401, b"", "", "credentials"), False, PENDING, "sign-in"),
    (Answer(302, b"", "", "single-sign-on"), False, PENDING, "single sign-on"),
    (Answer(503, b"<html>", "", "proxy"), False, PENDING, "HTTP 503"),
    (FAILING, False, PENDING, "HTTP 500: [data too long]"),
    ("unreachable", True, PENDING, "broke off"),
    ("timeout", False, PENDING, "broke off"),
]


@pytest.mark.parametrize(("answer", "saves", "state", "words"), ANSWERS)
def test_what_an_answer_means(
    site: OrderSite, answer: Answer | str, saves: bool, state: NotificationState, words: str
) -> None:
    one = site.linked()
    site.core.saves = saves
    site.core.answers.append(answer)
    after = site.deliver(one)
    assert after.state is state
    assert words in (after.last_error or after.reason)


def test_before_a_second_try_the_order_is_asked_for(site: OrderSite) -> None:
    one = site.linked()
    site.core.answers.append("unreachable")  # it was saved all the same
    assert site.deliver(one).state is PENDING
    again = site.database.notification(one.id)
    assert again is not None
    assert site.deliver(again).state is DELIVERED
    assert len(site.core.told) == 1


def test_the_same_failure_again_and_again_is_believed(site: OrderSite) -> None:
    one = site.linked()
    site.core.saves = False
    for _ in range(SAME_WORDS):
        site.core.answers.append(FAILING)
        one = site.deliver(one)
    assert one.state is FAILED


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"stopped": datetime(2025, 7, 3, tzinfo=UTC)}, "order ORD-1 is stopped in OpenMRS by now"),
        ({"voided": True}, "order ORD-1 is voided"),
        ({"fulfiller_status": "DECLINED"}, "order ORD-1 is declined"),
        ({"patient_id": BOB}, "OpenMRS has the order otherwise"),
    ],
)
def test_what_changed_since_the_list_is_seen_before_it_is_told(
    site: OrderSite, changes: dict[str, Any], words: str
) -> None:
    one = site.linked()
    before = site.openmrs.snapshot()  # a long list is read as a whole from time to time only
    site.core.orders["u1"] = replace(FIRST, **changes)
    after = site.deliver(one, before)
    assert after.state is HELD
    assert words in after.reason
    assert site.core.told == []


def test_an_order_that_somebody_completed_is_not_told_again(site: OrderSite) -> None:
    one = site.linked()
    before = site.openmrs.snapshot()
    site.core.orders["u1"] = replace(FIRST, fulfiller_status="COMPLETED")
    assert site.deliver(one, before).state is DISCARDED
    assert site.core.told == []


def test_an_order_that_is_gone_is_held(site: OrderSite) -> None:
    one = site.linked()
    before = site.openmrs.snapshot()
    del site.core.orders["u1"]
    assert site.deliver(one, before).state is HELD


def test_images_of_an_order_that_was_revised_since_complete_the_new_one(site: OrderSite) -> None:
    before = site.images()
    site.core.change("u1", stopped=datetime(2025, 7, 3, tzinfo=UTC))
    site.core.orders["u3"] = replace(
        FIRST, uuid="u3", number="ORD-3", previous=(PreviousOrder("u1", "ORD-1"),)
    )
    site.core.list()
    site.note(before)  # its AccessionNumber and StudyInstanceUID are the old order's
    site.link()
    (one,) = site.database.due_notifications()
    assert one.step == StepIdentity("OORD-3", "OORD-3", ALICE, "ORD-3")
    assert site.deliver(one).state is DELIVERED
    assert site.core.told == [("u3", StepStatus.COMPLETED, "")]


def test_one_that_is_revised_between_decision_and_telling_goes_to_the_new_order(
    site: OrderSite,
) -> None:
    one = site.linked()
    site.core.change("u1", stopped=datetime(2025, 7, 3, tzinfo=UTC))
    site.core.orders["u3"] = replace(
        FIRST, uuid="u3", number="ORD-3", previous=(PreviousOrder("u1", "ORD-1"),)
    )
    site.core.list()
    assert site.deliver(one).state is HELD
    site.link()  # it was noted again
    (again,) = site.database.due_notifications()
    assert again.scheduled_procedure_step_id == "OORD-3"
    assert site.deliver(again).state is DELIVERED
    assert site.states() == {"OORD-1": DISCARDED, "OORD-3": DELIVERED}


# --- first images, and exams that are broken off -------------------------------------------


def test_first_images_make_it_in_progress(site: OrderSite) -> None:
    site.images_come(site.images())
    site.link()
    (one,) = site.database.due_notifications()
    assert one.kind is Kind.IN_PROGRESS
    assert site.deliver(one).state is DELIVERED
    assert site.core.told == [("u1", StepStatus.IN_PROGRESS, "")]


def test_an_old_module_without_that_route_keeps_no_order_from_it(site: OrderSite) -> None:
    site.openmrs.has_step_status = False
    site.build()
    site.images_come(site.images())
    site.link()
    (one,) = site.database.due_notifications()
    assert site.deliver(one).state is DELIVERED
    assert site.core.told == [("u1", StepStatus.IN_PROGRESS, "")]


def tell(site: OrderSite, kind: Kind) -> Notification:
    """As an MPPS does: of no study."""
    step = StepIdentity("OORD-1", "OORD-1", ALICE, "ORD-1")
    assert site.database.tell_steps([NewNotification("", "", PENDING, kind, step, "MPPS")]) == 1
    return site.database.due_notifications()[-1]


@pytest.mark.parametrize("broken_off", [StepStatus.SCHEDULED, StepStatus.OTHER])
def test_a_broken_off_exam_is_told_with_a_comment(site: OrderSite, broken_off: StepStatus) -> None:
    site.broken_off = broken_off
    site.build()
    site.core.change("u1", fulfiller_status="IN_PROGRESS")
    assert site.deliver(tell(site, Kind.SCHEDULED)).state is DELIVERED
    assert site.core.told == [("u1", broken_off, BROKEN_OFF)]


def test_what_is_not_in_progress_any_more_is_not_set_back(site: OrderSite) -> None:
    assert site.deliver(tell(site, Kind.SCHEDULED)).state is DISCARDED
    assert site.core.told == []


def test_a_status_on_the_way_that_is_refused_is_not_a_persons_work(site: OrderSite) -> None:
    site.core.saves = False
    site.core.answers.append(REFUSED)
    assert site.deliver(tell(site, Kind.IN_PROGRESS)).state is DISCARDED


# --- the sources cost each other nothing ---------------------------------------------------


def test_the_list_of_the_orders_source_is_waited_for_and_no_other(site: OrderSite) -> None:
    asked: list[str] = []
    read_after = site.openmrs.read_after

    def watched(moment: float, timeout: float, of: str = "") -> Snapshot:
        asked.append(of)
        if of == "7":
            raise OpenMRSError("unreachable", "the module is away")
        return read_after(moment, timeout, of)

    site.openmrs.read_after = watched  # type: ignore[method-assign]
    of_module = study(
        series("CT"),
        study="s7",
        patient_id=SEVEN.patient_id,
        accession_number=SEVEN.accession_number,
    )
    site.note(of_module, site.images())
    with site.running():
        site.until_state("OORD-1", DELIVERED)
        site.database.until(
            lambda: any("the module is away" in one.last_error for one in site.all())
        )
    assert site.openmrs.posts == []
    assert {"7", "OORD-1"} <= set(asked)
