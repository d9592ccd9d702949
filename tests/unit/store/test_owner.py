"""Whose the database is: a stranger gets nothing from it, and changes nothing in it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from orthanc_openmrs.errors import StoreError
from orthanc_openmrs.model import StudyChange
from orthanc_openmrs.store.database import Database
from orthanc_openmrs.store.owner import WITNESSES, Owners

Has = Callable[[int, str], bool]


def none(sequence: int, study: str) -> bool:
    """An Orthanc without changes."""
    return False


def came(database: Database, first: int, last: int) -> None:
    """Studies came, and their changes were taken up."""
    changes = [StudyChange(f"s{at}", False, at, new=True) for at in range(first, last + 1)]
    database.take_changes(last, changes)


@pytest.mark.parametrize(
    ("identity", "has", "recognised", "why"),
    [
        ("ours", none, True, "known by name, whatever became of its changes: a restored index"),
        ("other", none, False, "a stranger"),
        ("other", lambda sequence, study: sequence == 3, True, "of several on one index"),
        ("other", lambda sequence, study: study == "s3", True, "one of its changes is enough"),
    ],
)
def test_a_stranger_is_told_from_another_orthanc_of_the_same_index(
    identity: str, has: Has, recognised: bool, why: str
) -> None:
    database = Database("sqlite://")
    assert database.recognises("ours", none)
    came(database, 1, 5)
    assert database.recognises(identity, has) is recognised, why
    if recognised:
        assert database.recognises(identity, none), "known from now on"


def test_of_several_that_begin_at_once_none_is_a_stranger() -> None:
    database = Database("sqlite://")
    assert database.recognises("one", none)
    assert database.recognises("two", none)


def test_what_a_first_version_left_is_whose_comes_first() -> None:
    database = Database("sqlite://")
    came(database, 1, 5)
    assert database.recognises("ours", none)
    assert not database.recognises("other", none)


def test_the_last_changes_are_remembered_and_no_more() -> None:
    database = Database("sqlite://")
    database.recognises("ours", none)
    came(database, 1, 15)
    came(database, 14, 40)
    asked: list[int] = []

    def has(sequence: int, study: str) -> bool:
        asked.append(sequence)
        return False

    assert not database.recognises("other", has)
    assert asked == list(range(40, 40 - WITNESSES, -1))


def test_a_stranger_changes_nothing(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'openmrs.db'}"
    database = Database(url)
    database.admit(lambda: "ours", none)
    came(database, 1, 5)
    assert database.assign("s1", "a-patient", "alice", None)
    stranger = Database(url)
    stranger.admit(lambda: "other", none)
    acts: list[Callable[[], object]] = [
        lambda: stranger.note_study("s1"),
        lambda: stranger.forget_assignment("s1", 9e9),
        lambda: stranger.assigned(["s1"]),
        lambda: stranger.study_deleted("s1"),
    ]
    for act in acts:
        with pytest.raises(StoreError, match="another Orthanc's"):
            act()
    assert database.assigned(["s1"]) == {"s1": "a-patient"}
    database.close()
    stranger.close()


def test_whose_it_is_is_asked_again_until_there_is_an_answer() -> None:
    answers: list[str] = []
    database = Database("sqlite://")

    def identity() -> str:
        if not answers:
            raise RuntimeError("Orthanc doesn't answer yet")
        return answers[0]

    database.admit(identity, none)
    with pytest.raises(StoreError, match="isn't known yet"):
        database.note_study("s")
    answers.append("ours")
    database.note_study("s")
    assert isinstance(database, Owners)
