"""The loop works in an Orthanc that is full of other plugins."""

from pathlib import Path

import pytest

from standin import Standin, StepFields
from tests.server import postgres
from tests.server.conftest import Start
from tests.server.test_completion import answers, completed, counted
from trial import scanner
from trial.orthanc import PLUGINS, PYTHON_PLUGIN

OTHERS = {
    "libModalityWorklists.so": "orthanc",  # loaded, and not enabled
    "libServeFolders.so": "orthanc",
    "libOrthancDicomWeb.so": "orthanc-dicomweb",
    "libOrthancGdcm.so": "orthanc-gdcm",
    "libOrthancPostgreSQLIndex.so": "orthanc-postgresql",
    "libOrthancPostgreSQLStorage.so": "orthanc-postgresql",
    "libOrthancWebViewer.so": "orthanc-webviewer",
    "libOrthancWSI.so": "orthanc-wsi",
}
"""Debian's plugins, each with its package."""


@pytest.mark.parametrize("first", [True, False])
def test_loop_works_beside_all_plugins_of_debian(
    openmrs: Standin, start_orthanc: Start, tmp_path: Path, first: bool
) -> None:
    missing = {package for name, package in OTHERS.items() if not (PLUGINS / name).exists()}
    if missing or postgres.programs() is None:
        pytest.skip(f"not installed: {', '.join(sorted(missing)) or 'postgresql'}")
    patient = openmrs.records.add_patient("Thị Ánh", "Nguyễn")
    openmrs.records.add_request(patient, steps=[StepFields(modality="CT")])
    others = [str(PLUGINS / name) for name in OTHERS]
    with postgres.server("orthanc", "openmrs") as port:
        place = {"Host": "127.0.0.1", "Port": port, "Database": "orthanc", "Username": "postgres"}
        orthanc = start_orthanc(
            {"Database": f"postgresql+psycopg://postgres@127.0.0.1:{port}/openmrs"},
            Plugins=[str(PYTHON_PLUGIN), *others] if first else [*others, str(PYTHON_PLUGIN)],
            PostgreSQL={**place, "Password": "", "EnableIndex": True, "EnableStorage": True},
        )
        assert len(orthanc.get("/plugins")) >= len(OTHERS)
        answer = answers(orthanc, 1)[1]
        scanner.store(orthanc.dicom_port, [scanner.acquire(answer, tmp_path)])
        completed(openmrs, 1)
        counted(orthanc, Delivered=1)
        (study,) = orthanc.get(f"/openmrs/patients/{patient.uuid}/studies")
        assert set(study["Viewers"]) == {"Explorer", "WebViewer", "DICOMweb"}
        (served,) = orthanc.get("/dicom-web/studies")
        assert served["0020000D"]["Value"] == [study["StudyInstanceUID"]]
        orthanc.stop()
