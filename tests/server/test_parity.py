"""The same items, the same queries: the same answers as Orthanc's own worklists plugin.

The shapes of the queries are those of Orthanc's public integration tests (all keys open, an
open step, one key, several keys, code sequences, ranges, wildcards), on items of our own.
Where the answers differ, the standard does.
"""

from collections.abc import Iterator

import pytest
from pydicom.dataset import Dataset

from standin import Standin, StepFields
from tests.server.conftest import module_keys
from trial import scanner
from trial.orthanc import PLUGINS, ScratchOrthanc
from trial.waiting import eventually

S = scanner.STEP

SAME = [
    [],
    ["PatientName="],
    ["RequestedProcedureCodeSequence[0].CodeValue="],
    ["ScheduledProcedureStepSequence[0]"],
    [S + "Modality=CT"],
    [S + "Modality=ct"],
    [S + "Modality=C*"],
    [S + "Modality=?T"],
    [S + "Modality=*"],
    [S + "Modality=CT\\MR"],
    [S + "ScheduledStationAETitle=CT1"],
    [S + "ScheduledStationAETitle=CT*"],
    [S + "ScheduledStationAETitle=NOBODY"],
    [S + "ScheduledStationAETitle=CT1", S + "ScheduledStationName=A2"],
    [S + "ScheduledStationName=A2"],
    [S + "ScheduledProcedureStepLocation=Room 1"],
    [S + "ScheduledProcedureStepStartDate=20250703"],
    [S + "ScheduledProcedureStepStartDate=20250703-"],
    [S + "ScheduledProcedureStepStartDate=-20250703"],
    [S + "ScheduledProcedureStepStartDate=20250702-20250704"],
    [S + "ScheduledProcedureStepStartDate=20260101-"],
    [S + "ScheduledProcedureStepStartTime=120000-"],
    [S + "ScheduledProcedureStepStartTime=080000-090000"],
    [S + "ScheduledProcedureStepStartTime=090000"],
    [S + "ScheduledPerformingPhysicianName=dr. okafor"],
    [S + "ScheduledPerformingPhysicianName=*okafor"],
    [S + "ScheduledProcedureStepID=2"],
    [S + "ScheduledProcedureStepDescription=*head*"],
    [S + "CommentsOnTheScheduledProcedureStep=*", S + "ScheduledStationAETitle=CT1"],
    [S + "ScheduledProtocolCodeSequence[0].CodeValue="],
    ["PatientName=svensson*"],
    ["PatientName=SVENSSON^ANNA"],
    ["PatientName=*anna*"],
    ["PatientName=S?ensson^Anna"],
    ["PatientID=nobody"],
    ["PatientSex=F"],
    ["PatientSex=M"],
    ["PatientBirthDate=19900101"],
    ["PatientBirthDate=19850101-19951231"],
    ["AccessionNumber=A-1"],
    ["AccessionNumber=A-?"],
    ["RequestedProcedureID=3"],
    ["RequestedProcedurePriority=HIGH"],
    ["RequestedProcedureDescription=CT head"],
    ["StudyInstanceUID=1.2.3.4.5"],
    ["StudyInstanceUID=1.2.3.4.5\\1.2.3.4.6"],
    ["StudyInstanceUID=9.9"],
]

DIFFERENT: list[tuple[list[str], list[str], list[str]]] = [
    # An optional key that the server knows nothing of never restricts (PS3.4 K.2.2.1.2).
    (["PregnancyStatus=4"], ["1", "2", "3", "4"], []),
    (["AdmissionID=77"], ["1", "2", "3", "4"], []),
    # Names match without regard to accents too, which C.2.2.2.1 leaves to us.
    (["PatientName=Lefevre*"], ["3"], []),
]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ScratchOrthanc, ...]]:
    """Ours, and an Orthanc with its own plugin over the same items as `.wl` files."""
    folder = tmp_path_factory.mktemp("parity")
    with Standin("v2") as openmrs:
        _fill(openmrs)
        with ScratchOrthanc(folder / "ours", module_keys(openmrs)) as ours:
            eventually(
                lambda: ours.get("/openmrs/status")["Worklist"]["Offered"] == 4,
                "the worklist doesn't offer 4 steps",
            )
            database = folder / "files"
            database.mkdir()
            for step in range(1, 5):
                file = ours.session.get(f"{ours.url}/openmrs/worklist/{step}/file", timeout=10)
                (database / f"{step}.wl").write_bytes(file.content)
            native = {
                "Plugins": [str(PLUGINS / "libModalityWorklists.so")],
                "Worklists": {"Enable": True, "Database": str(database)},
            }
            with ScratchOrthanc(folder / "native", native, script=None) as theirs:
                yield ours, theirs


