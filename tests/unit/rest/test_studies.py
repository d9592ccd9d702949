"""Studies that may be a patient's."""

import json

import pytest

from orthanc_openmrs.errors import OpenMRSError
from tests.unit.builders import ALICE, BOB
from tests.unit.rest.application import Application


@pytest.mark.parametrize(
    ("uuid", "query", "away", "status", "found"),
    [
        (BOB, {}, False, 200, 1),
        (BOB, {"limit": "1"}, False, 200, 1),
        (ALICE, {}, False, 200, 0),  # OpenMRS doesn't know her, the worklist does
        (ALICE, {}, True, 200, 0),
        (ALICE[::-1], {}, False, 404, 0),
        (ALICE[::-1], {}, True, 503, 0),
        ("x", {}, False, 400, 0),
        (BOB, {"limit": "0"}, False, 400, 0),
        (BOB, {"limit": "101"}, False, 400, 0),
    ],
)
def test_candidates_are_ranked_for_a_patient_that_somebody_knows(
    app: Application, uuid: str, query: dict[str, str], away: bool, status: int, found: int
) -> None:
    if away:
        app.away = OpenMRSError("unreachable", "connection failed")
    response = app.ask(f"/patients/{uuid}/candidates", **query)
    assert response.status == status
    assert ("Retry-After" in response.headers) is (status == 503)
    if status == 200:
        assert len(json.loads(response.body)) == found
