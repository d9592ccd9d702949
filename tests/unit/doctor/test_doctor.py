"""Each check says what is wrong and what to do; what can't be checked is said once."""

import json
import os
import sqlite3
import ssl
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from orthanc_openmrs import __version__
from orthanc_openmrs.config import read_settings
from orthanc_openmrs.doctor import installation, openmrs, running
from orthanc_openmrs.doctor.case import Case
from orthanc_openmrs.doctor.checks import CHECKS
from orthanc_openmrs.doctor.command import as_json, as_text, main
from orthanc_openmrs.doctor.configuration import Reading, read_configuration
from orthanc_openmrs.doctor.findings import (
    Check,
    Examination,
    Finding,
    State,
    error,
    ok,
    warning,
    worst,
)
from orthanc_openmrs.doctor.inside import Doctor
from orthanc_openmrs.doctor.machine import (
    embedded_python,
    import_plugin,
    listener,
    orthanc_user,
    refused,
    user_of,
)
from orthanc_openmrs.doctor.orthanc import OverHttp, Unanswered
from orthanc_openmrs.doctor.scanner import Asked, read_output
from orthanc_openmrs.errors import StoreError
from orthanc_openmrs.model import Rejected, RequestList
from orthanc_openmrs.openmrs.persons import is_signed_in
from orthanc_openmrs.openmrs.verdicts import judge_empty_update
from orthanc_openmrs.store.database import Database
from orthanc_openmrs.store.inspection import NEWEST, look
from orthanc_openmrs.worklist.snapshot import Snapshot
from tests.unit.builders import TODAY, request, step
from tests.unit.doubles import Server, answer, serving

ROOT = Path(__file__).resolve().parents[3]
FOUR = {
    "ImagingWorklistURL": "http://127.0.0.1:9/openmrs/ws/rest/v1/worklist/requests",
    "ImagingUpdateRequestStatus": "http://127.0.0.1:9/openmrs/x/updaterequeststatus",
    "ImagingWorklistUsername": "imaging",
    "ImagingWorklistPassword": "Imaging123",
}
ME = user_of(os.geteuid())


def case(folder: Path, answers: Mapping[str, Any] | None = None, **keys: Any) -> Case:
    """An installation with these keys beside the four, whose Orthanc gives these answers."""
    reading = Reading({**FOUR, **keys}, folder)
    made = Case(lambda: reading, user=ME, reading=reading, get=asking(answers or {}))
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


# --- how checks are gone through -------------------------------------------------------------


def says(*findings: Finding) -> Callable[[Case], Iterator[Finding]]:
    """A check that finds this."""
    return lambda case: iter(findings)


BAD = error("first", "is bad", "mend it")


def test_what_needs_a_failed_check_is_left_out_and_named_once(tmp_path: Path) -> None:
    table = (
        Check("first", says(BAD)),
        Check("second", says(ok("second", "unseen")), ("first",)),
        Check("third", says(ok("third", "unseen")), ("second",)),
        Check("fourth", says(warning("fourth", "is odd", "look"))),
        Check("fifth", says(ok("fifth", "is well")), ("fourth",)),
    )
    found = Examination().make(case(tmp_path), table, 10)
    assert [one.subject for one in found] == ["first", "fourth", "fifth", "not checked"]
    assert found[-1].meaning == "second, third"
    assert worst(found) is State.ERROR


def test_a_check_that_fails_or_takes_too_long_is_told_and_hides_no_other(tmp_path: Path) -> None:
    over = threading.Event()

    def crashes(case: Case) -> Iterator[Finding]:
        raise ZeroDivisionError("a secret")

    def hangs(case: Case) -> Iterator[Finding]:
        over.wait(10)
        yield ok("hangs", "came back")

    table = (
        Check("crashes", crashes),
        Check("hangs", hangs, limit=0.05),
        Check("after", says(ok("after", "unseen")), ("hangs",)),
        Check("last", says(ok("last", "is well"))),
    )
    found = Examination().make(case(tmp_path), table, 10)
    over.set()
    assert [f"{one.state} {one.subject}" for one in found] == [
        "error crashes",
        "warning hangs",
        "ok last",
        "warning not checked",
    ]
    assert "secret" not in as_text(found)


def test_an_examination_ends_in_time_and_at_once_when_told_to(tmp_path: Path) -> None:
    over = threading.Event()

    def hangs(case: Case) -> Iterator[Finding]:
        over.wait(10)
        return iter(())

    table = [Check(str(number), hangs) for number in range(100)]
    started = time.monotonic()
    found = Examination().make(case(tmp_path), table, 0.2)
    assert len(found) == 100
    examination = Examination()
    threading.Timer(0.1, examination.tell_to_stop).start()
    assert len(examination.make(case(tmp_path), table, 100)) == 100
    assert time.monotonic() - started < 5
    over.set()


