"""Installations for the doctor's tests: their configuration, and what their Orthanc answers."""

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from orthanc_openmrs import __version__
from orthanc_openmrs.config import read_settings
from orthanc_openmrs.connection import connect
from orthanc_openmrs.doctor.case import Case
from orthanc_openmrs.doctor.configuration import Reading
from orthanc_openmrs.doctor.findings import Finding, State
from orthanc_openmrs.doctor.machine import user_of
from orthanc_openmrs.doctor.orthanc import Unanswered
from tests.unit.doubles import Server

FOUR = {
    "ImagingWorklistURL": "http://127.0.0.1:9/openmrs/ws/rest/v1/worklist/requests",
    "ImagingUpdateRequestStatus": "http://127.0.0.1:9/openmrs/ws/rest/v1/worklist/updaterequeststatus",
    "ImagingWorklistUsername": "imaging",
    "ImagingWorklistPassword": "Imaging123",
}
ME = user_of(os.geteuid())

SYSTEM = {"Version": "1.12.7", "DicomAet": "ORTHANC", "DicomPort": 4242}
STATUS = {"Version": __version__, "Notifications": {"Pending": 1, "Held": 0, "Failed": 0}}
RUNS = {
    "/system": SYSTEM,
    "/plugins/python": {"Version": "5.0"},
    "/openmrs/status": STATUS,
}


def case(folder: Path, answers: Mapping[str, Any] | None = None, **keys: Any) -> Case:
    """An installation with these keys beside the four, whose Orthanc gives these answers."""
    reading = Reading({**FOUR, **keys}, folder)
    made = Case(
        lambda: reading,
        connect=connect,
        user=ME,
        reading=reading,
        get=asking(answers or {}),
        logs=folder / "logs",
        listens=lambda port: None,
        open_files=lambda pid: (),
    )
    made.settings = read_settings(reading.values, folder)
    return made


def asking(answers: Mapping[str, Any]) -> Callable[[str], Any]:
    """An Orthanc that has these routes; of an exception, that fails so."""

    def get(path: str) -> Any:
        found = answers.get(path, Unanswered("HTTP 404", 404))
        if isinstance(found, Exception):
            raise found
        return found

    return get


def told(findings: Iterator[Finding]) -> list[str]:
    """The lines without their advice, which whatever isn't ok must have."""
    found = list(findings)
    for one in found:
        assert bool(one.advice) is (one.state is not State.OK), one
        assert "Imaging123" not in f"{one.meaning} {one.advice}"
    return [f"{one.state.value} {one.subject}: {one.meaning}" for one in found]


def of(server: Server, folder: Path, **section: Any) -> Case:
    """An installation whose OpenMRS this is."""
    root = f"{server.url}/openmrs/ws/rest/v1"
    return case(
        folder,
        ImagingWorklistURL=f"{root}/worklist/requests",
        ImagingUpdateRequestStatus=f"{root}/worklist/updaterequeststatus",
        OpenMRS=section,
    )
