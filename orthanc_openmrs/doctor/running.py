"""The checks of what runs: Orthanc and the plugin in it, the database, an answer to a scanner.

Decides: what makes them good, and the words for what isn't. Must not know: how Orthanc is asked,
by HTTP or from inside.
"""

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from orthanc_openmrs.doctor import advice
from orthanc_openmrs.doctor.case import Case
from orthanc_openmrs.doctor.findings import Finding, error, ok, warning
from orthanc_openmrs.doctor.installation import may_ask, modalities
from orthanc_openmrs.doctor.machine import refused, way_to
from orthanc_openmrs.doctor.orthanc import Unanswered, http_port
from orthanc_openmrs.doctor.scanner import SUCCESS, NoTool, ask
from orthanc_openmrs.errors import StoreError
from orthanc_openmrs.store.inspection import look, sqlite_file
from orthanc_openmrs.store.migrations import NEWEST

OLDEST_ORTHANC = (1, 10, 1)
OLDEST_PLUGIN = (4, 0)

DIES_OF_HTTPS = "1.10.1"
"""Debian's build, with or without plugins: so it isn't asked by HTTPS."""

CALLING_AE_TITLE = "DOCTOR"
"""Who asks, where Orthanc lets everybody ask."""

ABSENT_STEP = "0"
"""A step that is asked for where the list has none; OpenMRS counts from 1."""

LITTLE_SPACE = 1024**3
NO_SPACE = 64 * 1024**2


# --- the Orthanc that runs -------------------------------------------------------------------


def orthanc(case: Case) -> Iterator[Finding]:
    """Orthanc runs, with this configuration."""
    if case.configuration.get("HttpServerEnabled", True) is not True:
        yield error(
            "HttpServerEnabled",
            "is false: OpenMRS can't reach Orthanc either",
            'set "HttpServerEnabled": true',
        )
        return
    if case.configuration.get("SslEnabled") is True and case.orthanc == DIES_OF_HTTPS:
        yield error(
            "SslEnabled",
            f"is true: Orthanc {DIES_OF_HTTPS} of Debian 12 ends at the first HTTPS request",
            'set "SslEnabled": false, and let a web server such as nginx do the TLS before Orthanc',
        )
        return
    port = http_port(case.configuration)
    try:
        system = case.ask("/system")
    except Unanswered as problem:
        if problem.status == 401:
            yield error(
                "Orthanc",
                f"answers on port {port}, but refuses the first of RegisteredUsers",
                "restart Orthanc, if its users were changed; or it isn't this configuration's",
            )
        else:
            yield error(
                "Orthanc",
                f"doesn't answer on port {port} ({problem})",
                advice.look_at_service(),
            )
        return
    version = str(system.get("Version", ""))
    if _numbers(version) and _numbers(version) < OLDEST_ORTHANC:
        yield error("Orthanc", f"{version} is too old", "use 1.10.1 or later: Debian 12 has it")
    else:
        yield ok("Orthanc", f"{version} answers on port {port}")
    for key, default in (("DicomAet", "ORTHANC"), ("DicomPort", 4242)):
        if key in system and system[key] != case.configuration.get(key, default):
            yield warning(
                key,
                f"is {case.configuration.get(key, default)} here, and {system[key]} in the "
                "Orthanc that runs",
                "restart Orthanc, to let it read its configuration",
            )


def loaded(case: Case) -> Iterator[Finding]:
    """The plugin runs in it."""
    try:
        version = str(case.ask("/plugins/python").get("Version", ""))
    except Unanswered:
        yield error(
            "Python plugin",
            "isn't loaded in the Orthanc that runs",
            "restart Orthanc; see its log for why the plugin isn't loaded",
        )
        return
    if _numbers(version) and _numbers(version) < OLDEST_PLUGIN:
        yield error("Python plugin", f"{version} is too old", "use 4.0 or later: Debian 12 has it")
    else:
        yield ok("Python plugin", f"{version} is loaded")
    try:
        case.status = case.ask("/openmrs/status")
    except Unanswered as problem:
        yield error(
            "orthanc-openmrs",
            f"isn't loaded in the Orthanc that runs ({problem})",
            "restart Orthanc; the line \"the plugin can't start\" in its log says why it isn't",
        )
        return
    told = str(case.status.get("Version", ""))
    if case.version and told != case.version:
        yield warning(
            "orthanc-openmrs",
            f"{told} runs, {case.version} is installed",
            "restart Orthanc",
        )
    else:
        yield ok("orthanc-openmrs", f"{told} is loaded")