def test_every_check_needs_earlier_ones_only() -> None:
    names: list[str] = []
    for check in CHECKS:
        assert set(check.needs) <= set(names), check.name
        assert check.name not in names
        names.append(check.name)


# --- the configuration, the script -----------------------------------------------------------

SCRIPT = "import orthanc_openmrs.plugin"
SEED = "orthanc.GetConfiguration()['ImagingWorklistURL']"
LIST = ["/usr/share/orthanc/plugins/"]


@pytest.mark.parametrize(
    ("check", "keys", "line"),
    [
        (installation.settings, {}, "ok settings: the plugin starts with these keys"),
        (installation.encoding, {"DefaultEncoding": "Utf8"}, "ok DefaultEncoding: is Utf8"),
        (installation.encoding, {"DefaultEncoding": "utf-8"}, "ok DefaultEncoding: is Utf8"),
        (installation.encoding, {}, "warning DefaultEncoding: is Latin1: names that it can't hold"),
        (installation.encoding, {"DefaultEncoding": "Greek"}, "warning DefaultEncoding: is Greek"),
        (installation.stable_age, {}, "ok StableAge: is 60 s"),
        (
            installation.stable_age,
            {"StableAge": 1},
            "warning StableAge: is 1 s: a step may be told",
        ),
        (
            installation.stable_age,
            {"StableAge": 3600},
            "warning StableAge: is 3600 s: OpenMRS is told",
        ),
        (installation.stable_age, {"StableAge": "60"}, "error StableAge: is no number"),
        (
            installation.scanners,
            {},
            "error DicomAlwaysAllowFindWorklist: is false, and DicomModalities",
        ),
        (
            installation.scanners,
            {"DicomAlwaysAllowFindWorklist": True, "DicomAet": "RAD", "DicomPort": 104},
            "ok DicomAlwaysAllowFindWorklist: is true: every scanner may ask (AE title RAD, port"
            " 104)",
        ),
        (
            installation.scanners,
            {"DicomModalities": {"CT1": ["CT1", "192.0.2.7", 104], "MR1": {"AET": "MR1"}}},
            "ok DicomModalities: 2 may ask: CT1, MR1",
        ),
        (
            installation.scanners,
            {"DicomModalities": {"CT1": {"AET": "CT1", "AllowFindWorklist": False}}},
            "error DicomAlwaysAllowFindWorklist: is false, and none in DicomModalities may ask",
        ),
        (
            installation.scanners,
            {"DicomServerEnabled": False},
            "error DicomServerEnabled: is false",
        ),
        (installation.script, {}, "error PythonScript: is missing"),
        (installation.script, {"PythonScript": "x.py"}, "error PythonScript: is a relative path"),
        (installation.script, {"PythonScript": "/no/x.py"}, "error PythonScript: there is no file"),
        (installation.plugins, {}, "error Plugins: none of them is Orthanc's Python plugin"),
        (
            installation.plugins,
            {"Plugins": ["/no/libOrthancPython.so"]},
            "error Plugins: none of them",
        ),
        (running.orthanc, {"HttpServerEnabled": False}, "error HttpServerEnabled: is false"),
    ],
)
def test_a_key_is_judged(
    tmp_path: Path,
    check: Callable[[Case], Iterator[Finding]],
    keys: dict[str, Any],
    line: str,
) -> None:
    (found,) = told(check(case(tmp_path, **keys)))
    assert found.startswith(line)


def test_modalities_may_be_in_orthancs_database(tmp_path: Path) -> None:
    known = {"CT1": {"AET": "CT1", "Host": "192.0.2.7", "Port": 104}}
    keys: dict[str, Any] = {
        "DicomModalitiesInDatabase": True,
        "DicomModalities": {"MR1": ["MR1", "x", 1]},
    }
    made = case(tmp_path, {"/modalities?expand": known}, **keys)
    assert told(installation.scanners(made))[0].startswith("ok DicomModalities: 1 may ask: CT1 ")
    assert told(installation.scanners(case(tmp_path, **keys)))[0].startswith("error")


def test_a_wrong_key_is_told_without_its_value(tmp_path: Path) -> None:
    made = case(tmp_path)
    made.reading = Reading({**FOUR, "ImagingWorklistPassword": ["Imaging123"]}, tmp_path)
    (line,) = told(installation.settings(made))
    assert line == "error ImagingWorklistPassword: is an array, expected text"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can ask as somebody else")
