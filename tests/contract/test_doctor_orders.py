"""The doctor's look at OpenMRS's own orders, on the stand-in."""

from pathlib import Path
from typing import Any

import pytest

from orthanc_openmrs.config import read_settings
from orthanc_openmrs.connection import connect
from orthanc_openmrs.doctor.case import Case
from orthanc_openmrs.doctor.configuration import Reading
from orthanc_openmrs.doctor.orders import SHOWN, orders
from standin import RADIOLOGY, Account, Concept, Fault, Standin
from standin.server import DEFAULT_ACCOUNTS

CHEST = Concept("12AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "Chest X-ray", (("LOINC", "24627-2"),))


def told(standin: Standin, **section: Any) -> list[tuple[str, str]]:
    """What the doctor says: how bad it is, and all its words."""
    values = {
        "ImagingWorklistURL": standin.worklist_url,
        "ImagingUpdateRequestStatus": standin.update_url,
        "ImagingWorklistUsername": "imaging",
        "ImagingWorklistPassword": "Imaging123",
        "OpenMRS": section,
    }
    case = Case(read=lambda: Reading(values, Path("/")), connect=connect)
    case.settings = read_settings(values, Path("/"))
    return [(one.state.value, f"{one.meaning} / {one.advice}") for one in orders(case)]


def place(standin: Standin, *concepts: Concept) -> None:
    patient = standin.records.add_patient("Ánh", "Nguyễn")
    for concept in concepts:
        standin.orders.place(patient, concept)


def test_nothing_is_said_where_orders_are_no_source(standin: Standin) -> None:
    assert told(standin) == []
    assert standin.requests_log == []


def test_all_is_well(standin: Standin) -> None:
    place(standin, *[CHEST] * 120)
    section = {"OrderTypes": [RADIOLOGY], "Concepts": {"LOINC:24627-2": {"Modality": "DX"}}}
    assert told(standin, Orders=section) == [("ok", "120 can be read / ")]
    assert len(standin.requests_log) == 1  # a long list isn't read for it


def test_concepts_without_a_modality_are_named(standin: Standin) -> None:
    many = [Concept(f"{number}C", f"Exam {number}") for number in range(SHOWN + 2)]
    place(standin, CHEST, *many)
    found = told(standin, Orders={"OrderTypes": [RADIOLOGY], "Concepts": {"0C": {}}})
    assert [state for state, _ in found] == ["ok", *["warning"] * (SHOWN + 1)]
    assert "3 more concepts have no modality" in found[-1][1]
    assert "Nguyễn" not in str(found)


def test_no_order_at_all(standin: Standin) -> None:
    ((state, words),) = told(standin, Orders={"OrderTypes": [RADIOLOGY]})
    assert state == "warning"
    assert "OpenMRS has no active order of these types of the last 30 days" in words


def test_concepts_that_the_account_may_not_see(standin: Standin) -> None:
    place(standin, CHEST)
    rights = DEFAULT_ACCOUNTS["imaging"].privileges - {"Get Concepts"}
    standin.accounts = {"imaging": Account("Imaging123", rights)}
    _, (state, words) = told(standin, Orders={"OrderTypes": [RADIOLOGY]})
    assert state == "error"
    assert "Get Concepts" in words


@pytest.mark.parametrize(
    ("fault", "types", "words"),
    [
        (Fault("forbidden"), RADIOLOGY, "Get Orders"),
        (None, "no-such-type", "OpenMRS.Orders.OrderTypes"),
        (Fault("status", status=503), RADIOLOGY, "the proxy"),
        (Fault("login_page"), RADIOLOGY, "sign-in"),
    ],
)
def test_what_is_wrong_is_said(
    standin: Standin, fault: Fault | None, types: str, words: str
) -> None:
    if fault:
        standin.set_fault(fault, path="/order")
    ((state, said),) = told(standin, Orders={"OrderTypes": [types]})
    assert state == "error"
    assert words in said
