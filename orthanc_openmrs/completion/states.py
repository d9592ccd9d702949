"""The states of a notification: what may happen to it in which, and who decides it.

One table; `store.notifications` moves a notification by it, and only where its state is still
one of the event's sources. Decides nothing else; knows no database.
"""

from dataclasses import dataclass
from enum import StrEnum

from orthanc_openmrs.model import NotificationState

PENDING, DELIVERED, HELD, FAILED, DISCARDED = NotificationState


class Event(StrEnum):
    """What happens to a notification."""

    TAKEN = "OpenMRS has it"
    REFUSED = "OpenMRS refuses it, and would again"
    PUT_OFF = "it is tried again later"
    DOUBTED = "the list says otherwise, before it was told"
    LINKED = "the study was decided anew, and is linked now"
    SUPERSEDED = "the study was decided anew, and otherwise"
    WITHDRAWN = "what it is about is gone, or has ended"
    REOPENED = "the list says otherwise, after it was told"
    RETRY = "retry"
    DISCARD = "discard"
    REPORT = "report"


@dataclass(frozen=True, slots=True)
class Move:
    """From which states an event leads to which; `by_person` whether a person decides it."""

    sources: tuple[NotificationState, ...]
    target: NotificationState
    by_person: bool = False


MOVES = {
    # A try that was under way when it was discarded: OpenMRS has it all the same.
    Event.TAKEN: Move((PENDING, DISCARDED), DELIVERED),
    Event.REFUSED: Move((PENDING,), FAILED),
    Event.PUT_OFF: Move((PENDING,), PENDING),
    Event.DOUBTED: Move((PENDING,), HELD),
    Event.LINKED: Move((HELD,), PENDING),
    Event.SUPERSEDED: Move((PENDING, HELD), DISCARDED),
    Event.WITHDRAWN: Move((PENDING, HELD, FAILED), DISCARDED),
    Event.REOPENED: Move((DELIVERED,), HELD),
    Event.RETRY: Move((PENDING, HELD, FAILED), PENDING, by_person=True),
    Event.DISCARD: Move((PENDING, HELD, FAILED), DISCARDED, by_person=True),
    Event.REPORT: Move((PENDING, HELD, FAILED, DISCARDED), PENDING, by_person=True),
}
"""Each event, and what it does. What isn't here can't happen; only `expire` deletes."""

LIVE = (PENDING, HELD)
"""States in which there is one notification of a study's life, step and kind."""


def allowed(state: NotificationState) -> frozenset[Event]:
    """What may happen to a notification in this state."""
    return frozenset(event for event, move in MOVES.items() if state in move.sources)
