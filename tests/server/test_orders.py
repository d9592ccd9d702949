"""OpenMRS's own orders: on the scanner, completed by their images, and each source for itself."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset

from standin import RADIOLOGY, Concept, Fault, Order, Standin, StepFields
from tests.server.conftest import Start
from tests.server.test_loop import offered, step_ids
from trial import scanner
from trial.orthanc import ScratchOrthanc
from trial.ports import free_port
from trial.procedures import Reports
from trial.waiting import eventually

HEAD = Concept("11AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "CT of the head", (("LOINC", "24725-4"),))
CHEST = Concept("12AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "Chest X-ray", (("LOINC", "24627-2"),))
ORDERS = {
    "OrderTypes": [RADIOLOGY],
    "Concepts": {"LOINC:24725-4": {"Modality": "CT", "AETitle": "CT1"}},
}


class Clinic:
    """An OpenMRS where imaging is ordered by the order basket."""

    def __init__(self, openmrs: Standin, start_orthanc: Start, folder: Path) -> None:
        self.openmrs = openmrs
        self._start = start_orthanc
        self._folder = folder
        self.patients = [
            openmrs.records.add_patient("Ánh", "Nguyễn", degree="MD"),
            openmrs.records.add_patient("Sokha", "ចាន់"),
        ]

    def start(self, section: Mapping[str, Any] | None = None, **keys: Any) -> ScratchOrthanc:
        """An Orthanc with the orders as a source, beside the module's list."""
        orders = {**ORDERS, **(section or {})}
        fast = {"RefreshInterval": 1, **keys.pop("openmrs", {})}
        return self._start({"Orders": orders, **fast}, **{"StableAge": 1, **keys})

    def order(self, patient: int = 0, concept: Concept = HEAD, **fields: Any) -> Order:
        return self.openmrs.orders.place(self.patients[patient], concept, **fields)

    def scan(self, orthanc: ScratchOrthanc, answer: Dataset, **changes: str) -> None:
        """Images of an answer are made and sent."""
        image = scanner.acquire(answer, self._folder, request_attributes=False, changes=changes)
        scanner.store(orthanc.dicom_port, [image])

    def becomes(self, order: Order, status: str | None, seconds: float = 30) -> None:
        """Wait until OpenMRS has an order in a status."""
        eventually(
            lambda: self.openmrs.orders.statuses()[order.number] == status,
            f"{order.number} is not {status}",
            seconds,
        )


@pytest.fixture
def clinic(openmrs: Standin, start_orthanc: Start, tmp_path: Path) -> Clinic:
    return Clinic(openmrs, start_orthanc, tmp_path)


def answers(orthanc: ScratchOrthanc) -> dict[str, Dataset]:
    """What the scanner gets, by AccessionNumber."""
    found = scanner.find(orthanc.dicom_port)
    assert found.status == "Success"
    return {str(answer.AccessionNumber): answer for answer in found.answers}


def listed(orthanc: ScratchOrthanc) -> dict[str, dict[str, Any]]:
    """Each step as the administrator sees it, once there is a list."""
    eventually(lambda: orthanc.get("/openmrs/status")["Orders"]["LastSuccess"], "no list is read")
    return {one["AccessionNumber"]: one for one in orthanc.get("/openmrs/worklist")}


def test_an_order_is_on_the_scanner_and_its_images_complete_it(clinic: Clinic) -> None:
    order = clinic.order(urgency="STAT")
    orthanc = clinic.start()
    offered(orthanc, 1)
    (answer,) = answers(orthanc).values()
    step = answer.ScheduledProcedureStepSequence[0]
    assert str(answer.PatientName) == "Nguyễn^Ánh^^^MD"
    assert (answer.AccessionNumber, step.ScheduledProcedureStepID) == ("ORD-1", "OORD-1")
    assert (step.Modality, step.ScheduledStationAETitle) == ("CT", "CT1")
    assert (answer.RequestedProcedurePriority, answer.RequestedProcedureDescription) == (
        "STAT",
        "CT of the head",
    )
    clinic.scan(orthanc, answer)
    clinic.becomes(order, "COMPLETED")
    offered(orthanc, 0)
    assert listed(orthanc)["ORD-1"]["Source"] == "orders"
    posted = [one.path for one in clinic.openmrs.requests_log if one.method == "POST"]
    assert all("fulfillerdetails" in path for path in posted)


