"""What docs/security.md promises: no patient and no password in a log, whatever happens; what
hostile lists, studies and queries cost; who may read the files; which privileges are enough."""

import base64
import json
import os
import re
import sqlite3
import stat
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pydicom
import pytest
from pydicom._dicom_dict import DicomDictionary
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import generate_uid

from standin import EDIT, PATIENTS, RECEIVE, Account, Fault, Standin, StepFields
from tests.server.conftest import Start
from tests.server.test_completion import (
    STEP_STATUS,
    UPDATE,
    answers,
    completed,
    counted,
    notifications,
    posts,
    send,
)
from tests.server.test_loop import offered
from trial import scanner
from trial.orthanc import ScratchOrthanc
from trial.waiting import eventually

PASSWORD = "Zq7 pass/word;+&ធ-Narwhal"
USER = "imaging"

GIVEN, MIDDLE, FAMILY = "Quokkasson", "Wobbegong", "ពាក្យសម្ងាត់"
BORN = "19010203"
ORDER, STEP_TEXT = "Xylocarpus", "Pangolinus"
DOCTOR, PERFORMER, ROOM = "Axolotlsen", "Kookaburra", "Numbatroom"
STRAY, IMAGE_TEXT = "Thylacine", "Dugongus"
OPENMRS_WORDS, ASKED = "Bandicoot", "Tarsierson"

MARKERS = (
    *(GIVEN, MIDDLE, FAMILY, BORN, "1901-02-03", ORDER, STEP_TEXT, DOCTOR, PERFORMER, ROOM),
    *(STRAY, IMAGE_TEXT, OPENMRS_WORDS, ASKED),
)
"""Words that stand for a patient and what is said of one, each in one place only."""

SECRETS = (
    PASSWORD,
    quote(PASSWORD),
    quote(PASSWORD, safe=""),
    base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode(),
    json.dumps(PASSWORD)[1:-1],
    "Narwhal",
)
"""The password as it is, and in every form in which it travels."""

BAD_LISTS = (
    Fault("says", 0, 200, text=f'[{{"PatientName": "{OPENMRS_WORDS}", <'),
    Fault("says", 0, 200, text=f'[{{"PatientName": "{OPENMRS_WORDS}"'),
    Fault("says", 0, 200, text=f'{{"PatientName": "{OPENMRS_WORDS}"}}'),
    Fault("says", 0, 200, text=f"<html>{OPENMRS_WORDS}</html>"),
    Fault("says", 0, 500, text=f'{{"error": {{"message": "{OPENMRS_WORDS}"}}}}'),
    Fault("says", 0, 400, text=f"{OPENMRS_WORDS} has no birth date"),
    Fault("says", 0, 302, text=OPENMRS_WORDS),
)

REFUSALS = (
    (409, f'{{"error": {{"message": "not the patient {OPENMRS_WORDS}"}}}}'),
    (400, f"Invalid payload of {OPENMRS_WORDS}"),
    (200, f"No step of {OPENMRS_WORDS} found"),
)
"""What OpenMRS says to a status update that it refuses."""


def without(text: str, words: tuple[str, ...], where: str) -> None:
    """Nothing of these words may be in a text."""
    for word in words:
        at = text.find(word)
        assert at < 0, f"{where}: …{text[max(0, at - 200) : at + 50]}…"


def patients_orders(openmrs: Standin, count: int) -> None:
    """Orders of a patient who has every marker, and elements of the list that are no orders."""
    for _ in range(count):
        patient = openmrs.records.add_patient(GIVEN, FAMILY, MIDDLE, "1901-02-03", "F")
        fields = {
            "description": STEP_TEXT,
            "physician": PERFORMER,
            "location": ROOM,
            "aet_title": "CT1",
        }
        steps = [StepFields(**fields)]
        openmrs.records.add_request(patient, description=ORDER, physician=DOCTOR, steps=steps)
    openmrs.records.raw_elements += [
        {"PatientName": {"given": GIVEN}},
        [GIVEN],
        GIVEN,
        {"PatientName": GIVEN, "ScheduledProcedureStepSequence": [GIVEN, {"Modality": [ORDER]}]},
        {"PatientName": GIVEN, "ScheduledProcedureStepSequence": GIVEN},
        b'{"PatientName": "' + GIVEN.encode() + b'", "x": ' + b"[" * 20000 + b"]" * 20000 + b"}",
        # A step that can't be offered: it has no id.
        {"PatientName": GIVEN, "ScheduledProcedureStepSequence": [{"Modality": ORDER}]},
    ]


