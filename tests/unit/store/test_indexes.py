"""What is asked all the time is found by an index, however much was decided and told before."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from orthanc_openmrs.model import Named, NamedBy
from orthanc_openmrs.store.database import Database
from tests.unit.builders import FrozenClock

OF_WHAT_IS_DUE = ("studies_due", "studies_arriving", "change_cursor", "CONSTANT ROW")
"""Indexes that have only what is to be done, and a table of one row."""

Act = Callable[[Database], object]

ACTS: dict[str, Act] = {
    "due studies": lambda database: database.due_studies(),
    "arriving studies": lambda database: database.arriving_studies(),
    "whether all is done": lambda database: database.is_settled(),
    "how many wait": lambda database: database.waiting_count(),
    "waiting studies": lambda database: database.waiting_studies(),
    "due notifications": lambda database: database.due_notifications(),
    "the next of both": lambda database: database.next_due(),
    "a study's history": lambda database: database.history("s", "1.2"),
    "a study to look at again": lambda database: database.look_again(
        [Named(NamedBy.ACCESSION_NUMBER, "A-7")]
    ),
    "delivered steps": lambda database: database.delivered_steps(["14"]),
    "what was delivered last": lambda database: database.delivered_since(1000.0),
    "a patient's studies": lambda database: database.studies_of("alice", 10),
    "a deleted study": lambda database: database.study_deleted("s"),
}


@pytest.mark.parametrize("what", ACTS)
def test_no_table_is_read_from_its_beginning_to_its_end(tmp_path: Path, what: str) -> None:
    path = tmp_path / "openmrs.db"
    database = Database(f"sqlite:///{path}", clock=FrozenClock(1000.0))
    database.note_study("s")
    asked: list[tuple[str, Any]] = []

    def listen(
        connection: sa.Connection, cursor: object, statement: str, parameters: Any, *_: object
    ) -> None:
        asked.append((statement, parameters))

    sa.event.listen(sa.Engine, "before_cursor_execute", listen)
    try:
        ACTS[what](database)
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", listen)
    database.close()
    assert asked
    with closing(sqlite3.connect(path)) as connection:
        for statement, parameters in asked:
            plan = connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters).fetchall()
            for *_, step in plan:
                whole = step.startswith("SCAN") and not step.endswith(OF_WHAT_IS_DUE)
                assert not whole, f"{step}: {statement}"