def test_both_sources_side_by_side_and_the_same_exam_once(clinic: Clinic) -> None:
    twice, own = clinic.order(), clinic.order(1)
    records = clinic.openmrs.records
    records.add_request(clinic.patients[0], accession=twice.number, steps=[StepFields()])
    records.add_request(clinic.patients[1], steps=[StepFields()])
    orthanc = clinic.start()
    offered(orthanc, 3)
    assert set(step_ids(scanner.find(orthanc.dicom_port))) == {"1", "2", f"O{own.number}"}
    sources = {one["ScheduledProcedureStepID"]: one for one in orthanc.get("/openmrs/worklist")}
    assert "the same exam" in sources[f"O{twice.number}"]["Reason"]
    assert {one["Source"] for one in sources.values()} == {"imaging", "orders"}
    assert len(orthanc.get("/openmrs/worklist?source=orders")) == 2
    answer = answers(orthanc)[twice.number]
    clinic.scan(orthanc, answer)
    eventually(lambda: records.statuses()[1] == "completed", "the module's step isn't completed")
    assert clinic.openmrs.orders.statuses()[twice.number] is None


def test_a_revised_order_is_the_same_exam_for_images_that_were_under_way(clinic: Clinic) -> None:
    first = clinic.order(instructions="contrast")
    orthanc = clinic.start()
    offered(orthanc, 1)
    before = answers(orthanc)[first.number]
    second = clinic.openmrs.orders.revise(first, instructions="no contrast")
    eventually(lambda: set(answers(orthanc)) == {second.number}, "the revision isn't offered")
    assert answers(orthanc)[second.number].StudyInstanceUID == before.StudyInstanceUID
    clinic.scan(orthanc, before)
    clinic.becomes(second, "COMPLETED")


def test_what_is_not_offered_says_why_and_what_is_over_leaves(clinic: Clinic) -> None:
    clinic.order(concept=CHEST)
    gone = [clinic.order(), clinic.order(), clinic.order(fulfiller_status="DECLINED")]
    soon = datetime.now(UTC) + timedelta(seconds=5)
    clinic.order(auto_expire_date=soon)
    orthanc = clinic.start()
    eventually(lambda: len(listed(orthanc)) >= 4, "the orders are not listed")
    assert "has no modality for its concept 12AAAA" in listed(orthanc)["ORD-1"]["Reason"]
    assert listed(orthanc)["ORD-4"]["Status"] == "rejected"
    clinic.openmrs.orders.discontinue(gone[0])
    clinic.openmrs.orders.void(gone[1])
    offered(orthanc, 0)


def test_the_gate_keeps_unpaid_orders_off_the_scanner(clinic: Clinic) -> None:
    order = clinic.order()
    orthanc = clinic.start({"FulfillerStatus": ["RECEIVED", "IN_PROGRESS"]})
    eventually(lambda: listed(orthanc), "the order is not listed")
    assert answers(orthanc) == {}
    assert "its fulfillerStatus is null" in listed(orthanc)["ORD-1"]["Reason"]
    assert orthanc.get("/openmrs/status")["Worklist"]["Skipped"] == 0
    clinic.openmrs.orders.fulfil(order.uuid, "RECEIVED")  # the cashier's software
    offered(orthanc, 1)
    clinic.scan(orthanc, answers(orthanc)[order.number])
    clinic.becomes(order, "COMPLETED")


# --- one source that fails -----------------------------------------------------------------


@pytest.mark.parametrize("down", ["/order", "/worklist/"], ids=["orders", "imaging"])
def test_a_source_that_is_down_costs_itself_only(clinic: Clinic, down: str) -> None:
    order = clinic.order()
    clinic.openmrs.records.add_request(clinic.patients[1], steps=[StepFields()])
    orthanc = clinic.start()
    offered(orthanc, 2)
    found = answers(orthanc)
    clinic.openmrs.set_fault(Fault("status", status=503), path=down)
    told = eventually(
        lambda: [
            one
            for one in (orthanc.get("/openmrs/status")[part] for part in ("OpenMRS", "Orders"))
            if not one["Reachable"]
        ],
        "no source is told to be down",
    )
    assert len(told) == 1
    assert set(answers(orthanc)) == set(found), "its last good part stays"
    for answer in found.values():
        clinic.scan(orthanc, answer)
    records, orders = clinic.openmrs.records, clinic.openmrs.orders

    def state() -> tuple[bool, bool]:
        return records.statuses()[1] == "completed", orders.statuses()[order.number] == "COMPLETED"

    other = (True, False) if down == "/order" else (False, True)
    eventually(lambda: state() == other, "the other source isn't told")
    clinic.openmrs.clear_faults()
    eventually(lambda: state() == (True, True), "the source that was down isn't told", 60)