def installed(case: Case) -> Iterator[Finding]:
    """Orthanc's version, by its program, for when it doesn't run."""
    program = shutil.which("Orthanc")
    if case.inside or program is None:
        return
    done = subprocess.run(  # noqa: S603 - Orthanc's own program
        [program, "--version"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=10,
        check=False,
    )
    version = case.orthanc = done.stdout.partition("\n")[0].rpartition(" ")[2]
    if _numbers(version) and _numbers(version) < OLDEST_ORTHANC:
        yield error("Orthanc", f"{version} is too old", "use 1.10.1 or later: Debian 12 has it")
    elif version:
        yield ok("Orthanc", f"{version} is installed")


def _numbers(version: str) -> tuple[int, ...]:
    """ "1.10.1" as numbers, () of what isn't a release."""
    found = re.match(r"\d+(\.\d+)*", version)
    return tuple(map(int, found[0].split("."))) if found else ()


# --- the database ----------------------------------------------------------------------------


def database(case: Case) -> Iterator[Finding]:
    """Notifications can be kept."""
    url = case.known_settings.database
    see = "see OpenMRS.Database in docs/configuration.md"
    told = (case.status or {}).get("Notifications", {})
    if told.get("Error"):
        yield error("database", f"the plugin says: {told['Error']}", "see Orthanc's log")
        return
    file = sqlite_file(url)
    if file is not None:
        found = list(_file_problems(case, file))
        yield from found
        if found:
            return
        if not file.exists():
            yield ok("database", f"{file} is made at the first start")
            return
    try:
        seen = look(url)
    except StoreError as problem:
        where = "the PostgreSQL database" if file is None else str(file)
        yield error("database", f"{where} can't be opened: {problem}", see)
        return
    if seen.version > NEWEST:
        yield error(
            "database",
            f"is of schema version {seen.version}, this plugin knows up to {NEWEST}",
            "install the version of the plugin that wrote it, or a newer one",
        )
    elif not seen.writable:
        yield error("database", "its account may not write", "grant it INSERT, UPDATE, DELETE")
    else:
        yield ok("database", "can be read and written")


def _file_problems(case: Case, file: Path) -> Iterator[Finding]:
    user, folder = case.known_user, file.parent
    files = [Path(f"{file}{suffix}") for suffix in ("", "-wal", "-shm")]
    there = folder
    while not there.exists():
        there = there.parent
    wanted = [*way_to(there), (there, os.W_OK | os.X_OK)]
    wanted += [(one, os.R_OK | os.W_OK) for one in files if one.exists()]
    shut = refused(user, wanted)
    if shut:
        yield error(
            "database",
            f"the user {user.name} can't write {shut[0]}",
            advice.own_database_files(user, [one for one in files if one in shut])
            if shut[0] in files
            else advice.own_database_folder(user),
        )
        return
    free = shutil.disk_usage(there).free
    if free < NO_SPACE:
        yield error("database", f"the disk of {there} is full", "free some space, or enlarge it")
    elif free < LITTLE_SPACE:
        yield warning(
            "database",
            f"the disk of {there} has {free // 1024**2} MiB left",
            "free some space, or enlarge it",
        )


# --- what is told OpenMRS --------------------------------------------------------------------


def notifications(case: Case) -> Iterator[Finding]:
    """Completed steps reach OpenMRS."""
    counts = (case.status or {}).get("Notifications", {})
    waiting = {state: counts.get(state, 0) for state in ("Held", "Failed", "Pending")}
    if waiting["Failed"]:
        yield warning(
            "notifications",
            f"OpenMRS refused {waiting['Failed']}",
            "mend what LastError says in /openmrs/notifications?state=failed, then retry",
        )
    if waiting["Held"]:
        yield warning(
            "notifications",
            f"{waiting['Held']} held for a person",
            "say which step each completes, or discard it: /openmrs/notifications?state=held",
        )
    if not waiting["Failed"] and not waiting["Held"]:
        yield ok("notifications", f"{waiting['Pending']} on their way, none held, none refused")


# --- as a scanner ----------------------------------------------------------------------------


def query(case: Case) -> Iterator[Finding]:
    """A scanner gets a step."""
    keys = case.configuration
    if keys.get("DicomTlsEnabled") is True:
        yield ok("C-FIND", "not tried: DICOM over TLS needs a scanner's certificate")
        return
    calling = caller(case)
    if calling is None:
        yield ok("C-FIND", "not tried: DicomCheckModalityHost lets no scanner ask from here")
        return
    port = keys.get("DicomPort", 4242)
    item = next(iter(case.snapshot.offered), None) if case.snapshot else None
    step = item["ScheduledProcedureStepID"] if item else ABSENT_STEP
    station = item["ScheduledStationAETitle"] if item else ""
    called = str(keys.get("DicomAet", "ORTHANC"))
    started = time.monotonic()
    try:
        asked = ask(int(port), called, calling, step, station)
    except NoTool:
        yield warning(
            "C-FIND",
            "not tried: no tool here asks a worklist",
            advice.install_package("dcmtk", "for findscu"),
        )
        return
    milliseconds = (time.monotonic() - started) * 1000
    if asked.status != SUCCESS:
        yield error(
            "C-FIND",
            f"{calling} asks port {port}: {asked.status}",
            "see Orthanc's log; Failed: UnableToProcess says that no list is fresh enough",
        )
    elif item is not None and not asked.answers:
        yield warning(
            "C-FIND",
            f"{calling} doesn't get step {step}",
            f"/openmrs/worklist/{step}?aet={calling} says why",
        )
    else:
        what = f"gets step {step}" if item else "is answered"
        yield ok("C-FIND", f"{calling} {what} ({milliseconds:.0f} ms)")


def caller(case: Case) -> str | None:
    """An AE title that may ask from this machine, None where there is none."""
    if case.configuration.get("DicomAlwaysAllowFindWorklist", False) is True:
        return CALLING_AE_TITLE
    checked = case.configuration.get("DicomCheckModalityHost") is True
    for modality in modalities(case).values():
        if isinstance(modality, Mapping):
            title, host = modality.get("AET"), modality.get("Host")
        else:
            title, host = (*modality, None, None)[:2] if isinstance(modality, list) else (None, "")
        if title and may_ask(modality) and (not checked or host in ("127.0.0.1", "localhost")):
            return str(title)
    return None