def test_files_that_orthanc_cannot_read_or_everybody_can_are_told() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)  # unlike pytest's own, which is root's alone
        file = folder / "python.json"
        file.write_text(json.dumps({**FOUR, "OpenMRS": {"CACertificates": "ca.pem"}}))
        (folder / "ca.pem").write_text("")

        def judged() -> list[str]:
            made = Case(lambda: read_configuration(folder, {}), user=user_of(65534))
            return told(installation.configuration(made)) + (
                told(installation.settings(made)) if made.reading else []
            )

        file.chmod(0o600)
        assert judged()[0].startswith(f"error {file}: can't be read by the user nobody")
        file.chmod(0o644)
        assert judged()[:2] == [
            "ok configuration: 1 file can be read",
            f"warning {file}: holds a password, and everybody on this machine can read it",
        ]
        (folder / "ca.pem").chmod(0o600)
        assert judged()[2].startswith(f"error {folder / 'ca.pem'}: can't be read by the user")
        folder.chmod(0o700)
        file.chmod(0o604)
        assert not any("password" in line for line in judged())


@pytest.mark.parametrize(
    ("keys", "caller"),
    [
        ({"DicomAlwaysAllowFindWorklist": True}, "DOCTOR"),
        ({}, None),
        ({"DicomModalities": {"a": ["CT1", "192.0.2.7", 104]}}, "CT1"),
        ({"DicomModalities": {"a": {"AET": "CT1", "Host": "192.0.2.7"}}}, "CT1"),
        ({"DicomModalities": {"a": {"AET": "CT1", "AllowFindWorklist": False}}}, None),
        ({"DicomModalities": {"a": {}, "b": [], "c": 1}}, None),
        (
            {
                "DicomCheckModalityHost": True,
                "DicomModalities": {
                    "a": ["CT1", "192.0.2.7", 104],
                    "b": ["LOCAL", "127.0.0.1", 104],
                },
            },
            "LOCAL",
        ),
        (
            {
                "DicomCheckModalityHost": True,
                "DicomModalities": {"a": ["CT1", "192.0.2.7", 104]},
            },
            None,
        ),
    ],
)
def test_who_asks_as_a_scanner_may_ask(
    tmp_path: Path, keys: dict[str, Any], caller: str | None
) -> None:
    assert running.caller(case(tmp_path, **keys)) == caller


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (SCRIPT, "ok PythonScript: {} starts this plugin"),
        (SEED, "error PythonScript: {} is the Imaging module's own script, which doesn't start"),
        ("print()", "error PythonScript: {} is another script, which doesn't start this plugin"),
    ],
)
def test_a_script_is_told_from_others(tmp_path: Path, text: str, line: str) -> None:
    path = tmp_path / "orthancWorklist.py"
    path.write_text(text)
    (found,) = told(installation.script(case(tmp_path, PythonScript=str(path))))
    assert found.startswith(line.format(path))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can ask as somebody else")
def test_what_another_user_cannot_reach_is_told(tmp_path: Path) -> None:
    nobody = user_of(65534)
    shut = tmp_path / "shut"
    shut.mkdir(mode=0o700)
    path = shut / "orthancWorklist.py"
    path.write_text(SCRIPT)
    made = case(tmp_path, PythonScript=str(path))
    made.user = nobody
    (found,) = told(installation.script(made))
    assert found.startswith(f"error PythonScript: the user {nobody.name} can't reach /")
    assert refused(nobody, [(Path("/"), os.R_OK), (path, os.R_OK), (Path("/etc"), os.W_OK)]) == [
        path,
        Path("/etc"),
    ]
    assert refused(ME, [(path, os.R_OK)]) == []
    assert import_plugin(nobody, "/usr/bin/python3", [shut])["Name"].startswith("orthanc_openmrs")


def test_the_embedded_python_is_read_from_the_plugin(tmp_path: Path) -> None:
    plugin = tmp_path / "libOrthancPython.so"
    plugin.write_bytes(b"\x7fELF\0libc.so.6\0libpython3.13.so.1.0\0")
    assert embedded_python(plugin) == "3.13"
    assert embedded_python(tmp_path / "none") == ""
    made = case(tmp_path, Plugins=[str(tmp_path)])
    assert told(installation.plugins(made)) == [f"ok Plugins: {plugin}, which embeds Python 3.13"]
    assert made.python == "3.13"


def test_a_package_that_is_missing_is_named(tmp_path: Path) -> None:
    (tmp_path / "orthanc_openmrs").mkdir()
    (tmp_path / "orthanc_openmrs" / "__init__.py").write_text("")
    (tmp_path / "orthanc_openmrs" / "plugin.py").write_text("import no_such_package")
    script = tmp_path / "orthancWorklist.py"
    script.write_text(SCRIPT)
    (found,) = told(installation.packages(case(tmp_path, PythonScript=str(script))))
    assert "can't import no_such_package as the user" in found
    (found,) = told(installation.packages(case(tmp_path, PythonScript=str(ROOT / script.name))))
    assert found.startswith("ok packages: orthanc-openmrs can be imported by Python 3.")


