"""Orthanc that is reset goes on, as a new program in the same process."""

import json
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
import requests

from standin import Fault, Standin
from tests.server.conftest import Start
from tests.server.test_completion import UPDATE, add_patients, answers, completed, send
from trial.orthanc import ScratchOrthanc
from trial.waiting import eventually


def asks_for_reset(orthanc: ScratchOrthanc) -> None:
    """By its REST API; the answer may not come."""
    orthanc.session.close()  # its connections are of the Orthanc before
    with suppress(requests.ConnectionError):
        orthanc.session.post(f"{orthanc.url}/tools/reset", data="", timeout=10)


def changes_the_configuration(orthanc: ScratchOrthanc) -> None:
    """By a signal, which counts where the files say something else now."""
    (path,) = orthanc.folder.glob("orthanc.json")
    times = orthanc.log.count("Orthanc has started")
    name = f"reset {times} times"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"Name": name}))
    os.kill(orthanc.pid, signal.SIGHUP)


def began_again(orthanc: ScratchOrthanc, times: int) -> bool:
    """Whether it was reset so often, and is up."""
    log = orthanc.log
    return log.count("Orthanc was reset") == times and log.count("Orthanc has started") == times + 1


@pytest.mark.parametrize("reset", [asks_for_reset, changes_the_configuration])
def test_a_reset_orthanc_serves_and_reports_again(
    openmrs: Standin, start_orthanc: Start, tmp_path: Path, reset: Callable[[ScratchOrthanc], None]
) -> None:
    add_patients(openmrs, 2)
    orthanc = start_orthanc({"RefreshInterval": 1})
    found = answers(orthanc, 2)
    openmrs.set_fault(Fault("status", status=503), UPDATE, "POST")
    send(orthanc, tmp_path, found[1])
    eventually(lambda: "waits: HTTP 503" in orthanc.log, "nothing waits")
    number = orthanc.pid
    for times in (1, 2):
        reset(orthanc)
        eventually(partial(began_again, orthanc, times), "it doesn't come again", 30)
    openmrs.clear_faults()
    assert orthanc.pid == number
    completed(openmrs, 1, 30)
    send(orthanc, tmp_path, answers(orthanc, 1)[2])
    completed(openmrs, 2, 30)
