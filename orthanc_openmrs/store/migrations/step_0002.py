"""Identities that last, lives of a study, what undecided studies name, no payload.

What was pending keeps the accession number that its payload had. What is held, and what was
unlinked in the last week, is looked at again, for what it names isn't known yet.
"""

_ACCESSION_SQLITE = """
    CASE WHEN json_valid("update")
        THEN coalesce(json_extract("update", '$.body.studyInfo.accessionNumber'), '')
        ELSE ''
    END
"""
_ACCESSION_POSTGRESQL = """
    coalesce(substring("update" from '"accessionNumber": "([^"\\\\]*)"'), '')
"""
_BY_PERSON = """
    (evidence = 'person' OR EXISTS (
        SELECT 1 FROM decisions AS said
        WHERE said.notification = notifications.id AND said.action = 'discard'
    ))
"""
_ONE_IS_LIVE = """
    UPDATE notifications SET state = 'discarded', last_error = 'decided otherwise since'
    WHERE state IN ('pending', 'held') AND EXISTS (
        SELECT 1 FROM notifications AS newer
        WHERE newer.study = notifications.study
        AND newer.requested_procedure_id = notifications.requested_procedure_id
        AND newer.scheduled_procedure_step_id = notifications.scheduled_procedure_step_id
        AND newer.kind = notifications.kind
        AND newer.state IN ('pending', 'held')
        AND newer.id > notifications.id
    )
"""
_NEW_TABLES = (
    """
    CREATE TABLE expired_notifications (
        id INTEGER NOT NULL,
        kind VARCHAR(16) NOT NULL,
        study VARCHAR(64) NOT NULL,
        study_instance_uid TEXT NOT NULL,
        life INTEGER NOT NULL,
        requested_procedure_id TEXT NOT NULL,
        scheduled_procedure_step_id TEXT NOT NULL,
        patient_id TEXT NOT NULL,
        accession_number TEXT NOT NULL,
        evidence TEXT NOT NULL,
        created FLOAT NOT NULL,
        delivered FLOAT NOT NULL,
        PRIMARY KEY (id)
    )
    """,
    "CREATE INDEX expired_notifications_study ON expired_notifications (study)",
    "CREATE INDEX expired_notifications_uid ON expired_notifications (study_instance_uid)",
    "CREATE INDEX expired_notifications_patient ON expired_notifications (lower(patient_id))",
    """
    CREATE TABLE study_names (
        kind VARCHAR(16) NOT NULL,
        value TEXT NOT NULL,
        study VARCHAR(64) NOT NULL,
        PRIMARY KEY (kind, value, study)
    )
    """,
    "CREATE INDEX study_names_study ON study_names (study)",
    """
    CREATE TABLE given_uids (
        study_instance_uid TEXT NOT NULL,
        requested_procedure_id TEXT NOT NULL,
        patient_id TEXT NOT NULL,
        accession_number TEXT NOT NULL,
        given_at FLOAT NOT NULL,
        PRIMARY KEY (study_instance_uid, requested_procedure_id, patient_id, accession_number)
    )
    """,
    """
    CREATE TABLE owners (
        identity VARCHAR(64) NOT NULL,
        since FLOAT NOT NULL,
        PRIMARY KEY (identity)
    )
    """,
    """
    CREATE TABLE witnesses (
        sequence BIGINT NOT NULL,
        study VARCHAR(64) NOT NULL,
        PRIMARY KEY (sequence)
    )
    """,
)
_INDEXES = (
    "CREATE INDEX notifications_due ON notifications (state, next_attempt)",
    """
    CREATE INDEX notifications_turn
    ON notifications (requested_procedure_id, scheduled_procedure_step_id, state)
    """,
    "CREATE INDEX notifications_step ON notifications (scheduled_procedure_step_id, state)",
    "CREATE INDEX notifications_study ON notifications (study)",
    "CREATE INDEX notifications_uid ON notifications (study_instance_uid)",
    "CREATE INDEX notifications_patient ON notifications (lower(patient_id))",
    "CREATE INDEX notifications_delivered ON notifications (delivered)",
    "CREATE INDEX notifications_changed ON notifications (changed)",
    """
    CREATE UNIQUE INDEX notifications_live ON notifications (
        study, life, requested_procedure_id, scheduled_procedure_step_id, patient_id,
        accession_number, kind
    ) WHERE state IN ('pending', 'held')
    """,
    "CREATE INDEX decisions_notification ON decisions (notification)",
    "CREATE INDEX decisions_study ON decisions (study)",
)
_LOOK_AGAIN = """
    UPDATE studies SET noted = noted + 1, attempts = 0, next_attempt = noted_at
    WHERE decided = noted
    AND (outcome = 'held' OR outcome = 'unlinked' AND noted_at > {now} - 604800)
"""

