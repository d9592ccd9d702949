"""Alerts are sent once, again where they weren't taken, and not too often."""

from collections.abc import Mapping
from typing import Any

import pytest

from orthanc_openmrs.alerts.conditions import Condition, NotTaken
from orthanc_openmrs.alerts.watch import LONGEST_PAUSE, QUIET, AlertWatch
from orthanc_openmrs.errors import StoreError
from tests.unit.builders import FrozenClock

HELD, FAILED = Condition.HELD, Condition.FAILED


class Clinic:
    """Counts, and who is told of them."""

    def __init__(self) -> None:
        self.clock = FrozenClock(1000.0)
        self.counts: dict[Condition, int] = {}
        self.broken = False
        self.away = ""
        self.tries = 0
        self.sent: list[tuple[str, int]] = []
        self.watch = AlertWatch(
            self._counted, self._send, page="/", name="RAD", clock=self.clock, interval=10
        )

    def _counted(self) -> dict[Condition, int]:
        if self.broken:
            raise StoreError("disk full")
        return self.counts

    def _send(self, document: Mapping[str, Any]) -> None:
        self.tries += 1
        if self.away:
            raise NotTaken(self.away)
        self.sent.append((document["Condition"], document["Count"]))

    def look(self, seconds: float = 0.0, **counts: int) -> list[tuple[str, int]]:
        """Some seconds later, with these counts; what is sent then."""
        self.clock.now += seconds
        self.counts |= {Condition[name.upper()]: count for name, count in counts.items()}
        self.sent.clear()
        self.watch.look()
        return list(self.sent)


def test_a_condition_is_told_once_and_again_where_it_grows_and_when_it_is_over() -> None:
    clinic = Clinic()
    assert clinic.look(held=0) == []
    assert clinic.look(held=2) == [("held", 2)]
    assert clinic.look(QUIET) == []
    assert clinic.look(QUIET, held=3, failed=1) == [("held", 3), ("failed", 1)]
    assert clinic.look(QUIET, held=1) == []
    assert clinic.look(QUIET, held=2) == [("held", 2)]
    assert clinic.look(QUIET, held=0) == [("held", 0)]
    assert clinic.look(QUIET) == []


def test_many_that_come_together_are_one_alert_and_one_more() -> None:
    clinic = Clinic()
    told = [one for count in range(1, 50) for one in clinic.look(1, held=count)]
    assert told == [("held", 1)]
    assert clinic.look(QUIET) == [("held", 49)]


def test_an_alert_that_isnt_taken_is_sent_as_things_are_then(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clinic = Clinic()
    clinic.away = "HTTP 500"
    pauses = []
    last = 0.0
    clinic.look(held=1, failed=1)
    for _ in range(2000):
        before = clinic.tries
        clinic.look(1, held=2)
        if clinic.tries > before:
            pauses.append(clinic.clock.now - last)
            last = clinic.clock.now
    assert pauses[1:6] == [20, 40, 80, 160, LONGEST_PAUSE]
    assert set(pauses[5:]) == {LONGEST_PAUSE}
    clinic.away = ""
    assert clinic.look(LONGEST_PAUSE) == [("held", 2), ("failed", 1)]
    assert [line for line in caplog.messages if "HTTP 500" in line] == [
        "the webhook doesn't take an alert (HTTP 500): it is sent again"
    ]
    assert any("takes alerts again" in line for line in caplog.messages)


def test_a_broken_database_sends_nothing_and_says_nothing_is_over() -> None:
    clinic = Clinic()
    assert clinic.look(held=1) == [("held", 1)]
    clinic.broken = True
    assert clinic.look(QUIET, held=0) == []
    clinic.broken = False
    del clinic.counts[HELD]
    assert clinic.look(QUIET) == []
    assert clinic.look(QUIET, held=1) == []