def test_who_listens_on_a_port_is_who_orthanc_runs_as() -> None:
    with serving() as server:
        port = int(server.url.rpartition(":")[2])
        assert listener(port) == os.geteuid()
        assert orthanc_user(port) == ME
    assert listener(port) is None


Make = Callable[..., Path]


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Makes a certificate that signed itself, with its key in the same file."""

    def made(name: str = "localhost", days: int = 90) -> Path:
        path = tmp_path_factory.mktemp("tls") / "server.pem"
        command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
        names = ["-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}"]
        files = ["-days", str(days), "-keyout", str(path), "-out", str(path.with_suffix(".crt"))]
        try:
            subprocess.run([*command.split(), *names, *files], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("openssl can't make a certificate here")
        path.write_text(path.read_text() + path.with_suffix(".crt").read_text())
        return path

    return made


def secure(certificate: Path) -> ssl.SSLContext:
    """A server's TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


# --- the Orthanc that runs -------------------------------------------------------------------

SYSTEM = {"Version": "1.12.7", "DicomAet": "ORTHANC", "DicomPort": 4242}
STATUS = {"Version": __version__, "Notifications": {"Pending": 1, "Held": 0, "Failed": 0}}
RUNS = {
    "/system": SYSTEM,
    "/plugins/python": {"Version": "5.0"},
    "/openmrs/status": STATUS,
}


@pytest.mark.parametrize(
    ("check", "changes", "lines"),
    [
        (running.orthanc, {}, ["ok Orthanc: 1.12.7 answers on port 8042"]),
        (
            running.orthanc,
            {"/system": Unanswered("connection refused")},
            ["error Orthanc: doesn't answer on port 8042 (connection refused)"],
        ),
        (
            running.orthanc,
            {"/system": Unanswered("HTTP 401", 401)},
            ["error Orthanc: answers on port 8042, but refuses the first of RegisteredUsers"],
        ),
        (
            running.orthanc,
            {"/system": {**SYSTEM, "Version": "1.9.7"}},
            ["error Orthanc: 1.9.7 is too old"],
        ),
        (
            running.orthanc,
            {"/system": {**SYSTEM, "Version": "mainline", "DicomAet": "OLD"}},
            [
                "ok Orthanc: mainline answers on port 8042",
                "warning DicomAet: is ORTHANC here, and OLD in the Orthanc that runs",
            ],
        ),
        (
            running.loaded,
            {},
            [
                "ok Python plugin: 5.0 is loaded",
                f"ok orthanc-openmrs: {__version__} is loaded",
            ],
        ),
        (
            running.loaded,
            {"/plugins/python": Unanswered("HTTP 404", 404)},
            ["error Python plugin: isn't loaded in the Orthanc that runs"],
        ),
        (
            running.loaded,
            {"/plugins/python": {"Version": "3.4"}, "/openmrs/status": Unanswered("HTTP 404")},
            [
                "error Python plugin: 3.4 is too old",
                "error orthanc-openmrs: isn't loaded in the Orthanc that runs (HTTP 404)",
            ],
        ),
        (
            running.loaded,
            {"/openmrs/status": {**STATUS, "Version": "0.0.9"}},
            [
                "ok Python plugin: 5.0 is loaded",
                f"warning orthanc-openmrs: 0.0.9 runs, {__version__} is installed",
            ],
        ),
    ],
)
def test_the_running_orthanc_is_judged(
    tmp_path: Path,
    check: Callable[[Case], Iterator[Finding]],
    changes: dict[str, Any],
    lines: list[str],
) -> None:
    made = case(tmp_path, {**RUNS, **changes})
    made.version = __version__
    assert told(check(made)) == lines


@pytest.mark.parametrize(
    ("counts", "lines"),
    [
        ({"Pending": 3}, ["ok notifications: 3 on their way, none held, none refused"]),
        ({"Held": 2}, ["warning notifications: 2 held for a person"]),
        (
            {"Failed": 1, "Held": 1},
            [
                "warning notifications: OpenMRS refused 1",
                "warning notifications: 1 held for a person",
            ],
        ),
    ],
)
def test_notifications_that_wait_for_a_person_are_told(
    tmp_path: Path, counts: dict[str, int], lines: list[str]
) -> None:
    made = case(tmp_path)
    made.status = {"Notifications": counts}
    assert told(running.notifications(made)) == lines


