"""Clients that generators make of our OpenAPI: they compile, and hold a caller to the types."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from orthanc_openmrs.rest.openapi import document
from tests.unit.rest.application import Application

HERE = Path(__file__).parent / "typescript"
USE = """
from made import AuthenticatedClient
from made.api.default import assign_study, get_events, get_patient_studies
from made.models import Event, Study


def names(client: AuthenticatedClient, uuid: str) -> list[str]:
    found = get_patient_studies.sync(uuid, client=client)
    return [study.patient_name for study in found] if isinstance(found, list) else []


def assigned(client: AuthenticatedClient, uuid: str, study: str) -> str | None:
    told = assign_study.sync(uuid, study, client=client)
    return told.patient if isinstance(told, Study) else None


def states(client: AuthenticatedClient, cursor: str) -> list[str]:
    told = get_events.sync(client=client, since=cursor, wait=25)
    events: list[Event] = getattr(told, "events", [])
    return [event.state for event in events]
"""


@pytest.fixture(scope="module")
def openapi(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The document that a program gets."""
    path = tmp_path_factory.mktemp("openapi") / "openapi.json"
    path.write_text(json.dumps(document(Application().router.routes)), encoding="utf-8")
    return path


def run(*command: str | Path, folder: Path) -> str:
    """What a tool says, which must succeed."""
    done = subprocess.run(
        [str(part) for part in command], cwd=folder, capture_output=True, text=True, timeout=180
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_python_client_is_made_and_holds_its_caller_to_the_types(
    openapi: Path, tmp_path: Path
) -> None:
    generator = Path(sys.executable).with_name("openapi-python-client")
    configuration = tmp_path / "config.yaml"
    configuration.write_text("post_hooks: []\n")
    run(
        *(generator, "generate", "--path", openapi, "--output-path", tmp_path / "made"),
        *("--meta", "none", "--config", configuration),
        folder=tmp_path,
    )
    made = {path.stem for path in (tmp_path / "made" / "api" / "default").glob("*.py")}
    assert {"get_patient_studies", "assign_study", "get_events", "find_patients"} <= made
    (tmp_path / "use.py").write_text(USE)
    command = (sys.executable, "-m", "mypy", "--strict", "--config-file", "", "use.py")
    run(*command, folder=tmp_path)
    (tmp_path / "use.py").write_text(USE.replace("study.patient_name", "study.patients_name"))
    with pytest.raises(AssertionError, match="patients_name"):
        run(*command, folder=tmp_path)


def test_a_typescript_client_is_made_and_holds_its_caller_to_the_types(
    openapi: Path, tmp_path: Path
) -> None:
    tools = HERE / "node_modules" / ".bin"
    shutil.copy(HERE / "use.ts", tmp_path)
    run(tools / "openapi-typescript", openapi, "-o", tmp_path / "made.d.ts", folder=tmp_path)
    command = (
        *(tools / "tsc", "--noEmit", "--strict", "--lib", "es2022,dom"),
        *("--module", "esnext", "--moduleResolution", "bundler", "use.ts", "made.d.ts"),
    )
    run(*command, folder=tmp_path)
    text = (HERE / "use.ts").read_text(encoding="utf-8")
    (tmp_path / "use.ts").write_text(text.replace("study.PatientName", "study.PatientsName"))
    with pytest.raises(AssertionError, match="PatientsName"):
        run(*command, folder=tmp_path)
