"""Each check of what runs says what is wrong and what to do; the database is left alone."""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from orthanc_openmrs import __version__
from orthanc_openmrs.doctor import running
from orthanc_openmrs.doctor.case import Case
from orthanc_openmrs.doctor.findings import Finding
from orthanc_openmrs.doctor.machine import Listener
from orthanc_openmrs.doctor.orthanc import Unanswered
from orthanc_openmrs.errors import StoreError
from orthanc_openmrs.store.database import Database
from orthanc_openmrs.store.inspection import look
from orthanc_openmrs.store.migrations import NEWEST
from tests.unit.doctor.cases import RUNS, STATUS, SYSTEM, case, told


@pytest.mark.parametrize(
    ("check", "changes", "lines"),
    [
        (running.orthanc, {}, ["ok Orthanc: 1.12.7 answers on port 8042"]),
        (
            running.orthanc,
            {"/system": Unanswered("connection refused")},
            ["error Orthanc: doesn't answer on port 8042 (connection refused)"],
        ),
        (
            running.orthanc,
            {"/system": Unanswered("HTTP 401", 401)},
            ["error Orthanc: answers on port 8042, but refuses the first of RegisteredUsers"],
        ),
        (
            running.orthanc,
            {"/system": {**SYSTEM, "Version": "1.9.7"}},
            ["error Orthanc: 1.9.7 is too old"],
        ),
        (
            running.orthanc,
            {"/system": {**SYSTEM, "Version": "mainline", "DicomAet": "OLD"}},
            [
                "ok Orthanc: mainline answers on port 8042",
                "warning DicomAet: is ORTHANC here, and OLD in the Orthanc that runs",
            ],
        ),
        (
            running.loaded,
            {},
            [
                "ok Python plugin: 5.0 is loaded",
                f"ok orthanc-openmrs: {__version__} is loaded",
            ],
        ),
        (
            running.loaded,
            {"/plugins/python": Unanswered("HTTP 404", 404)},
            ["error Python plugin: isn't loaded in the Orthanc that runs"],
        ),
        (
            running.loaded,
            {"/plugins/python": {"Version": "3.4"}, "/openmrs/status": Unanswered("HTTP 404")},
            [
                "error Python plugin: 3.4 is too old",
                "error orthanc-openmrs: isn't loaded in the Orthanc that runs (HTTP 404)",
            ],
        ),
        (
            running.loaded,
            {"/openmrs/status": {**STATUS, "Version": "0.0.9"}},
            [
                "ok Python plugin: 5.0 is loaded",
                f"warning orthanc-openmrs: 0.0.9 runs, {__version__} is installed",
            ],
        ),
    ],
)
def test_the_running_orthanc_is_judged(
    tmp_path: Path,
    check: Callable[[Case], Iterator[Finding]],
    changes: dict[str, Any],
    lines: list[str],
) -> None:
    made = case(tmp_path, {**RUNS, **changes})
    made.version = __version__
    assert told(check(made)) == lines


REFUSED = Unanswered("connection refused")
NO_JSON = Unanswered("the answer is no JSON", 200)
NGINX, UNKNOWN, ITSELF = Listener(0, 12, "nginx"), Listener(0), Listener(103, 34, "Orthanc")
LOG = """W1125 20:59:58.123456 main.cpp:2041] Orthanc version: 1.10.1
E1125 20:59:59.123456 OrthancException.cpp:61] Of the start before: unknown
W1125 21:00:00.123456             MAIN main.cpp:2041] Orthanc version: 1.12.7
E1125 21:00:01.123456             MAIN OrthancException.cpp:61] The HTTP port is in use
E1125 21:00:01.123456             MAIN ServerContext.cpp:923] INTERNAL ERROR: ServerContext::Stop()
E1125 21:00:01.123456             MAIN main.cpp:2074] Uncaught exception, stopping now: [x]
W1125 21:00:01.123456             MAIN main.cpp:2041] Orthanc is stopping
"""


