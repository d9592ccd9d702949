"""Stories of studies: found among all, and assigned by a person who sees what differs."""

import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pydicom
import pytest
from playwright.sync_api import expect

from standin import Standin, StepFields
from tests.browser.conftest import Open
from tests.server.conftest import module_keys
from tests.server.test_mapping import image, upload
from trial.orthanc import ScratchOrthanc
from trial.waiting import eventually

TODAY = date.today().strftime("%Y%m%d")


class Archive:
    """An Orthanc with studies of its own, beside an OpenMRS with patients."""

    def __init__(self, openmrs: Standin, orthanc: ScratchOrthanc, folder: Path) -> None:
        self.openmrs, self.orthanc, self._folder = openmrs, orthanc, folder

    def page(self, parameters: str = "") -> str:
        """The address of the page's studies."""
        return f"{self.orthanc.url}/openmrs/ui/#studies{parameters}"

    def has(self, name: str, number: str, day: str, **tags: str) -> str:
        """A study that is nobody's; its Orthanc ID."""
        path = image(self._folder, number)
        dataset = pydicom.dcmread(path)
        dataset.SpecificCharacterSet = "ISO_IR 192"
        dataset.PatientName, dataset.StudyDate, dataset.StudyTime = name, day, "101500"
        for keyword, text in tags.items():
            setattr(dataset, keyword, text)
        dataset.save_as(path)
        return upload(self.orthanc, path)


@pytest.fixture(scope="module")
def archive(openmrs: Standin, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    """Sixty studies of yesterday's years, and some to tell apart."""
    folder = tmp_path_factory.mktemp("studies")
    with ScratchOrthanc(
        folder / "orthanc", {**module_keys(openmrs), "OpenMRS": {"RefreshInterval": 1}}
    ) as orthanc:
        made = Archive(openmrs, orthanc, folder)
        for number in range(60):
            made.has(f"Filler{number:02}^Old", f"F-{number:03}", f"2019{number % 12 + 1:02}11")
        yield made


def test_assigning_shows_whose_study_it_is_beside_the_patient_and_warns_where_they_differ(
    archive: Archive, visit: Open
) -> None:
    patient = archive.openmrs.records.add_patient("Amina", "Hassan", "", "1990-03-14", "F")
    alike = {"PatientBirthDate": "19900314", "PatientSex": "F", "AccessionNumber": "A-77"}
    right = archive.has("HASSAN^AMINA", "SCAN-1", TODAY, **alike)
    wrong = archive.has("HASSAN^OMAR", "SCAN-2", TODAY, PatientBirthDate="19610101", PatientSex="M")
    person = visit(archive.page(f"?study={wrong}"))
    drawer = person.page.get_by_role("dialog")
    search = drawer.get_by_label("Patient: name, identifier or uuid")
    search.fill(patient.identifier)  # the number that a person reads off a card
    drawer.get_by_role("button", name="Assign", exact=True).click()
    question = person.page.get_by_role("alertdialog")
    expect(question).to_contain_text("Look twice, for this differs: Name, Date of birth, Sex.")
    for keyword in ("Name", "Date of birth", "Sex"):
        row = question.get_by_role("row").filter(has_text=keyword)
        expect(row.first).to_contain_text("differs")
    expect(question).to_contain_text("the sex differs")
    expect(question).to_contain_text("14 Mar 1990")
    expect(question).to_contain_text("1 Jan 1961")
    person.no_serious_violation()
    question.get_by_role("button", name="Cancel").click()
    assert archive.orthanc.get(f"/openmrs/studies/{wrong}")["Patient"] is None

    person.page.goto(archive.page(f"?study={right}"))
    # Whom the images name is offered without a search.
    drawer.get_by_role("button", name="Assign", exact=True).first.click()
    expect(question).to_contain_text(re.compile(r"\d\d of 100"))
    expect(question).to_contain_text("the birth date is the same")
    expect(question).to_contain_text("A-77")
    expect(question).not_to_contain_text("Look twice")
    question.get_by_role("button", name="Assign", exact=True).click()
    # The page is at that patient then.
    shown = person.page.locator("section.patient")
    expect(shown.get_by_role("heading", name="Hassan, Amina")).to_be_visible()
    expect(shown.get_by_text(patient.identifier)).to_be_visible()
    theirs = person.page.locator("section.patient ul.studies").first
    expect(theirs).to_contain_text("SCAN-1")


def test_a_study_is_found_among_all_by_name_number_and_day_and_the_total_is_true(
    archive: Archive, visit: Open
) -> None:
    archive.has("Смирнов^Алексей", "RU-1", TODAY)
    archive.has("Nguyễn^Thị Mai", "VN-1", "20250703", AccessionNumber="ACC-2025-9")
    person = visit(archive.page())
    page, count = person.page, person.page.locator("p.counted")
    listed = page.locator("ul.studies > li")
    expect(count).to_have_text(re.compile(r"^The first 50 of 6\d$"))
    expect(listed).to_have_count(50)
    page.get_by_role("button", name="More").click()
    expect(count).to_have_text(re.compile(r"^6\d studies$"))
    search = page.get_by_role("searchbox", name="Search")
    for typed, number in (
        ("smirnov", "RU-1"),
        ("Smirnof", "RU-1"),
        ("nguyen mai", "VN-1"),
        ("ACC-2025-9", "VN-1"),
        ("2025-07-03", "VN-1"),
        ("today ru-1", "RU-1"),
    ):
        search.fill(typed)
        expect(count).to_have_text("1 study")
        expect(listed).to_contain_text([number])
    search.fill("filler")
    expect(count).to_have_text("The first 50 of 60")
    search.fill("nobody at all")
    expect(count).to_have_text("Orthanc has no study like this.")
    search.fill("")
    page.get_by_label("Made").select_option("today")
    expect(listed.filter(has_text="RU-1")).to_be_visible()
    expect(listed.filter(has_text="F-001")).to_have_count(0)
    # What is looked at is in the address.
    page.reload()
    expect(page.get_by_label("Made")).to_have_value("today")
    expect(listed.filter(has_text="RU-1")).to_be_visible()
    person.no_serious_violation()


def test_patients_are_those_of_openmrs_and_a_uuid_that_it_denies_is_refused(
    archive: Archive, visit: Open
) -> None:
    listed = archive.openmrs.records.add_patient("Thị Mai", "Trần", "", "1988-04-02", "F")
    archive.openmrs.records.add_request(listed, description="Head", steps=[StepFields("CT")])
    unlisted = archive.openmrs.records.add_patient("Wanjiru", "Kamau", "", "1979-12-24", "F")
    eventually(lambda: archive.orthanc.get("/openmrs/status")["Worklist"]["Steps"], "no list")
    page = visit(archive.page()).page
    search = page.get_by_role("searchbox", name="Search")
    search.fill("kamau")
    found = page.locator(".patients a")
    expect(found).to_have_count(1)
    expect(found).to_contain_text("Kamau, Wanjiru")
    expect(found).to_contain_text(unlisted.identifier)
    search.fill("0" * 36)
    expect(page.get_by_text("OpenMRS has no patient with this uuid.")).to_be_visible()
    archive.openmrs.stop()
    try:
        search.fill("tran")  # of the list that was read last
        expect(found).to_contain_text("Trần, Thị Mai")
    finally:
        archive.openmrs.start()
