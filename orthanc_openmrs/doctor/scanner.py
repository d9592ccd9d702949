"""A C-FIND to the Orthanc that runs, as a scanner makes it.

Decides: which tool asks. DCMTK's findscu where it is installed, else pynetdicom (which has a
program findscu of its own, that says other things); neither is needed to serve scanners, so
neither is a dependency. One step is asked for, so that the answer is short: Orthanc answers one
worklist query at a time.
"""

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

TIMEOUT = 5
"""Seconds for each part of an exchange."""

STEP = "ScheduledProcedureStepSequence[0]."
SUCCESS = "Success"
REFUSED = "the association is refused"
BROKEN_OFF = "Orthanc breaks off: it doesn't let this scanner ask"
SILENT = "no answer"
NO_WORKLIST = "Orthanc serves no worklist: no plugin for it is loaded"


class NoTool(Exception):
    """Nothing on this machine asks a worklist."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What came of a query: `status` is SUCCESS or why not, `answers` their number."""

    status: str
    answers: int = 0


def ask(port: int, called: str, calling: str, step_id: str, ae_title: str) -> Asked:
    """Ask the Orthanc on this machine for one step. Raises NoTool."""
    findscu = dcmtk_findscu(os.get_exec_path())
    if findscu:
        return _by_dcmtk(findscu, port, called, calling, step_id, ae_title)
    if importlib.util.find_spec("pynetdicom"):
        return _by_pynetdicom(port, called, calling, step_id, ae_title)
    raise NoTool


def dcmtk_findscu(folders: Iterable[str]) -> str | None:
    """DCMTK's own findscu in the first of these folders that has it."""
    for folder in folders:
        program = shutil.which("findscu", path=folder)
        if program and _is_dcmtk(program):
            return program
    return None


def _is_dcmtk(program: str) -> bool:
    """DCMTK's programs say "$dcmtk: findscu v3.6.7 2022-04-22 $"."""
    try:
        done = subprocess.run(  # noqa: S603 - asked for its version only
            [program, "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return done.stdout.startswith(b"$dcmtk: findscu ")


def _by_dcmtk(
    findscu: str, port: int, called: str, calling: str, step_id: str, ae_title: str
) -> Asked:
    limits = ["-to", str(TIMEOUT), "-ta", str(TIMEOUT), "-td", str(TIMEOUT)]
    keys = ["StudyInstanceUID", f"{STEP}ScheduledProcedureStepID={step_id}"]
    keys.append(f"{STEP}ScheduledStationAETitle={ae_title}")
    command = [findscu, "-v", "-W", *limits, "-aet", calling, "-aec", called]
    command += [word for key in keys for word in ("-k", key)] + ["127.0.0.1", str(port)]
    try:
        done = subprocess.run(  # noqa: S603 - DCMTK's own command
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=2 * TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Asked(SILENT)
    output = (done.stdout + done.stderr).decode(errors="replace")
    return read_output(output)


def read_output(output: str) -> Asked:
    """What findscu -v says of a query."""
    final = re.findall(r"Received Final Find Response \((.*)\)", output)
    if final:
        return Asked(final[-1], len(re.findall(r"Find Response: \d+ \(Pending\)", output)))
    if "No Acceptable Presentation Contexts" in output:
        return Asked(NO_WORKLIST)
    if "Association Rejected" in output:
        reason = re.search(r"Reason: (.*)", output)
        return Asked(f"{REFUSED}: {reason[1]}" if reason else REFUSED)
    return Asked(BROKEN_OFF if "Aborted" in output or "aborted" in output else SILENT)


def _by_pynetdicom(port: int, called: str, calling: str, step_id: str, ae_title: str) -> Asked:
    from pydicom.dataset import Dataset
    from pynetdicom import AE
    from pynetdicom.sop_class import (  # type: ignore[attr-defined]
        ModalityWorklistInformationFind as Worklist,
    )

    step = Dataset()
    step.ScheduledProcedureStepID = step_id
    step.ScheduledStationAETitle = ae_title
    query = Dataset()
    query.StudyInstanceUID = ""
    query.ScheduledProcedureStepSequence = [step]
    entity: Any = AE(ae_title=calling)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = TIMEOUT
    entity.connection_timeout = TIMEOUT
    entity.add_requested_context(Worklist)
    association = entity.associate("127.0.0.1", port, ae_title=called)
    if not association.is_established:
        if association.is_aborted and not association.accepted_contexts:
            return Asked(NO_WORKLIST)
        return Asked(REFUSED if association.is_rejected else SILENT)
    answers = 0
    try:
        for status, _ in association.send_c_find(query, Worklist):
            code = getattr(status, "Status", None)
            if code in (0xFF00, 0xFF01):
                answers += 1
            else:
                broken = SILENT if association.is_established else BROKEN_OFF
                what = broken if code is None else f"status {code:04X}"
                return Asked(SUCCESS if code == 0 else what, answers)
    finally:
        association.release()
    return Asked(SILENT, answers)
