"""What one station gets, and how it is written for it."""

from datetime import date, timedelta
from functools import partial

import pytest
import requests

from standin import Standin, StepFields
from tests.server.conftest import Start
from tests.server.test_loop import offered, step_ids
from trial import scanner
from trial.waiting import eventually

NAMES = {
    "Nguyễn^Thị^Ánh": ("Thị Ánh", "Nguyễn"),
    "ចាន់^សុខា": ("សុខា", "ចាន់"),
    "ቢቂላ^አበበ": ("አበበ", "ቢቂላ"),
    "မြင့်^အောင်^ဆန်း": ("အောင် ဆန်း", "မြင့်"),
    "الحسن^فاطمة": ("فاطمة", "الحسن"),
    "श्रेष्ठ^सीता": ("सीता", "श्रेष्ठ"),
    "王^伟": ("伟", "王"),
    "Смирнов^Алексей": ("Алексей", "Смирнов"),
    "Lefèvre^Hélène": ("Hélène", "Lefèvre"),
}


def day(offset: int) -> str:
    """The date (DA) some days from today."""
    return (date.today() + timedelta(offset)).strftime("%Y%m%d")


@pytest.fixture
def names(openmrs: Standin) -> None:
    """A CT step for a patient of each script."""
    for given, family in NAMES.values():
        patient = openmrs.records.add_patient(given, family)
        openmrs.records.add_request(patient, steps=[StepFields()])


@pytest.mark.usefixtures("names")
def test_every_script_arrives_exactly_and_never_loses_a_letter_in_a_narrower_encoding(
    start_orthanc: Start,
) -> None:
    orthanc = start_orthanc(
        {"Stations": {"OLD": {"Charset": "ascii"}}}, DefaultEncoding="Utf8", name="utf8"
    )
    offered(orthanc, len(NAMES))
    exact = scanner.find(orthanc.dicom_port).answers
    assert [str(answer.PatientName) for answer in exact] == list(NAMES)
    old = scanner.find(orthanc.dicom_port, ae_title="OLD").answers
    assert str(old[0].PatientName) == "Nguyen^Thi^Anh"
    assert all(str(answer.PatientName).isascii() for answer in old)

    for encoding, index, name in (
        ("Latin1", 8, "Lefèvre^Hélène"),
        ("Cyrillic", 7, "Смирнов^Алексей"),
        ("Ascii", 8, "Lefevre^Helene"),
    ):
        narrow = start_orthanc(DefaultEncoding=encoding, name=encoding)
        offered(narrow, len(NAMES))
        found = [str(answer.PatientName) for answer in scanner.find(narrow.dicom_port).answers]
        assert found[index] == name
        for text, full in zip(found, NAMES, strict=True):
            letters = [len(part) for part in text.split("^")]
            assert len(letters) == len(full.split("^")), (encoding, text)
            assert all(letters), (encoding, text)
        told = [line for line in narrow.log.splitlines() if "DefaultEncoding is" in line]
        assert len(told) == 1


@pytest.mark.parametrize(
    ("encoding", "physician", "asked", "count"),
    [
        ("Utf8", "Dr. Léa", "dr. l?a", 0),  # to Orthanc, "?" is one byte
        ("Utf8", "Dr. Léa", "dr. l*", 1),
        ("Utf8", "Смирнов", "смир*", 1),
        ("Latin1", "Смирнов", "Смир*", 0),
        ("Latin1", "Смирнов", "Smir*", 1),
        ("Latin1", "Größe", "größe", 1),
    ],
)
def test_every_answer_has_its_step_whatever_orthanc_thinks_of_a_name(
    openmrs: Standin, start_orthanc: Start, encoding: str, physician: str, asked: str, count: int
) -> None:
    patient = openmrs.records.add_patient("Anna", "Svensson")
    openmrs.records.add_request(patient, steps=[StepFields(physician=physician)])
    orthanc = start_orthanc(DefaultEncoding=encoding)
    offered(orthanc, 1)
    keys = [
        "SpecificCharacterSet=ISO_IR 192",
        f"{scanner.STEP}ScheduledPerformingPhysicianName={asked}",
    ]
    found = scanner.find(orthanc.dicom_port, keys)
    assert len(step_ids(found)) == len(found.answers) == count


def test_names_are_structured_as_openmrs_has_them_where_they_are_looked_up(
    openmrs: Standin, start_orthanc: Start
) -> None:
    patient = openmrs.records.add_patient("Maria", "dos Santos Silva", "da Conceição")
    openmrs.records.add_request(patient, steps=[StepFields()])
    orthanc = start_orthanc({"PersonNames": "lookup", "RefreshInterval": 1})
    offered(orthanc, 1)

    def name() -> str:
        return str(scanner.find(orthanc.dicom_port).answers[0].PatientName)

    expected = "dos Santos Silva^Maria^da Conceição"
    eventually(lambda: name() == expected, "the structured name is not used")
    orthanc.stop()
    openmrs.stop()
    orthanc.start()
    assert name() == expected