def _fill(openmrs: Standin) -> None:
    records = openmrs.records
    anna = records.add_patient("Anna", "Svensson", birthdate="1990-01-01", gender="F")
    helene = records.add_patient("Hélène", "Lefèvre", birthdate="1960-05-05", gender="M")
    records.add_request(
        anna,
        accession="A-1",
        description="CT head",
        priority="high",
        study_instance_uid="1.2.3.4.5",
        steps=[
            StepFields("CT", "CT1", "20250703", "090000", "CT head without contrast", "Dr. Okafor"),
            StepFields("MR", "MR1", "20250702", "143000", "MR head", "Dr. Okafor", "A2"),
        ],
    )
    records.add_request(
        helene,
        accession="A-2",
        description="Chest",
        study_instance_uid="1.2.3.4.6",
        steps=[StepFields("CR", "CR1", "20250704", "143000", "Chest", "Dr. Lin", "A2", "Room 1")],
    )
    records.add_request(
        anna,
        accession="B-1",
        study_instance_uid="1.2.3.4.7",
        steps=[StepFields("CT", "CT2", "20251231", "235959", "CT abdomen", None, "", "")],
    )


@pytest.mark.parametrize("keys", SAME, ids=lambda keys: " ".join(keys) or "open")
def test_same_answers_as_orthancs_own_plugin(
    both: tuple[ScratchOrthanc, ...], keys: list[str]
) -> None:
    ours, theirs = (scanner.find(orthanc.dicom_port, keys) for orthanc in both)
    assert ours.status == theirs.status == "Success"
    assert _values(ours) == _values(theirs)


@pytest.mark.parametrize("keys", SAME, ids=lambda keys: " ".join(keys) or "open")
def test_same_answers_to_the_bare_keys(both: tuple[ScratchOrthanc, ...], keys: list[str]) -> None:
    asked = keys or ["PatientName"]
    ours, theirs = (scanner.find(o.dicom_port, asked, usual=False) for o in both)
    assert ours.status == theirs.status == "Success"
    assert len(ours.answers) == len(theirs.answers)


@pytest.mark.parametrize(("keys", "expected", "native"), DIFFERENT)
def test_answers_differ_only_where_the_standard_does(
    both: tuple[ScratchOrthanc, ...], keys: list[str], expected: list[str], native: list[str]
) -> None:
    ours, theirs = (scanner.find(orthanc.dicom_port, keys) for orthanc in both)
    assert sorted(_step_id(answer) for answer in ours.answers) == expected
    assert sorted(_step_id(answer) for answer in theirs.answers) == native


def test_steps_of_an_interval_that_orthanc_drops_are_said(
    both: tuple[ScratchOrthanc, ...],
) -> None:
    # K.6.1.2.2: one interval, from 2 July 14:00 to 4 July 08:00. To Orthanc, no time of a day.
    keys = [
        S + "ScheduledProcedureStepStartDate=20250702-20250704",
        S + "ScheduledProcedureStepStartTime=140000-080000",
    ]
    assert [scanner.find(orthanc.dicom_port, keys).answers for orthanc in both] == [[], []]
    assert "so 2 steps of the interval are missing" in both[0].log


def _step_id(answer: Dataset) -> str:
    return str(answer.ScheduledProcedureStepSequence[0].ScheduledProcedureStepID)


def _values(found: scanner.Found) -> list[dict[str, str]]:
    """The answers by their values; sequences without items aside, which say nothing."""
    rows = []
    for answer in found.answers:
        row = {}
        for element in answer.iterall():
            if element.VR != "SQ":
                row[element.keyword] = str(element.value or "")
        rows.append(row)
    return sorted(rows, key=lambda row: row["ScheduledProcedureStepID"])
