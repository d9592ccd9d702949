"""Worklist clients other than DCMTK, and hostile ones, against a running Orthanc."""

import json
import random
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from pydicom._dicom_dict import DicomDictionary
from pydicom.datadict import keyword_for_tag
from pydicom.dataset import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.dsutils import encode

from bench.client import Client, QueryFailed, find_request
from orthanc_openmrs.worklist.attributes import ATTRIBUTES, Level
from standin import Standin, StepFields
from tests.server.conftest import module_keys
from trial import scanner
from trial.orthanc import ScratchOrthanc
from trial.waiting import eventually

WORKLIST_FIND = UID("1.2.840.10008.5.1.4.31")
ROOT = Path(__file__).resolve().parents[2]
NAMES = [
    ("Thị Ánh", "Nguyễn"),
    ("សុខា", "ចាន់"),
    ("Алексей", "Смирнов"),
    ("Hélène", "Lefèvre"),
]


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScratchOrthanc]:
    """One Orthanc with four CT steps, of patients with names of four scripts."""
    with Standin("v2") as openmrs:
        for given, family in NAMES:
            patient = openmrs.records.add_patient(given, family)
            openmrs.records.add_request(patient, description="CT", steps=[StepFields()])
        folder = tmp_path_factory.mktemp("clients")
        with ScratchOrthanc(folder, module_keys(openmrs)) as running:
            eventually(
                lambda: running.get("/openmrs/status")["Worklist"]["Offered"] == len(NAMES),
                "the worklist is not read",
            )
            yield running


def ask(orthanc: ScratchOrthanc, identifier: Dataset, syntax: str) -> tuple[list[Dataset], int]:
    """Ask with pynetdicom; the answers and the final status."""
    with associated(orthanc, syntax) as association:
        answers = []
        final = -1
        for status, dataset in association.send_c_find(identifier, WORKLIST_FIND):
            final = status.Status
            if dataset is not None:
                answers.append(dataset)
    return answers, final


class associated:  # noqa: N801 - reads as a verb
    """An association for worklist queries, released at the end."""

    def __init__(self, orthanc: ScratchOrthanc, syntax: str = ExplicitVRLittleEndian) -> None:
        ae = AE("CT1")
        ae.add_requested_context(WORKLIST_FIND, [syntax])
        ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 20
        self._association = ae.associate("127.0.0.1", orthanc.dicom_port)

    def __enter__(self) -> Association:
        assert self._association.is_established
        return self._association

    def __exit__(self, *_: object) -> None:
        if self._association.is_established:
            self._association.release()


def full_identifier() -> Dataset:
    """Table K.6-1 whole, group lengths and what real scanners add."""
    identifier = Dataset()
    step = Dataset()
    for row in ATTRIBUTES:
        target = step if row.level is Level.STEP else identifier
        if row.vr != "SQ":
            setattr(target, row.keyword, "" if row.vr not in ("US", "DS") else None)
            continue
        code = Dataset()
        code.CodeValue = code.CodingSchemeDesignator = code.CodeMeaning = ""
        setattr(target, row.keyword, [code])
    for keyword in (
        "OtherPatientIDs",
        "PatientAge",
        "PatientSize",
        "PatientComments",
        "IssuerOfPatientID",
        "InstitutionName",
        "PlacerOrderNumberImagingServiceRequest",
        "FillerOrderNumberImagingServiceRequest",
        "RequestingService",
        "NamesOfIntendedRecipientsOfResults",
        "RequestedProcedureComments",
        "StudyDate",
    ):
        setattr(identifier, keyword, "")
    identifier.add_new(0x00100000, "UL", None)
    identifier.add_new(0x00090010, "LO", "PRIVATE CREATOR")
    identifier.add_new(0x00091001, "LO", "")
    identifier.add_new(0x00091002, "UN", b"\x01\x02")
    step.add_new(0x00400000, "UL", None)
    identifier.ScheduledProcedureStepSequence = [step]
    return identifier


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian])
def test_every_key_that_a_scanner_names_comes_back(orthanc: ScratchOrthanc, syntax: str) -> None:
    identifier = full_identifier()
    answers, status = ask(orthanc, identifier, syntax)
    assert status == 0
    assert len(answers) == len(NAMES)
    type_1 = [row for row in ATTRIBUTES if row.type == "1"]
    for answer in answers:
        step = answer.ScheduledProcedureStepSequence[0]
        for asked, got in (
            (identifier, answer),
            (identifier.ScheduledProcedureStepSequence[0], step),
        ):
            expected = {
                element.tag
                for element in asked
                if element.VR != "SQ" and element.tag.element and not element.tag.is_private
            }
            assert expected <= set(got.keys())
        for row in type_1:
            assert (step if row.level is Level.STEP else answer).get(row.keyword), row.keyword


