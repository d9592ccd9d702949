"""Whose a study is: what counts more, and what implies a patient."""

import pytest

from orthanc_openmrs.mapping.ownership import Owner, implied_patient, is_uuid, owner_of
from orthanc_openmrs.model import LinkedStep
from tests.unit.builders import ALICE, BOB
from tests.unit.mapping.clinic import ASSIGNED, PATIENT_ID, WORKLIST


def links(*patients: str) -> list[LinkedStep]:
    """Steps 1, 2, … of these patients."""
    return [LinkedStep("s", patient, str(at)) for at, patient in enumerate(patients, 1)]


@pytest.mark.parametrize(
    ("said", "linked", "implied", "expected"),
    [
        (None, (), "", Owner()),
        (None, (), ALICE, Owner(ALICE, PATIENT_ID)),
        (None, (BOB,), ALICE, Owner(BOB, WORKLIST, ("1",))),
        (None, (BOB, ALICE), "", Owner(ALICE, WORKLIST, ("1", "2"))),
        (None, (BOB, ""), "", Owner(BOB, WORKLIST, ("1", "2"))),
        (BOB, (ALICE,), ALICE, Owner(BOB, ASSIGNED, ("1",))),
        (ALICE, (), ALICE, Owner(ALICE, ASSIGNED)),
        ("", (), ALICE, Owner()),
        ("", (ALICE,), ALICE, Owner("", None, ("1",))),
    ],
)
def test_a_decision_counts_more_than_a_step_and_a_step_more_than_the_patient_id(
    said: str | None, linked: tuple[str, ...], implied: str, expected: Owner
) -> None:
    assert owner_of(said, links(*linked), implied) == expected


@pytest.mark.parametrize(
    ("text", "good"),
    [
        (ALICE, True),
        (ALICE.upper(), True),
        ("A" * 36, True),
        ("A" * 38, True),
        ("A" * 39, False),
        ("A" * 35, False),
        ("", False),
        (ALICE[:-1] + "*", False),
        (ALICE[:-1] + "\\", False),
        (ALICE[:-1] + "/", False),
        ("-" + ALICE, False),
        (ALICE + "\n", False),
        ("é" * 36, False),
    ],
)
def test_a_uuid_has_openmrss_form_and_no_wildcard(text: str, good: bool) -> None:
    assert is_uuid(text) is good
    assert implied_patient(f" {text.strip()} ") == (text.strip() if is_uuid(text.strip()) else "")
