"""The database: nothing that it took is lost, whatever happens in between."""

import os
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from orthanc_openmrs.errors import StoreError
from orthanc_openmrs.model import (
    DueStudy,
    GivenUid,
    Kind,
    Named,
    NamedBy,
    NewNotification,
    NotificationFilter,
    NotificationState,
    StepIdentity,
    StudyChange,
    WaitingStudy,
)
from orthanc_openmrs.store.database import Database
from orthanc_openmrs.store.studies import FARTHEST
from tests.unit.builders import FrozenClock

PENDING, DELIVERED, HELD, FAILED, DISCARDED = NotificationState
Open = Callable[[], Database]


@pytest.fixture
def clock() -> FrozenClock:
    """Now."""
    return FrozenClock(1000.0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database that isn't there yet, in a folder that isn't either."""
    return tmp_path / "index" / "openmrs.db"


@pytest.fixture
def reopen(path: Path, clock: FrozenClock) -> Iterator[Open]:
    """Opens the database, as after a restart."""
    opened: list[Database] = []

    def start() -> Database:
        opened.append(Database(f"sqlite:///{path}", clock=clock))
        opened[-1].open()
        return opened[-1]

    yield start
    for database in opened:
        database.close()


@pytest.fixture
def database(reopen: Open) -> Database:
    """The database, open."""
    return reopen()


def new(
    step: str = "14", study: str = "s", identity: StepIdentity | None = None, **changes: Any
) -> NewNotification:
    """A pending notification of request 7."""
    fields: dict[str, Any] = {
        "study": study,
        "study_instance_uid": f"1.{study}",
        "state": PENDING,
        "step": identity or StepIdentity("7", step),
        "evidence": "StudyInstanceUID",
    }
    return NewNotification(**(fields | changes))


def held(study: str = "s", reason: str = "why") -> NewNotification:
    """A held study."""
    return NewNotification(study, f"1.{study}", HELD, reason=reason)


def decide(database: Database, *found: NewNotification, study: str = "s") -> int:
    """Note a study and decide it."""
    database.note_study(study)
    (due,) = [due for due in database.due_studies() if due.study == study]
    return database.decide_study(due, "linked", "", found)


def states(database: Database) -> list[tuple[str, NotificationState]]:
    """Every notification's step and state."""
    return [(n.scheduled_procedure_step_id, n.state) for n in database.list_notifications()]


def by_hand(path: Path, statement: str) -> None:
    """What a person or another version did to the database."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement)


# --- the file ------------------------------------------------------------------------------


def test_nobody_else_can_read_the_file(path: Path, reopen: Open) -> None:
    before = os.umask(0o022)
    try:
        reopen().note_study("s")
    finally:
        os.umask(before)
    files = {found.name: found.stat().st_mode & 0o777 for found in path.parent.iterdir()}
    assert "openmrs.db" in files
    assert set(files.values()) == {0o600}, files


def test_a_commit_is_on_the_disk_when_it_returns(path: Path, database: Database) -> None:
    # As after a kill: another connection reads the files as they are, nothing was closed.
    database.note_study("s")
    decide(database, new())
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("select count(*) from notifications").fetchone() == (1,)
        assert connection.execute("pragma journal_mode").fetchone() == ("wal",)


def test_everything_is_there_after_a_restart(reopen: Open) -> None:
    first = reopen()
    first.save_worklist(b"[1]" * 1000, 5.0)
    first.save_worklist(b"[2]" * 1000, 6.0)
    first.touch_worklist(7.0)
    first.save_person_name(("p", "Bob van Dyk"), "van Dyk^Bob")
    first.save_person_name(("p", "Bob van Dijk"), "van Dijk^Bob")
    first.note_study("undecided")
    decide(first, new(), study="decided")
    first.close()
    then = reopen()
    assert then.load_worklist() == (b"[2]" * 1000, 7.0)
    assert then.load_person_names() == {("p", "Bob van Dijk"): "van Dijk^Bob"}
    assert [due.study for due in then.due_studies()] == ["undecided"]
    assert states(then) == [("14", PENDING)]


def test_a_new_database_holds_nothing(database: Database) -> None:
    assert database.load_worklist() is None
    assert database.next_due() is None
    assert database.notification_counts() == dict.fromkeys(NotificationState, 0)
    assert database.oldest_pending() is None


def _corrupt(path: Path) -> None:
    path.write_bytes(b"this is no database, " * 500)


def _make(path: Path) -> None:
    database = Database(f"sqlite:///{path}")
    database.open()
    database.close()


def _truncated(path: Path) -> None:
    _make(path)
    path.write_bytes(path.read_bytes()[:5000])


def _newer(path: Path) -> None:
    _make(path)
    by_hand(path, "insert into schema_version values (99)")


def _folder(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_corrupt, "not a database"),
        (_truncated, "malformed"),
        (_newer, "version 99"),
        (_folder, "directory"),
    ],
)
def test_a_file_that_cant_be_used_is_refused_in_one_clear_line(
    path: Path, spoil: Callable[[Path], None], words: str
) -> None:
    path.parent.mkdir()
    spoil(path)
    with pytest.raises(StoreError) as caught:
        Database(f"sqlite:///{path}").open()
    line = str(caught.value)
    assert line.startswith("the database ")
    assert words in line
    assert len(line.splitlines()) == 1


def test_postgresql_without_its_driver_is_refused_in_one_clear_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(StoreError, match="psycopg"):
        Database("postgresql+psycopg://orthanc:secret@127.0.0.1:1/openmrs").open()


@pytest.mark.parametrize("body", [b"", b"[]", '["ចាន់"]'.encode(), bytes(range(256))])
def test_the_list_is_kept_as_it_came(database: Database, body: bytes) -> None:
    database.save_worklist(body, 5.0)
    assert database.load_worklist() == (body, 5.0)


def test_a_list_that_was_spoilt_is_no_list(path: Path, database: Database) -> None:
    database.save_worklist(b"[]", 5.0)
    by_hand(path, "update worklists set body = x'00'")
    assert database.load_worklist() is None


# --- studies -------------------------------------------------------------------------------


def test_a_noted_study_is_due_until_it_is_decided(database: Database) -> None:
    database.note_study("s")
    assert database.due_studies() == [DueStudy("s", 1, 0)]
    assert database.next_due() == 1000
    database.decide_study(DueStudy("s", 1, 0), "unlinked", "", [])
    assert database.due_studies() == []
    assert database.next_due() is None


def test_what_is_noted_during_a_decision_is_decided_again(database: Database) -> None:
    database.note_study("s")
    (due,) = database.due_studies()
    database.note_study("s")
    database.decide_study(due, "unlinked", "", [])
    assert database.due_studies() == [DueStudy("s", 2, 0)]


def test_what_is_noted_during_a_decision_isnt_put_off_with_it(database: Database) -> None:
    database.note_study("s")
    (due,) = database.due_studies()
    database.note_study("s")
    database.postpone_study(due, 300, "OpenMRS is away")
    assert database.due_studies() == [DueStudy("s", 2, 0)]


def test_a_study_that_is_put_off_comes_back_in_its_time(
    database: Database, clock: FrozenClock
) -> None:
    database.note_study("s")
    for attempts in range(3):
        (due,) = database.due_studies()
        assert due.attempts == attempts
        database.postpone_study(due, 30, "OpenMRS is away")
        assert database.next_due() == clock.now + 30
        clock.now += 29
        assert database.due_studies() == []
        clock.now += 1
    database.note_study("s")
    assert database.due_studies() == [DueStudy("s", 2, 0)]


def test_the_longest_waiting_study_is_first(database: Database, clock: FrozenClock) -> None:
    for study in ("b", "a", "c"):
        database.note_study(study)
        clock.now += 1
    assert [due.study for due in database.due_studies()] == ["b", "a", "c"]
    assert [due.study for due in database.due_studies(limit=2)] == ["b", "a"]


# --- notifications -------------------------------------------------------------------------


def test_there_is_one_notification_for_a_study_and_step(database: Database) -> None:
    assert decide(database, new("14"), new("15")) == 2
    assert decide(database, new("14"), new("15"), new("16")) == 1
    assert decide(database, new("14", study="t"), study="t") == 1
    assert [step for step, _ in states(database)] == ["14", "15", "16", "14"]


def test_each_step_has_its_own_turn_and_its_notifications_are_sent_in_order(
    database: Database, clock: FrozenClock
) -> None:
    decide(database, new("14"), new("15"))
    decide(database, new("14", study="t"), study="t")

    def due() -> list[tuple[str, str]]:
        return sorted(
            (n.study, n.scheduled_procedure_step_id) for n in database.due_notifications()
        )

    assert due() == [("s", "14"), ("s", "15")], "t's 14 waits for s's"
    first = database.list_notifications()[0]
    assert database.begin(first, 60)
    database.retry_later(first, 60, "HTTP 503", repeats=2)
    assert due() == [("s", "15")], "15 doesn't wait for 14"
    clock.now += 60
    assert due() == [("s", "14"), ("s", "15")]
    (again,) = [n for n in database.due_notifications() if n.id == first.id]
    assert (again.attempts, again.repeats, again.last_error) == (1, 2, "HTTP 503")
    database.delivered(again)
    assert due() == [("s", "15"), ("t", "14")]


def test_a_notification_says_what_became_of_it(database: Database, clock: FrozenClock) -> None:
    decide(database, new("14"), new(identity=StepIdentity("8", "15")), new("16"))
    fourteen, fifteen, sixteen = database.list_notifications()
    clock.now = 1010
    assert database.begin(fourteen, 5)
    database.delivered(fourteen)
    database.failed(fifteen, "HTTP 400")
    database.retry_later(sixteen, 5, "time-out")
    fourteen, fifteen, sixteen = database.list_notifications()
    assert (fourteen.state, fourteen.delivered, fourteen.attempts) == (DELIVERED, 1010, 1)
    assert (fifteen.state, fifteen.last_error, fifteen.delivered) == (FAILED, "HTTP 400", 0)
    assert (sixteen.state, sixteen.next_attempt, sixteen.created) == (PENDING, 1015, 1000)
    assert database.next_due() == 1015
    assert database.notification_counts() == {
        PENDING: 1,
        DELIVERED: 1,
        HELD: 0,
        FAILED: 1,
        DISCARDED: 0,
    }
    assert database.oldest_pending() == 1000
    assert [n.id for n in database.list_notifications(PENDING)] == [sixteen.id]
    assert [n.id for n in database.list_notifications(since=fifteen.id, limit=1)] == [fifteen.id]


@pytest.mark.parametrize("settle", ["failed", "retry_later", "withdraw", "hold"])
@pytest.mark.parametrize("state", [DISCARDED, DELIVERED, FAILED])
def test_what_was_decided_meanwhile_stays(
    path: Path, database: Database, settle: str, state: NotificationState
) -> None:
    decide(database, new())
    (under_way,) = database.due_notifications()
    by_hand(path, f"update notifications set state = '{state.value}', by_person = 1")
    kept = state
    match settle:
        case "failed":
            assert not database.failed(under_way, "no")
        case "withdraw":
            kept = DISCARDED if state is FAILED else state
            assert database.withdraw(under_way, "gone") is (state is FAILED)
        case "hold":
            assert not database.hold(under_way, "another patient's by now")
        case _:
            assert not database.retry_later(under_way, 1, "later")
    assert states(database) == [("14", kept)]
    if kept is state:
        assert decide(database, new()) == 0
        assert states(database) == [("14", state)]


def test_what_was_under_way_when_it_was_discarded_says_what_came_of_it(
    database: Database, clock: FrozenClock
) -> None:
    decide(database, new())
    (under_way,) = database.due_notifications()
    assert database.begin(under_way, 60)
    assert database.discard(database.list_notifications()[0], "alice")
    clock.now += 1
    assert database.delivered(under_way)
    (told,) = database.list_notifications()
    assert (told.state, told.delivered) == (DELIVERED, 1001)
    assert told.last_error == "it was under way when it was discarded, and OpenMRS took it"
    assert [said.action for said in database.decisions(told)] == ["discard"]


def test_a_held_study_waits_for_a_person_and_a_later_link_takes_its_place(
    database: Database,
) -> None:
    decide(database, held())
    decide(database, held(study="t"), study="t")
    assert states(database) == [("", HELD), ("", HELD)]
    assert database.due_notifications() == []
    assert database.next_due() is None
    decide(database, new())
    # Nothing is ever deleted: what was held stays to be seen.
    assert states(database) == [("", DISCARDED), ("", HELD), ("14", PENDING)]
    assert [n.study for n in database.list_notifications(HELD)] == ["t"]


def test_a_held_study_that_a_person_discarded_is_not_brought_up_again(
    database: Database,
) -> None:
    decide(database, held())
    database.discard(database.list_notifications()[0], "alice")
    decide(database, held())
    assert states(database) == [("", DISCARDED)]


def test_a_study_that_is_held_again_shows_the_newest_reason(database: Database) -> None:
    decide(database, held(reason="AccessionNumber is unknown"))
    decide(database, held(reason="PatientID is another's"))
    assert [n.reason for n in database.list_notifications()] == ["PatientID is another's"]


def test_a_failure_in_the_middle_of_a_decision_leaves_all_of_it_to_do(
    path: Path, database: Database
) -> None:
    database.note_study("s")
    (due,) = database.due_studies()
    full = "when exists (select 1 from notifications) begin select raise(abort, 'disk full'); end"
    by_hand(path, f"create trigger full before insert on notifications {full}")
    with pytest.raises(StoreError, match="disk full"):
        database.decide_study(due, "linked", "", [new("14"), new("15")])
    assert database.due_studies() == [due]
    assert states(database) == []
    by_hand(path, "drop trigger full")
    assert database.decide_study(due, "linked", "", [new("14"), new("15")]) == 2


def test_no_value_of_a_statement_stands_in_an_error(path: Path, database: Database) -> None:
    by_hand(path, "drop table notifications")
    with pytest.raises(StoreError) as caught:
        decide(database, new(reason="of Jones^Alice"))
    assert "Jones" not in f"{caught.value}{caught.value.__cause__}"
    assert len(str(caught.value).splitlines()) == 1


def test_a_database_that_couldnt_be_opened_is_tried_again_now_and_then(path: Path) -> None:
    path.parent.parent.joinpath(path.parent.name).write_text("a file in the folder's place")
    database = Database(f"sqlite:///{path}")
    with pytest.raises(StoreError) as caught:
        database.open()
    path.parent.unlink()
    with pytest.raises(StoreError) as again:
        database.note_study("s")
    assert str(again.value) == str(caught.value), "not at once"
    database.engine._tried = float("-inf")
    database.note_study("s")
    assert [due.study for due in database.due_studies()] == ["s"]
    database.close()


def test_sqlite_has_one_owner_who_may_work_on_anything(database: Database) -> None:
    with database.claim("study s") as mine, database.claim("study s") as mine_too:
        assert mine
        assert mine_too


# --- what is under way ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("meanwhile", "begins"),
    [
        ("nothing", True),
        ("delivered", False),
        ("failed", False),
        ("discarded", False),
        ("retry_later", False),
        ("another's try", False),
        ("a person's retry", False),
    ],
)
def test_a_try_begins_only_with_a_notification_as_it_was_read(
    database: Database, clock: FrozenClock, meanwhile: str, begins: bool
) -> None:
    decide(database, new())
    (read,) = database.due_notifications()
    clock.now += 1
    match meanwhile:
        case "delivered":
            database.delivered(read)
        case "failed":
            database.failed(read, "no")
        case "discarded":
            database.withdraw(read, "no news")
        case "retry_later":
            database.retry_later(read, 1, "later")
        case "another's try":
            assert database.begin(read, 5)
        case "a person's retry":
            database.retry(read, "alice")
        case _:
            pass
    assert database.begin(read, 60) is begins
    (now,) = database.list_notifications()
    if begins:
        assert (now.attempts, now.next_attempt, now.last_error) == (1, 1061, "under way")
    else:
        assert database.begin(now, 60) is (now.state is PENDING)


def test_a_study_is_due_only_until_it_is_decided(database: Database) -> None:
    database.note_study("s")
    (due,) = database.due_studies()
    assert database.is_due(due)
    decide(database)
    assert not database.is_due(due)
    assert database.outcome_counts() == {"linked": 1}


def test_what_was_delivered_long_ago_is_deleted_and_its_link_stays(
    path: Path, database: Database, clock: FrozenClock
) -> None:
    alice = StepIdentity("7", "14", "alice", "A-7")
    decide(database, new(identity=alice), new("15"))
    (told,) = [one for one in database.due_notifications() if one.step == alice]
    database.delivered(told)
    clock.now = 2000
    decide(database, new("16", study="t"), study="t")
    for one in database.list_notifications(study="t"):
        database.delivered(one)
    assert not database.expire(before=2000)
    assert states(database) == [("15", PENDING), ("16", DELIVERED)]
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("select * from expired_notifications").fetchall()
    assert len(rows) == 1
    assert "StudyInstanceUID" in rows[0], "why it was linked is known"
    assert [step[2] for step in database.linked(["s"])] == ["14", "15"]
    assert database.owned(["s"]) == {"s": True}
    assert database.studies_of("ALICE", 10) == ["s"]
    past = database.history("s", "1.s").rows
    assert [(one.step, one.state, one.delivered) for one in past] == [
        (alice, DELIVERED, 1000),
        (StepIdentity("7", "15"), PENDING, 0),
    ]


def test_old_ones_are_deleted_in_portions(database: Database) -> None:
    for at in range(5):
        decide(database, new(study=f"s{at}"), study=f"s{at}")
    for one in database.list_notifications():
        database.delivered(one)
    assert database.expire(before=2000, limit=3)
    assert not database.expire(before=2000, limit=3)
    assert states(database) == []


# --- lives ---------------------------------------------------------------------------------


NEW = StudyChange("s", False, 5, new=True)


def test_a_study_that_is_deleted_withdraws_what_waits_of_it(database: Database) -> None:
    decide(database, new("14"), new("15"))
    database.delivered(database.due_notifications()[0])
    decide(database, held(study="t"), study="t")
    database.study_deleted("s")
    database.study_deleted("never seen")
    assert [(n.study, n.state) for n in database.list_notifications()] == [
        ("s", DELIVERED),
        ("s", DISCARDED),
        ("t", HELD),
    ]
    assert (database.life_of("s"), database.life_of("t")) == (2, 1)
    assert database.due_studies() == [], "whether it is there again isn't known yet"
    assert [one.study for one in database.arriving_studies()] == ["s"]


@pytest.mark.parametrize(
    ("story", "life"),
    [
        (["stable", "new 5"], 1),
        (["new 5", "stable", "new 5"], 1),
        (["new 5", "stable", "new 9"], 2),  # the deletion was missed
        (["new 5", "stable", "deleted", "new 9"], 2),
        (["new 5", "stable", "new 9", "deleted"], 3),  # the callback is late: no harm
        (["new 5", "stable", "deleted", "new 9", "new 9", "deleted", "new 12"], 3),
        (["deleted", "stable", "new 5"], 1),
    ],
)
def test_a_study_begins_a_new_life_with_its_first_change_or_its_deletion(
    database: Database, story: list[str], life: int
) -> None:
    for what in story:
        event, _, sequence = what.partition(" ")
        if event == "stable":
            database.note_study("s")
        elif event == "deleted":
            database.study_deleted("s")
        else:
            number = int(sequence)
            database.take_changes(number, [StudyChange("s", False, number, new=True)])
    assert database.life_of("s") == life


def test_in_a_new_life_the_same_step_is_told_again(database: Database) -> None:
    decide(database, new())
    database.delivered(database.due_notifications()[0])
    assert decide(database, new()) == 0
    database.study_deleted("s")
    assert decide(database, new()) == 1
    assert [(n.life, n.state) for n in database.list_notifications()] == [
        (1, DELIVERED),
        (2, PENDING),
    ]
    assert [(one.life, one.state) for one in database.history("s", "1.s").rows] == [
        (1, DELIVERED),
        (2, PENDING),
    ]


def test_a_decision_of_an_earlier_life_is_none(database: Database) -> None:
    database.note_study("s")
    (due,) = database.due_studies()
    database.study_deleted("s")
    database.note_study("s")
    assert database.decide_study(due, "linked", "", [new()]) == 0
    assert not database.is_due(due)
    assert states(database) == []
    assert [again.life for again in database.due_studies()] == [2]


def test_stable_in_a_new_life_is_news_though_it_was_taken_for_the_life_before(
    database: Database,
) -> None:
    database.take_changes(5, [NEW])
    database.note_study("s")
    (due,) = database.due_studies()
    # Deleted and sent again meanwhile: nobody was told, and the decision read the new one.
    database.decide_study(due, "linked", "", [new()], as_of=8)
    again = [StudyChange("s", False, 7, new=True), StudyChange("s", True, 8)]
    assert database.take_changes(8, again) == 1
    assert [due.life for due in database.due_studies()] == [2]


# --- what undecided studies name -----------------------------------------------------------


def test_undecided_studies_that_a_list_bears_on_are_looked_at_again(database: Database) -> None:
    accession = Named(NamedBy.ACCESSION_NUMBER, "A-7")
    patient = Named(NamedBy.PATIENT_ID, "alice")
    for study, named in (("a", {accession}), ("b", {accession, patient}), ("c", {patient})):
        database.note_study(study)
        (due,) = [due for due in database.due_studies() if due.study == study]
        database.decide_study(due, "unlinked", "", [], named)
    assert database.look_again([Named(NamedBy.ACCESSION_NUMBER, "A-8")]) == []
    assert database.look_again([Named(NamedBy.STUDY_INSTANCE_UID, "A-7")]) == []
    assert sorted(database.look_again([accession] * 2)) == ["a", "b"]
    assert sorted(due.study for due in database.due_studies()) == ["a", "b"]
    for due in database.due_studies():
        database.decide_study(due, "linked", "", [new(study=due.study)])
    assert database.look_again([accession, patient]) == ["c"], "the others are decided"
    database.study_deleted("c")
    assert database.look_again([accession, patient]) == []


def test_a_look_up_of_many_identifiers_is_in_portions(database: Database) -> None:
    many = [Named(NamedBy.ACCESSION_NUMBER, f"A-{at}") for at in range(1700)]
    for at in (3, 900, 1699):
        database.note_study(f"s{at}")
        (due,) = database.due_studies()
        database.decide_study(due, "held", "", [held(f"s{at}")], [many[at]])
    assert sorted(database.look_again(many)) == ["s1699", "s3", "s900"]


# --- UIDs that were given out --------------------------------------------------------------


def test_uids_that_were_given_out_are_kept_once_and_for_ever(
    reopen: Open, clock: FrozenClock
) -> None:
    database = reopen()
    first = GivenUid("2.25.1", "7", "alice", "")
    database.save_given_uids([first, first, GivenUid("2.25.2", "8", "bob", "A-8")])
    clock.now += 1
    corrected = GivenUid("2.25.1", "7", "alice", "A-7")
    too_long = GivenUid("2.25.3", "9" * 300, "alice", "")
    database.save_given_uids([first, corrected, too_long])
    database.close()
    then = reopen()
    assert then.load_given_uids()[-1] == corrected
    assert len(then.load_given_uids()) == 3
    assert then.history("s", "2.25.1").given == (first, corrected)


# --- clocks --------------------------------------------------------------------------------


def test_a_clock_that_is_set_back_stalls_nothing(database: Database, clock: FrozenClock) -> None:
    clock.now = 31_536_000.0
    decide(database, new())
    database.retry_later(database.due_notifications()[0], 300, "HTTP 503")
    database.note_study("put off")
    (due,) = database.due_studies()
    database.postpone_study(due, 300, "OpenMRS is away")
    database.take_changes(1, [StudyChange("arriving", stable=False)])
    assert database.due_notifications() == []
    clock.now -= 30_000_000
    assert [n.scheduled_procedure_step_id for n in database.due_notifications()] == ["14"]
    assert "put off" in [due.study for due in database.due_studies()]
    database.arriving_studies()
    (arriving,) = [one for one in database.arriving_studies() if one.study == "arriving"]
    assert arriving.last_update_seen == clock.now


def test_nothing_is_put_off_so_far_that_it_would_count_as_a_clock_set_back(
    database: Database, clock: FrozenClock
) -> None:
    decide(database, new())
    database.retry_later(database.due_notifications()[0], 1e9, "HTTP 503")
    assert database.due_notifications() == []
    assert database.next_due() == clock.now + FARTHEST


def test_studies_that_wait_are_listed_with_the_reason(
    database: Database, clock: FrozenClock
) -> None:
    for study in ("b", "a", "decided"):
        database.note_study(study)
    assert (database.waiting_count(), database.waiting_studies()) == (0, [])
    for due in database.due_studies():
        if due.study == "decided":
            database.decide_study(due, "unlinked", "", [])
        else:
            database.postpone_study(due, 30, "waiting for OpenMRS's list")
    assert database.waiting_count() == 2
    assert database.waiting_studies(since="b") == [
        WaitingStudy("b", 1000, 1, 1030, "waiting for OpenMRS's list")
    ]
    assert [one.study for one in database.waiting_studies(limit=1)] == ["a"]


# --- in progress ---------------------------------------------------------------------------


def begun(step: str = "14", study: str = "s") -> NewNotification:
    """A step's first images are here."""
    return new(step, study, kind=Kind.IN_PROGRESS)


def arrive(database: Database, *found: NewNotification, study: str = "s") -> int:
    """The first images of a study come, and it is decided."""
    database.take_changes(1, [StudyChange(study, stable=False)])
    (due,) = [due for due in database.due_studies() if due.study == study]
    assert due.arriving
    return database.decide_study(due, "linked", "", found)


def kinds(database: Database) -> list[tuple[Kind, NotificationState]]:
    """Every notification's kind and state."""
    return [(kind, n.state) for kind in Kind for n in database.list_notifications(kind=kind)]


def test_first_images_are_looked_at_once_and_the_stable_study_again(database: Database) -> None:
    assert arrive(database, begun()) == 1
    assert database.due_studies() == []
    assert database.outcome_counts() == {}, "nothing is decided yet"
    assert decide(database, new()) == 1
    assert kinds(database) == [(Kind.COMPLETED, PENDING), (Kind.IN_PROGRESS, DISCARDED)]
    assert arrive(database, begun()) == 0
    assert database.notification_counts()[PENDING] == 1, "counted are the completed ones"


@pytest.mark.parametrize(("settled", "state"), [(True, DELIVERED), (False, DISCARDED)])
def test_where_nobody_takes_in_progress_what_waits_is_discarded(
    database: Database, settled: bool, state: NotificationState
) -> None:
    arrive(database, begun())
    decide(database, new("15", "t"), study="t")
    if settled:
        database.delivered(database.list_notifications(kind=Kind.IN_PROGRESS)[0])
    database.withdraw_in_progress("there is no such route")
    assert kinds(database) == [(Kind.COMPLETED, PENDING), (Kind.IN_PROGRESS, state)]


def test_a_held_decision_stays_while_more_images_come(database: Database) -> None:
    decide(database, held())
    arrive(database)
    assert states(database) == [("", HELD)]


# --- Orthanc's changes ---------------------------------------------------------------------


def test_changes_and_where_they_were_read_to_are_one_transaction(
    path: Path, database: Database
) -> None:
    assert database.change_cursor() is None
    database.take_changes(7)
    full = "when exists (select 1 from studies) begin select raise(abort, 'disk full'); end"
    by_hand(path, f"create trigger full before insert on studies {full}")
    with pytest.raises(StoreError, match="disk full"):
        database.take_changes(9, [StudyChange("s", True), StudyChange("t", True)])
    assert (database.change_cursor(), database.due_studies()) == (7, [])
    by_hand(path, "drop trigger full")
    assert database.take_changes(9, [StudyChange("s", True), StudyChange("t", True)]) == 2
    assert (database.change_cursor(), len(database.due_studies())) == (9, 2)


STABLE, CALLBACK, READ = "it is stable", "the callback comes", "the changes are read"


@pytest.mark.parametrize(
    ("story", "decisions"),
    [
        ((STABLE, CALLBACK, READ), 1),
        ((STABLE, READ), 1),  # killed before the callback
        ((STABLE, READ, CALLBACK), 2),  # perhaps another one's: twice rather than never
        ((STABLE, CALLBACK, STABLE, READ), 2),  # the second one's callback is missed
        ((STABLE, STABLE, CALLBACK, READ), 1),  # read after both
        ((STABLE, CALLBACK, STABLE, CALLBACK, READ), 2),
        ((STABLE, READ, STABLE, READ), 2),
        ((STABLE, CALLBACK, READ, READ), 1),
    ],
)
def test_a_stable_study_is_noted_by_callback_or_change_and_never_missed(
    database: Database, story: tuple[str, ...], decisions: int
) -> None:
    decided = 0
    changes: list[StudyChange] = []
    for event in story:
        if event == STABLE:
            changes.append(StudyChange("s", True, len(changes) + 1))
            continue
        if event == CALLBACK:
            database.note_study("s")
        else:
            cursor = database.change_cursor() or 0
            database.take_changes(len(changes), changes[cursor:])
        for due in database.due_studies():
            database.decide_study(due, "unlinked", "", [], as_of=len(changes))
            decided += 1
    assert decided == decisions


def test_a_change_during_a_decision_is_news(database: Database) -> None:
    database.note_study("s")
    (due,) = database.due_studies()
    database.take_changes(8, [StudyChange("s", True, 8)])
    database.decide_study(due, "unlinked", "", [], as_of=7)
    assert [again.noted for again in database.due_studies()] == [2]


def test_a_study_of_which_more_comes_in_the_same_page_arrives_again(database: Database) -> None:
    page = [StudyChange("s", stable) for stable in (False, False, True, False, False)]
    database.take_changes(1, page)
    assert [arriving.study for arriving in database.arriving_studies()] == ["s"]
    assert [due.study for due in database.due_studies()] == ["s"]


def test_a_study_arrives_until_it_is_stable_or_gone(database: Database, clock: FrozenClock) -> None:
    for study in ("stable", "noted", "gone", "old"):
        database.take_changes(1, [StudyChange(study, stable=False)])
    clock.now += 5
    database.still_arriving("old", "20250703T120000")
    database.take_changes(2, [StudyChange("stable", stable=True)])
    database.note_study("noted")
    database.arrived("gone", exists=False)
    (arriving,) = database.arriving_studies()
    assert (arriving.study, arriving.last_update) == ("old", "20250703T120000")
    assert arriving.last_update_seen == 1005
    database.arrived("old", exists=True)
    assert database.arriving_studies() == []
    assert {due.study for due in database.due_studies()} == {"stable", "noted", "old"}


# --- a person's decisions ------------------------------------------------------------------


def test_two_studies_of_one_uid_have_notifications_of_their_own(database: Database) -> None:
    # Orthanc tells studies apart by the patient too.
    decide(database, held(study="s"))
    decide(database, NewNotification("t", "1.s", HELD, reason="why"), study="t")
    assert [(n.study, n.state) for n in database.list_notifications()] == [("s", HELD), ("t", HELD)]
    (reported,) = database.report([new(study="t", study_instance_uid="1.s")], "alice")
    assert (reported.study, reported.state, reported.by_person) == ("t", PENDING, True)
    assert [(n.study, n.state) for n in database.list_notifications()] == [
        ("s", HELD),
        ("t", DISCARDED),
        ("t", PENDING),
    ]


def test_a_persons_report_takes_up_what_was_refused(database: Database) -> None:
    decide(database, new())
    (read,) = database.due_notifications()
    database.failed(read, "HTTP 409")
    (reported,) = database.report([new(evidence="person")], "alice")
    assert [n.id for n in database.list_notifications()] == [reported.id]
    assert (reported.state, reported.evidence, reported.revision) == (PENDING, "person", 3)


def test_one_decision_says_all_the_steps_that_a_study_completes(database: Database) -> None:
    decide(database, held())
    chest, abdomen = new("14"), new(identity=StepIdentity("8", "15"))
    database.report([chest, abdomen], "alice", "named")
    assert states(database) == [("", DISCARDED), ("14", PENDING), ("15", PENDING)]
    said = database.history("s", "1.s").said
    assert [(one.action, one.scheduled_procedure_step_id, one.named) for one in said] == [
        ("report", "14", "named"),
        ("report", "15", "named"),
    ]


def test_a_decision_and_what_it_changes_are_one_transaction(path: Path, database: Database) -> None:
    decide(database, new())
    (told,) = database.list_notifications()
    by_hand(
        path,
        "create trigger full before insert on decisions begin select raise(abort, 'full'); end",
    )
    for act in (database.retry, database.discard):
        with pytest.raises(StoreError, match="full"):
            act(told, "alice")
    with pytest.raises(StoreError, match="full"):
        database.report([new("15")], "alice")
    assert database.list_notifications() == [told]
    assert database.decisions(told) == []


def test_a_study_that_is_held_after_a_persons_report_is_shown(database: Database) -> None:
    decide(database, held())
    database.report([new(evidence="person")], "alice")
    decide(database, held(reason="more images, of another patient"))
    assert states(database) == [("", DISCARDED), ("14", PENDING), ("", HELD)]


def test_notifications_are_found_by_what_they_name_and_since_when(database: Database) -> None:
    database.note_study("s")
    (due,) = database.due_studies()
    rows = [
        NewNotification("s", "1.2", PENDING, step=StepIdentity("7", "14")),
        NewNotification("s", "1.2", HELD, step=StepIdentity("8", "15")),
        NewNotification("s", "1.2", FAILED, step=StepIdentity("8", "16")),
    ]
    database.decide_study(due, "", "", rows)

    def found(*states: NotificationState, **named: Any) -> list[str]:
        wanted = NotificationFilter(**named)
        told = database.list_notifications(*states, named=wanted)
        assert database.count_notifications(*states, named=wanted) == len(told)
        return [one.scheduled_procedure_step_id for one in told]

    assert found(HELD, FAILED) == ["15", "16"]
    assert found(step="15") == ["15"]
    assert found(request="8") == ["15", "16"]
    assert found(PENDING, request="8") == []
    assert found(studies=frozenset(["s", "t"])) == ["14", "15", "16"]
    assert found(studies=frozenset()) == []
    assert found(studies=frozenset(), numbers=frozenset(["15", "7"])) == ["14", "15"]
    assert found(patient="NOBODY") == []
    (first, *_) = database.list_notifications()
    assert found(made=(first.created, first.created + 1)) == ["14", "15", "16"]
    assert found(made=(first.created + 1, 0.0)) == found(made=(0.0, first.created)) == []
    (first, *_) = database.list_notifications()
    assert found(changed_since=first.changed) == ["14", "15", "16"]
    assert found(changed_since=first.changed + 1) == []
    assert len(database.changed_notifications(first.changed)) == 3
    assert database.changed_notifications(first.changed + 1) == []


def test_who_said_whose_a_study_is_is_kept_whole(database: Database) -> None:
    newest = database.newest_decision()
    assert database.assign("s", "ALICE", "ana", None)
    assert database.assign("s", "BOB", "ben", "ALICE")
    assert database.assign("s", "", "ana", "BOB")
    told = [(one.user, one.action, one.named) for one in database.assignments_of("s")]
    assert told == [
        ("ana", "assign", "ALICE"),
        ("ben", "assign", "BOB"),
        ("ana", "unassign", "BOB"),
    ]
    after = database.assignments_after(newest)
    assert [(study, action) for _, study, action in after] == [
        ("s", "assign"),
        ("s", "assign"),
        ("s", "unassign"),
    ]
    assert database.assignments_after(after[-1][0]) == []
