"""Orthanc goes on storing, and nothing is lost, whatever happens to the plugin's database; and
it stops at once, whatever OpenMRS does."""

import os
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from standin import Fault, Standin
from tests.server.conftest import Start, module_keys
from tests.server.test_completion import (
    add_patients,
    answers,
    ask,
    completed,
    counted,
    posts,
    send,
    stable,
    steps_told,
)
from trial import scanner
from trial.orthanc import ScratchOrthanc, StartFailed
from trial.waiting import eventually


@pytest.fixture
def start_orthanc(start_orthanc: Start) -> Iterator[Start]:
    """As everywhere, but killed after the test: stopping takes seconds, and has its own test."""
    started: list[ScratchOrthanc] = []

    def start(*arguments: Any, **keys: Any) -> ScratchOrthanc:
        started.append(start_orthanc(*arguments, **keys))
        return started[-1]

    yield start
    for orthanc in started:
        orthanc.kill()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    mounted = subprocess.run(command, capture_output=True, check=False, text=True)
    if mounted.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def stored(orthanc: ScratchOrthanc, count: int) -> bool:
    """Whether Orthanc has so many studies."""
    return len(orthanc.get("/studies")) == count


def lists_read(openmrs: Standin) -> int:
    """How often OpenMRS gave its list."""
    log = openmrs.requests_log
    return sum(one.method == "GET" and one.status == 200 for one in log)


def complaints(orthanc: ScratchOrthanc, words: str) -> list[str]:
    """What the plugin logged with these words in it; it must say nothing twice."""
    said = [line.partition("OpenMRS: ")[2] for line in orthanc.log.splitlines()]
    found = [text for text in said if words in text]
    assert len(found) == len(set(found)), "\n".join(found)
    return found


def fill(folder: Path) -> Path:
    """A file that takes all that is left of a file system."""
    path = folder / "filling"
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    assert os.statvfs(folder).f_bavail == 0
    return path


def cursor(database: Path) -> int:
    """The last of Orthanc's changes that the plugin took up."""
    with closing(sqlite3.connect(database)) as connection:
        (sequence,) = connection.execute("SELECT sequence FROM change_cursor").fetchone()
    return int(sequence)


def without_plugin(orthanc: ScratchOrthanc) -> ScratchOrthanc:
    """The same Orthanc, to be started as one that has no plugin and misses what comes."""
    other = ScratchOrthanc(orthanc.folder, script=None)
    other.configuration |= {
        key: orthanc.configuration[key] for key in ("DicomPort", "HttpPort", "StableAge")
    }
    other.http_port, other.dicom_port = orthanc.http_port, orthanc.dicom_port
    return other


def test_orthanc_stops_within_five_seconds_whatever_openmrs_does(
    openmrs: Standin, start_orthanc: Start, tmp_path: Path
) -> None:
    add_patients(openmrs, 2)
    orthanc = start_orthanc({"RefreshInterval": 1, "ReportInProgress": False})
    found = answers(orthanc, 2)
    for step, kind in ((1, "hang"), (2, "drip")):
        openmrs.set_fault(Fault("hang"), method="POST")
        before = len(openmrs.requests_log)

        def under_way(method: str, since: int) -> bool:
            return any(one.method == method for one in openmrs.requests_log[since:])

        # Before it is told, a list is read: so that one is answered, and the next ones aren't.
        send(orthanc, tmp_path, found[step])
        eventually(partial(under_way, "POST", before), f"{kind}: nothing is told")
        openmrs.set_fault(Fault(kind), method="GET")
        before = len(openmrs.requests_log)
        eventually(partial(under_way, "GET", before), f"{kind}: nothing is read")
        started = time.monotonic()
        orthanc.stop()
        assert time.monotonic() - started < 5, kind
        openmrs.clear_faults()
        orthanc.start()
        completed(openmrs, step)
    assert "Traceback" not in orthanc.log


def test_corrupt_database_is_told_and_orthanc_goes_on_storing(
    openmrs: Standin, start_orthanc: Start, tmp_path: Path
) -> None:
    add_patients(openmrs, 2)
    database = tmp_path / "orthanc" / "index" / "openmrs.db"
    database.parent.mkdir(parents=True)
    database.write_bytes(b"this was a database once " * 1000)
    orthanc = start_orthanc({"RefreshInterval": 1})
    found = answers(orthanc, 2)  # the worklist is served all the same
    send(orthanc, tmp_path, found[1])
    stable(orthanc, found[1], times=1)
    problem = "the database can't be opened: file is not a database"
    assert orthanc.get("/openmrs/status")["Notifications"] == {"Error": problem}
    response = orthanc.session.get(f"{orthanc.url}/openmrs/notifications", timeout=30)
    assert response.status_code >= 500
    assert problem in response.json()["Message"]

    reads = lists_read(openmrs)
    eventually(lambda: lists_read(openmrs) >= reads + 3, "the list is read no more")
    assert complaints(orthanc, "database")[0] == problem
    assert "Traceback" not in orthanc.log

    database.rename(database.with_suffix(".corrupt"))
    completed(openmrs, 1, seconds=30)
    send(orthanc, tmp_path, found[2])
    completed(openmrs, 2)
    counted(orthanc, Delivered=2)


