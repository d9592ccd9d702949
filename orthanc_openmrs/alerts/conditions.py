"""What somebody is alerted of, and when it is news.

Decides: which conditions there are, what of them is told again, and the words of an alert. Must not
know: where the counts come from, HTTP.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Condition(StrEnum):
    """What is wrong."""

    HELD = "held"
    FAILED = "failed"
    LIST_TOO_OLD = "list too old"
    IMAGES_MISSING = "images missing"


TEXTS = {
    Condition.HELD: "studies wait for a person to say which step they complete",
    Condition.FAILED: "completed steps were refused by OpenMRS",
    Condition.LIST_TOO_OLD: "OpenMRS gives no new worklist; scanners get the last one",
    Condition.IMAGES_MISSING: "completed exams lack images that were announced",
}

PARTS = {
    Condition.HELD: "notifications?state=held",
    Condition.FAILED: "notifications?state=failed",
    Condition.LIST_TOO_OLD: "now",
    Condition.IMAGES_MISSING: "now",
}
"""Where the page shows it."""


class NotTaken(Exception):
    """An alert may be lost: it is sent again. The words hold no address, which may be secret."""


Counts = Mapping[Condition, int]
"""How many of each there are; a condition that isn't known now isn't in it."""


@dataclass(frozen=True, slots=True)
class Alert:
    """One message: so many now; none where it is over."""

    condition: Condition
    count: int

    def document(self, page: str, name: str) -> dict[str, Any]:
        """As it is sent. `page` is the address of the administrator's page, `name` Orthanc's."""
        text = TEXTS[self.condition] if self.count else "is over"
        return {
            "Condition": self.condition.value,
            "Count": self.count,
            "Resolved": not self.count,
            "Text": text,
            "Link": f"{page}#{PARTS[self.condition]}",
            "Orthanc": name,
        }


def news(told: Counts, now: Counts) -> list[Alert]:
    """More than was told, or none any more. Fewer is no news: somebody is at it."""
    return [
        Alert(condition, count)
        for condition, count in now.items()
        if count > told.get(condition, 0) or (not count and told.get(condition, 0))
    ]


def fallen(told: Counts, now: Counts) -> dict[Condition, int]:
    """What counts as told where there is less now, so that the next one is news. That nothing is
    left is an alert of its own."""
    return {
        condition: min(count, now.get(condition, count) or count)
        for condition, count in told.items()
    }
