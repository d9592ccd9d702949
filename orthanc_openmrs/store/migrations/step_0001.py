"""The first schema, as version 0.1.0 made it.

"IF NOT EXISTS", for its SQLite made one table after the other: a kill in between left a part.
"""

_TABLES = (
    """
    CREATE TABLE IF NOT EXISTS worklists (
        id {serial} NOT NULL,
        read_at FLOAT NOT NULL,
        body {blob} NOT NULL,
        PRIMARY KEY (id)
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS person_names (
        patient_id VARCHAR(64) NOT NULL,
        patient_name TEXT NOT NULL,
        structured TEXT NOT NULL,
        PRIMARY KEY (patient_id)
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS studies (
        study VARCHAR(64) NOT NULL,
        noted INTEGER NOT NULL,
        decided INTEGER NOT NULL,
        noted_at FLOAT NOT NULL,
        next_attempt FLOAT NOT NULL,
        attempts INTEGER NOT NULL,
        outcome VARCHAR(16) NOT NULL,
        reason TEXT NOT NULL,
        unseen INTEGER NOT NULL,
        arriving BOOLEAN NOT NULL,
        looked_at BOOLEAN NOT NULL,
        last_update VARCHAR(32) NOT NULL,
        last_update_seen FLOAT NOT NULL,
        PRIMARY KEY (study)
    )
    """,
    "CREATE INDEX IF NOT EXISTS studies_due ON studies (next_attempt)",
    "CREATE INDEX IF NOT EXISTS studies_arriving ON studies (arriving)",
    """
    CREATE TABLE IF NOT EXISTS change_cursor (
        id {serial} NOT NULL,
        sequence BIGINT NOT NULL,
        PRIMARY KEY (id)
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS notifications (
        id {serial} NOT NULL,
        kind VARCHAR(16) NOT NULL,
        study VARCHAR(64) NOT NULL,
        study_instance_uid VARCHAR(128) NOT NULL,
        requested_procedure_id VARCHAR(64) NOT NULL,
        scheduled_procedure_step_id VARCHAR(64) NOT NULL,
        state VARCHAR(16) NOT NULL,
        evidence VARCHAR(64) NOT NULL,
        reason TEXT NOT NULL,
        "update" TEXT NOT NULL,
        attempts INTEGER NOT NULL,
        next_attempt FLOAT NOT NULL,
        last_error TEXT NOT NULL,
        created FLOAT NOT NULL,
        delivered FLOAT NOT NULL,
        patient_id VARCHAR(64) NOT NULL,
        PRIMARY KEY (id),
        UNIQUE (study_instance_uid, scheduled_procedure_step_id, kind)
    )
    """,
    "CREATE INDEX IF NOT EXISTS notifications_due ON notifications (state, next_attempt)",
    """
    CREATE INDEX IF NOT EXISTS notifications_request
    ON notifications (requested_procedure_id, state)
    """,
    "CREATE INDEX IF NOT EXISTS notifications_study ON notifications (study)",
    "CREATE INDEX IF NOT EXISTS notifications_patient ON notifications (lower(patient_id))",
    """
    CREATE TABLE IF NOT EXISTS assignments (
        study VARCHAR(64) NOT NULL,
        patient_id VARCHAR(64) NOT NULL,
        at FLOAT NOT NULL,
        "user" TEXT NOT NULL,
        PRIMARY KEY (study)
    )
    """,
    "CREATE INDEX IF NOT EXISTS assignments_patient ON assignments (lower(patient_id))",
    """
    CREATE TABLE IF NOT EXISTS decisions (
        id {serial} NOT NULL,
        at FLOAT NOT NULL,
        "user" TEXT NOT NULL,
        action VARCHAR(16) NOT NULL,
        study VARCHAR(64) NOT NULL,
        scheduled_procedure_step_id VARCHAR(64) NOT NULL,
        notification INTEGER NOT NULL,
        PRIMARY KEY (id)
    )
    """,
    "CREATE INDEX IF NOT EXISTS decisions_notification ON decisions (notification)",
)

SQLITE = tuple(table.format(blob="BLOB", serial="INTEGER") for table in _TABLES)
POSTGRESQL = tuple(table.format(blob="BYTEA", serial="SERIAL") for table in _TABLES)
