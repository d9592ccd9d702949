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
from orthanc_openmrs.doctor.echo import SUCCESS as ECHOED
from orthanc_openmrs.doctor.echo import echo
from orthanc_openmrs.doctor.findings import Finding, error, ok, warning
from orthanc_openmrs.doctor.installation import may_ask, modalities, title_and_host
from orthanc_openmrs.doctor.machine import Listener, last_error, refused, way_to
from orthanc_openmrs.doctor.orthanc import Unanswered, http_port
from orthanc_openmrs.doctor.scanner import SUCCESS, NoTool, ask
from orthanc_openmrs.errors import StoreError
from orthanc_openmrs.store.inspection import look, sqlite_file
from orthanc_openmrs.store.migrations import NEWEST
from orthanc_openmrs.worklist.items import WorklistItem

OLDEST_ORTHANC = (1, 10, 1)
OLDEST_PLUGIN = (4, 0)

DIES_OF_HTTPS = "1.10.1"
"""Debian's build, with or without plugins: so it isn't asked by HTTPS."""

WANTS_USERS = (1, 13)
"""Orthanc from which on remote access without a user stops the start."""

ORTHANC = "Orthanc"
DICOM_PORT = 4242

CALLING_AE_TITLE = "DOCTOR"
"""Who asks, where Orthanc lets everybody ask."""

ABSENT_STEP = "0"
"""A step that is asked for where the list has none; OpenMRS counts from 1."""

HERE = ("127.0.0.1", "localhost")

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
        if problem.status in (401, 403):
            yield error(
                "Orthanc",
                f"answers on port {port}, but refuses the first of RegisteredUsers",
                "restart Orthanc, if its users were changed; or it isn't this configuration's",
            )
        else:
            yield from _why_it_is_away(case, port, problem)
        return
    if not isinstance(system, Mapping) or "Version" not in system:
        yield from _taken("HttpPort", port, case.listens(port))
        return
    version = str(system["Version"])
    if _numbers(version) and _numbers(version) < OLDEST_ORTHANC:
        yield error("Orthanc", f"{version} is too old", "use 1.10.1 or later: Debian 12 has it")
    else:
        yield ok("Orthanc", f"{version} answers on port {port}")
    for key, default in (("DicomAet", "ORTHANC"), ("DicomPort", DICOM_PORT)):
        if key in system and system[key] != case.configuration.get(key, default):
            yield warning(
                key,
                f"is {case.configuration.get(key, default)} here, and {system[key]} in the "
                "Orthanc that runs",
                "restart Orthanc, to let it read its configuration",
            )


def _why_it_is_away(case: Case, port: int, problem: Unanswered) -> Iterator[Finding]:
    """Another program on one of its ports, or what its log says."""
    taken = False
    for key, number in (("HttpPort", port), ("DicomPort", case.configuration.get("DicomPort"))):
        number = DICOM_PORT if number is None else number
        there = case.listens(number) if isinstance(number, int) else None
        is_orthanc = there is not None and there.program.startswith(ORTHANC)
        answers = key == "HttpPort" and problem.status != 0
        if not is_orthanc and (answers or (there is not None and there.pid)):
            taken = True
            yield from _taken(key, number, there)
    if taken:
        return
    yield error("Orthanc", f"doesn't answer on port {port} ({problem})", advice.look_at_service())
    said = last_error(case.logs)
    if said:
        yield error("Orthanc's log", said, "fix what it says, and start Orthanc again")


def _taken(key: str, port: int, there: Listener | None) -> Iterator[Finding]:
    yield error(
        key,
        f"port {port} is taken by {there or 'something else'}: Orthanc can't use it",
        f'stop that program, or set another "{key}"',
    )


