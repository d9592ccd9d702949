"""The schema's steps: a fresh database is as a migrated one, and no kill leaves half a step."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from orthanc_openmrs.model import Kind, NewNotification, NotificationState, StepIdentity
from orthanc_openmrs.store.database import Database
from orthanc_openmrs.store.engine import metadata
from orthanc_openmrs.store.migrations import NEWEST, STEPS, SchemaTooNew
from orthanc_openmrs.store.migrations import migrate as migrate_connection
from tests.schema import fill, schema_of
from tests.unit.builders import FrozenClock

VERSIONS = range(NEWEST + 1)


def engine_of(path: Path) -> sa.Engine:
    """An SQLite database, as the plugin has it."""
    return sa.create_engine(f"sqlite:///{path}")


def migrate(engine: sa.Engine, to: int = NEWEST) -> None:
    """Bring a database to a version."""
    with engine.connect() as connection:
        migrate_connection(connection, to)


def made(path: Path, version: int) -> None:
    """A database that a plugin of a version left, with data in it."""
    engine = engine_of(path)
    with engine.begin() as connection:
        connection.exec_driver_sql("PRAGMA journal_mode=WAL")
    migrate(engine, version)
    with engine.begin() as connection:
        fill(connection)
    engine.dispose()


def test_the_steps_make_the_tables_that_the_statements_are_for(tmp_path: Path) -> None:
    migrated, created = engine_of(tmp_path / "migrated"), engine_of(tmp_path / "created")
    migrate(migrated)
    metadata.create_all(created)
    assert schema_of(migrated) == schema_of(created)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_database_of_any_version_becomes_as_a_fresh_one(tmp_path: Path, version: int) -> None:
    fresh, old = engine_of(tmp_path / "fresh"), engine_of(tmp_path / "old")
    migrate(fresh)
    made(tmp_path / "old", version)
    migrate(old)
    assert schema_of(old) == schema_of(fresh)
    migrate(old)
    assert schema_of(old) == schema_of(fresh)


@pytest.mark.parametrize("version", VERSIONS[:-1])
def test_a_kill_at_any_statement_of_a_step_leaves_it_undone(tmp_path: Path, version: int) -> None:
    """What is on the disk at each statement is what a kill would leave."""
    made(tmp_path / "old", version)
    engine = engine_of(tmp_path / "old")
    left: list[Path] = []

    def kill(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        folder = tmp_path / f"left{len(left)}"
        folder.mkdir()
        for name in ("old", "old-wal", "old-journal"):
            if (tmp_path / name).exists():
                shutil.copy(tmp_path / name, folder / name)
        left.append(folder / "old")

    sa.event.listen(engine, "before_cursor_execute", kill)
    migrate(engine, version + 1)
    engine.dispose()
    assert len(left) > len(STEPS[version].sqlite)
    then = engine_of(tmp_path / "old")
    wanted, rows = schema_of(then), counts(then)
    for path in left:
        again = engine_of(path)
        migrate(again, version + 1)
        assert (schema_of(again), counts(again)) == (wanted, rows)
        again.dispose()


def counts(engine: sa.Engine) -> dict[str, int]:
    """How many rows each table has."""
    with engine.connect() as connection:
        return {
            table: connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar() or 0
            for table in sorted(sa.inspect(engine).get_table_names())
        }


def test_a_first_start_that_was_killed_between_its_tables_is_finished(tmp_path: Path) -> None:
    # Version 0.1.0 made its tables one by one, without a transaction.
    path = tmp_path / "half"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE schema_version (version INTEGER NOT NULL PRIMARY KEY)")
        for statement in STEPS[0].sqlite[:4]:
            connection.execute(statement)
    fresh = engine_of(tmp_path / "fresh")
    migrate(fresh)
    half = engine_of(path)
    migrate(half)
    assert schema_of(half) == schema_of(fresh)


def test_a_newer_database_is_left_as_it_is(tmp_path: Path) -> None:
    engine = engine_of(tmp_path / "newer")
    migrate(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO schema_version VALUES (99)")
    before = schema_of(engine)
    with pytest.raises(SchemaTooNew, match="version 99"):
        migrate(engine)
    assert schema_of(engine) == before


def test_what_the_first_version_kept_is_there_with_its_identity(tmp_path: Path) -> None:
    path = tmp_path / "old"
    made(path, 1)
    database = Database(f"sqlite:///{path}", clock=FrozenClock(2000.0))
    pending, told, held, said, discarded = database.list_notifications()
    assert pending.step == StepIdentity("7", "14", "p-1", "ACC-7")
    assert (pending.state, pending.life, pending.revision) == (NotificationState.PENDING, 1, 1)
    assert (told.state, told.delivered, told.changed) == (NotificationState.DELIVERED, 50.0, 50.0)
    assert (held.state, held.step) == (NotificationState.HELD, StepIdentity())
    assert [one.by_person for one in (pending, told, held, said, discarded)] == [
        False,
        False,
        False,
        True,
        True,
    ]
    (progress,) = database.list_notifications(kind=Kind.IN_PROGRESS)
    assert progress.step.accession_number == ""
    assert [one.action for one in database.decisions(discarded)] == ["discard"]
    assert database.change_cursor() == 7
    assert database.load_person_names() == {("p-1", "Alice Jones"): "Jones^Alice"}
    assert database.assigned(["s-1"]) == {"s-1": "p-1"}
    # What was held is looked at again, for what it names isn't known.
    assert {due.study for due in database.due_studies()} == {"s-noted", "s-held"}
    database.close()


def test_no_number_is_given_twice(tmp_path: Path) -> None:
    path = tmp_path / "old"
    made(path, 1)
    database = Database(f"sqlite:///{path}", clock=FrozenClock(2000.0))
    newest = database.list_notifications(newest_first=True)[0].id
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM notifications")
    database.note_study("s")
    (due,) = [due for due in database.due_studies() if due.study == "s"]
    row = NewNotification("s", "1.s", NotificationState.HELD, reason="why")
    database.decide_study(due, "held", "why", [row])
    assert [one.id for one in database.list_notifications()] == [newest + 2]
    database.close()