SQLITE = (
    "DROP INDEX notifications_due",
    "DROP INDEX notifications_request",
    "DROP INDEX notifications_study",
    "DROP INDEX notifications_patient",
    _ONE_IS_LIVE,
    "ALTER TABLE notifications RENAME TO notifications_before",
    """
    CREATE TABLE notifications (
        id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
        kind VARCHAR(16) NOT NULL,
        study VARCHAR(64) NOT NULL,
        study_instance_uid TEXT NOT NULL,
        life INTEGER NOT NULL,
        requested_procedure_id TEXT NOT NULL,
        scheduled_procedure_step_id TEXT NOT NULL,
        patient_id TEXT NOT NULL,
        accession_number TEXT NOT NULL,
        state VARCHAR(16) NOT NULL,
        revision INTEGER NOT NULL,
        by_person BOOLEAN NOT NULL,
        evidence TEXT NOT NULL,
        reason TEXT NOT NULL,
        attempts INTEGER NOT NULL,
        repeats INTEGER NOT NULL,
        next_attempt FLOAT NOT NULL,
        last_error TEXT NOT NULL,
        created FLOAT NOT NULL,
        changed FLOAT NOT NULL,
        delivered FLOAT NOT NULL
    )
    """,
    f"""
    INSERT INTO notifications
    SELECT id, kind, study, study_instance_uid, 1, requested_procedure_id,
        scheduled_procedure_step_id, patient_id, {_ACCESSION_SQLITE}, state, 1, {_BY_PERSON},
        evidence, reason, attempts, 0, next_attempt, last_error, created,
        max(created, delivered), delivered
    FROM notifications_before AS notifications ORDER BY id
    """,  # noqa: S608 - constants
    "DROP TABLE notifications_before",
    "DROP INDEX decisions_notification",
    "ALTER TABLE decisions RENAME TO decisions_before",
    """
    CREATE TABLE decisions (
        id INTEGER NOT NULL,
        at FLOAT NOT NULL,
        "user" TEXT NOT NULL,
        action VARCHAR(16) NOT NULL,
        study VARCHAR(64) NOT NULL,
        life INTEGER NOT NULL,
        scheduled_procedure_step_id TEXT NOT NULL,
        notification INTEGER NOT NULL,
        named TEXT NOT NULL,
        PRIMARY KEY (id)
    )
    """,
    """
    INSERT INTO decisions
    SELECT id, at, "user", action, study, 1, scheduled_procedure_step_id, notification, ''
    FROM decisions_before ORDER BY id
    """,
    "DROP TABLE decisions_before",
    *_INDEXES,
    "DROP INDEX studies_due",
    "DROP INDEX studies_arriving",
    "ALTER TABLE studies RENAME TO studies_before",
    """
    CREATE TABLE studies (
        study VARCHAR(64) NOT NULL,
        life INTEGER NOT NULL,
        new_study_seq BIGINT NOT NULL,
        fresh BOOLEAN NOT NULL,
        noted INTEGER NOT NULL,
        decided INTEGER NOT NULL,
        as_of BIGINT NOT NULL,
        noted_at FLOAT NOT NULL,
        next_attempt FLOAT NOT NULL,
        attempts INTEGER NOT NULL,
        outcome VARCHAR(16) NOT NULL,
        reason TEXT NOT NULL,
        arriving BOOLEAN NOT NULL,
        looked_at BOOLEAN NOT NULL,
        last_update VARCHAR(32) NOT NULL,
        last_update_seen FLOAT NOT NULL,
        PRIMARY KEY (study)
    )
    """,
    """
    INSERT INTO studies
    SELECT study, 1, 0, unseen > 0, noted, decided, 0, noted_at, next_attempt, attempts, outcome,
        reason, arriving, looked_at, last_update, last_update_seen
    FROM studies_before
    """,
    "DROP TABLE studies_before",
    """
    CREATE INDEX studies_due ON studies (next_attempt)
    WHERE decided < noted OR arriving = 1 AND looked_at = 0
    """,
    "CREATE INDEX studies_arriving ON studies (study) WHERE arriving = 1",
    _LOOK_AGAIN.format(now="CAST(strftime('%s', 'now') AS INTEGER)"),
    "ALTER TABLE person_names RENAME TO person_names_before",
    """
    CREATE TABLE person_names (
        patient_id TEXT NOT NULL,
        patient_name TEXT NOT NULL,
        structured TEXT NOT NULL,
        PRIMARY KEY (patient_id)
    )
    """,
    "INSERT INTO person_names SELECT patient_id, patient_name, structured FROM person_names_before",
    "DROP TABLE person_names_before",
    *_NEW_TABLES,
)

