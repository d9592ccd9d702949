"""Several Orthancs on one PostgreSQL deliver each notification once between them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from standin import Account, Fault, Standin
from standin.server import DEFAULT_ACCOUNTS
from tests.server import postgres
from tests.server.conftest import module_keys
from tests.server.test_completion import (
    UPDATE,
    add_patients,
    answers,
    counted,
    posts,
    steps_told,
)
from trial import scanner
from trial.orthanc import PLUGINS, PYTHON_PLUGIN, ScratchOrthanc
from trial.waiting import eventually

STUDIES = 20
HANGING = 6

Pair = dict[str, ScratchOrthanc]


@pytest.fixture
def pair(openmrs: Standin, tmp_path: Path) -> Iterator[Pair]:
    """Two Orthancs with one index, one storage and one database of the plugin. Each has an
    account of its own in OpenMRS, whose log so tells who came."""
    if postgres.programs() is None:
        pytest.skip("PostgreSQL isn't installed")
    privileges = DEFAULT_ACCOUNTS["imaging"].privileges
    openmrs.accounts = {name: Account("Imaging123", privileges) for name in ("one", "two")}
    storage = tmp_path / "storage"
    storage.mkdir()
    with postgres.server("orthanc", "openmrs") as port:
        orthancs = {
            name: ScratchOrthanc(
                tmp_path / name,
                {
                    **module_keys(openmrs),
                    "ImagingWorklistUsername": name,
                    "OpenMRS": {
                        "Database": f"postgresql+psycopg://postgres@127.0.0.1:{port}/openmrs"
                    },
                    "Plugins": [
                        str(PYTHON_PLUGIN),
                        str(PLUGINS / "libOrthancPostgreSQLIndex.so"),
                    ],
                    "StorageDirectory": str(storage),
                    "PostgreSQL": {
                        "EnableIndex": True,
                        "EnableStorage": False,
                        "Lock": False,
                        "Host": "127.0.0.1",
                        "Port": port,
                        "Database": "orthanc",
                        "Username": "postgres",
                        "Password": "",
                    },
                },
            )
            for name in openmrs.accounts
        }
        try:
            for orthanc in orthancs.values():
                orthanc.start()
            yield orthancs
        finally:
            for orthanc in orthancs.values():
                orthanc.kill()


def test_two_orthancs_deliver_each_notification_once_between_them(
    openmrs: Standin, pair: Pair, tmp_path: Path
) -> None:
    last = STUDIES + HANGING + 2
    add_patients(openmrs, last)
    one, two = pair.values()
    found = answers(one, last)

    for step in range(1, STUDIES + 1):
        orthanc = (one, two)[step % 2]
        scanner.store(orthanc.dicom_port, [scanner.acquire(found[step], tmp_path)])
    for orthanc in (one, two):
        counted(orthanc, Delivered=STUDIES, seconds=40)
    assert sorted(steps_told(openmrs)) == list(range(1, STUDIES + 1))
    shares = [sum(post.user == name for post in posts(openmrs)) for name in pair]
    print(f"{STUDIES} notifications, delivered {shares[0]} and {shares[1]}")

    # One is killed while it sends, and before its last study is stable: all that is the other's.
    openmrs.set_fault(Fault("hang"), path=UPDATE)
    waiting = range(STUDIES + 1, STUDIES + HANGING + 1)
    scanner.store(one.dicom_port, [scanner.acquire(found[step], tmp_path) for step in waiting])
    eventually(lambda: set(steps_told(openmrs)[STUDIES:]) == set(waiting), "not all are under way")
    under_way = posts(openmrs)[STUDIES:]
    assert len(under_way) == HANGING  # none by both
    owner = under_way[-1].user
    assert owner is not None
    scanner.store(pair[owner].dicom_port, [scanner.acquire(found[last - 1], tmp_path)])
    pair[owner].kill()
    openmrs.clear_faults()
    left = next(orthanc for name, orthanc in pair.items() if name != owner)
    scanner.store(left.dicom_port, [scanner.acquire(found[last], tmp_path)])
    counted(left, Delivered=last, seconds=60)
    killed = sum(post.user == owner for post in under_way)
    print(f"{HANGING} under way at a kill -9, {killed} of them of the killed")

    pair[owner].start()
    counted(pair[owner], Delivered=last)
    saved = [post for post in posts(openmrs) if post.status == 200]
    assert len(saved) == last
    assert len(posts(openmrs)) == last + killed
    assert set(openmrs.records.statuses().values()) == {"completed"}
