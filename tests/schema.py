"""The schema of a database, and what a version of the plugin left in one, for every database."""

import json
import warnings
from typing import Any

import sqlalchemy as sa

UPDATE = json.dumps(
    {
        "parameters": {"studyInstanceUID": "1.1", "performedProcedureStepID": "14"},
        "body": {"studyInfo": {"accessionNumber": "ACC-7", "studyInstanceUID": "1.1"}},
    }
)

_FIRST = {
    "notifications": [
        (
            1,
            "completed",
            "s-1",
            "1.1",
            "7",
            "14",
            "pending",
            "StudyInstanceUID",
            UPDATE,
            0.0,
            "p-1",
        ),
        (2, "completed", "s-2", "1.2", "8", "15", "delivered", "AccessionNumber", "", 50.0, "p-2"),
        (3, "completed", "s-held", "1.3", "", "", "held", "", "", 0.0, ""),
        (4, "completed", "s-4", "1.4", "9", "16", "failed", "person", UPDATE, 0.0, "p-1"),
        (5, "completed", "s-5", "1.5", "9", "17", "discarded", "AccessionNumber", "", 0.0, ""),
        (6, "in progress", "s-1", "1.1", "7", "14", "pending", "StudyInstanceUID", "", 0.0, "p-1"),
    ],
}
"""Rows of version 1, as far as they differ."""


def fill(connection: sa.Connection) -> None:
    """Put data into a database of any version, as far as its tables are there."""
    tables = set(sa.inspect(connection).get_table_names())
    if "notifications" not in tables:
        return
    columns = {one["name"] for one in sa.inspect(connection).get_columns("notifications")}
    if "life" in columns:
        return  # a newer version's: what an older one left is what matters
    for row in _FIRST["notifications"]:
        number, kind, study, uid, request, step, state, evidence, update, delivered, patient = row
        _insert(
            connection,
            "notifications",
            id=number,
            kind=kind,
            study=study,
            study_instance_uid=uid,
            requested_procedure_id=request,
            scheduled_procedure_step_id=step,
            state=state,
            evidence=evidence,
            reason="",
            update=update,
            attempts=1,
            next_attempt=5.0,
            last_error="",
            created=10.0,
            delivered=delivered,
            patient_id=patient,
        )
    decided = {
        "next_attempt": 5.0,
        "attempts": 0,
        "reason": "",
        "unseen": 0,
        "arriving": False,
        "looked_at": True,
        "last_update": "",
        "last_update_seen": 0.0,
        "noted": 1,
        "noted_at": 10.0,
    }
    for study, done, outcome in (
        ("s-1", 1, "linked"),
        ("s-held", 1, "held"),
        ("s-long-ago", 1, "unlinked"),
        ("s-noted", 0, ""),
    ):
        _insert(connection, "studies", study=study, decided=done, outcome=outcome, **decided)
    _insert(connection, "change_cursor", id=1, sequence=7)
    _insert(connection, "worklists", id=1, read_at=10.0, body=b"")
    _insert(
        connection,
        "person_names",
        patient_id="p-1",
        patient_name="Alice Jones",
        structured="Jones^Alice",
    )
    _insert(connection, "assignments", study="s-1", patient_id="p-1", at=10.0, user="alice")
    _insert(
        connection,
        "decisions",
        at=10.0,
        user="alice",
        action="discard",
        study="s-5",
        scheduled_procedure_step_id="17",
        notification=5,
    )
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SELECT setval('notifications_id_seq', 6)")


def _insert(connection: sa.Connection, table: str, **values: Any) -> None:
    columns: list[sa.ColumnClause[Any]] = [sa.column(name) for name in values]
    connection.execute(sa.table(table, *columns).insert().values(values))


def schema_of(engine: sa.Engine) -> dict[str, Any]:
    """Every table with its columns, keys and indexes, without the order they were made in."""
    inspector = sa.inspect(engine)
    with warnings.catch_warnings():
        # It tells of each index that it doesn't read; those are read below.
        warnings.simplefilter("ignore", sa.exc.SAWarning)
        tables = _tables(inspector)
    with engine.connect() as connection:
        rows = connection.exec_driver_sql(_INDEXES[engine.dialect.name]).all()
    return tables | {"indexes": {name: _plain(made) for name, made in rows}}


def _tables(inspector: sa.Inspector) -> dict[str, Any]:
    return {
        table: {
            "columns": {
                one["name"]: (str(one["type"]), one["nullable"], one["default"])
                for one in inspector.get_columns(table)
            },
            "key": inspector.get_pk_constraint(table)["constrained_columns"],
            "unique": sorted(
                tuple(one["column_names"]) for one in inspector.get_unique_constraints(table)
            ),
        }
        for table in inspector.get_table_names()
        if table != "schema_version"
    }


_INDEXES = {
    "sqlite": "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL",
    "postgresql": "SELECT indexname, indexdef FROM pg_indexes "
    "WHERE schemaname = 'public' AND tablename <> 'schema_version'",
}
"""How an index was made, in the database's own words: SQLAlchemy doesn't read all of it."""


def _plain(made: str) -> str:
    return " ".join(made.replace('"', "").replace("(", " ( ").replace(")", " ) ").split())