def test_an_orthanc_that_https_would_end_is_not_asked(tmp_path: Path) -> None:
    made = case(tmp_path, RUNS, SslEnabled=True)
    made.orthanc = "1.10.1"
    (found,) = told(running.orthanc(made))
    assert found.startswith("error SslEnabled: is true: Orthanc 1.10.1 of Debian 12 ends at")
    made.orthanc = "1.12.7"
    assert told(running.orthanc(made)) == ["ok Orthanc: 1.12.7 answers on port 8042"]


def test_orthancs_own_certificate_is_trusted_and_no_other(tmp_path: Path, make: Make) -> None:
    certificate, other = make("orthanc"), make("orthanc")
    with serving(secure(certificate)) as server:
        keys = {"HttpPort": int(server.url.rpartition(":")[2]), "SslEnabled": True}
        server.play = lambda handler: answer(handler, b"{}")
        own = OverHttp({**keys, "SslCertificate": certificate.name}, certificate.parent)
        assert own.get("/system") == {}
        with pytest.raises(Unanswered, match="TLS fails"):
            OverHttp({**keys, "SslCertificate": str(other)}, tmp_path).get("/system")


def test_orthanc_is_asked_with_the_first_of_its_users(tmp_path: Path) -> None:
    with serving() as server:
        keys = {
            "HttpPort": int(server.url.rpartition(":")[2]),
            "RegisteredUsers": {"admin": "secret", "other": "x"},
        }
        server.play = lambda handler: answer(handler, b'{"Version": "1"}')
        over = OverHttp(keys, tmp_path)
        assert over.get("/system") == {"Version": "1"}
        assert server.asked[0].headers["authorization"] == "Basic YWRtaW46c2VjcmV0"
        server.play = lambda handler: answer(handler, b"<html>")
        with pytest.raises(Unanswered, match="is no JSON"):
            over.get("/system")
        server.play = lambda handler: answer(handler, b"", 401)
        with pytest.raises(Unanswered, match="HTTP 401") as caught:
            over.get("/system")
        assert caught.value.status == 401
    with pytest.raises(Unanswered, match="connection refused"):
        over.get("/system")


@pytest.mark.parametrize(
    ("output", "asked"),
    [
        (
            "I: Find Response: 1 (Pending)\nI: Received Final Find Response (Success)\n",
            Asked("Success", 1),
        ),
        ("I: Received Final Find Response (Success)\n", Asked("Success")),
        (
            "W: Received Final Find Response (Failed: UnableToProcess)\n",
            Asked("Failed: UnableToProcess"),
        ),
        (
            "E: Association Rejected:\nE: Result: x\nE: Reason: Called AE Title Not Recognized\n",
            Asked("the association is refused: Called AE Title Not Recognized"),
        ),
        (
            "E: 0006:0317 Peer aborted Association (or never connected)\n",
            Asked("Orthanc breaks off: it doesn't let this scanner ask"),
        ),
        (
            "E: Association Request Failed: 0006:031c TCP Initialization Error\n",
            Asked("no answer"),
        ),
    ],
)
def test_what_findscu_says_is_understood(output: str, asked: Asked) -> None:
    assert read_output(output) == asked


# --- the database ----------------------------------------------------------------------------


def test_a_database_is_looked_at_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "openmrs.db"
    made = case(tmp_path, OpenMRS={"Database": f"sqlite:///{path}"})
    assert told(running.database(made)) == [f"ok database: {path} is made at the first start"]
    assert os.listdir(tmp_path) == []

    database = Database(f"sqlite:///{path}")
    database.open()
    database.note_study("s")  # a plugin that runs: its log is there
    assert Path(f"{path}-wal").exists()
    assert look(f"sqlite:///{path}").version == NEWEST
    assert told(running.database(made)) == ["ok database: can be read and written"]
    database.note_study("t")
    database.close()
    assert os.listdir(tmp_path) == ["openmrs.db"]
    before = path.read_bytes()
    assert told(running.database(made)) == ["ok database: can be read and written"]
    assert os.listdir(tmp_path) == ["openmrs.db"]
    assert path.read_bytes() == before


def _no_database(path: Path) -> None:
    path.write_bytes(b"this was a database once " * 100)


def _newer(path: Path) -> None:
    with closing(sqlite3.connect(path)) as newer:
        newer.execute("CREATE TABLE schema_version (version INTEGER PRIMARY KEY)")
        newer.execute("INSERT INTO schema_version VALUES (99)")
        newer.commit()


