"""Performed procedure steps (MPPS), and what a study may name them by."""

_TABLES = (
    """
    CREATE TABLE procedures (
        id {serial} NOT NULL,
        uid VARCHAR(64) NOT NULL,
        state VARCHAR(16) NOT NULL,
        revision INTEGER NOT NULL,
        calling_ae_title TEXT NOT NULL,
        created FLOAT NOT NULL,
        changed FLOAT NOT NULL,
        ended FLOAT NOT NULL,
        transfer_syntax VARCHAR(64) NOT NULL,
        content {blob} NOT NULL,
        summary TEXT NOT NULL,
        remarks TEXT NOT NULL,
        told VARCHAR(16) NOT NULL,
        images VARCHAR(16) NOT NULL,
        arrivals TEXT NOT NULL,
        study VARCHAR(64) NOT NULL,
        attempts INTEGER NOT NULL,
        due FLOAT,
        PRIMARY KEY (id),
        UNIQUE (uid)
    )
    """,
    "CREATE INDEX procedures_due ON procedures (due)",
    "CREATE INDEX procedures_state ON procedures (state)",
    "CREATE INDEX procedures_changed ON procedures (changed)",
    "CREATE INDEX procedures_images ON procedures (images)",
    """
    CREATE TABLE procedure_keys (
        kind VARCHAR(8) NOT NULL,
        value VARCHAR(128) NOT NULL,
        procedure INTEGER NOT NULL,
        PRIMARY KEY (kind, value, procedure)
    )
    """,
    "CREATE INDEX procedure_keys_procedure ON procedure_keys (procedure)",
)

SQLITE = tuple(table.format(blob="BLOB", serial="INTEGER") for table in _TABLES)
POSTGRESQL = tuple(table.format(blob="BYTEA", serial="SERIAL") for table in _TABLES)