def store_raw(orthanc: ScratchOrthanc, body: bytes) -> int:
    """Orthanc's own upload of whatever it is."""
    return orthanc.session.post(f"{orthanc.url}/instances", body, timeout=60).status_code


@contextmanager
def broken_database(path: Path) -> Iterator[None]:
    """Statements fail, for a table has another name."""
    with closing(sqlite3.connect(path, isolation_level=None, timeout=20)) as database:
        database.execute("ALTER TABLE notifications RENAME TO elsewhere")
        try:
            yield
        finally:
            database.execute("ALTER TABLE elsewhere RENAME TO notifications")


@pytest.mark.filterwarnings("ignore:.*length")  # pydicom's, of values as odd as here
def test_no_log_and_no_status_names_a_patient_or_a_password_whatever_happens(
    openmrs: Standin, tmp_path: Path
) -> None:
    openmrs.accounts = {USER: Account(PASSWORD, frozenset({EDIT, RECEIVE, PATIENTS}))}
    patients_orders(openmrs, 8)
    configuration = {
        "ImagingWorklistURL": openmrs.worklist_url,
        "ImagingUpdateRequestStatus": openmrs.update_url,
        "ImagingWorklistUsername": USER,
        "ImagingWorklistPassword": PASSWORD,
        "OpenMRS": {"RefreshInterval": 1, "PersonNames": "lookup", "Timeout": 2},
    }
    orthanc = ScratchOrthanc(tmp_path / "orthanc", configuration, verbose=True)
    with orthanc:
        offered(orthanc, 8)
        _every_flow(openmrs, orthanc, tmp_path)
        status = orthanc.session.get(f"{orthanc.url}/openmrs/status", timeout=10).text
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                line = process.joinpath("cmdline").read_bytes().decode(errors="replace")
                without(line, SECRETS, f"process {process.name}")
    records = re.split(r"^(?=[EWIT]\d{4} )", orthanc.log, flags=re.M)
    ours = "".join(record for record in records if "OpenMRS: " in record)
    # What Orthanc logs by default, whoever says it, and all that the plugin says with --verbose.
    by_default = "".join(record for record in records if record[:1] in "EW")
    without(ours, MARKERS, "the plugin's log")
    without(by_default, MARKERS, "the log")
    without(orthanc.log, SECRETS, "the log")
    without(status, (*MARKERS, *SECRETS), "the status")
    for happened in (
        "element 8 of the list",
        "OpenMRS answers again",
        "is of step 1 of request 1",
        "is held: PatientID of the images",
        "OpenMRS has step 1 as completed",
        "is refused: HTTP 409",
        "is refused: HTTP 400",
        "is refused: HTTP 200",
        "waits: HTTP 500",
        "no such table: notifications",
        "OpenMRS fails",
    ):
        assert happened in ours, happened
    assert "Traceback" not in ours
    assert "steps for CT1" in ours


