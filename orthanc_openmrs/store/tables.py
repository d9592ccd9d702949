"""The tables of the plugin's database, and the numbered steps that make them.

A step never changes once it was released: a later version adds a step. Times are seconds
since the epoch.
"""

from collections.abc import Callable

import sqlalchemy as sa

metadata = sa.MetaData()

schema_version = sa.Table(
    "schema_version", metadata, sa.Column("version", sa.Integer, primary_key=True)
)

worklists = sa.Table(
    "worklists",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("read_at", sa.Float, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
)
"""One row: the last good list of OpenMRS, as it came, compressed."""

person_names = sa.Table(
    "person_names",
    metadata,
    sa.Column("patient_id", sa.String(64), primary_key=True),
    sa.Column("patient_name", sa.Text, nullable=False),
    sa.Column("structured", sa.Text, nullable=False),
)
"""Names as OpenMRS's core has them; `patient_name` is the one text that they were found for."""

studies = sa.Table(
    "studies",
    metadata,
    sa.Column("study", sa.String(64), primary_key=True),
    sa.Column("noted", sa.Integer, nullable=False),
    sa.Column("decided", sa.Integer, nullable=False),
    sa.Column("noted_at", sa.Float, nullable=False),
    sa.Column("next_attempt", sa.Float, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("outcome", sa.String(16), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Index("studies_due", "next_attempt"),
)
"""Studies that became stable. `noted` counts how often; a decision is due while it is ahead
of `decided`."""

notifications = sa.Table(
    "notifications",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("study", sa.String(64), nullable=False),
    sa.Column("study_instance_uid", sa.String(128), nullable=False),
    sa.Column("requested_procedure_id", sa.String(64), nullable=False),
    sa.Column("scheduled_procedure_step_id", sa.String(64), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("evidence", sa.String(64), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("update", sa.Text, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("next_attempt", sa.Float, nullable=False),
    sa.Column("last_error", sa.Text, nullable=False),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("delivered", sa.Float, nullable=False),
    sa.UniqueConstraint("study_instance_uid", "scheduled_procedure_step_id"),
    sa.Index("notifications_due", "state", "next_attempt"),
)
"""What is to be told, or was. One row a study and step; a held study has a row with no step."""


def _first(connection: sa.Connection) -> None:
    metadata.create_all(connection)


STEPS: tuple[Callable[[sa.Connection], None], ...] = (_first,)
"""Step n brings a database of version n to version n + 1."""
