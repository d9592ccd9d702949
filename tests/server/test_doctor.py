"""The doctor finds nothing in a good installation, and the lines of docs/operation.md's runbook in
a broken one."""

import json
import os
import pwd
import re
import shutil
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import redirect_stdout
from datetime import date
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import sqlalchemy as sa

from orthanc_openmrs.doctor.command import main
from orthanc_openmrs.doctor.configuration import read_configuration
from orthanc_openmrs.doctor.scanner import NO_WORKLIST, _by_pynetdicom, ask
from orthanc_openmrs.store.database import Database
from orthanc_openmrs.store.inspection import Look, look
from orthanc_openmrs.store.migrations import NEWEST
from standin import Fault, Standin, StepFields
from standin.samples import patients
from tests.configuration_files import ENVIRONMENT, FILES, REFUSED, VALUES
from tests.server import postgres
from tests.server.conftest import Start, module_keys
from tests.unit.doubles import serving
from trial import scanner
from trial.orthanc import PYTHON_PLUGIN, SCRIPT, ScratchOrthanc, StartFailed
from trial.ports import free_port
from trial.waiting import eventually

ROOT = Path(__file__).resolve().parents[2]
STEPS = 3
NOBODY = pwd.getpwnam("nobody")

Lines = list[str]


def doctor(path: Path, *options: str) -> tuple[int, Lines]:
    """The exit status and the lines of the command, run by Debian's Python."""
    done = subprocess.run(
        ["/usr/bin/python3", "-m", "orthanc_openmrs", "doctor", *options, str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stderr == ""
    assert "Imaging123" not in done.stdout
    return done.returncode, done.stdout.splitlines()


def doctor_here(path: Path, *options: str) -> tuple[int, Lines]:
    """The same in this process, which takes half the time."""
    with redirect_stdout(StringIO()) as said:
        status = main(["doctor", *options, str(path)])
    assert "Imaging123" not in said.getvalue()
    return status, said.getvalue().splitlines()


class Hospital:
    """A good installation that runs: an OpenMRS, an Orthanc, and its folder of configuration."""

    def __init__(self, openmrs: Standin, orthanc: ScratchOrthanc, folder: Path) -> None:
        self.openmrs = openmrs
        self.orthanc = orthanc
        self.folder = folder
        self._copies = 0

    def configured(self, **changes: Any) -> Path:
        """A folder as Debian's /etc/orthanc, with these keys changed; None takes one away."""
        self._copies += 1
        etc = self.folder / f"etc{self._copies}"
        etc.mkdir()
        # Studies are stable at once in this Orthanc; a hospital's takes its time.
        keys = {**self.orthanc.configuration, "StableAge": 60, **changes}
        keys = {key: value for key, value in keys.items() if value is not None}
        own = {key: keys.pop(key) for key in list(keys) if key.startswith("Imaging")}
        head = "/**\n * Orthanc's own\n **/\n"
        (etc / "orthanc.json").write_text(head + json.dumps(keys, indent=2))
        secret = etc / "python.json"
        secret.write_text(json.dumps(own)[:-1] + ", // ours\n}")
        secret.chmod(0o640)
        if os.geteuid() == 0:
            shutil.chown(secret, group=NOBODY.pw_gid)  # --user nobody can read it
        return etc


@pytest.fixture(scope="module")
def hospital() -> Iterator[Hospital]:
    """One for all tests: they look at it, and break copies of its configuration. Others than root
    can enter its folder, unlike pytest's own."""
    with TemporaryDirectory() as name, Standin("v2") as openmrs:
        folder = Path(name)
        folder.chmod(0o755)
        for sample in patients(STEPS, date.today()):
            sample.add_to(openmrs.records)
        keys = {
            **module_keys(openmrs),
            "LuaScripts": [str(SCRIPT.with_suffix(".lua"))],
            "OpenMRS": {"RefreshInterval": 1},
        }
        with ScratchOrthanc(folder / "orthanc", keys) as orthanc:
            eventually(
                lambda: orthanc.get("/openmrs/status")["Worklist"]["Offered"] == STEPS,
                "the worklist is empty",
            )
            yield Hospital(openmrs, orthanc, folder)


def test_nothing_is_found_in_a_good_installation_and_nothing_is_changed(hospital: Hospital) -> None:
    etc = hospital.configured()
    index = hospital.orthanc.folder / "index"
    before = hospital.openmrs.records.statuses(), sorted(os.listdir(index))
    status, lines = doctor(etc)
    assert status == 0, "\n".join(lines)
    assert lines[-1] == "all is well"
    assert any(re.match(r"ok +C-FIND: DOCTOR gets step 1 \(\d+ ms\)", line) for line in lines)
    assert "ok       database: can be read and written" in lines
    assert "ok       status updates: the account may report, to a module of generation v2" in lines
    assert (hospital.openmrs.records.statuses(), sorted(os.listdir(index))) == before
    assert "Traceback" not in hospital.orthanc.log

    status, lines = doctor(etc, "--json")
    document = json.loads("\n".join(lines))
    assert (status, document["State"]) == (0, "ok")

    started = time.monotonic()
    inside = hospital.orthanc.get("/openmrs/status?full")
    assert time.monotonic() - started < 5
    assert inside["Worklist"]["Offered"] == STEPS
    found = [one for one in inside["Doctor"]["Findings"] if one["State"] != "ok"]
    # This Orthanc's studies are stable at once.
    assert [one["Subject"] for one in found] == ["StableAge"]
    subjects = {one["Subject"] for one in inside["Doctor"]["Findings"]}
    assert {one["Subject"] for one in document["Findings"]} == subjects
    assert "Doctor" not in hospital.orthanc.get("/openmrs/status?full=false")
    response = hospital.orthanc.session.get(f"{hospital.orthanc.url}/openmrs/status?full=x")
    assert response.status_code == 400


# --- the runbook -----------------------------------------------------------------------------

Broken = Callable[[Hospital, Path], Iterator[tuple[Path, tuple[str, ...]]]]
"""Breaks an installation in several ways, one after the other: the configuration each time, and
options for the doctor."""


def openmrs_is_away(hospital: Hospital, folder: Path) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """Nobody listens; the name is unknown; it fails; it is slow."""
    path = "/openmrs/ws/rest/v1/worklist/requests"
    nobody = f"http://127.0.0.1:{free_port()}{path}"
    yield hospital.configured(ImagingWorklistURL=nobody), ()
    yield hospital.configured(ImagingWorklistURL=f"http://openmrs.invalid{path}"), ()
    hospital.openmrs.set_fault(Fault("status", status=500), path="/requests")
    yield hospital.configured(), ()
    hospital.openmrs.set_fault(Fault("hang"), path="/requests")
    yield hospital.configured(OpenMRS={"Timeout": 0.5}), ()
    hospital.openmrs.clear_faults()
    yield hospital.configured(ImagingWorklistURL=f"{hospital.openmrs.origin}/openmrs"), ()


def openmrs_refuses(hospital: Hospital, folder: Path) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """A wrong password; accounts without privileges."""
    yield hospital.configured(ImagingWorklistPassword="wrong"), ()
    nobody = {"ImagingWorklistUsername": "nobody", "ImagingWorklistPassword": "Nobody123"}
    yield hospital.configured(**nobody), ()


def certificate_is_not_trusted(
    hospital: Hospital, folder: Path
) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """A certificate that nobody signed."""
    path = folder / "server.pem"
    make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    subprocess.run(
        [*make.split(), "-subj", "/CN=localhost", "-keyout", path, "-out", folder / "server.crt"],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.crt", path)
    with serving(context) as server:
        yield hospital.configured(ImagingWorklistURL=f"{server.url}/requests"), ()


def orthanc_does_not_start(
    hospital: Hospital, folder: Path
) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """A file that Orthanc can't read, no JSON, a section twice, a wrong key, the other worklist
    plugin, and so no Orthanc."""
    etc = hospital.configured()
    (etc / "python.json").chmod(0o600)
    yield etc, ("--user", "nobody")
    etc = hospital.configured()
    text = (etc / "orthanc.json").read_text()
    (etc / "orthanc.json").write_text(text.replace('"DicomAet": "ORTHANC",', '"DicomAet": "X"'))
    yield etc, ()
    etc = hospital.configured()
    (etc / "more.json").write_text('{"DicomAet": "OTHER"}')
    yield etc, ()
    yield hospital.configured(OpenMRS={"Tiemout": 10}), ()
    yield hospital.configured(Worklists={"Enable": True}), ()
    etc = hospital.configured()
    (etc / "other.json").write_text('{"PythonScript": "/opt/other.py"}')
    yield etc, ()
    away = {"HttpPort": free_port(), "DicomPort": free_port()}
    yield hospital.configured(**away), ("--user", "root")
    with serving() as server:
        port = int(server.url.rpartition(":")[2])
        yield hospital.configured(**{**away, "HttpPort": port}), ("--user", "root")
    url = hospital.openmrs.worklist_url
    misspelt = {**away, "ImagingWorklistURL": None, "ImagingWorkListUrl": url}
    etc = hospital.configured(**misspelt)
    keys = {key: one for key, one in hospital.orthanc.configuration.items() if key not in misspelt}
    broken = ScratchOrthanc(folder / "broken", keys)
    with pytest.raises(StartFailed):
        broken.start()
    yield etc, ("--user", "root")
    yield hospital.configured(**away), ("--user", "root", "--log", str(broken.log_path))


def plugin_is_not_loaded(
    hospital: Hospital, folder: Path
) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """Another script; a folder that Orthanc's user can't enter; packages that are gone; an
    Orthanc that was started without."""
    seed = folder / "orthancWorklist.py"
    seed.write_text("url = configuration['ImagingWorklistURL']")
    yield hospital.configured(PythonScript=str(seed)), ()
    shut = folder / "shut"
    shut.mkdir(mode=0o700)
    script = shutil.copy(SCRIPT, shut)
    yield hospital.configured(PythonScript=str(script)), ("--user", "nobody")
    bare = folder / "bare"
    shutil.copytree(ROOT / "orthanc_openmrs", bare / "orthanc_openmrs")
    script = shutil.copy(SCRIPT, bare)
    yield hospital.configured(PythonScript=str(script)), ()
    with ScratchOrthanc(folder / "without", script=None) as orthanc:
        yield (
            hospital.configured(HttpPort=orthanc.http_port, DicomPort=orthanc.dicom_port),
            (),
        )


def scanner_is_refused(hospital: Hospital, folder: Path) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """No scanner is known; none speaks to this Orthanc's title."""
    yield hospital.configured(DicomAlwaysAllowFindWorklist=None), ()
    yield hospital.configured(DicomAet="OTHER"), ()
    only_mr = {"MR": ["MR1", "127.0.0.1", 104]}
    etc = hospital.configured(DicomAlwaysAllowFindWorklist=None, DicomModalities=only_mr)
    yield etc, ("--aet", "CT1")


def step_is_missing(hospital: Hospital, folder: Path) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """A step without a modality; an OpenMRS whose clock is wrong."""
    patient = hospital.openmrs.records.add_patient("Ánh", "Nguyễn")
    hospital.openmrs.records.add_request(patient, steps=[StepFields("", "CT1", "20250703", "0800")])
    yield hospital.configured(), ()

    def play(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response_only(200)
        handler.send_header("Date", formatdate(time.time() - 7200, usegmt=True))
        handler.send_header("Content-Length", "2")
        handler.end_headers()
        handler.wfile.write(b"[]")

    with serving() as server:
        server.play = play
        yield hospital.configured(ImagingWorklistURL=f"{server.url}/requests"), ()


def names_are_latin(hospital: Hospital, folder: Path) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """Orthanc's own default."""
    yield hospital.configured(DefaultEncoding=None), ()


def step_stays_open(hospital: Hospital, folder: Path) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """An account that may not report; studies of another patient; one that OpenMRS refuses."""
    reader = {"ImagingWorklistUsername": "reader", "ImagingWorklistPassword": "Reader123"}
    yield hospital.configured(**reader), ()
    port = hospital.orthanc.dicom_port
    answers = scanner.find(port).answers
    changes = {"PatientID": "somebody else", "StudyInstanceUID": "1.2.3.1"}
    hospital.openmrs.set_fault(Fault("status", status=500), method="POST")
    scanner.store(port, [scanner.acquire(answers[0], folder, changes=changes)])
    hospital.openmrs.set_fault(Fault("status", status=400), method="POST")

    def counts() -> Mapping[str, int]:
        found: Mapping[str, int] = hospital.orthanc.get("/openmrs/status")["Notifications"]
        return found

    eventually(lambda: counts()["Held"] == 1, "the study is not held")
    yield hospital.configured(), ()
    hospital.openmrs.clear_faults()


def database_cannot_be_written(
    hospital: Hospital, folder: Path
) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """A folder that isn't Orthanc's; no database."""
    shut = folder / "shut-index"
    shut.mkdir(mode=0o755)
    section = {"Database": f"sqlite:///{shut / 'openmrs.db'}"}
    yield hospital.configured(OpenMRS=section), ("--user", "nobody")
    corrupt = folder / "corrupt.db"
    corrupt.write_bytes(b"this was a database once " * 100)
    yield hospital.configured(OpenMRS={"Database": f"sqlite:///{corrupt}"}), ()
    keys = {key: hospital.orthanc.configuration[key] for key in module_keys(hospital.openmrs)}
    with ScratchOrthanc(folder / "replaced", keys) as orthanc:
        file = orthanc.folder / "index" / "openmrs.db"
        os.replace(shutil.copy(file, folder / "copy.db"), file)
        etc = hospital.configured(
            **{key: orthanc.configuration[key] for key in ("HttpPort", "DicomPort")},
            OpenMRS={"Database": f"sqlite:///{file}"},
        )
        yield etc, ()


RUNBOOK: dict[str, Broken] = {
    "OpenMRS doesn't answer": openmrs_is_away,
    "OpenMRS refuses the account": openmrs_refuses,
    "OpenMRS's certificate isn't trusted": certificate_is_not_trusted,
    "Orthanc doesn't start": orthanc_does_not_start,
    "The plugin isn't loaded": plugin_is_not_loaded,
    "A scanner is refused": scanner_is_refused,
    "A step is missing at the scanner": step_is_missing,
    "Names arrive in Latin letters": names_are_latin,
    "A step stays open": step_stays_open,
    "The database can't be written": database_cannot_be_written,
}


def quoted() -> dict[str, Lines]:
    """The doctor's lines in each entry of the runbook."""
    text = (ROOT / "docs" / "operation.md").read_text()
    book = text[text.index("## Runbook") :]
    book = book[: book.index("\n## ", 1)]
    entries = re.findall(r"^### \d+\. (.*)\n((?:(?!^###).*\n?)*)", book, re.MULTILINE)
    return {
        title: re.findall(r"^ {4}((?:error|warning) .*)$", body, re.MULTILINE)
        for title, body in entries
    }


def pattern(line: str) -> str:
    """A quoted line, in which … stands for anything."""
    return ".*".join(map(re.escape, line.split("…")))


def test_the_runbook_has_ten_entries_with_the_doctors_lines() -> None:
    assert list(quoted()) == list(RUNBOOK)
    assert len(RUNBOOK) == 10
    assert all(quoted().values())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can look as another user")
@pytest.mark.parametrize("title", RUNBOOK)
def test_the_doctor_says_the_runbooks_lines_of_a_broken_installation(
    hospital: Hospital, tmp_path: Path, title: str
) -> None:
    lines = quoted()[title]
    unseen = set(lines)
    for etc, options in RUNBOOK[title](hospital, tmp_path):
        status, said = doctor_here(etc, *options)
        seen = {line for line in lines if any(re.fullmatch(pattern(line), one) for one in said)}
        assert seen, "\n".join(said)
        worst = 2 if any(line.startswith("error") for line in seen) else 1
        assert status >= worst
        unseen -= seen
    assert not unseen


@pytest.mark.skipif(postgres.programs() is None, reason="PostgreSQL isn't installed")
def test_a_postgresql_database_is_looked_at_and_left_alone() -> None:
    with postgres.server("openmrs") as port:
        url = f"postgresql+psycopg://postgres@127.0.0.1:{port}/openmrs"
        assert look(url) == Look(0, writable=True)
        assert look(url) == Look(0, writable=True)  # nothing was made
        database = Database(url)
        database.open()
        assert look(url) == Look(NEWEST, writable=True)
        engine = sa.create_engine(url)
        with engine.begin() as connection:
            connection.execute(sa.text("CREATE ROLE reader LOGIN"))
            connection.execute(sa.text("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader"))
        engine.dispose()
        assert look(url.replace("postgres@", "reader@")) == Look(NEWEST, writable=False)
        database.close()


def test_the_doctor_asks_as_the_scanner_that_is_named(
    openmrs: Standin, start_orthanc: Start, tmp_path: Path
) -> None:
    sample = next(iter(patients(1, date.today())))
    sample.add_to(openmrs.records)
    modalities = {"mr": ["MR1", "127.0.0.1", 104], "ct": {"AET": "CT2", "Host": "127.0.0.1"}}
    modalities["ct"] |= {"Port": 104, "AllowFindWorklist": False}  # type: ignore[operator]
    orthanc = start_orthanc(
        {"RefreshInterval": 1}, DicomAlwaysAllowFindWorklist=False, DicomModalities=modalities
    )
    eventually(lambda: orthanc.get("/openmrs/status")["Worklist"]["Offered"] == 1, "no worklist")
    etc = orthanc.folder / "orthanc.json"

    def said(aet: str) -> str:
        _, lines = doctor_here(etc, "--aet", aet)
        return next(line for line in lines if "C-FIND: " in line)

    assert re.match(r"ok +C-FIND: MR1 gets step 1 \(", said("MR1"))
    assert said("CT1").startswith("error    C-FIND: CT1 is none of DicomModalities")
    assert said("CT2").startswith("warning  C-FIND: not tried: CT2 may not ask")
    for aet in ("CT1", "CT2"):
        assert scanner.find(orthanc.dicom_port, ae_title=aet).status != "Success", "it is so"


def test_an_orthanc_without_a_worklist_says_so_in_the_words_that_are_known(tmp_path: Path) -> None:
    with ScratchOrthanc(tmp_path / "orthanc", script=None) as orthanc:
        found = scanner.find(orthanc.dicom_port)
        assert "No Acceptable Presentation Contexts" in found.output
        assert ask(orthanc.dicom_port, "ORTHANC", "CT1", "1", "CT1").status == NO_WORKLIST
        by_pynetdicom = _by_pynetdicom(orthanc.dicom_port, "ORTHANC", "CT1", "1", "CT1")
        assert by_pynetdicom.status == NO_WORKLIST


# --- inside Orthanc --------------------------------------------------------------------------


def test_an_examination_of_an_openmrs_that_hangs_holds_nobody_up(
    openmrs: Standin, start_orthanc: Start
) -> None:
    for sample in patients(STEPS, date.today()):
        sample.add_to(openmrs.records)
    orthanc = start_orthanc({"RefreshInterval": 3600})
    eventually(
        lambda: orthanc.get("/openmrs/status")["Worklist"]["Offered"] == STEPS, "no worklist"
    )
    openmrs.set_fault(Fault("hang"))
    reads = len(openmrs.requests_log)
    answers: list[Any] = []

    def examine() -> None:
        answers.append(orthanc.get("/openmrs/status?full"))

    thread = threading.Thread(target=examine)
    thread.start()
    eventually(lambda: len(openmrs.requests_log) > reads, "OpenMRS isn't asked")
    started = time.monotonic()
    assert len(scanner.find(orthanc.dicom_port).answers) == STEPS
    assert orthanc.get("/openmrs/status")["Worklist"]["Offered"] == STEPS
    assert time.monotonic() - started < 3
    assert not answers
    started = time.monotonic()
    orthanc.stop()
    assert time.monotonic() - started < 5
    thread.join(10)
    assert "Traceback" not in orthanc.log
    (found,) = answers
    assert found["Doctor"]["State"] != "ok"


# --- the configuration, as Orthanc reads it --------------------------------------------------

BROKEN = "a line break in a text"
PROBE = "import orthanc, os\nprint(orthanc.GetConfiguration(), file=open(os.environ['TO'], 'w'))\n"


def test_the_doctor_reads_a_configuration_as_orthanc_does(tmp_path: Path) -> None:
    """The real Orthanc reads the files, writes down what it read, and ends."""
    script = tmp_path / "probe.py"
    script.write_text(PROBE + "raise SystemExit\n")
    base = {
        "Plugins": [str(PYTHON_PLUGIN)],
        "PythonScript": str(script),
        "StorageDirectory": str(tmp_path / "storage"),
        "HttpServerEnabled": False,
        "DicomServerEnabled": False,
    }

    def read(name: str, files: Mapping[str, bytes]) -> Any:
        etc, to = tmp_path / name, tmp_path / f"{name}.read"
        for file, content in {"a.json": json.dumps(base).encode(), **files}.items():
            (etc / file).parent.mkdir(parents=True, exist_ok=True)
            (etc / file).write_bytes(content)
        environment = {**os.environ, **ENVIRONMENT, "TO": str(to)}
        subprocess.run(["Orthanc", etc], env=environment, capture_output=True, timeout=30)
        return json.loads(to.read_text()) if to.exists() else None

    values = dict(VALUES)
    lines, read_so = values[BROKEN]
    if read("lines", {"b.json": f'{{"Key": {lines}}}'.encode()}) is None:
        del values[BROKEN]  # Orthanc 1.13 refuses what the older ones read
    assert read_configuration(tmp_path / "lines", ENVIRONMENT).values["Key"] == read_so
    written = ",\n".join(f'"{name}": {text}' for name, (text, _) in values.items())
    files: dict[str, bytes] = {"values.json": f"{{{written}}}".encode()}
    for at, (own, _) in enumerate(FILES.values()):
        files |= {
            name.replace("b", f"b{at}", 1): text.replace(b"Key", b"Key%d" % at)
            for name, text in own.items()
        }
    found = read("good", files)
    assert found is not None
    assert {name: found[name] for name in values} == {
        name: one for name, (_, one) in values.items()
    }
    assert [found.get(f"Key{at}") for at in range(len(FILES))] == [one for _, one in FILES.values()]
    ours = read_configuration(tmp_path / "good", ENVIRONMENT).values
    assert ours == found
    for at, (name, (own, _)) in enumerate(REFUSED.items()):
        assert read(f"bad{at}", own) is None, name