def test_a_restart_with_openmrs_down_serves_both_and_forgets_nothing(clinic: Clinic) -> None:
    order = clinic.order()
    clinic.openmrs.records.add_request(clinic.patients[1], steps=[StepFields()])
    orthanc = clinic.start()
    offered(orthanc, 2)
    found = answers(orthanc)
    clinic.openmrs.stop()
    orthanc.kill()
    orthanc.start()
    offered(orthanc, 2)
    assert {str(one.StudyInstanceUID) for one in answers(orthanc).values()} == {
        str(one.StudyInstanceUID) for one in found.values()
    }
    clinic.scan(orthanc, found[order.number])
    clinic.openmrs.start()
    clinic.becomes(order, "COMPLETED", 60)


@pytest.mark.parametrize("fault", ["cut_after_save", "error_after_save"])
def test_a_status_that_was_saved_though_nobody_said_so_is_told_once(
    clinic: Clinic, fault: str
) -> None:
    order = clinic.order()
    orthanc = clinic.start(openmrs={"ReportInProgress": False})
    offered(orthanc, 1)
    clinic.openmrs.set_fault(Fault(fault), path="/fulfillerdetails", times=1)
    clinic.scan(orthanc, answers(orthanc)[order.number])
    clinic.becomes(order, "COMPLETED")
    eventually(
        lambda: orthanc.get("/openmrs/status")["Notifications"]["Delivered"] == 1,
        "the notification is not delivered",
        60,
    )
    told = [one for one in clinic.openmrs.requests_log if "fulfillerdetails" in one.path]
    assert len(told) == 1


def test_an_order_that_was_stopped_meanwhile_waits_for_a_person(clinic: Clinic) -> None:
    order = clinic.order()
    orthanc = clinic.start(openmrs={"ReportInProgress": False})
    offered(orthanc, 1)
    answer = answers(orthanc)[order.number]
    clinic.openmrs.orders.discontinue(order)
    clinic.scan(orthanc, answer)
    held = eventually(
        lambda: [one for one in orthanc.get("/openmrs/notifications") if one["State"] == "held"],
        "nothing is held",
    )
    assert held[0]["Reason"]
    assert clinic.openmrs.orders.statuses()[order.number] is None


# --- performed procedure steps -------------------------------------------------------------


@pytest.mark.parametrize(
    ("on_discontinued", "status"), [("offer", "RECEIVED"), ("leave", "EXCEPTION")]
)
def test_an_exam_of_an_order_that_is_broken_off(
    clinic: Clinic, on_discontinued: str, status: str
) -> None:
    order = clinic.order()
    port = free_port()
    mpps = {"Port": port, "OnDiscontinued": on_discontinued}
    orthanc = clinic.start(openmrs={"MPPS": mpps})
    offered(orthanc, 1)
    reports = Reports(port)
    uid = reports.start(answers(orthanc)[order.number])
    clinic.becomes(order, "IN_PROGRESS")
    reports.end(uid, status="DISCONTINUED")
    clinic.becomes(order, status)
    comment = clinic.openmrs.orders.orders()[0].fulfiller_comment
    assert comment == "broken off at the scanner"


# --- sign-in -------------------------------------------------------------------------------


def test_orders_by_a_token_of_the_single_sign_on(clinic: Clinic) -> None:
    clinic.openmrs.set_behaviour(single_sign_on=True)
    order = clinic.order()
    token = {
        "TokenURL": clinic.openmrs.token_url,
        "ClientID": "orthanc",
        "ClientSecret": "s3cret/§+&",
    }
    orthanc = clinic.start(openmrs={"BearerToken": token})
    offered(orthanc, 1)
    clinic.openmrs.tokens.revoke_all()
    clinic.scan(orthanc, answers(orthanc)[order.number])
    clinic.becomes(order, "COMPLETED", 60)
