"""What the tests of the mapping stand on."""

import pytest

from tests.unit.builders import ALICE, BOB
from tests.unit.mapping.clinic import Clinic


@pytest.fixture
def clinic() -> Clinic:
    """Study 0 is nobody's, 1 is Alice's by its PatientID, 2 Bob's, 3 nobody's."""
    return Clinic("H-0", f" {ALICE.upper()}", BOB, "H-3")