@pytest.mark.parametrize(
    ("prepare", "line"),
    [
        (_no_database, "error database: {} can't be opened: file is not a database"),
        (
            _newer,
            f"error database: is of schema version 99, this plugin knows up to {NEWEST}",
        ),
        (Path.mkdir, "error database: {} can't be opened: unable to open database file"),
    ],
)
def test_a_database_that_cannot_be_used_is_told(
    tmp_path: Path, prepare: Callable[[Path], None], line: str
) -> None:
    path = tmp_path / "openmrs.db"
    prepare(path)
    made = case(tmp_path, OpenMRS={"Database": f"sqlite:///{path}"})
    assert told(running.database(made)) == [line.format(path)]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can ask as somebody else")
def test_a_folder_that_orthanc_may_not_write_is_told(tmp_path: Path) -> None:
    made = case(Path("/"), OpenMRS={"Database": "sqlite:////var/no/such/openmrs.db"})
    made.user = user_of(65534)
    (found,) = told(running.database(made))
    assert found == f"error database: the user {made.user.name} can't write /var"


def test_what_the_running_plugin_says_of_its_database_counts(tmp_path: Path) -> None:
    made = case(tmp_path, OpenMRS={"Database": f"sqlite:///{tmp_path / 'x.db'}"})
    made.status = {"Notifications": {"Error": "the database fails: database or disk is full"}}
    assert told(running.database(made)) == [
        "error database: the plugin says: the database fails: database or disk is full"
    ]


def test_a_database_server_that_is_away_is_told_without_its_password(tmp_path: Path) -> None:
    url = "postgresql+psycopg://orthanc:Imaging123@127.0.0.1:9/openmrs"
    (found,) = told(running.database(case(tmp_path, OpenMRS={"Database": url})))
    assert found.startswith("error database: the PostgreSQL database can't be opened: ")
    with pytest.raises(StoreError):
        look(url)


# --- OpenMRS ---------------------------------------------------------------------------------


@pytest.fixture
def server() -> Iterator[Server]:
    """An OpenMRS that does as it is told."""
    with serving() as served:
        yield served


def of(server: Server, folder: Path, **section: Any) -> Case:
    """An installation whose OpenMRS this is."""
    root = f"{server.url}/openmrs/ws/rest/v1"
    return case(
        folder,
        ImagingWorklistURL=f"{root}/worklist/requests",
        ImagingUpdateRequestStatus=f"{root}/worklist/updaterequeststatus",
        OpenMRS=section,
    )


def plays(server: Server, session: bytes = b"", **told: Any) -> None:
    """The list, or the update, is answered so; the session as OpenMRS's core does."""

    def play(handler: BaseHTTPRequestHandler) -> None:
        if handler.path.endswith("/session"):
            answer(handler, session or b'{"authenticated": true}')
        else:
            answer(handler, **told)

    server.play = play


SIGNED_OUT = b'{"authenticated": false}'
PAGE = b"<!doctype html><form action='login.htm'>"


@pytest.mark.parametrize(
    ("told_by_openmrs", "line"),
    [
        ({}, "ok list: the account gets it (0 KiB in 0."),
        ({"status": 401}, "error list: the account lacks the privilege Task: Edit Worklist"),
        (
            {"status": 401, "session": SIGNED_OUT},
            "error list: OpenMRS refuses the sign-in (HTTP 401)",
        ),
        ({"status": 302, "session": SIGNED_OUT}, "error list: OpenMRS refuses the sign-in"),
        ({"body": PAGE, "session": SIGNED_OUT}, "error list: OpenMRS refuses the sign-in"),
        ({"status": 500, "session": SIGNED_OUT}, "error list: OpenMRS refuses the sign-in"),
        (
            {"status": 403},
            "error list: the account lacks the privilege Task: Edit Worklist (HTTP 403)",
        ),
        ({"status": 404}, "error list: OpenMRS has no such route (HTTP 404)"),
        ({"status": 500}, "error list: OpenMRS fails (HTTP 500)"),
        ({"body": PAGE}, "error list: what OpenMRS sends is no worklist"),
        ({"body": b"{}"}, "error list: what OpenMRS sends is no worklist"),
    ],
)
def test_the_list_is_judged(
    tmp_path: Path, server: Server, told_by_openmrs: dict[str, Any], line: str
) -> None:
    plays(server, **told_by_openmrs)
    (found,) = told(openmrs.worklist(of(server, tmp_path)))
    assert found.startswith(line)


