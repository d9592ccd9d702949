"""The ways to install, beside the checkout that every other test uses."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path

from standin import Standin
from standin.samples import patients
from tests.server.conftest import module_keys
from tests.server.test_loop import offered
from trial import readme, scanner
from trial.orthanc import PYTHON_PLUGIN, ScratchOrthanc
from trial.ports import free_port
from trial.readme import commands
from trial.waiting import eventually

ROOT = Path(__file__).resolve().parents[2]


def test_a_folder_of_pips_works_by_itself_is_upgraded_and_goes_without_a_trace(
    openmrs: Standin, tmp_path: Path
) -> None:
    """As docs/installation.md has it, from the first command to the last."""
    document = (ROOT / "docs" / "installation.md").read_text()
    folder, index = tmp_path / "opt", tmp_path / "orthanc" / "index"
    places = {
        "/usr/bin/python3 -m pip install": f"{sys.executable} -m pip install --quiet",
        "/opt/orthanc-openmrs": str(folder),
        "/var/lib/orthanc/db-v6": str(index),
        "/var/backups/": f"{tmp_path}/backups/",
    }

    def typed(title: str) -> None:
        for command in commands(document, title):
            for old, new in places.items():
                command = command.replace(old, new)
            if not command.startswith(("apt-get ", "systemctl ")):
                subprocess.run(["sh", "-ec", command.strip()], check=True, timeout=300, cwd=ROOT)

    typed("A folder")
    for name in ("orthancWorklist.lua", "orthanc_openmrs/py.typed"):
        assert (folder / name).exists(), name
    for name in ("orthanc.json.example", "python.json.example"):
        example = folder / "orthanc_openmrs" / "examples" / name
        assert example.read_bytes() == (ROOT / name).read_bytes()
    for sample in patients(2, date.today()):
        sample.add_to(openmrs.records)
    script = folder / "orthancWorklist.py"
    keys = {**module_keys(openmrs), "LuaScripts": [str(script.with_suffix(".lua"))]}
    orthanc = ScratchOrthanc(tmp_path / "orthanc", keys, script=script)
    with orthanc:
        offered(orthanc, 2)
        assert len(scanner.find(orthanc.dicom_port).answers) == 2
        for name in ("", "page.js", "page.css", "texts.fr.json"):
            url = f"{orthanc.url}/openmrs/ui/{name}"
            assert orthanc.session.get(url, timeout=10).status_code == 200, name
    # Made a second time it would be the same, and takes as long.
    again = {"/usr/bin/python3 -m pip install --target": f"cp -r {folder}", ".new .": ".new"}
    places = {**again, **places}
    typed("Upgrade of a folder")
    with orthanc:
        offered(orthanc, 2)
    typed("Uninstall")
    assert not any("openmrs" in path.name for path in index.iterdir())
    assert not any(path.name.startswith("opt") for path in tmp_path.iterdir())


def test_another_script_may_start_the_plugin_and_pass_changes_on(
    openmrs: Standin, tmp_path: Path
) -> None:
    script = tmp_path / "other.py"
    lines = commands((ROOT / "docs" / "installation.md").read_text(), "Beside another script")
    packages = next((ROOT / ".venv" / "lib").glob("python*/site-packages"))
    script.write_text(
        f"import orthanc, sys; sys.path.insert(0, {str(packages)!r})\n"
        + "\n".join(lines).replace("/opt/orthanc-openmrs", str(ROOT))
    )
    for sample in patients(1, date.today()):
        sample.add_to(openmrs.records)
    with ScratchOrthanc(tmp_path / "orthanc", module_keys(openmrs), script=script) as orthanc:
        offered(orthanc, 1)
        answer = scanner.find(orthanc.dicom_port).answers[0]
        scanner.store(orthanc.dicom_port, [scanner.acquire(answer, tmp_path)])
        eventually(lambda: openmrs.records.statuses()[1] == "completed", "step 1 stays open")


def test_the_readmes_commands_make_a_worklist(tmp_path: Path) -> None:
    """As script/test-readme does in a fresh Debian, but for what it installs there; with other
    ports and folders."""
    etc, data, pid = tmp_path / "etc", tmp_path / "data", tmp_path / "pid"
    shutil.copytree("/etc/orthanc", etc)
    data.mkdir()
    here = {
        "/var/lib/orthanc/db-v6": str(data),
        '"HttpPort" : 8042': f'"HttpPort" : {free_port()}',
        '"DicomPort" : 4242': f'"DicomPort" : {free_port()}',
    }
    http, dicom = (text.rpartition(" ")[2] for text in list(here.values())[1:])
    replace_in(etc / "orthanc.json", here)
    places = {
        "/etc/orthanc/": f"{etc}/",
        "/opt/orthanc-openmrs": str(ROOT),
        ":8042": f":{http}",
        " 4242": f" {dicom}",
        "-o root -g orthanc ": "",
    }
    done = {"apt-get ": "true", "/opt/orthanc-openmrs/script/setup": "true"}
    start = f"cd {tmp_path}; Orthanc {etc} >log 2>&1 & echo $! >{pid}"

    def run(command: str) -> str:
        for old, new in places.items():
            command = command.replace(old, new)
        ran = subprocess.run(
            ["sh", "-ec", command], check=True, timeout=30, capture_output=True, text=True
        )
        return ran.stdout + ran.stderr

    text = commands((ROOT / "README.md").read_text(), readme.SECTION)
    questions = text[text.index("systemctl restart orthanc") + 1 :]
    with readme.openmrs_with_orders() as openmrs:
        stand_ins = readme.stand_ins(openmrs.origin, "true", start)
        try:
            for command in readme.typed(text[: -len(questions)], {**done, **stand_ins}):
                if command == start:
                    replace_in(etc / "python.json", {"/opt/orthanc-openmrs": str(ROOT)})
                run(command)
            eventually(lambda: _answers(run, questions[0]), "Orthanc doesn't reach OpenMRS")
            readme.checked("".join(map(run, questions)), openmrs)
        finally:
            if pid.exists():
                os.kill(int(pid.read_text()), signal.SIGKILL)


def _answers(run: Callable[[str], str], question: str) -> bool:
    try:
        return '"Reachable": true' in run(question)
    except subprocess.CalledProcessError:
        return False


def replace_in(path: Path, changes: dict[str, str]) -> None:
    """Change a configuration as it comes in Debian's package."""
    text = path.read_text()
    for old, new in changes.items():
        assert old in text, f"{path.name} isn't that of Debian's package: no {old}"
        text = text.replace(old, new)
    path.write_text(text)


