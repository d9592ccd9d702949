"""An exam's state stands beside its step, in a real browser."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from standin import Standin, StepFields
from tests.browser.conftest import Open
from tests.server.conftest import module_keys
from tests.server.test_loop import offered
from trial import scanner
from trial.orthanc import ScratchOrthanc
from trial.ports import free_port
from trial.procedures import Reports

PORT = free_port()


@pytest.fixture(scope="module")
def orthanc(openmrs: Standin, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScratchOrthanc]:
    """An Orthanc that takes performed procedure steps, with one order."""
    patient = openmrs.records.add_patient("Ann", "Onymous")
    openmrs.records.add_request(patient, steps=[StepFields()])
    configuration = {**module_keys(openmrs), "OpenMRS": {"MPPS": {"Port": PORT}}, "StableAge": 60}
    folder = tmp_path_factory.mktemp("exams")
    with ScratchOrthanc(folder / "orthanc", configuration) as started:
        offered(started, 1)
        yield started


def test_an_exam_from_its_start_to_its_images(
    orthanc: ScratchOrthanc, visit: Open, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("images")
    reports = Reports(PORT)
    (answer,) = scanner.find(orthanc.dicom_port).answers
    page = visit(f"{orthanc.url}/openmrs/ui/#worklist").page
    row = page.get_by_role("row").filter(has_text="Ann")
    expect(row).to_be_visible()
    uid = reports.start(answer, PerformedProcedureStepStartTime="101200")
    expect(row).to_contain_text("started 10:12", timeout=30_000)
    series = "1.2.826.0.1.3680043.8.498.1"
    images = [scanner.acquire(answer, folder, series=series) for _ in range(3)]
    scanner.store(orthanc.dicom_port, images[:2])
    reports.end(uid, images, PerformedProcedureStepEndTime="102000")
    expect(row).to_contain_text("ended 10:20, 2 of 3 images", timeout=30_000)
