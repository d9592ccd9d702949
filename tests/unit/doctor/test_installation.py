"""Each check of what is installed says what is wrong and what to do."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from orthanc_openmrs.doctor import installation, running
from orthanc_openmrs.doctor.case import Case
from orthanc_openmrs.doctor.configuration import Reading, read_configuration
from orthanc_openmrs.doctor.findings import Finding
from orthanc_openmrs.doctor.machine import embedded_python
from tests.unit.doctor.cases import FOUR, case, told

SCRIPT = "import orthanc_openmrs.plugin"
SEED = "orthanc.GetConfiguration()['ImagingWorklistURL']"


@pytest.mark.parametrize(
    ("check", "keys", "line"),
    [
        (installation.settings, {}, "ok settings: the plugin starts with these keys"),
        (installation.encoding, {"DefaultEncoding": "Utf8"}, "ok DefaultEncoding: is Utf8"),
        (installation.encoding, {"DefaultEncoding": "utf8"}, "ok DefaultEncoding: is Utf8"),
        (installation.encoding, {}, "warning DefaultEncoding: is Latin1: names that it can't hold"),
        (installation.encoding, {"DefaultEncoding": "Greek"}, "warning DefaultEncoding: is Greek"),
        (installation.stable_age, {}, "ok StableAge: is 60 s"),
        (
            installation.stable_age,
            {"StableAge": 1},
            "warning StableAge: is 1 s: a step may be reported",
        ),
        (
            installation.stable_age,
            {"StableAge": 3600},
            "warning StableAge: is 3600 s: OpenMRS is notified",
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
            "ok DicomModalities: only CT1, MR1 may ask; is your scanner called so? (AE title OR",
        ),
        (
            installation.scanners,
            {
                "DicomCheckModalityHost": True,
                "DicomModalities": {"a": ["CT1", "192.0.2.7", 104], "b": {"AET": "MR1"}, "c": 1},
            },
            "ok DicomModalities: only CT1 at 192.0.2.7, MR1 at  may ask",
        ),
        (
            installation.scanners,
            {"DicomModalities": {str(at): [f"CT{at:02}", "h", 104] for at in range(30)}},
            "ok DicomModalities: only CT00, CT01, CT02, CT03, CT04, CT05, CT06, CT07, CT08, CT09, "
            "CT10, CT11, CT12, CT13, CT14, CT15, CT16, CT17, CT18, CT19 and 10 more may ask",
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
    assert told(installation.scanners(made))[0].startswith("ok DicomModalities: only CT1 may ask; ")
    assert told(installation.scanners(case(tmp_path, **keys)))[0].startswith("error")


def test_a_wrong_key_is_told_without_its_value(tmp_path: Path) -> None:
    made = case(tmp_path)
    made.reading = Reading({**FOUR, "ImagingWorklistPassword": ["Imaging123"]}, tmp_path)
    (line,) = told(installation.settings(made))
    assert line == "error ImagingWorklistPassword: is an array, expected text"


@pytest.mark.parametrize(
    ("keys", "lines"),
    [
        ({}, []),
        ({"ImagingWorklistURL": "https://h/x/ws/rest/v1/worklist/requests/?a=b"}, []),
        ({"ImagingWorklistURL": "http://h/openmrs/ws/rest/v1/imaging/worklist"}, []),
        (
            {"ImagingWorklistURL": "http://h:8080/openmrs"},
            [
                "warning ImagingWorklistURL: asks h:8080 for /openmrs, where the Imaging module "
                "has /worklist/requests"
            ],
        ),
        (
            {"ImagingUpdateRequestStatus": "http://h/openmrs/ws/rest/v1/worklist/requests"},
            [
                "warning ImagingUpdateRequestStatus: asks h for "
                "/openmrs/ws/rest/v1/worklist/requests, where the Imaging module has "
                "/worklist/updaterequeststatus"
            ],
        ),
        (
            {"OpenMrs": {"Timeout": 5}},
            ["warning OpenMrs: is a key that neither Orthanc nor this plugin reads"],
        ),
        ({"ImagingWorklistURLs": ""}, []),  # the right one is there too
        ({"OpenMRS": {}, "OpenMRS2": {}, "DicomWeb": {}, "Worklists": {}}, []),
    ],
)
def test_keys_that_are_nearly_right_are_told(
    tmp_path: Path, keys: dict[str, Any], lines: list[str]
) -> None:
    assert told(installation.settings(case(tmp_path, **keys)))[1:] == lines


def test_what_an_address_and_a_key_should_be_is_said(tmp_path: Path) -> None:
    made = case(tmp_path, ImagingWorklistURL="https://h/openmrs/ws/rest/v1")
    made.reading = Reading(
        {key: one for key, one in made.configuration.items() if key != "ImagingWorklistPassword"}
        | {"ImagingWorklistPasword": "Imaging123"},
        tmp_path,
    )
    _, address, key = installation.settings(made)
    assert address.advice == ("it should end so: https://h/openmrs/ws/rest/v1/worklist/requests")
    assert (key.subject, key.advice) == (
        "ImagingWorklistPasword",
        "did you mean ImagingWorklistPassword?",
    )


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ('// "${COMMENT}"\n"A": 1', []),
        ('"Name": "${HOSTNAME}"', []),
        (
            '"OpenMRS": {"Database": "${DATABASE}"}',
            [
                "warning ${DATABASE}: isn't set here: Orthanc puts nothing in its place where it "
                "isn't set there either"
            ],
        ),
        (
            '"PythonScript": "/a.py", "PythonScript": "/b.py"',
            ["warning PythonScript: stands twice in a.json: Orthanc takes the last one only"],
        ),
    ],
)
def test_comments_and_variables_of_others_are_no_findings(
    tmp_path: Path, text: str, lines: list[str]
) -> None:
    (tmp_path / "a.json").write_text(f"{{{text}}}")
    made = case(tmp_path)
    made.read = lambda: read_configuration(tmp_path, {})
    assert told(installation.configuration(made))[1:] == lines


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


def test_the_embedded_python_is_read_from_the_plugin(tmp_path: Path) -> None:
    plugin = tmp_path / "libOrthancPython.so"
    plugin.write_bytes(b"\x7fELF\0libc.so.6\0libpython3.13.so.1.0\0")
    assert embedded_python(plugin) == "3.13"
    assert embedded_python(tmp_path / "none") == ""
    made = case(tmp_path, Plugins=[str(tmp_path)])
    assert told(installation.plugins(made)) == [f"ok Plugins: {plugin}, which embeds Python 3.13"]
    assert made.python == "3.13"