@pytest.mark.parametrize(
    ("system", "listens", "log", "lines"),
    [
        (REFUSED, {}, "", ["error Orthanc: doesn't answer on port 8042 (connection refused)"]),
        (
            REFUSED,
            {},
            LOG,
            [
                "error Orthanc: doesn't answer on port 8042 (connection refused)",
                "error Orthanc's log: 21:00:01 The HTTP port is in use",
            ],
        ),
        (REFUSED, {}, LOG[: LOG.index("E1125 21")], ["error Orthanc: doesn't answer on port 8042"]),
        (
            REFUSED,
            {4242: NGINX},
            LOG,
            ["error DicomPort: port 4242 is taken by nginx (process 12): Orthanc can't use it"],
        ),
        (
            NO_JSON,
            {8042: NGINX, 4242: ITSELF},
            "",
            ["error HttpPort: port 8042 is taken by nginx (process 12): Orthanc can't use it"],
        ),
        (NO_JSON, {8042: UNKNOWN}, "", ["error HttpPort: port 8042 is taken by another program"]),
        (
            {"Version": "1.12.7"},
            {8042: UNKNOWN},
            "",
            ["ok Orthanc: 1.12.7 answers on port 8042"],
        ),
        ({"hello": "world"}, {8042: NGINX}, "", ["error HttpPort: port 8042 is taken by nginx"]),
        (["x"], {}, "", ["error HttpPort: port 8042 is taken by something else"]),
        (
            Unanswered("timed out"),
            {8042: ITSELF},
            "",
            ["error Orthanc: doesn't answer on port 8042 (timed out)"],
        ),
        (
            Unanswered("timed out"),
            {8042: UNKNOWN, 4242: UNKNOWN},
            "",
            ["error Orthanc: doesn't answer on port 8042 (timed out)"],
        ),
    ],
)
def test_who_is_there_instead_of_orthanc_and_why_it_stopped(
    tmp_path: Path, system: Any, listens: dict[int, Listener], log: str, lines: list[str]
) -> None:
    made = case(tmp_path, {"/system": system})
    made.listens = listens.get
    if log:
        made.logs.mkdir()
        (made.logs / "Orthanc.log.1").write_text(log)
    found = told(running.orthanc(made))
    assert len(found) == len(lines)
    assert all(one.startswith(line) for one, line in zip(found, lines, strict=True)), found


REMOTE = {"RemoteAccessAllowed": True}


@pytest.mark.parametrize(
    ("keys", "version", "found"),
    [
        ({}, "1.13.0", []),
        (REMOTE, "1.13.0", ["error RegisteredUsers: is missing, and RemoteAccessAllowed is true"]),
        (
            REMOTE,
            "1.12.7",
            ["warning RegisteredUsers: is missing, and RemoteAccessAllowed is true"],
        ),
        (REMOTE, "", ["warning RegisteredUsers: is missing, and RemoteAccessAllowed is true"]),
        ({**REMOTE, "RegisteredUsers": {"a": "b"}}, "1.13.0", []),
        (
            {**REMOTE, "RegisteredUsers": {}},
            "1.13.0",
            ["warning RegisteredUsers: is empty: nobody can sign in"],
        ),
        ({**REMOTE, "AuthenticationEnabled": False}, "1.13.0", []),
    ],
)
def test_remote_access_without_a_user_is_told(
    tmp_path: Path, keys: dict[str, Any], version: str, found: list[str]
) -> None:
    made = case(tmp_path, **keys)
    made.orthanc = version
    lines = told(running.access(made))
    assert [line.startswith(one) for line, one in zip(lines, found, strict=True)] == [True] * len(
        found
    )


def test_a_database_that_was_replaced_under_orthanc_is_told(tmp_path: Path) -> None:
    path = tmp_path / "openmrs.db"
    made = case(tmp_path, OpenMRS={"Database": f"sqlite:///{path}"})
    made.listens = {8042: ITSELF}.get
    made.open_files = lambda pid: [f"{path} (deleted)"] if pid == ITSELF.pid else []
    (found,) = told(running.database(made))
    assert found.startswith(
        f"error database: {path} was deleted or replaced while Orthanc runs: what the plugin"
    )
    made.open_files = lambda pid: [str(path)]
    assert told(running.database(made)) == [f"ok database: {path} is made at the first start"]


@pytest.mark.parametrize(
    ("aet", "keys", "line"),
    [
        ("", {"DicomModalities": {}}, "ok C-FIND: not tried: DicomCheckModalityHost lets no"),
        ("CT1", {}, "error C-FIND: CT1 is none of DicomModalities: Orthanc refuses it"),
        (
            "CT1",
            {"DicomModalities": {"a": {"AET": "CT1", "AllowFindWorklist": False}}},
            "warning C-FIND: not tried: CT1 may not ask, or not from this machine",
        ),
        (
            "CT1",
            {
                "DicomCheckModalityHost": True,
                "DicomModalities": {"a": ["CT1", "192.0.2.7", 104]},
            },
            "warning C-FIND: not tried: CT1 may not ask, or not from this machine",
        ),
    ],
)
def test_a_scanner_that_orthanc_would_refuse_is_told_before_it_asks(
    tmp_path: Path, aet: str, keys: dict[str, Any], line: str
) -> None:
    made = case(tmp_path, **keys)
    made.aet = aet
    (found,) = told(running.query(made))
    assert found.startswith(line)


@pytest.mark.parametrize(
    ("counts", "lines"),
    [
        ({"Pending": 3}, ["ok notifications: 3 on their way, none held, none refused"]),
        ({"Held": 2}, ["warning notifications: 2 held for a person"]),
        (
            {"Failed": 1, "Held": 1},
            [
                "warning notifications: OpenMRS refused 1",
                "warning notifications: 1 held for a person",
            ],
        ),
    ],
)
def test_notifications_that_wait_for_a_person_are_told(
    tmp_path: Path, counts: dict[str, int], lines: list[str]
) -> None:
    made = case(tmp_path)
    made.status = {"Notifications": counts}
    assert told(running.notifications(made)) == lines


