"""The states of a notification: one table, whole."""

import itertools

import pytest

from orthanc_openmrs.completion.states import MOVES, Event, allowed
from orthanc_openmrs.model import NewNotification, NotificationState, StepIdentity
from orthanc_openmrs.store.database import Database

PENDING, DELIVERED, HELD, FAILED, DISCARDED = NotificationState

TABLE = {
    PENDING: {
        Event.TAKEN: DELIVERED,
        Event.REFUSED: FAILED,
        Event.PUT_OFF: PENDING,
        Event.DOUBTED: HELD,
        Event.SUPERSEDED: DISCARDED,
        Event.WITHDRAWN: DISCARDED,
        Event.RETRY: PENDING,
        Event.DISCARD: DISCARDED,
        Event.REPORT: PENDING,
    },
    DELIVERED: {Event.REOPENED: HELD},
    HELD: {
        Event.LINKED: PENDING,
        Event.SUPERSEDED: DISCARDED,
        Event.WITHDRAWN: DISCARDED,
        Event.RETRY: PENDING,
        Event.DISCARD: DISCARDED,
        Event.REPORT: PENDING,
    },
    FAILED: {
        Event.WITHDRAWN: DISCARDED,
        Event.RETRY: PENDING,
        Event.DISCARD: DISCARDED,
        Event.REPORT: PENDING,
    },
    DISCARDED: {Event.TAKEN: DELIVERED, Event.REPORT: PENDING},
}


@pytest.mark.parametrize("state", NotificationState)
def test_what_may_happen_in_a_state(state: NotificationState) -> None:
    assert {event: MOVES[event].target for event in allowed(state)} == TABLE[state]


@pytest.mark.parametrize(("state", "event"), list(itertools.product(NotificationState, Event)))
def test_the_database_moves_a_notification_by_the_table_only(
    state: NotificationState, event: Event
) -> None:
    database = Database("sqlite://")
    database.note_study("s")
    (due,) = database.due_studies()
    row = NewNotification("s", "1.s", state, step=StepIdentity("7", "14"))
    database.decide_study(due, "linked", "", [row])
    (before,) = database.list_notifications()
    moved = database.move(before.id, event, "why")
    (after,) = database.list_notifications()
    assert moved is (event in TABLE[state])
    assert after.state is TABLE[state].get(event, state)
    if not moved:
        assert after == before
    elif event is not Event.PUT_OFF:
        assert after.revision == before.revision + 1
        assert after.by_person is MOVES[event].by_person


def test_a_person_moves_only_what_the_person_saw() -> None:
    database = Database("sqlite://")
    database.note_study("s")
    (due,) = database.due_studies()
    row = NewNotification("s", "1.s", PENDING, step=StepIdentity("7", "14"))
    database.decide_study(due, "linked", "", [row])
    (seen,) = database.list_notifications()
    assert database.failed(seen, "HTTP 409")
    for act in (database.retry, database.discard):
        assert not act(seen, "alice")
    (now,) = database.list_notifications()
    assert now.state is FAILED
    assert database.decisions(now) == []
    assert database.discard(now, "alice")