@pytest.mark.parametrize(
    ("told_by_openmrs", "line"),
    [
        (
            {"body": b"No series data found in payload"},
            "ok status updates: the account may report, to a module of generation v2",
        ),
        (
            {"status": 400},
            "ok status updates: the account may report, to a module of generation v1",
        ),
        (
            {"status": 403},
            "error status updates: the account lacks the privilege Task: Receive Orthanc Updates",
        ),
        ({"status": 401, "session": SIGNED_OUT}, "error status updates: OpenMRS refuses the sign"),
        ({"body": PAGE, "session": SIGNED_OUT}, "error status updates: OpenMRS refuses the sign"),
        ({"status": 404}, "error status updates: OpenMRS has no such route (HTTP 404)"),
        ({"status": 405}, "error status updates: OpenMRS has no such route (HTTP 405)"),
        ({"status": 500}, "error status updates: OpenMRS fails (HTTP 500)"),
    ],
)
def test_status_updates_are_tried_with_no_step(
    tmp_path: Path, server: Server, told_by_openmrs: dict[str, Any], line: str
) -> None:
    plays(server, **told_by_openmrs)
    (found,) = told(openmrs.updates(of(server, tmp_path)))
    assert found.startswith(line)
    asked = server.asked[0]
    assert (asked.method, asked.query) == ("POST", {})
    body = json.loads(asked.body)
    assert body["seriesList"] == []
    assert set(body["studyInfo"].values()) == {None}


@pytest.mark.parametrize(
    ("status", "kind"),
    [(200, ""), (400, ""), (302, "credentials"), (403, "privilege"), (503, "server-error")],
)
def test_the_answer_to_an_update_of_no_step_is_understood(status: int, kind: str) -> None:
    assert judge_empty_update(status, b"") == kind


@pytest.mark.parametrize(
    ("session", "known"),
    [
        (b'{"authenticated": true}', True),
        (b'{"authenticated": false}', False),
        (b"{}", None),
        (b"[]", None),
        (b"<html>", None),
        (b"[" * 100_000, None),
        (None, None),
    ],
)
def test_a_session_is_somebodys_or_nobodys(session: bytes | None, known: bool | None) -> None:
    assert is_signed_in(session) is known


@pytest.mark.parametrize(
    ("seconds", "line"),
    [
        (0, "ok clock: agrees with OpenMRS's; today is "),
        (-90, "warning clock: is 90 s ahead of OpenMRS's"),
        (90, "warning clock: is 90 s behind OpenMRS's"),
        (-3600, "error clock: is 60 minutes ahead of OpenMRS's"),
        (7200, "error clock: is 120 minutes behind OpenMRS's"),
        (None, "ok clock: OpenMRS doesn't tell its time"),
    ],
)
def test_clocks_are_compared(
    tmp_path: Path, server: Server, seconds: int | None, line: str
) -> None:
    date = "now" if seconds is None else formatdate(time.time() + seconds + 0.5, usegmt=True)

    def play(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response_only(200)
        handler.send_header("Content-Length", "2")
        handler.send_header("Date", date)
        handler.end_headers()
        handler.wfile.write(b"[]")

    server.play = play
    made = of(server, tmp_path)
    list(openmrs.worklist(made))
    (found,) = told(openmrs.clock(made))
    assert found.replace("91 s", "90 s").replace("89 s", "90 s").startswith(line)


def test_a_slow_list_is_told(tmp_path: Path, server: Server) -> None:
    def play(handler: BaseHTTPRequestHandler) -> None:
        threading.Event().wait(0.3)
        answer(handler)

    server.play = play
    (found,) = told(openmrs.worklist(of(server, tmp_path, Timeout=0.5)))
    assert found.startswith("warning list: OpenMRS gives it slowly: 0 KiB in 0.3 s, where Timeout")


def test_a_patient_is_looked_up_only_where_names_are(tmp_path: Path, server: Server) -> None:
    listed = Snapshot.build(RequestList((request(),)), read_at=0, day=TODAY)
    made = of(server, tmp_path)
    made.snapshot = listed
    assert told(openmrs.names(made)) == []
    assert server.asked == []
    made = of(server, tmp_path, PersonNames="lookup")
    made.snapshot = listed
    assert told(openmrs.names(made)) == ["ok names: patients can be looked up"]
    plays(server, status=403)
    (found,) = told(openmrs.names(made))
    assert found.startswith("warning names: a patient can't be looked up (HTTP 403)")


def test_steps_are_told_by_their_ids_never_by_their_patients(tmp_path: Path) -> None:
    long = {"accession_number": "1" * 19}
    listed = RequestList(
        (
            *(request(str(n), step(str(n)), **long) for n in range(7)),
            *(request(str(n), step(str(n), modality="")) for n in range(10, 17)),
        ),
        (Rejected(14, "is null, not an object"),),
    )
    made = case(tmp_path)
    made.snapshot = Snapshot.build(listed, read_at=0, day=TODAY)
    found = told(openmrs.steps(made))
    assert found[0] == "ok steps: 14 in the list, 7 for scanners"
    assert found[1] == "warning steps: step 10 is left out: Modality is empty"
    assert "warning steps: element 14 of the list is left out: is null, not an object" in found
    assert "warning steps: 2 more are left out" in found
    assert (
        "ok steps: 7 repaired (0, 1, 2, 3, 4, …): AccessionNumber is, in 16 characters, that of "
        "another request too"
    ) in found
    assert not any(word in "\n".join(found) for word in ("Alice", "Jones", "1990"))


@pytest.mark.parametrize(
    ("url", "line"),
    [
        ("http://127.0.0.1:9/", "error OpenMRS: 127.0.0.1:9 can't be reached: connection refused"),
        ("http://no.such.invalid/", "error OpenMRS: the host name no.such.invalid is unknown here"),
    ],
)
def test_an_openmrs_that_is_away_is_told(tmp_path: Path, url: str, line: str) -> None:
    assert told(openmrs.connection(case(tmp_path, ImagingWorklistURL=url))) == [line]


def test_openmrs_on_this_machine_needs_no_tls(tmp_path: Path, server: Server) -> None:
    (found,) = told(openmrs.connection(of(server, tmp_path)))
    assert found.startswith("ok OpenMRS: localhost:")


# --- TLS -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "days", "trusted", "line"),
    [
        ("localhost", 90, True, "ok TLS: OpenMRS's certificate is trusted, for 89 more days"),
        ("localhost", 5, True, "warning TLS: OpenMRS's certificate ends in 4 days"),
        ("localhost", 90, False, "error TLS: OpenMRS's certificate is signed by itself"),
        ("other.example", 90, True, "error TLS: OpenMRS's certificate is for another host name"),
    ],
)
def test_a_certificate_is_judged_in_plain_words(
    tmp_path: Path, make: Make, name: str, days: int, trusted: bool, line: str
) -> None:
    certificate = make(name, days)
    section = {"CACertificates": str(certificate.with_suffix(".crt"))} if trusted else {}
    with serving(secure(certificate)) as server:
        made = of(server, tmp_path, **section)
        reached, found = told(openmrs.connection(made))
        assert reached.startswith("ok OpenMRS: ")
        assert found == line
        assert server.asked == []  # no account went out


