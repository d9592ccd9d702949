"""What the doctor finds out about a real machine: its users, its interpreters, who listens."""

import json
import os
import subprocess
import tempfile
from pathlib import Path

import pytest

from orthanc_openmrs.connection import connect
from orthanc_openmrs.doctor import installation, running
from orthanc_openmrs.doctor.case import Case
from orthanc_openmrs.doctor.configuration import read_configuration
from orthanc_openmrs.doctor.machine import import_plugin, listener, orthanc_user, refused, user_of
from tests.unit.doctor.cases import FOUR, ME, case, told
from tests.unit.doubles import serving

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = "import orthanc_openmrs.plugin"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can ask as somebody else")
def test_files_that_orthanc_cannot_read_or_everybody_can_are_told() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)  # unlike pytest's own, which is root's alone
        file = folder / "python.json"
        file.write_text(json.dumps({**FOUR, "OpenMRS": {"CACertificates": "ca.pem"}}))
        (folder / "ca.pem").write_text("")

        def nobodys() -> Case:
            return Case(
                lambda: read_configuration(folder, {}), connect=connect, user=user_of(65534)
            )

        def judged() -> list[str]:
            made = nobodys()
            return told(installation.configuration(made)) + (
                told(installation.settings(made)) if made.reading else []
            )

        file.chmod(0o600)
        assert judged()[0].startswith(f"error {file}: can't be read by the user nobody")
        (found,) = installation.configuration(nobodys())
        assert found.advice == f"chgrp nogroup {file} && chmod 640 {file}"
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


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can ask as somebody else")
def test_what_another_user_cannot_reach_is_told(tmp_path: Path) -> None:
    nobody = user_of(65534)
    shut = tmp_path / "shut"
    shut.mkdir(mode=0o700)
    path = shut / "orthancWorklist.py"
    path.write_text(SCRIPT)
    made = case(tmp_path, PythonScript=str(path))
    made.user = nobody
    (found,) = installation.script(made)
    assert found.meaning.startswith(f"the user {nobody.name} can't reach /")
    assert found.advice.startswith("install it in /opt/orthanc-openmrs, and set")
    assert refused(nobody, [(Path("/"), os.R_OK), (path, os.R_OK), (Path("/etc"), os.W_OK)]) == [
        path,
        Path("/etc"),
    ]
    assert refused(ME, [(path, os.R_OK)]) == []
    assert import_plugin(nobody, "/usr/bin/python3", [shut])["Name"].startswith("orthanc_openmrs")


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
        found = listener(port)
        assert found is not None
        assert (found.uid, found.pid) == (os.geteuid(), os.getpid())
        assert str(found).endswith(f" (process {os.getpid()})")
        assert orthanc_user(port) == ME
    assert listener(port) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can ask as somebody else")
def test_a_folder_that_orthanc_may_not_write_is_told(tmp_path: Path) -> None:
    made = case(Path("/"), OpenMRS={"Database": "sqlite:////var/no/such/openmrs.db"})
    made.user = user_of(65534)
    (found,) = running.database(made)
    assert found.meaning == f"the user {made.user.name} can't write /var"
    assert found.advice.endswith(
        f"install -d -o {made.user.name} -g {made.user.group} -m 750 /var/lib/orthanc-openmrs"
    )


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