POSTGRESQL = (
    "DROP INDEX notifications_due",
    "DROP INDEX notifications_request",
    "DROP INDEX notifications_study",
    "DROP INDEX notifications_patient",
    "DROP INDEX decisions_notification",
    _ONE_IS_LIVE,
    """
    ALTER TABLE notifications
        DROP CONSTRAINT IF EXISTS
            notifications_study_instance_uid_scheduled_procedure_step_i_key,
        ALTER COLUMN study_instance_uid TYPE TEXT,
        ALTER COLUMN requested_procedure_id TYPE TEXT,
        ALTER COLUMN scheduled_procedure_step_id TYPE TEXT,
        ALTER COLUMN patient_id TYPE TEXT,
        ALTER COLUMN evidence TYPE TEXT,
        ADD COLUMN life INTEGER NOT NULL DEFAULT 1,
        ADD COLUMN accession_number TEXT NOT NULL DEFAULT '',
        ADD COLUMN revision INTEGER NOT NULL DEFAULT 1,
        ADD COLUMN by_person BOOLEAN NOT NULL DEFAULT false,
        ADD COLUMN repeats INTEGER NOT NULL DEFAULT 0,
        ADD COLUMN changed FLOAT NOT NULL DEFAULT 0
    """,
    f"""
    UPDATE notifications SET accession_number = {_ACCESSION_POSTGRESQL},
        by_person = {_BY_PERSON}, changed = greatest(created, delivered)
    """,  # noqa: S608 - constants
    """
    ALTER TABLE notifications
        DROP COLUMN "update",
        ALTER COLUMN life DROP DEFAULT,
        ALTER COLUMN accession_number DROP DEFAULT,
        ALTER COLUMN revision DROP DEFAULT,
        ALTER COLUMN by_person DROP DEFAULT,
        ALTER COLUMN repeats DROP DEFAULT,
        ALTER COLUMN changed DROP DEFAULT
    """,
    """
    ALTER TABLE decisions
        ALTER COLUMN scheduled_procedure_step_id TYPE TEXT,
        ADD COLUMN life INTEGER NOT NULL DEFAULT 1,
        ADD COLUMN named TEXT NOT NULL DEFAULT ''
    """,
    """
    ALTER TABLE decisions
        ALTER COLUMN life DROP DEFAULT,
        ALTER COLUMN named DROP DEFAULT
    """,
    *_INDEXES,
    """
    ALTER TABLE studies
        ADD COLUMN life INTEGER NOT NULL DEFAULT 1,
        ADD COLUMN new_study_seq BIGINT NOT NULL DEFAULT 0,
        ADD COLUMN fresh BOOLEAN NOT NULL DEFAULT false,
        ADD COLUMN as_of BIGINT NOT NULL DEFAULT 0
    """,
    "UPDATE studies SET fresh = unseen > 0",
    "DROP INDEX studies_due",
    "DROP INDEX studies_arriving",
    """
    CREATE INDEX studies_due ON studies (next_attempt)
    WHERE decided < noted OR arriving AND NOT looked_at
    """,
    "CREATE INDEX studies_arriving ON studies (study) WHERE arriving",
    """
    ALTER TABLE studies
        DROP COLUMN unseen,
        ALTER COLUMN life DROP DEFAULT,
        ALTER COLUMN new_study_seq DROP DEFAULT,
        ALTER COLUMN fresh DROP DEFAULT,
        ALTER COLUMN as_of DROP DEFAULT
    """,
    _LOOK_AGAIN.format(now="extract(epoch from now())"),
    "ALTER TABLE person_names ALTER COLUMN patient_id TYPE TEXT",
    *_NEW_TABLES,
)
