"""What of a study's past its next decision heeds."""

from dataclasses import replace
from typing import Any

import pytest

from orthanc_openmrs.completion.history import history_of
from orthanc_openmrs.completion.linking import PERSON, History
from orthanc_openmrs.model import (
    Kind,
    Notification,
    NotificationState,
    PersonsDecision,
    StepIdentity,
    StudyRecord,
)

PENDING, DELIVERED, HELD, FAILED, DISCARDED = NotificationState
A, B = StepIdentity("7", "14", "alice", "A"), StepIdentity("7", "15", "alice", "A")


def row(state: NotificationState, step: StepIdentity = A, **changes: Any) -> Notification:
    """A notification of this study, in its second life."""
    made = Notification(
        id=1,
        kind=Kind.COMPLETED,
        study="s",
        study_instance_uid="1.2",
        life=2,
        step=step,
        state=state,
        revision=1,
        by_person=False,
        evidence="AccessionNumber",
        reason="",
        attempts=0,
        repeats=0,
        next_attempt=0.0,
        last_error="",
        created=1.0,
        changed=1.0,
        delivered=5.0 if state is DELIVERED else 0.0,
    )
    return replace(made, **changes)


def said(action: str, about: int = 1, named: str = "t1 t2") -> PersonsDecision:
    """What a person decided."""
    return PersonsDecision(1.0, "ana", action, "", about, named)


NOTHING = History()
PAST: list[tuple[str, tuple[Notification, ...], tuple[PersonsDecision, ...], History]] = [
    # why, the notifications, what persons said, what counts
    ("nothing", (), (), NOTHING),
    ("told", (row(DELIVERED),), (), History(told=(A,), settled=frozenset((A,)))),
    ("told in an earlier life", (row(DELIVERED, life=1),), (), History(told=(A,))),
    ("told of another study of the same UID", (row(DELIVERED, study="t"),), (), History(told=(A,))),
    ("about to be told", (row(PENDING),), (), NOTHING),
    ("refused", (row(FAILED),), (), History(settled=frozenset((A,)))),
    ("refused in an earlier life", (row(FAILED, life=1),), (), NOTHING),
    ("in doubt", (row(HELD),), (), NOTHING),
    ("told, and open again", (row(HELD, delivered=5.0),), (),
     History(told=(A,), settled=frozenset((A,)))),
    ("told, open again, and to be told again", (row(PENDING, delivered=5.0),), (),
     History(told=(A,), settled=frozenset((A,)))),
    ("gave way to a newer decision", (row(DISCARDED),), (), NOTHING),
    ("in progress", (row(DELIVERED, kind=Kind.IN_PROGRESS),), (), NOTHING),
    ("a person discarded it", (row(DISCARDED, by_person=True),), (said("discard"),),
     History(settled=frozenset((A,)), seen=frozenset(("t1", "t2")))),
    ("in an earlier life", (row(DISCARDED, by_person=True, life=1),), (), NOTHING),
    ("a person discarded the study's hold", (row(DISCARDED, StepIdentity(), by_person=True),),
     (said("discard"),), History(said=True, seen=frozenset(("t1", "t2")))),
    ("a person had it tried again", (row(PENDING),), (said("retry", named=""),), NOTHING),
    ("a person said two steps",
     (row(PENDING, evidence=PERSON), row(DELIVERED, B, id=2, evidence=PERSON)),
     (said("report"), said("report", 2, "t3")),
     History(told=(A, B), settled=frozenset((B,)), reported=(A, B), said=True,
             seen=frozenset(("t1", "t2", "t3")))),
    ("said a step, and that one was refused", (row(FAILED, evidence=PERSON),), (said("report"),),
     History(settled=frozenset((A,)), said=True, seen=frozenset(("t1", "t2")))),
]  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "decisions", "counts"), [row[1:] for row in PAST], ids=[row[0] for row in PAST]
)
def test_what_counts(
    rows: tuple[Notification, ...], decisions: tuple[PersonsDecision, ...], counts: History
) -> None:
    assert history_of(StudyRecord(2, rows, decisions), "s") == counts


def test_what_is_about_to_be_sent_doesnt_count_against_itself() -> None:
    record = StudyRecord(2, (row(PENDING, delivered=5.0), row(DELIVERED, B, id=2)))
    assert history_of(record, "s", besides=1) == History(told=(B,), settled=frozenset((B,)))
