"""docs/installation.md's back-up, made while all is running, restores what it promises."""

import re
import subprocess
from pathlib import Path

import pytest

from standin import Fault, Standin
from tests.server import postgres
from tests.server.conftest import Start
from tests.server.test_completion import (
    UPDATE,
    add_patients,
    answers,
    completed,
    counted,
    notifications,
    posts,
    report,
    send,
    steps_told,
)
from trial.orthanc import ScratchOrthanc
from trial.readme import commands
from trial.waiting import eventually

DOCUMENT = Path(__file__).parents[2] / "docs" / "installation.md"


def run(section: str, orthanc: ScratchOrthanc, backups: Path) -> None:
    """The SQLite commands of a section, but for the packages and services of a Debian."""
    for command in commands(DOCUMENT.read_text(), section):
        if re.match(r"apt-get |systemctl |pg_", command):
            continue
        here = (
            command.replace("/var/lib/orthanc/db-v6", str(orthanc.folder / "index"))
            .replace("/var/backups/orthanc-openmrs", str(backups))
            .replace("-o orthanc -g orthanc ", "")
        )
        subprocess.run(["sh", "-ec", here], check=True, timeout=30)


def test_a_back_up_of_a_running_database_restores_all_and_nothing_is_told_twice(
    openmrs: Standin, start_orthanc: Start, tmp_path: Path
) -> None:
    add_patients(openmrs, 5)
    orthanc = start_orthanc({"RefreshInterval": 1})
    found = answers(orthanc, 5)
    send(orthanc, tmp_path, found[1])
    counted(orthanc, Delivered=1)
    send(orthanc, tmp_path, found[2], {"PatientID": "somebody else"})
    counted(orthanc, Delivered=1, Held=1)
    openmrs.set_fault(Fault("status", status=503), UPDATE, "POST")
    send(orthanc, tmp_path, found[3])
    eventually(lambda: "waits: HTTP 503" in orthanc.log, "nothing waits")

    backups = tmp_path / "backups"
    run("Back-up", orthanc, backups)
    assert (backups / "openmrs.db").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in backups.iterdir()] == ["openmrs.db"]

    openmrs.clear_faults()
    completed(openmrs, 3, 30)
    counted(orthanc, Delivered=2, Held=1)
    send(orthanc, tmp_path, found[4])
    completed(openmrs, 4)
    counted(orthanc, Delivered=3, Held=1)
    told = steps_told(openmrs)
    orthanc.kill()
    for path in (orthanc.folder / "index").glob("openmrs.db*"):
        path.write_bytes(b"destroyed")

    run("Restore", orthanc, backups)
    orthanc.start()
    # Step 4's study came after the back-up: OpenMRS's list says that it is completed.
    counted(orthanc, Delivered=2, Held=1)
    send(orthanc, tmp_path, found[5])
    completed(openmrs, 5)
    counted(orthanc, Delivered=3, Held=1)
    assert steps_told(openmrs) == [*told, 5]
    (held,) = [one for one in notifications(orthanc).values() if one["State"] == "held"]
    report(orthanc, held["Study"], 2)
    completed(openmrs, 2)
    orthanc.kill()


def test_without_a_back_up_what_was_pending_is_told_and_nothing_twice(
    openmrs: Standin, start_orthanc: Start, tmp_path: Path
) -> None:
    add_patients(openmrs, 2)
    orthanc = start_orthanc({"RefreshInterval": 1})
    found = answers(orthanc, 2)
    send(orthanc, tmp_path, found[1])
    completed(openmrs, 1)
    openmrs.set_fault(Fault("status", status=503), UPDATE, "POST")
    send(orthanc, tmp_path, found[2])
    eventually(lambda: "waits: HTTP 503" in orthanc.log, "nothing waits")
    orthanc.kill()
    for path in (orthanc.folder / "index").glob("openmrs.db*"):
        path.unlink()
    openmrs.clear_faults()
    told = len(posts(openmrs))
    orthanc.start()
    completed(openmrs, 2)
    add_patients(openmrs, 1)
    eventually(lambda: 3 in answers(orthanc, 1), "step 3 isn't on the worklist")
    send(orthanc, tmp_path, answers(orthanc, 1)[3])
    completed(openmrs, 3)
    counted(orthanc, Delivered=2)
    assert steps_told(openmrs)[told:] == [2, 3], "step 1 isn't told again"
    orthanc.kill()


def test_a_dump_of_a_running_postgresql_restores_all(
    openmrs: Standin, start_orthanc: Start, tmp_path: Path
) -> None:
    if postgres.programs() is None:
        pytest.skip("PostgreSQL isn't installed")
    add_patients(openmrs, 3)
    with postgres.server("openmrs") as port:
        server = ["-h", "127.0.0.1", "-p", str(port), "-U", "postgres"]

        def typed(command: str) -> None:
            for name, section in (("pg_dump", "Back-up"), ("pg_restore", "Restore")):
                if name == command:
                    (line,) = [
                        one
                        for one in commands(DOCUMENT.read_text(), section)
                        if one.startswith(f"{name} ")
                    ]
                    words = line.split()
                    program = [str(postgres.programs() / name), *server]  # type: ignore[operator]
                    subprocess.run([*program, *words[1:]], check=True, timeout=60, cwd=tmp_path)

        orthanc = start_orthanc(
            {
                "RefreshInterval": 1,
                "Database": f"postgresql+psycopg://postgres@127.0.0.1:{port}/openmrs",
            }
        )
        found = answers(orthanc, 3)
        send(orthanc, tmp_path, found[1])
        send(orthanc, tmp_path, found[2], {"PatientID": "somebody else"})
        counted(orthanc, Delivered=1, Held=1)
        typed("pg_dump")
        send(orthanc, tmp_path, found[3])
        counted(orthanc, Delivered=2, Held=1)
        told = steps_told(openmrs)
        orthanc.kill()
        typed("pg_restore")
        orthanc.start()
        counted(orthanc, Delivered=1, Held=1)
        assert steps_told(openmrs) == told
        orthanc.kill()
