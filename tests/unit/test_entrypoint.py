"""The settings of the container: from the environment or from files, or a line that names what
can't be used. `tests/containers` has the rest, with a real Orthanc."""

import json
import os
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
ENTRYPOINT = ROOT / "docker" / "entrypoint.py"
MODULE = runpy.run_path(str(ENTRYPOINT))
HARD = '§ it\'s "hard" \\ 50% ${HOME}/@:x'


@pytest.mark.parametrize(
    ("content", "value"),
    [
        (HARD, HARD),
        (f"{HARD}\n", HARD),
        (f" {HARD} \r\n", f" {HARD} "),
        ("", ""),
        ("two\nlines\n", "two\nlines"),
    ],
)
def test_a_file_has_the_value_as_it_is_but_for_the_end_of_its_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str, value: str
) -> None:
    path = tmp_path / "secret"
    path.write_bytes(content.encode())
    monkeypatch.setenv("DICOM_AET_FILE", str(path))
    assert MODULE["setting"]("DICOM_AET") == value


def test_the_environment_has_the_value_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DICOM_AET", HARD)
    assert MODULE["setting"]("DICOM_AET") == HARD
    monkeypatch.delenv("DICOM_AET")
    assert MODULE["setting"]("DICOM_AET") is None


NOWHERE = str(ROOT / "nowhere")
USERS: dict[str, str] = {"ORTHANC_USERS": '{"a": "mallory"}'}


@pytest.mark.parametrize(
    ("environment", "line"),
    [
        ({}, "ORTHANC_USERS or ORTHANC_USERS_FILE is missing"),
        ({"ORTHANC_USERS": "a:mallory"}, "ORTHANC_USERS isn't a JSON object"),
        ({"ORTHANC_USERS": '["mallory"]'}, "ORTHANC_USERS isn't a JSON object"),
        ({"ORTHANC_USERS": '{"a": ["mallory"]}'}, "ORTHANC_USERS isn't a JSON object"),
        ({"ORTHANC_USERS": "{}"}, "ORTHANC_USERS has no user"),
        ({"ORTHANC_USERS_FILE": NOWHERE}, f"ORTHANC_USERS_FILE: {NOWHERE} can't be read"),
        ({**USERS, "PGPASSWORD_FILE": str(ROOT)}, f"PGPASSWORD_FILE: {ROOT} can't be read"),
        (
            {**USERS, "PGPASSWORD": "mallory", "PGPASSWORD_FILE": NOWHERE},
            "PGPASSWORD and PGPASSWORD_FILE are both set",
        ),
    ],
)
def test_what_cant_be_used_is_named_and_never_shown(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], line: str
) -> None:
    monkeypatch.setattr(os, "environ", environment)
    with pytest.raises(SystemExit) as caught:
        MODULE["main"]()
    said = str(caught.value.code)
    assert said.startswith(f"orthanc-openmrs: {line}")
    assert len(said.splitlines()) == 1
    assert "mallory" not in said


def test_every_text_is_json_between_the_quotes_of_orthancs_configuration(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "environ", dict.fromkeys(MODULE["TEXTS"], HARD) | USERS)
    monkeypatch.setattr(sys, "argv", ["entrypoint.py"])
    started: list[Any] = []
    monkeypatch.setattr(os, "execv", lambda *command: started.append(command))
    MODULE["main"]()
    assert started == [("/usr/sbin/Orthanc", ["Orthanc", "/etc/orthanc/"])]
    text = (ROOT / "docker" / "orthanc.json").read_text()
    for name in MODULE["TEXTS"]:
        assert f'"${{{name}' in text, "it stands between quotes"
        assert json.loads(f'"{os.environ[name]}"') == HARD
    assert json.loads(os.environ["ORTHANC_USERS"]) == {"a": "mallory"}
