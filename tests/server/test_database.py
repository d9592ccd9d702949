"""The plugin's database on a real PostgreSQL: its schema, its limits, whose it is."""

import os
import signal
import socket
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from orthanc_openmrs.errors import StoreError, Unstorable
from orthanc_openmrs.model import NewNotification, NotificationState, StepIdentity
from orthanc_openmrs.store import engine as limits
from orthanc_openmrs.store.database import Database
from orthanc_openmrs.store.engine import metadata
from orthanc_openmrs.store.migrations import NEWEST, STEPS, migrate
from standin import Fault, Standin
from tests.schema import fill, schema_of
from tests.server import postgres
from tests.server.conftest import Start
from tests.server.test_completion import (
    UPDATE,
    add_patients,
    answers,
    ask,
    completed,
    counted,
    posts,
    send,
    steps_told,
)
from trial import scanner
from trial.waiting import eventually

ROOT = Path(__file__).resolve().parents[2]
NAMES = [
    "fresh",
    "created",
    "limits",
    "values",
    *(f"old{version}" for version in range(NEWEST + 1)),
    "killed",
]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A PostgreSQL, as the beginning of its databases' URLs."""
    if postgres.programs() is None:
        pytest.skip("PostgreSQL isn't installed")
    with postgres.server(*NAMES) as port:
        yield f"postgresql+psycopg://postgres@127.0.0.1:{port}/"


def brought(url: str, to: int = NEWEST) -> sa.Engine:
    """A database of a version."""
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        migrate(connection, to)
    return engine


@pytest.fixture(scope="module")
def fresh(server: str) -> sa.Engine:
    """A database that a first start made."""
    return brought(f"{server}fresh")


def test_the_steps_make_the_tables_that_the_statements_are_for(
    server: str, fresh: sa.Engine
) -> None:
    created = sa.create_engine(f"{server}created", poolclass=sa.NullPool)
    metadata.create_all(created)
    assert schema_of(fresh) == schema_of(created)


@pytest.mark.parametrize("version", range(NEWEST + 1))
def test_a_database_of_any_version_becomes_as_a_fresh_one(
    server: str, fresh: sa.Engine, version: int
) -> None:
    url = f"{server}old{version}"
    with brought(url, version).begin() as connection:
        fill(connection)
    assert schema_of(brought(url)) == schema_of(fresh)
    if version == 1:
        database = Database(url)
        (pending, *_) = database.list_notifications(NotificationState.PENDING)
        assert pending.step == StepIdentity("7", "14", "p-1", "ACC-7")
        database.close()


KILLED = """
import os, signal, sys
import sqlalchemy as sa
from orthanc_openmrs.store.migrations import migrate

url, at, to = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
engine = sa.create_engine(url)
left = [at]

def kill(*_):
    left[0] -= 1
    if left[0] < 0:
        os.kill(os.getpid(), signal.SIGKILL)

with engine.connect() as connection:
    sa.event.listen(engine, "before_cursor_execute", kill)
    migrate(connection, to)
"""


@pytest.mark.parametrize("version", range(NEWEST))
def test_a_kill_in_a_step_leaves_it_undone(server: str, fresh: sa.Engine, version: int) -> None:
    url = f"{server}killed"
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP SCHEMA public CASCADE")
        connection.exec_driver_sql("CREATE SCHEMA public")
    with brought(url, version).begin() as connection:
        fill(connection)
    statements = len(STEPS[version].postgresql)
    for at in (4, 6, 6 + statements // 2, 6 + statements - 1):
        ended = subprocess.run(
            [sys.executable, "-c", KILLED, url, str(at), str(version + 1)],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            timeout=60,
        )
        assert ended.returncode == -signal.SIGKILL
        with engine.connect() as connection:
            last = connection.exec_driver_sql(
                "SELECT coalesce((SELECT max(version) FROM schema_version), 0)"
                if sa.inspect(engine).has_table("schema_version")
                else "SELECT 0"
            ).scalar()
        assert last == version
    assert schema_of(brought(url)) == schema_of(fresh)


# --- limits --------------------------------------------------------------------------------


def stopped(port: str) -> list[int]:
    """The processes of the server on a port."""
    found = subprocess.run(
        ["pgrep", "-f", f"postgres.*-p {port}"], capture_output=True, text=True, check=True
    ).stdout.split()
    (parent,) = found
    children = subprocess.run(
        ["pgrep", "-P", parent], capture_output=True, text=True, check=True
    ).stdout.split()
    return [int(one) for one in (parent, *children)]


def test_a_server_that_says_nothing_any_more_is_given_up_after_a_time(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "EXCHANGE_TIMEOUT", 1.0)
    monkeypatch.setattr(limits, "REOPEN_PAUSE", 1.0)
    database = Database(f"{server}limits?connect_timeout=2")
    database.note_study("s")
    processes = stopped(server.rpartition(":")[2].rstrip("/"))
    for process in processes:
        os.kill(process, signal.SIGSTOP)
    try:
        began = time.monotonic()
        with pytest.raises(StoreError):
            database.note_study("t")
        first = time.monotonic() - began
        with pytest.raises(StoreError):
            database.note_study("u")
        assert first < 6
        assert time.monotonic() - began - first < 0.5, "the next one doesn't find out anew"
    finally:
        for process in processes:
            os.kill(process, signal.SIGCONT)
    time.sleep(limits.REOPEN_PAUSE)
    database.note_study("t")
    assert [due.study for due in database.due_studies()] == ["s", "t"]
    database.close()


# --- values --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("uid", "fits"),
    [
        ("1." * 101, True),  # no DICOM UID, but kept as it is
        ("9" * 300, False),
        ("ចាន់" * 30, False),
        ("1.2\0", False),
        ("1.2\ud800", False),
    ],
)
def test_an_odd_value_is_its_studys_trouble_only(server: str, uid: str, fits: bool) -> None:
    database = Database(f"{server}values")

    def decides(study: str, study_instance_uid: str) -> int:
        database.note_study(study)
        (due,) = [due for due in database.due_studies() if due.study == study]
        row = NewNotification(
            study, study_instance_uid, NotificationState.PENDING, step=StepIdentity("7", "14")
        )
        return database.decide_study(due, "linked", "", [row])

    odd = f"odd{zlib.crc32(uid.encode(errors='replace'))}"
    if fits:
        assert decides(odd, uid) == 1
    else:
        with pytest.raises(Unstorable, match="StudyInstanceUID") as caught:
            decides(odd, uid)
        assert uid not in str(caught.value)
        assert odd in {due.study for due in database.due_studies()}, "it waits"
    assert decides(f"good{odd}", "1.2") == 1
    database.close()


