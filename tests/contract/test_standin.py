"""The stand-in's own routes, samples and command line."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from standin import Standin, samples
from tests.contract.calls import (
    ROOT,
    call,
    elements,
    first,
    get_list,
)


def test_the_control_routes_do_what_a_browser_would(standin: Standin) -> None:
    def control(method: str, path: str, body: object = None, status: int = 200) -> Any:
        reply = call(standin, method, "/standin/" + path, body, account=None)
        assert reply.status == status, reply.body
        return reply.json

    assert control("GET", "ping")["worklist"] == standin.worklist_url
    names = {"givenName": "Ánh", "familyName": "Nguyễn", "birthdate": "1990-01-01", "gender": "F"}
    uuid = control("POST", "patients", names, 201)["uuid"]
    step = {"modality": "CT", "scheduledStationAETitle": "CT9", "stepStartDate": "2025-07-03"}
    order = {"patient": uuid, "requestedProcedureDescription": "Head", "priority": "high"}
    made = control("POST", "requests", {**order, "steps": [step, {"aetTitle": "X"}]}, 201)
    assert (made["id"], made["steps"]) == (1, [1, 2])
    assert re.fullmatch(r"\d{19}", made["accessionNumber"])
    assert control("GET", "requests")[0]["statuses"] == ["scheduled", "scheduled"]
    assert first(standin)["ScheduledStationAETitle"] == "CT9"
    assert control("POST", "steps/1", {"status": "rejected"})["status"] == "rejected"
    assert control("GET", "steps/1")["aet_title"] == "CT9"
    control("PUT", "fault", {"kind": "status", "status": 503, "path": "worklist", "times": 1})
    assert [get_list(standin).status for _ in range(2)] == [503, 200]
    control("PUT", "fault", {"kind": "hang"})
    control("DELETE", "fault?path=worklist")
    control("DELETE", "fault")
    control("PUT", "behaviour", {"old_core": True})
    control("PUT", "behaviour", {"weather": 1}, 400)
    assert standin.behaviour.old_core
    control("PUT", "generation", {"generation": "v3"})
    assert first(standin)["SpecificCharacterSet"] == "ISO_IR 192"
    assert [entry["status"] for entry in control("GET", "log")] == [200, 503, 200, 200]

    assert "no fault" in control("PUT", "fault", {"kind": "flood"}, 400)["error"]
    control("PUT", "generation", {"generation": "v9"}, 400)
    control("POST", "patients", b"{", 400)
    control("GET", "steps/9", status=404)
    control("POST", "requests", {"patient": "nobody"}, 404)
    control("GET", "other", status=404)


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
def test_the_command_serves_samples_until_it_is_told_to_stop(
    tmp_path: Path, end: signal.Signals
) -> None:
    port_file = tmp_path / "port"
    command = [sys.executable, "-m", "standin", "--patients", "12", "--generation", "v3"]
    process = subprocess.Popen(
        [*command, "--port-file", str(port_file)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        running = Standin("v3", port=int(port_file.read_text()))  # not started: for its URLs
        assert running.worklist_url in line
        assert running.update_url in line
        names = [element["PatientName"] for element in elements(running)]
        assert len(names) == 12
        assert {"Ánh Thị Nguyễn", "伟 王", "Suharto"} <= set(names)
        os.kill(process.pid, end)
        assert process.wait(timeout=2) == 0
    finally:
        process.kill()
        process.communicate()


def test_many_spreads_its_requests_evenly_and_always_the_same() -> None:
    made = list(samples.many(6_000))
    assert made == list(samples.many(6_000))
    assert len({sample.step.modality for sample in made}) == 10
    assert len({sample.step.aet_title for sample in made}) == 20
    assert len({(sample.step.start_date or "")[:8] for sample in made}) == 30
    assert len({sample.accession for sample in made}) == 6_000