def _every_flow(openmrs: Standin, orthanc: ScratchOrthanc, folder: Path) -> None:
    # The markers do pass through: to the scanner, and to whom Orthanc lets in.
    eventually(
        lambda: (
            f"{FAMILY}^{GIVEN}^{MIDDLE}" in {str(a.PatientName) for a in answers(orthanc).values()}
        ),
        "no name is looked up",
    )
    found = answers(orthanc)
    for word in (GIVEN, FAMILY, BORN, ORDER, STEP_TEXT, DOCTOR, PERFORMER, ROOM):
        asked = orthanc.session.get(f"{orthanc.url}/openmrs/worklist", timeout=10).text
        assert word in asked, word

    for keys in (
        [f"PatientName={ASKED}*"],
        [f"PatientName={GIVEN}*", f"PatientBirthDate={BORN}"],
        [f"PatientID={ASKED}", "SpecificCharacterSet=ISO_IR 192"],
        [f"{scanner.STEP}ScheduledStationAETitle={ASKED}", "PatientSex=X\\Y"],
        [f"{scanner.STEP}ScheduledProcedureStepStartDate=nonsense-{ASKED}"],
    ):
        scanner.find(orthanc.dicom_port, keys)

    for fault in BAD_LISTS:
        openmrs.set_fault(fault, method="GET")
        refused = orthanc.session.post(f"{orthanc.url}/openmrs/worklist/refresh", timeout=20)
        assert refused.status_code == 503, fault
        without(refused.text, (*MARKERS, *SECRETS), "the answer to a refresh")
    openmrs.clear_faults()
    assert orthanc.session.post(f"{orthanc.url}/openmrs/worklist/refresh", timeout=20).ok

    send(
        orthanc, folder, found[1], {"StudyDescription": IMAGE_TEXT, "SeriesDescription": IMAGE_TEXT}
    )
    completed(openmrs, 1)
    send(orthanc, folder, found[2], {"PatientID": STRAY, "PatientName": f"{STRAY}^{IMAGE_TEXT}"})
    counted(orthanc, Delivered=1, Held=1)
    (held,) = [one for one in notifications(orthanc).values() if one["State"] == "held"]
    without(json.dumps(held), MARKERS, "why a study is held")

    for at, (status, text) in enumerate(REFUSALS):
        openmrs.set_fault(Fault("says", 0, status, text=text), UPDATE, "POST")
        send(orthanc, folder, found[3 + at], {"StudyDescription": IMAGE_TEXT})
        counted(orthanc, Delivered=1, Held=1, Failed=at + 1)
    said = orthanc.session.get(f"{orthanc.url}/openmrs/notifications", timeout=10).text
    assert OPENMRS_WORDS in said, "a person is told what OpenMRS said"
    openmrs.set_fault(Fault("says", 0, 500, text=REFUSALS[0][1]), UPDATE, "POST")
    send(orthanc, folder, found[6])
    eventually(lambda: "waits: HTTP 500" in orthanc.log, "nothing waits")
    openmrs.clear_faults()
    completed(openmrs, 6, 30)

    _a_person(orthanc, held)

    with broken_database(folder / "orthanc" / "index" / "openmrs.db"):
        send(orthanc, folder, found[7], {"StudyDescription": IMAGE_TEXT})
        refused = orthanc.session.get(f"{orthanc.url}/openmrs/notifications", timeout=20)
        assert refused.status_code == 503
        without(refused.text, (*MARKERS, *SECRETS), "the answer without a database")
        eventually(lambda: "no such table" in orthanc.log, "no trouble with the database is told")
    completed(openmrs, 7, 30)

    assert store_raw(orthanc, f"no DICOM, but {STRAY}".encode()) >= 400
    image = pydicom.dcmread(scanner.acquire(found[8], folder))
    image.PatientName = f"{STRAY}^" + "x" * 10_000
    image.add_new("StudyDescription", "LO", IMAGE_TEXT * 1000)
    image.RequestAttributesSequence = Sequence([Dataset()] * 100)
    image.save_as(folder / "odd.dcm")
    assert store_raw(orthanc, (folder / "odd.dcm").read_bytes()) == 200
    completed(openmrs, 8, 30)


