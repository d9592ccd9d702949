"""The ways to install, beside the checkout that every other test uses."""

import json
import re
import subprocess
import sys
from datetime import date
from pathlib import Path

from standin import Standin
from standin.samples import patients
from tests.server.conftest import module_keys
from tests.server.test_loop import offered
from trial import scanner
from trial.orthanc import PYTHON_PLUGIN, ScratchOrthanc, free_port
from trial.waiting import eventually

ROOT = Path(__file__).resolve().parents[2]


def test_folder_made_by_pip_target_works_by_itself(openmrs: Standin, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(folder), str(ROOT)],
        check=True,
        timeout=300,
    )
    for sample in patients(2, date.today()):
        sample.add_to(openmrs.records)
    script = folder / "orthancWorklist.py"
    with ScratchOrthanc(tmp_path / "orthanc", module_keys(openmrs), script=script) as orthanc:
        offered(orthanc, 2)
        assert len(scanner.find(orthanc.dicom_port).answers) == 2
        for name in ("", "page.js", "page.css", "texts.fr.json"):
            url = f"{orthanc.url}/openmrs/ui/{name}"
            assert orthanc.session.get(url, timeout=10).status_code == 200, name


def test_another_script_may_start_the_plugin_and_pass_changes_on(
    openmrs: Standin, tmp_path: Path
) -> None:
    script = tmp_path / "other.py"
    readme = (ROOT / "README.md").read_text()
    example = readme[readme.index("    import sys; sys.path") : readme.index("## Configure")]
    lines = [line.removeprefix("    ") for line in example.splitlines()]
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