def test_station_gets_its_own_steps_under_its_titles_in_its_window(
    openmrs: Standin, start_orthanc: Start
) -> None:
    patient = openmrs.records.add_patient("Anna", "Svensson")
    for aet, offset in (
        ("CT1", 0),
        ("CTROOM", 1),
        ("CT2", 0),
        ("", 0),
        ("CT1", -8),
        ("CT1", 31),
        ("Ümlaut", 0),
    ):
        step = StepFields("CT", aet, day(offset), "080000")
        openmrs.records.add_request(patient, steps=[step])
    station = {"AETitles": ["CT1", "CTROOM"], "DaysBack": 7, "DaysAhead": 30}
    orthanc = start_orthanc({"StationFilter": "caller", "Stations": {"CT1": station}})
    offered(orthanc, 7)

    aet, start = scanner.STEP + "ScheduledStationAETitle", "ScheduledProcedureStepStartDate"
    for caller, keys, expected in (
        ("CT1", [], {"1": "CT1", "2": "CTROOM", "4": "CT1", "7": "CT1"}),
        ("CT1", [f"{aet}=CT1"], {"1": "CT1", "2": "CT1", "4": "CT1", "7": "CT1"}),
        ("CT1", [f"{scanner.STEP}{start}={day(-8)}"], {"5": "CT1"}),
        ("CT1", [f"{scanner.STEP}{start}={day(8)}-"], {"6": "CT1"}),
        ("CT1", [f"{aet}=CT2"], {"3": "CT2", "4": "CT2", "7": "CT2"}),
        ("CT2", [], {"3": "CT2", "4": "CT2", "7": "CT2"}),
        ("XX", [f"{aet}=CT*"], {"1": "CT1", "2": "CTROOM", "3": "CT2", "5": "CT1", "6": "CT1"}),
        ("XX", [], {"4": "XX", "7": "XX"}),
    ):
        found = scanner.find(orthanc.dicom_port, keys, ae_title=caller)
        answered = {
            str(item.ScheduledProcedureStepID): str(item.ScheduledStationAETitle)
            for answer in found.answers
            for item in answer.ScheduledProcedureStepSequence
        }
        assert answered == expected, (caller, keys)
    listed = orthanc.get("/openmrs/worklist", params={"aet": "CT1"})
    assert {step["ScheduledProcedureStepID"] for step in listed} == {"1", "2", "4", "7"}


def test_every_rule_that_keeps_a_step_from_a_station_is_explained(
    openmrs: Standin, start_orthanc: Start
) -> None:
    patient = openmrs.records.add_patient("Anna", "Svensson")
    steps = [
        StepFields("CT", "CT1", day(0), status="completed"),
        StepFields("CT", "CT2", day(0)),
        StepFields("CT", "CT1", day(9)),
        StepFields("", "CT1", day(0)),
        StepFields("MR", "CT1", day(0)),
        StepFields("CT", "CT1", day(0)),
    ]
    for step in steps:
        openmrs.records.add_request(patient, steps=[step])
    orthanc = start_orthanc({"StationFilter": "caller", "Stations": {"CT1": {"DaysAhead": 7}}})
    offered(orthanc, 4)

    for step_id, failing in enumerate(
        ["Step", "ScheduledStationAETitle", "DateWindow", "Step", "Modality", None], 1
    ):
        explained = orthanc.get(
            f"/openmrs/worklist/{step_id}", params={"aet": "CT1", "Modality": "CT"}
        )["Explanation"]
        failed = [rule["Rule"] for rule in explained if not rule["Passes"]]
        assert failed[:1] == ([failing] if failing else []), explained
        assert all(rule["Reason"] for rule in explained if not rule["Passes"])
    url = f"{orthanc.url}/openmrs/worklist/1"
    assert orthanc.session.get(url, params={"aet": "CT1", "Nonsense": "1"}).status_code == 400
    assert orthanc.session.get(url, params={"Modality": "CT"}).status_code == 400


def test_list_is_read_on_demand_and_refused_in_words_while_openmrs_is_away(
    openmrs: Standin, start_orthanc: Start
) -> None:
    orthanc = start_orthanc({"RefreshInterval": 3600})
    eventually(partial(_was_read, orthanc.url), "OpenMRS is not read")
    patient = openmrs.records.add_patient("Anna", "Svensson")
    openmrs.records.add_request(patient, steps=[StepFields()])
    url = f"{orthanc.url}/openmrs/worklist/refresh"
    assert requests.post(url, timeout=10).json() == {"Steps": 1, "Offered": 1, "Skipped": 0}
    openmrs.stop()
    refused = requests.post(url, timeout=10)
    assert refused.status_code == 503
    assert refused.headers["Retry-After"]
    assert refused.json()["Message"].startswith("OpenMRS can't be reached")
    assert step_ids(scanner.find(orthanc.dicom_port)) == ["1"]


def _was_read(url: str) -> bool:
    status = requests.get(f"{url}/openmrs/status", timeout=10).json()
    return bool(status["OpenMRS"]["LastSuccess"])


def test_log_names_the_caller_of_a_query_with_its_address_where_orthanc_tells_it(
    openmrs: Standin, start_orthanc: Start
) -> None:
    openmrs.records.add_request(openmrs.records.add_patient("A", "B"), steps=[StepFields()])
    orthanc = start_orthanc()
    offered(orthanc, 1)
    orthanc.session.put(f"{orthanc.url}/tools/log-level", "verbose").raise_for_status()
    assert scanner.find(orthanc.dicom_port, ae_title="CT1").status == "Success"
    caller = "CT1 at 127.0.0.1" if orthanc.python_plugin >= 7 else "CT1"
    eventually(
        lambda: f"OpenMRS: 1 steps for {caller}\n" in orthanc.log,
        f"the log doesn't name {caller}",
    )