def test_full_disk_is_told_and_orthanc_goes_on_storing(
    openmrs: Standin, start_orthanc: Start, tmp_path: Path, small_disk: Path
) -> None:
    add_patients(openmrs, 2)
    orthanc = start_orthanc(
        {"RefreshInterval": 1, "Database": f"sqlite:///{small_disk / 'openmrs.db'}"}
    )
    found = answers(orthanc, 2)
    filling = fill(small_disk)
    send(orthanc, tmp_path, found[1])
    stable(orthanc, found[1], times=1)
    reads = lists_read(openmrs)
    eventually(lambda: lists_read(openmrs) >= reads + 3, "the list is read no more")
    assert complaints(orthanc, "the database fails: database or disk is full")
    assert stored(orthanc, 1)
    assert openmrs.records.statuses()[1] != "completed"
    assert len(scanner.find(orthanc.dicom_port).answers) == 2

    filling.unlink()
    completed(openmrs, 1, seconds=30)
    send(orthanc, tmp_path, found[2])
    counted(orthanc, Delivered=2)
    assert steps_told(openmrs) == [1, 2]


def test_database_locked_by_another_process_is_told_and_orthanc_goes_on_storing(
    openmrs: Standin, start_orthanc: Start, tmp_path: Path
) -> None:
    add_patients(openmrs, 2)
    orthanc = start_orthanc({"RefreshInterval": 1})
    found = answers(orthanc, 2)
    path = tmp_path / "orthanc" / "index" / "openmrs.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        for step in (1, 2):
            started = time.monotonic()
            send(orthanc, tmp_path, found[step])
            assert time.monotonic() - started < 2
        assert stored(orthanc, 2)
        eventually(
            lambda: complaints(orthanc, "the database fails: database is locked"),
            "the log doesn't say that the database is locked",
        )
        assert not posts(openmrs)
        assert len(scanner.find(orthanc.dicom_port).answers) == 2
        other.execute("ROLLBACK")
    for step in (1, 2):
        completed(openmrs, step, seconds=30)
    counted(orthanc, Delivered=2)
    assert complaints(orthanc, "database is locked")
    assert sorted(steps_told(openmrs)) == [1, 2]


def test_database_of_a_newer_version_stops_the_start(openmrs: Standin, tmp_path: Path) -> None:
    path = tmp_path / "newer.db"
    with closing(sqlite3.connect(path)) as newer:
        newer.execute("PRAGMA journal_mode=WAL")
        newer.execute("CREATE TABLE schema_version (version INTEGER PRIMARY KEY)")
        newer.execute("INSERT INTO schema_version VALUES (99)")
        newer.commit()
    before = path.read_bytes()
    keys = {**module_keys(openmrs), "OpenMRS": {"Database": f"sqlite:///{path}"}}
    with (
        pytest.raises(StartFailed) as failure,
        ScratchOrthanc(tmp_path / "orthanc", keys),
    ):
        pass
    (line,) = [text for text in failure.value.log.splitlines() if "OpenMRS: " in text]
    assert "the plugin can't start: the database is of schema version 99" in line
    assert path.read_bytes() == before


def test_studies_that_came_while_the_plugin_was_away_are_taken_up_though_changes_were_cleared(
    openmrs: Standin, start_orthanc: Start, tmp_path: Path
) -> None:
    add_patients(openmrs, 4)
    orthanc = start_orthanc()
    found = answers(orthanc, 4)
    send(orthanc, tmp_path, found[1])
    completed(openmrs, 1)
    orthanc.kill()
    with without_plugin(orthanc) as bare:
        send(bare, tmp_path, found[2])
        stable(bare, found[2], times=1)
    orthanc.start()
    completed(openmrs, 2)

    ask(orthanc, "DELETE", "/changes")
    send(orthanc, tmp_path, found[3])
    completed(openmrs, 3)
    counted(orthanc, Delivered=3)
    orthanc.kill()
    with without_plugin(orthanc) as bare:
        ask(bare, "DELETE", "/changes")
        send(bare, tmp_path, found[4])
    orthanc.start()
    completed(openmrs, 4)
    counted(orthanc, Delivered=4)
    assert steps_told(openmrs) == [1, 2, 3, 4]


def test_another_orthanc_on_the_kept_database_is_noticed_and_all_its_studies_are_taken_up(
    openmrs: Standin, start_orthanc: Start, tmp_path: Path
) -> None:
    add_patients(openmrs, 4)
    kept = tmp_path / "kept.db"
    orthanc = start_orthanc({"Database": f"sqlite:///{kept}"})
    found = answers(orthanc, 4)
    images = {step: scanner.acquire(found[step], tmp_path) for step in found}
    scanner.store(orthanc.dicom_port, [images[step] for step in (1, 2, 3)])
    counted(orthanc, Delivered=3)
    eventually(lambda: cursor(kept) > 16, "the changes are not taken up")
    orthanc.kill()
    for name in ("index", "storage"):
        shutil.rmtree(tmp_path / "orthanc" / name)
    with without_plugin(orthanc) as bare:
        # One that is known, as after a restore, and one that is new.
        scanner.store(bare.dicom_port, [images[1], images[4]])
        assert bare.get("/changes?last")["Last"] < cursor(kept)
    orthanc.start()
    completed(openmrs, 4)
    counted(orthanc, Delivered=4)
    assert complaints(orthanc, "this is another Orthanc, and all its changes are taken up")
    assert sorted(steps_told(openmrs)) == [1, 2, 3, 4]
