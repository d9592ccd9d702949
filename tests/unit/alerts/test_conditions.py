"""What is news: more than was told, and that it is over."""

import pytest

from orthanc_openmrs.alerts.conditions import PARTS, TEXTS, Alert, Condition, Counts, fallen, news

HELD, FAILED = Condition.HELD, Condition.FAILED


@pytest.mark.parametrize(
    ("told", "now", "alerts", "left"),
    [
        ({}, {}, [], {}),
        ({}, {HELD: 0}, [], {}),
        ({}, {HELD: 2}, [Alert(HELD, 2)], {}),
        ({HELD: 2}, {HELD: 2}, [], {HELD: 2}),
        ({HELD: 2}, {HELD: 3, FAILED: 1}, [Alert(HELD, 3), Alert(FAILED, 1)], {HELD: 2}),
        ({HELD: 3}, {HELD: 1}, [], {HELD: 1}),
        ({HELD: 3}, {HELD: 0}, [Alert(HELD, 0)], {HELD: 3}),
        ({HELD: 0}, {HELD: 0}, [], {HELD: 0}),
        ({HELD: 3}, {}, [], {HELD: 3}),
    ],
)
def test_what_is_news(told: Counts, now: Counts, alerts: list[Alert], left: Counts) -> None:
    assert news(told, now) == alerts
    assert fallen(told, now) == left


def test_an_alert_has_counts_and_a_link_and_nothing_else() -> None:
    assert set(TEXTS) == set(PARTS) == set(Condition)
    assert Alert(HELD, 2).document("https://pacs.example/openmrs/ui/", "Radiology") == {
        "Condition": "held",
        "Count": 2,
        "Resolved": False,
        "Text": "studies wait for a person to say which step they complete",
        "Link": "https://pacs.example/openmrs/ui/#notifications?state=held",
        "Orthanc": "Radiology",
    }
    assert Alert(HELD, 0).document("", "")["Resolved"] is True