def _a_person(orthanc: ScratchOrthanc, held: dict[str, Any]) -> None:
    """Decisions, good and bad ones."""
    study = held["StudyInstanceUID"]
    patient = orthanc.get("/openmrs/worklist")[0]["PatientID"]
    number = held["ID"]
    big = json.dumps({"ScheduledProcedureStepID": ASKED * 10_000})
    for method, path, body, statuses in (
        ("GET", f"/openmrs/worklist?PatientID={ASKED}", "", (200,)),
        ("GET", f"/openmrs/worklist?{ASKED}=1", "", (400,)),
        ("GET", f"/openmrs/worklist/{ASKED}", "", (404,)),
        ("GET", f"/openmrs/worklist/1?aet=CT1&PatientName={ASKED}*", "", (200,)),
        ("GET", f"/openmrs/{ASKED}", "", (404,)),
        ("GET", f"/openmrs/patients/{patient}/candidates", "", (200, 404)),
        ("GET", f"/openmrs/patients/{ASKED}/candidates", "", (200, 400, 404)),
        ("POST", f"/openmrs/studies/{ASKED}/report", "{}", (400, 404)),
        ("POST", f"/openmrs/studies/{study}/report", f'{{"{ASKED}": 1}}', (400,)),
        ("POST", f"/openmrs/studies/{study}/report", f"{{{ASKED}", (400,)),
        ("POST", f"/openmrs/studies/{study}/report", big, (413,)),
        (
            "POST",
            f"/openmrs/studies/{study}/report",
            f'{{"ScheduledProcedureStepID": "{ASKED}"}}',
            (404,),
        ),
        ("PUT", f"/openmrs/patients/{patient}/studies/{study}", "", (200, 409)),
        ("PUT", f"/openmrs/patients/{patient}/studies/{study}", '{"Force": true}', (200,)),
        ("DELETE", f"/openmrs/patients/{patient}/studies/{study}", "", (200,)),
        ("POST", f"/openmrs/notifications/{number}/retry", "", (200, 409)),
        ("DELETE", f"/openmrs/notifications/{number}", "", (200,)),
        ("DELETE", f"/openmrs/notifications/{number}", "", (200, 409)),
    ):
        response = orthanc.session.request(
            method, f"{orthanc.url}{path}", data=body.encode(), timeout=30
        )
        assert response.status_code in statuses, (method, path, response.text)
        without(response.text, SECRETS, path)


# --- hostile sizes -------------------------------------------------------------------------


