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
    sa.Column("unseen", sa.Integer, nullable=False),
    sa.Column("arriving", sa.Boolean, nullable=False),
    sa.Column("looked_at", sa.Boolean, nullable=False),
    sa.Column("last_update", sa.String(32), nullable=False),
    sa.Column("last_update_seen", sa.Float, nullable=False),
    sa.Index("studies_due", "next_attempt"),
    sa.Index("studies_arriving", "arriving"),
)
"""Studies that came. `noted` counts how often one became stable; a decision is due while it is
ahead of `decided`. `unseen` counts the callback's notes whose change was not read in /changes
yet; it is below 0 where a change was read before its callback came, if that came at all.
`arriving`: images came since it was stable last; `looked_at` whether its first images were
linked; `last_update` is Orthanc's, and since when it is known."""

change_cursor = sa.Table(
    "change_cursor",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("sequence", sa.BigInteger, nullable=False),
)
"""One row: the last of Orthanc's changes that was taken up."""

notifications = sa.Table(
    "notifications",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("kind", sa.String(16), nullable=False),
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
    sa.Column("patient_id", sa.String(64), nullable=False),
    sa.UniqueConstraint("study_instance_uid", "scheduled_procedure_step_id", "kind"),
    sa.Index("notifications_due", "state", "next_attempt"),
    sa.Index("notifications_request", "requested_procedure_id", "state"),
    sa.Index("notifications_study", "study"),
    sa.Index("notifications_patient", sa.text("lower(patient_id)")),
)
"""What is to be told, or was. One row a study, step and kind; a held study has a row with no
step. `patient_id` is the uuid of the request's patient."""

assignments = sa.Table(
    "assignments",
    metadata,
    sa.Column("study", sa.String(64), primary_key=True),
    sa.Column("patient_id", sa.String(64), nullable=False),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("user", sa.Text, nullable=False),
    sa.Index("assignments_patient", sa.text("lower(patient_id)")),
)
"""Whose a study in Orthanc is, as a person said; `patient_id` "" where it is nobody's."""

decisions = sa.Table(
    "decisions",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("user", sa.Text, nullable=False),
    sa.Column("action", sa.String(16), nullable=False),
    sa.Column("study", sa.String(64), nullable=False),
    sa.Column("scheduled_procedure_step_id", sa.String(64), nullable=False),
    sa.Column("notification", sa.Integer, nullable=False),
    sa.Index("decisions_notification", "notification"),
)
"""What a person decided, and who it was."""


def _first(connection: sa.Connection) -> None:
    metadata.create_all(connection)


STEPS: tuple[Callable[[sa.Connection], None], ...] = (_first,)
"""Step n brings a database of version n to version n + 1."""
