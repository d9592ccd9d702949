"""The doctor inside the running Orthanc."""

import threading
from pathlib import Path

from orthanc_openmrs.connection import connect
from orthanc_openmrs.doctor.configuration import Reading
from orthanc_openmrs.doctor.findings import Finding
from orthanc_openmrs.doctor.inside import Doctor
from tests.unit.doctor.cases import RUNS, STATUS


def test_those_who_ask_at_once_inside_orthanc_share_one_examination(tmp_path: Path) -> None:
    reads: list[int] = []
    go = threading.Event()

    def read() -> Reading:
        reads.append(1)
        go.wait(10)
        return Reading({"ImagingWorklistURL": 1}, tmp_path)

    doctor = Doctor(
        read=read,
        get=lambda path: RUNS.get(path),
        status=lambda: STATUS,
        snapshot=lambda: None,
        connect=connect,
    )
    found: list[list[Finding] | None] = []
    threads = [threading.Thread(target=lambda: found.append(doctor.findings())) for _ in range(4)]
    for thread in threads:
        thread.start()
    go.set()
    for thread in threads:
        thread.join(10)
    assert len(reads) == 1
    assert len(found) == 4
    assert all(one == found[0] for one in found)
    first = found[0]
    assert first is not None
    lines = [f"{one.state} {one.subject}" for one in first]
    assert "error ImagingUpdateRequestStatus" in lines
    assert "ok Orthanc" in lines
    assert "ok orthanc-openmrs" in lines
    doctor.tell_to_stop()