def resident(orthanc: ScratchOrthanc) -> int:
    """MiB of memory that Orthanc had at most."""
    for line in Path(f"/proc/{orthanc.pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) // 1024
    raise AssertionError("no VmHWM")


@pytest.mark.filterwarnings("ignore:.*length")
def test_hostile_lists_studies_and_queries_cost_a_bounded_time_and_memory(
    openmrs: Standin, start_orthanc: Start, tmp_path: Path
) -> None:
    patient = openmrs.records.add_patient("Anna", "Svensson")
    long = "aaaaaaaaaa " * 23
    for _ in range(1000):
        openmrs.records.add_request(patient, description=long, steps=[StepFields()])
    orthanc = start_orthanc({"RefreshInterval": 1, "MaxResponseSize": 16})
    offered(orthanc, 1000)
    found = answers(orthanc)
    before = resident(orthanc)

    for status, text in (
        (503, "[" + "{}," * (5 << 20) + "{}]"),
        (503, "[" + "1," * (7 << 20) + "1]"),
        (200, '[{"PatientName":[' + "[]," * (5 << 20) + "1]}]"),  # one bad element
        (200, '[{"PatientName":"' + "a" * (15 << 20) + '"}]'),
        (503, "[" + "[" * (7 << 20)),
    ):
        openmrs.set_fault(Fault("says", 0, 200, text=text), method="GET")
        response = orthanc.session.post(f"{orthanc.url}/openmrs/worklist/refresh", timeout=30)
        assert response.status_code == status, text[:20]
        started = time.monotonic()
        assert scanner.find(orthanc.dicom_port, ["AccessionNumber=none"]).status == "Success"
        assert time.monotonic() - started < 2, text[:20]
    openmrs.clear_faults()
    offered(orthanc, 1000)
    assert resident(orthanc) - before < 300, "as values these lists are gigabytes"

    for keys in (
        ["RequestedProcedureDescription=" + "*a" * 30 + "*b"],
        ["RequestedProcedureDescription=" + "*a?" * 20 + "*b"],
        ["PatientName=" + "*a" * 30 + "*b"],
        ["PatientID=" + "\\".join(str(at) for at in range(3000))],
        [f"{scanner.STEP}ScheduledProcedureStepStartDate=-----"],
        [
            f"({tag >> 16:04x},{tag & 0xFFFF:04x})=x"
            for tag, row in sorted(DicomDictionary.items())
            if row[0] == "LO" and 0x18 <= tag >> 16 < 0x3002  # DCMTK knows these
        ],
    ):
        started = time.monotonic()
        assert scanner.find(orthanc.dicom_port, keys).status == "Success", keys[0][:60]
        assert time.monotonic() - started < 4, keys[0][:60]

    image = pydicom.dcmread(scanner.acquire(found[1], tmp_path))
    item = Dataset()
    item.ScheduledProcedureStepID = "1"
    item.RequestedProcedureID = found[1].RequestedProcedureID
    image.RequestAttributesSequence = Sequence([item] * 10_000)
    image.PatientName = "x" * 60_000
    image.save_as(tmp_path / "huge.dcm")
    assert store_raw(orthanc, (tmp_path / "huge.dcm").read_bytes()) == 200
    completed(openmrs, 1, 40)
    assert max(len(one.body) for one in posts(openmrs)) < 64 * 1024
    other = pydicom.dcmread(scanner.acquire(found[2], tmp_path))
    other.StudyInstanceUID = generate_uid()
    others = []
    for at in range(10_000):
        others.append(Dataset())
        others[-1].ScheduledProcedureStepID = str(at)
    other.RequestAttributesSequence = Sequence(others)
    other.save_as(tmp_path / "many.dcm")
    assert store_raw(orthanc, (tmp_path / "many.dcm").read_bytes()) == 200
    counted(orthanc, 40, Delivered=1, Held=1)
    (held,) = [one for one in notifications(orthanc).values() if one["State"] == "held"]
    assert len(held["Reason"]) < 2000
    assert resident(orthanc) - before < 400
    orthanc.kill()


INJECTIONS = (
    "' OR '1'='1",
    "1; DROP TABLE notifications; --",
    '1" UNION SELECT body FROM worklist --',
    "%' --",
    "$1",
    ":study",
    "{}",
)


def test_sql_in_arguments_is_text(openmrs: Standin, start_orthanc: Start, tmp_path: Path) -> None:
    patients_orders(openmrs, 2)
    orthanc = start_orthanc()
    found = answers(orthanc, 2)
    send(orthanc, tmp_path, found[1], {"PatientID": INJECTIONS[0]})
    counted(orthanc, Held=1)
    send(orthanc, tmp_path, found[2], {"StudyDescription": INJECTIONS[1]})
    counted(orthanc, Held=1, Delivered=1)
    (study,) = [uid for uid, one in notifications(orthanc).items() if one["State"] == "held"]
    patient = found[1].PatientID
    before = kept(orthanc)
    for text in INJECTIONS:
        asked = quote(text, safe="")
        body = json.dumps({"ScheduledProcedureStepID": text}).encode()
        for method, path, data in (
            ("GET", f"/openmrs/notifications/{asked}", b""),
            ("GET", f"/openmrs/notifications?state={asked}", b""),
            ("GET", f"/openmrs/notifications?limit={asked}", b""),
            ("DELETE", f"/openmrs/notifications/{asked}", b""),
            ("POST", f"/openmrs/notifications/{asked}/retry", b""),
            ("GET", f"/openmrs/worklist/{asked}", b""),
            ("GET", f"/openmrs/worklist?PatientID={asked}", b""),
            ("GET", f"/openmrs/studies/{asked}", b""),
            ("GET", f"/openmrs/studies?assigned={asked}", b""),
            ("GET", f"/openmrs/patients/{asked}/studies", b""),
            ("PUT", f"/openmrs/patients/{asked}/studies/1.2.3.4", b""),
            ("DELETE", f"/openmrs/patients/{asked}/studies/1.2.3.4", b""),
            ("PUT", f"/openmrs/patients/{patient}/studies/{asked}", b""),
            ("POST", f"/openmrs/studies/{study}/report", body),
        ):
            response = orthanc.session.request(
                method, f"{orthanc.url}{path}", data=data, timeout=20
            )
            assert response.status_code < 500, (method, path, response.text)
            if method != "GET":
                assert response.status_code in (400, 404, 405), (method, path, response.text)
    assert kept(orthanc) == before
    orthanc.kill()


def kept(orthanc: ScratchOrthanc) -> dict[str, list[tuple[Any, ...]]]:
    """All rows that persons' requests may change."""
    with closing(sqlite3.connect(orthanc.folder / "index" / "openmrs.db")) as database:
        tables = ("notifications", "decisions", "assignments", "studies")
        return {name: database.execute(f"SELECT * FROM {name}").fetchall() for name in tables}


# --- files ---------------------------------------------------------------------------------


def test_files_are_the_owners_alone_whatever_the_umask_and_a_link_is_followed(
    openmrs: Standin, start_orthanc: Start, tmp_path: Path
) -> None:
    patients_orders(openmrs, 1)
    elsewhere = tmp_path / "elsewhere.db"
    index = tmp_path / "linked" / "index"
    index.mkdir(parents=True)
    (index / "openmrs.db").symlink_to(elsewhere)
    before = os.umask(0)
    try:
        plain, linked = start_orthanc(name="plain"), start_orthanc(name="linked")
    finally:
        os.umask(before)
    for orthanc in (plain, linked):
        offered(orthanc, 1)
    folder = plain.folder / "index"
    for path in (*folder.glob("openmrs.db*"), *tmp_path.glob("elsewhere.db*")):
        assert stat.S_IMODE(path.lstat().st_mode) == 0o600, path
    names = {path.name for path in folder.glob("openmrs.db*")}
    assert names == {"openmrs.db", "openmrs.db-wal", "openmrs.db-shm"}
    plain.kill()
    linked.kill()


# --- the account ---------------------------------------------------------------------------


def test_the_documented_privileges_are_enough_and_each_is_needed(
    start_orthanc: Start, openmrs: Standin, tmp_path: Path
) -> None:
    openmrs.generation = "v3"
    documented = frozenset({EDIT, RECEIVE, PATIENTS})
    security = (Path(__file__).parents[2] / "docs" / "security.md").read_text()
    assert all(f"`{privilege}`" in security for privilege in documented)
    openmrs.accounts = {USER: Account("Imaging123", documented)}
    patient = openmrs.records.add_patient("Thị Ánh", "Nguyễn", "")
    for _ in range(2):
        openmrs.records.add_request(patient, steps=[StepFields()])
    orthanc = start_orthanc({"RefreshInterval": 1, "PersonNames": "lookup"})
    found = answers(orthanc, 2)
    eventually(
        lambda: {str(one.PatientName) for one in answers(orthanc).values()} == {"Nguyễn^Thị Ánh"},
        "the name isn't looked up",
    )
    send(orthanc, tmp_path, found[1])
    completed(openmrs, 1)
    assert {one.status for one in openmrs.requests_log} <= {200, None}
    assert posts(openmrs, STEP_STATUS)

    openmrs.accounts = {USER: Account("Imaging123", frozenset({EDIT}))}
    send(orthanc, tmp_path, found[2])
    eventually(lambda: 403 in {one.status for one in posts(openmrs)}, "it may tell without it")
    openmrs.accounts = {USER: Account("Imaging123", frozenset({RECEIVE}))}
    eventually(
        lambda: "Imaging Manager" in (orthanc.get("/openmrs/status")["OpenMRS"]["LastError"] or ""),
        "it may read without it",
    )
    openmrs.accounts = {USER: Account("Imaging123", documented)}
    completed(openmrs, 2, 60)
    orthanc.kill()
