"""Whose association is taken."""

from typing import Any

import pytest

from orthanc_openmrs.dimse import pdu
from orthanc_openmrs.mpps.admission import HOLDS, PAUSE, Admission
from orthanc_openmrs.mpps.settings import ProcedureSettings
from tests.unit.builders import FrozenClock

KNOWN = {
    "ct": {"AET": "CT1", "Host": "10.0.0.1", "Port": 104},
    "mr": ["MR1", "10.0.0.2", 104],
    "odd": "MR2",
}


def request(calling: str = "CT1", called: str = "ORTHANC") -> pdu.AssociateRequest:
    return pdu.AssociateRequest(called, calling, ())


@pytest.mark.parametrize(
    ("values", "calling", "address", "answer"),
    [
        ({}, "CT1", "10.9.9.9", None),
        ({}, "ct1", "10.9.9.9", None),
        ({}, "MR1", "10.9.9.9", None),
        ({}, "MR2", "10.0.0.1", pdu.CALLING_NOT_RECOGNIZED),
        ({"is_strict": True}, "ct1", "10.0.0.1", pdu.CALLING_NOT_RECOGNIZED),
        ({"checks_host": True}, "CT1", "10.0.0.1", None),
        ({"checks_host": True}, "CT1", "10.0.0.2", pdu.CALLING_NOT_RECOGNIZED),
        ({"calling_ae_titles": frozenset()}, "ANY", "10.9.9.9", None),
        ({"calling_ae_titles": frozenset({"US1"})}, "US1", "10.9.9.9", None),
        ({"calling_ae_titles": frozenset({"US1"})}, "CT1", "10.0.0.1", pdu.CALLING_NOT_RECOGNIZED),
        ({"checks_called": True, "ae_title": "RIS"}, "CT1", "10.0.0.1", pdu.CALLED_NOT_RECOGNIZED),
        ({"checks_called": True, "ae_title": "Orthanc"}, "CT1", "10.0.0.1", None),
    ],
)
def test_who_is_welcome(
    values: dict[str, Any], calling: str, address: str, answer: pdu.Rejection | None
) -> None:
    settings = ProcedureSettings(**{"calling_ae_titles": None, **values})
    assert Admission(settings, lambda: KNOWN).refusal(request(calling), address) == answer


def test_a_modality_that_was_added_just_now_is_welcome_and_a_stranger_costs_little() -> None:
    known: dict[str, Any] = {}
    asked = []
    clock = FrozenClock(0.0)

    def ask() -> dict[str, Any]:
        asked.append(clock.now)
        return known

    admission = Admission(ProcedureSettings(calling_ae_titles=None), ask, clock)
    for _ in range(100):
        assert admission.refusal(request(), "10.0.0.1") is not None
    assert len(asked) == 1
    known["ct"] = KNOWN["ct"]
    clock.now += PAUSE
    for _ in range(100):
        assert admission.refusal(request(), "10.0.0.1") is None
    assert len(asked) == 2
    known.clear()
    clock.now += HOLDS
    assert admission.refusal(request(), "10.0.0.1") is not None


def test_an_orthanc_that_does_not_answer_lets_nobody_in() -> None:
    def fails() -> Any:
        raise RuntimeError("stopping")

    admission = Admission(ProcedureSettings(calling_ae_titles=None), fails)
    assert admission.refusal(request(), "10.0.0.1") == pdu.CALLING_NOT_RECOGNIZED