def test_example_files_start_an_orthanc(openmrs: Standin, tmp_path: Path) -> None:
    changes = {
        "/opt/orthanc-openmrs": str(ROOT),
        "http://127.0.0.1:8080/openmrs": openmrs.url,
        "/var/lib/orthanc/db-v6": str(tmp_path / "db"),
        "/usr/share/orthanc/plugins/libOrthancPython.so": str(PYTHON_PLUGIN),
        '"DicomPort" : 4242': f'"DicomPort" : {free_port()}',
        '"HttpPort" : 8042': f'"HttpPort" : {free_port()}',
        '"orthanc",': '"imaging",',
    }
    configuration = {}
    for name in ("orthanc.json.example", "python.json.example"):
        text = (ROOT / name).read_text()
        for old, new in changes.items():
            text = text.replace(old, new)
        without_comments = re.sub(r"/\*.*?\*/|^ *//[^\n]*", "", text, flags=re.S | re.M)
        configuration.update(json.loads(without_comments))
    (tmp_path / "db").mkdir()
    orthanc = ScratchOrthanc(tmp_path / "orthanc", configuration)
    orthanc.http_port = configuration["HttpPort"]
    with orthanc:
        assert orthanc.session.get(f"{orthanc.url}/openmrs/status").status_code == 401
        orthanc.session.auth = ("openmrs", "change-me")
        # The stand-in has another password: the start is what is tried here.
        eventually(
            lambda: (
                "ImagingWorklistPassword"
                in (orthanc.get("/openmrs/status")["OpenMRS"]["LastError"] or "")
            ),
            "the examples' plugin doesn't read OpenMRS",
        )