def access(case: Case) -> Iterator[Finding]:
    """Who comes from other machines has a user (tried on Orthanc 1.10.1 and 1.13.0)."""
    keys = case.configuration
    if (
        keys.get("RemoteAccessAllowed") is not True
        or keys.get("AuthenticationEnabled") is False
        or keys.get("RegisteredUsers")
    ):
        return
    add = 'add a user: "RegisteredUsers": {"name": "password"}'
    if "RegisteredUsers" in keys:
        yield warning("RegisteredUsers", "is empty: nobody can sign in", add)
        return
    meaning = "is missing, and RemoteAccessAllowed is true"
    if _numbers(case.orthanc) >= WANTS_USERS:
        yield error("RegisteredUsers", f"{meaning}: Orthanc {case.orthanc} doesn't start so", add)
    else:
        yield warning(
            "RegisteredUsers",
            f"{meaning}: anyone can sign in with Orthanc's default password",
            f"{add}; Orthanc 1.13 doesn't start without",
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
    file = sqlite_file(url)
    if file is not None:
        found = list(_file_problems(case, file))
        yield from found
        if found:
            return
    if told.get("Error"):
        return
    if file is not None and not file.exists():
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
    yield from _replaced(case, file)
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


def _replaced(case: Case, file: Path) -> Iterator[Finding]:
    """The Orthanc that runs has another file open than the one that is there."""
    there = case.listens(http_port(case.configuration))
    pid = os.getpid() if case.inside else there.pid if there else 0
    if f"{file} (deleted)" in case.open_files(pid):
        yield error(
            "database",
            f"{file} was deleted or replaced while Orthanc runs: what the plugin writes now is "
            "lost when Orthanc ends",
            "restart Orthanc, and restore a back-up: docs/installation.md has the commands",
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
            "fix what LastError says in /openmrs/notifications?state=failed, then retry",
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
        yield from _not_tried(case)
        return
    port = keys.get("DicomPort", DICOM_PORT)
    item = _asked_for(case)
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


def procedures(case: Case) -> Iterator[Finding]:
    """A scanner reaches the port for performed procedure steps."""
    settings = case.known_settings.procedures
    if settings.port is None:
        yield ok("MPPS", "is off: steps are completed by their images alone")
        return
    where = f"AE title {settings.ae_title}, port {settings.port}"
    if settings.tls:
        yield ok("MPPS", f"not tried: DICOM over TLS needs a scanner's certificate ({where})")
        return
    titles = settings.calling_ae_titles
    calling = case.aet or (min(titles) if titles else caller(case))
    if calling is None:
        yield ok("MPPS", f"not tried: no scanner may report from this machine ({where})")
        return
    answered = echo(settings.address or "127.0.0.1", settings.port, settings.ae_title, calling)
    if answered == ECHOED:
        yield ok("MPPS", f"{calling} is answered; enter in the scanner: this host, {where}")
    else:
        yield error(
            "MPPS",
            f"{calling} asks port {settings.port}: {answered}",
            "see Orthanc's log; compare OpenMRS.MPPS with docs/configuration.md",
        )


def _asked_for(case: Case) -> WorklistItem | None:
    """A step that a scanner should get: where one is named, of its own before any other."""
    offered = case.snapshot.offered if case.snapshot else ()
    own = (item for item in offered if item["ScheduledStationAETitle"] == case.aet)
    return next(own, None) or next(iter(offered), None)


def _not_tried(case: Case) -> Iterator[Finding]:
    if not case.aet:
        yield ok("C-FIND", "not tried: DicomCheckModalityHost lets no scanner ask from here")
    elif any(case.aet == title_and_host(one)[0] for one in modalities(case).values()):
        yield warning(
            "C-FIND",
            f"not tried: {case.aet} may not ask, or not from this machine",
            "compare AllowFind, AllowFindWorklist and Host of DicomModalities; ask at the scanner",
        )
    else:
        yield error(
            "C-FIND",
            f"{case.aet} is none of DicomModalities: Orthanc refuses it",
            f'add "{case.aet}": ["{case.aet}", "<its address>", <its port>] to DicomModalities, '
            'or set "DicomAlwaysAllowFindWorklist": true',
        )


def caller(case: Case) -> str | None:
    """An AE title that may ask from this machine, None where there is none."""
    if case.aet:
        return case.aet if _may_ask_from_here(case, case.aet) else None
    if case.configuration.get("DicomAlwaysAllowFindWorklist", False) is True:
        return CALLING_AE_TITLE
    titles = (title_and_host(one)[0] for one in modalities(case).values())
    return next((one for one in titles if one and _may_ask_from_here(case, one)), None)


def _may_ask_from_here(case: Case, aet: str) -> bool:
    if case.configuration.get("DicomAlwaysAllowFindWorklist", False) is True:
        return True
    checked = case.configuration.get("DicomCheckModalityHost") is True
    for modality in modalities(case).values():
        title, host = title_and_host(modality)
        if title == aet and may_ask(modality) and (not checked or host in HERE):
            return True
    return False