# --- in an Orthanc -------------------------------------------------------------------------


@pytest.fixture
def mute() -> Iterator[int]:
    """The port of a server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_the_worklist_is_served_while_the_database_says_nothing(
    openmrs: Standin, start_orthanc: Start, mute: int, tmp_path: Path
) -> None:
    add_patients(openmrs, 3)
    began = time.monotonic()
    orthanc = start_orthanc({"Database": f"postgresql+psycopg://postgres@127.0.0.1:{mute}/openmrs"})
    assert time.monotonic() - began < 30, "Orthanc starts without"
    found = answers(orthanc, 3)
    eventually(lambda: "the database can't be opened" in orthanc.log, "it isn't told")
    send(orthanc, tmp_path, found[1])
    assert len(scanner.find(orthanc.dicom_port).answers) == 3


def test_a_second_orthanc_with_the_database_of_another_changes_nothing_in_it(
    openmrs: Standin, start_orthanc: Start, tmp_path: Path
) -> None:
    add_patients(openmrs, 2)
    section = {"Database": f"sqlite:///{tmp_path / 'shared.db'}", "RefreshInterval": 1}
    first = start_orthanc(section, name="first")
    found = answers(first, 2)
    openmrs.set_fault(Fault("status", status=503), UPDATE, "POST")
    send(first, tmp_path, found[1])
    eventually(lambda: "waits: HTTP 503" in first.log, "nothing waits")
    (study,) = first.get("/studies")
    patient = found[2].PatientID
    ask(first, "PUT", f"/openmrs/patients/{patient}/studies/{study}", '{"Force": true}')
    first.stop()

    second = start_orthanc(section, name="second")
    assert len(answers(second, 2)) == 2, "its scanners are served"
    eventually(lambda: "another Orthanc's" in second.log, "it isn't told")
    openmrs.clear_faults()
    send(second, tmp_path, found[2])
    eventually(lambda: len(second.get("/studies")) == 1, "the images don't come")
    second.stop()

    first.start()
    counted(first, Delivered=1)
    completed(openmrs, 1)
    assert openmrs.records.statuses()[2] == "scheduled"
    assert first.get(f"/openmrs/studies/{study}")["Patient"] == patient


def test_what_was_pending_in_a_database_that_was_lost_is_told(
    openmrs: Standin, start_orthanc: Start, tmp_path: Path
) -> None:
    add_patients(openmrs, 3)
    orthanc = start_orthanc({"RefreshInterval": 1})
    found = answers(orthanc, 3)
    send(orthanc, tmp_path, found[1])
    completed(openmrs, 1)
    openmrs.set_fault(Fault("status", status=503), UPDATE, "POST")
    send(orthanc, tmp_path, found[2])
    eventually(lambda: "waits: HTTP 503" in orthanc.log, "nothing waits")
    orthanc.stop()
    for path in (orthanc.folder / "index").glob("openmrs.db*"):
        path.unlink()
    openmrs.clear_faults()
    before = len(posts(openmrs))
    orthanc.start()
    completed(openmrs, 2)
    assert {int(step) for step in steps_told(openmrs)[before:]} == {2}, "1 isn't told again"
    assert openmrs.records.statuses()[3] == "scheduled"