def test_an_orthanc_that_https_would_end_is_not_asked(tmp_path: Path) -> None:
    made = case(tmp_path, RUNS, SslEnabled=True)
    made.orthanc = "1.10.1"
    (found,) = told(running.orthanc(made))
    assert found.startswith("error SslEnabled: is true: Orthanc 1.10.1 of Debian 12 ends at")
    made.orthanc = "1.12.7"
    assert told(running.orthanc(made)) == ["ok Orthanc: 1.12.7 answers on port 8042"]


@pytest.mark.parametrize(
    ("keys", "caller"),
    [
        ({"DicomAlwaysAllowFindWorklist": True}, "DOCTOR"),
        ({}, None),
        ({"DicomModalities": {"a": ["CT1", "192.0.2.7", 104]}}, "CT1"),
        ({"DicomModalities": {"a": {"AET": "CT1", "Host": "192.0.2.7"}}}, "CT1"),
        ({"DicomModalities": {"a": {"AET": "CT1", "AllowFindWorklist": False}}}, None),
        ({"DicomModalities": {"a": {}, "b": [], "c": 1}}, None),
        (
            {
                "DicomCheckModalityHost": True,
                "DicomModalities": {
                    "a": ["CT1", "192.0.2.7", 104],
                    "b": ["LOCAL", "127.0.0.1", 104],
                },
            },
            "LOCAL",
        ),
        (
            {
                "DicomCheckModalityHost": True,
                "DicomModalities": {"a": ["CT1", "192.0.2.7", 104]},
            },
            None,
        ),
    ],
)
def test_who_asks_as_a_scanner_may_ask(
    tmp_path: Path, keys: dict[str, Any], caller: str | None
) -> None:
    made = case(tmp_path, **keys)
    assert running.caller(made) == caller
    made.aet = caller or "CT1"
    assert running.caller(made) == caller, "the same, asked by name"


def test_a_database_is_looked_at_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "openmrs.db"
    made = case(tmp_path, OpenMRS={"Database": f"sqlite:///{path}"})
    assert told(running.database(made)) == [f"ok database: {path} is made at the first start"]
    assert os.listdir(tmp_path) == []

    database = Database(f"sqlite:///{path}")
    database.open()
    database.note_study("s")  # a plugin that runs: its log is there
    assert Path(f"{path}-wal").exists()
    assert look(f"sqlite:///{path}").version == NEWEST
    assert told(running.database(made)) == ["ok database: can be read and written"]
    database.note_study("t")
    database.close()
    assert os.listdir(tmp_path) == ["openmrs.db"]
    before = path.read_bytes()
    assert told(running.database(made)) == ["ok database: can be read and written"]
    assert os.listdir(tmp_path) == ["openmrs.db"]
    assert path.read_bytes() == before


def _no_database(path: Path) -> None:
    path.write_bytes(b"this was a database once " * 100)


def _newer(path: Path) -> None:
    with closing(sqlite3.connect(path)) as newer:
        newer.execute("CREATE TABLE schema_version (version INTEGER PRIMARY KEY)")
        newer.execute("INSERT INTO schema_version VALUES (99)")
        newer.commit()


@pytest.mark.parametrize(
    ("prepare", "line"),
    [
        (_no_database, "error database: {} can't be opened: file is not a database"),
        (
            _newer,
            f"error database: is of schema version 99, this plugin knows up to {NEWEST}",
        ),
        (Path.mkdir, "error database: {} can't be opened: unable to open database file"),
    ],
)
def test_a_database_that_cannot_be_used_is_told(
    tmp_path: Path, prepare: Callable[[Path], None], line: str
) -> None:
    path = tmp_path / "openmrs.db"
    prepare(path)
    made = case(tmp_path, OpenMRS={"Database": f"sqlite:///{path}"})
    assert told(running.database(made)) == [line.format(path)]


def test_what_the_running_plugin_says_of_its_database_counts(tmp_path: Path) -> None:
    made = case(tmp_path, OpenMRS={"Database": f"sqlite:///{tmp_path / 'x.db'}"})
    made.status = {"Notifications": {"Error": "the database fails: database or disk is full"}}
    assert told(running.database(made)) == [
        "error database: the plugin says: the database fails: database or disk is full"
    ]


def test_a_database_server_that_is_away_is_told_without_its_password(tmp_path: Path) -> None:
    url = "postgresql+psycopg://orthanc:Imaging123@127.0.0.1:9/openmrs"
    (found,) = told(running.database(case(tmp_path, OpenMRS={"Database": url})))
    assert found.startswith("error database: the PostgreSQL database can't be opened: ")
    with pytest.raises(StoreError):
        look(url)