def test_certificates_that_nobody_looks_at_and_no_tls_at_all_are_told(
    tmp_path: Path, make: Make, server: Server
) -> None:
    certificate = make()
    with serving(secure(certificate)) as encrypted:
        made = of(encrypted, tmp_path, VerifyCertificates=False)
        assert told(openmrs.connection(made))[1].startswith(
            "warning OpenMRS.VerifyCertificates: is false"
        )
        empty = tmp_path / "empty.pem"
        empty.write_text("")
        made = of(encrypted, tmp_path, CACertificates=str(empty))
        assert told(openmrs.connection(made))[1].startswith("error OpenMRS.CACertificates: ")
    plain = case(tmp_path, ImagingWorklistURL=server.url.replace("http:", "https:"))
    assert told(openmrs.connection(plain))[1].startswith("error TLS: the server on this port")


# --- the command, and inside Orthanc ---------------------------------------------------------


def test_findings_are_shown_as_text_and_as_json() -> None:
    found = [ok("a", "is well"), warning("b", "is odd", "look"), BAD]
    assert as_text(found).splitlines() == [
        "ok       a: is well",
        "warning  b: is odd",
        "         -> look",
        "error    first: is bad",
        "         -> mend it",
        "",
        "1 error, 1 warning",
    ]
    assert as_text(found[:1]).endswith("\nall is well")
    document = json.loads(as_json(found))
    assert document["State"] == "error"
    assert document["Findings"][1] == {
        "State": "warning",
        "Subject": "b",
        "Meaning": "is odd",
        "Advice": "look",
    }


def test_the_command_ends_with_2_where_nothing_can_be_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", str(tmp_path)]) == 2
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"error    {tmp_path}: has no file *.json"
    assert lines[-1] == "1 error, 1 warning"
    assert main(["doctor", "--json", str(tmp_path)]) == 2
    assert json.loads(capsys.readouterr().out)["State"] == "error"


@pytest.mark.parametrize("arguments", [[], ["doctor", "--user", "no such user"]])
def test_a_wrong_command_line_is_refused(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: python3 -m orthanc_openmrs" in capsys.readouterr().err


def test_debians_python_runs_it_from_the_checkout(tmp_path: Path) -> None:
    done = subprocess.run(
        ["/usr/bin/python3", "-m", "orthanc_openmrs", "doctor", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert done.stdout.startswith(f"error    {tmp_path}: ")
    assert done.stderr == ""


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