@pytest.mark.parametrize(
    ("charset", "wildcard", "family"),
    [
        ("ISO_IR 192", "Nguyễn*", "Nguyễn"),
        ("ISO_IR 192", "ចាន់*", "ចាន់"),
        ("ISO_IR 192", "nguyen*", "Nguyễn"),
        ("ISO_IR 100", "Lefèvre*", "Lefèvre"),
        ("ISO_IR 100", "*hélène*", "Lefèvre"),
        ("ISO_IR 144", "Смирнов*", "Смирнов"),
        ("ISO_IR 144", "смирн?в^*", "Смирнов"),
        ("ISO_IR 6", "Smirnov*", "Смирнов"),
        ("GB18030", "Lefèvre*", "Lefèvre"),
        ("", "Nguyễn*", "Nguyễn"),
    ],
)
def test_name_is_found_in_the_character_set_of_the_query(
    orthanc: ScratchOrthanc, charset: str, wildcard: str, family: str
) -> None:
    identifier = Dataset()
    if charset:
        identifier.SpecificCharacterSet = charset
        identifier.PatientName = wildcard
    else:
        identifier.add_new("PatientName", "PN", wildcard.encode())
    identifier.StudyInstanceUID = ""
    answers, status = ask(orthanc, identifier, ExplicitVRLittleEndian)
    assert status == 0
    assert [answer.PatientName.family_name for answer in answers] == [family]


def test_dcmjs_dimse_gets_answers_to_its_default_query(orthanc: ScratchOrthanc) -> None:
    # It sends PregnancyStatus 0 where it means "any".
    for keys, count in (({}, len(NAMES)), ({"PatientName": "Nguyễn*"}, 1)):
        run = subprocess.run(
            ["node", "find.js", str(orthanc.dicom_port), "CT1", json.dumps(keys)],
            cwd=ROOT / "tests" / "server" / "dcmjs",
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert run.returncode == 0, run.stderr.decode()
        lines = run.stdout.decode().splitlines()  # its own log is among them
        answers = [json.loads(line) for line in lines if line.startswith("{")]
        assert len(answers) == count
        assert all(answer["StudyInstanceUID"] for answer in answers)


# --- hostile clients -----------------------------------------------------------------------

HOSTILE_QUERIES = 25


def _random_bytes(chance: random.Random) -> bytes:
    return chance.randbytes(chance.choice([1, 2, 7, 8, 64, 700, 5000]))


def _mutated(chance: random.Random) -> bytes:
    valid = bytearray(encode(full_identifier(), False, True) or b"")
    for _ in range(chance.randint(1, 12)):
        valid[chance.randrange(len(valid))] = chance.randrange(256)
    return bytes(valid[: chance.randint(1, len(valid))] if chance.random() < 0.3 else valid)


def _odd_values(chance: random.Random) -> bytes:
    texts = ["*" * 3000, "a*" * 400 + "b", "?" * 500, "\\" * 200, "--", "-", "\x1b$B", "é", "😀"]
    identifier, step = Dataset(), Dataset()
    identifier.SpecificCharacterSet = chance.choice(["ISO_IR 192", "ISO_IR 100", "NONSENSE", ""])
    tags = chance.sample(sorted(DicomDictionary), 15)
    for tag in [*tags, 0x00100010, 0x00080060, 0x00400002]:
        target: Dataset = chance.choice([identifier, step])
        keyword = keyword_for_tag(tag)
        if (tag >> 16) in (0, 2, 0xFFFE) or not keyword:
            continue
        target.add_new(tag, "LO", chance.choice(texts).encode("utf-8"))
    identifier.ScheduledProcedureStepSequence = [step] * chance.randint(0, 2)
    return encode(identifier, False, True) or b""


@pytest.mark.parametrize("make", [_random_bytes, _mutated, _odd_values])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_hostile_query_neither_crashes_nor_hangs_nor_leaks(
    orthanc: ScratchOrthanc, make: Callable[[random.Random], bytes]
) -> None:
    chance = random.Random(20250703)
    pid = orthanc.pid
    _ask_raw(orthanc, [make(chance) for _ in range(10)])
    before = _resident(pid)
    _ask_raw(orthanc, [make(chance) for _ in range(HOSTILE_QUERIES)])
    assert _resident(pid) - before < 20 * 1024
    found = scanner.find(orthanc.dicom_port)
    assert found.status == "Success"
    assert len(found.answers) == len(NAMES)
    assert orthanc.pid == pid


def test_raw_bytes_on_the_port_leave_the_worklist_working(orthanc: ScratchOrthanc) -> None:
    chance = random.Random(42)
    for _ in range(100):
        with socket.create_connection(("127.0.0.1", orthanc.dicom_port), timeout=10) as raw:
            kind = chance.choice([1, 4, 5, 7, 9])
            body = _random_bytes(chance)
            length = chance.choice([len(body), 0xFFFFFFFF, 0])
            raw.sendall(bytes([kind, 0]) + length.to_bytes(4, "big") + body)
    found = scanner.find(orthanc.dicom_port)
    assert found.status == "Success"
    assert len(found.answers) == len(NAMES)


def _ask_raw(orthanc: ScratchOrthanc, identifiers: list[bytes]) -> None:
    """Send identifiers as they are. Orthanc itself leaves some without a word, which it can't
    read as DICOM; it must have answered the next client all the same."""
    for identifier in identifiers:
        with suppress(QueryFailed), Client(orthanc.dicom_port, timeout=1) as client:
            client.ask(find_request(identifier))


def _resident(pid: int) -> int:
    """Resident memory of a process in KiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise AssertionError("no VmRSS")
