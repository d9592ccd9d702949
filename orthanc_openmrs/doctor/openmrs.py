"""The checks of OpenMRS: reachable, trusted, willing, and what its list holds.

Decides: which calls are made (none changes anything) and the words for what they tell. The
account goes where the configuration says, and nowhere else.
"""

import socket
import ssl
import time
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from orthanc_openmrs.config import Settings
from orthanc_openmrs.doctor.case import Case
from orthanc_openmrs.doctor.findings import Finding, error, ok, warning
from orthanc_openmrs.errors import PROBLEMS, OpenMRSError
from orthanc_openmrs.model import Answer
from orthanc_openmrs.openmrs.client import OpenMRSClient
from orthanc_openmrs.openmrs.generations import of_empty_update, recognise
from orthanc_openmrs.openmrs.imaging_list import read_list, refusal
from orthanc_openmrs.openmrs.persons import is_signed_in
from orthanc_openmrs.openmrs.transport import system_certificates
from orthanc_openmrs.openmrs.verdicts import judge_empty_update
from orthanc_openmrs.worklist import values
from orthanc_openmrs.worklist.items import PersonNames
from orthanc_openmrs.worklist.name_parts import split_name
from orthanc_openmrs.worklist.refresh import REST
from orthanc_openmrs.worklist.snapshot import Snapshot

CONNECT_TIMEOUT = 5
"""Seconds for a connection, and again for its TLS."""

SOON = 14 * 86400
"""Seconds before its end at which a certificate is spoken of."""

CLOCK_WARNING = 60
CLOCK_ERROR = 300

SHOWN = 5
"""Steps of each kind that are named."""

EDIT_WORKLIST = "Task: Edit Worklist"
RECEIVE_UPDATES = "Task: Receive Orthanc Updates"
VIEW_PATIENTS = "Get Patients"

_CERTIFICATES = {
    # OpenSSL's X509_V_ERR_*, x509_vfy.h
    9: "isn't valid yet: compare the clocks of both machines",
    10: "has expired: renew it in OpenMRS",
    18: "is signed by itself: name it in OpenMRS.CACertificates",
    19: "is signed by an authority of the hospital's own: name it in OpenMRS.CACertificates",
    20: "is signed by an authority that isn't known here, or the server leaves out a part of the "
    "chain: name the authority in OpenMRS.CACertificates",
    62: "is for another host name: use the name in the certificate in ImagingWorklistURL",
    64: "is for another address: use the host name in the certificate in ImagingWorklistURL",
}


def connection(case: Case) -> Iterator[Finding]:
    """The host answers, and is the right one."""
    url = urlsplit(case.known_settings.worklist_url)
    host = url.hostname or ""
    port = url.port or (443 if url.scheme == "https" else 80)
    where = f"{host}:{port}"
    started = time.monotonic()
    try:
        plain = socket.create_connection((host, port), CONNECT_TIMEOUT)
    except socket.gaierror:
        yield error(
            "OpenMRS",
            f"the host name {host} is unknown here",
            "check ImagingWorklistURL, and this machine's name service",
        )
        return
    except TimeoutError:
        yield error(
            "OpenMRS",
            f"{where} doesn't answer within {CONNECT_TIMEOUT} s",
            "check ImagingWorklistURL, the firewall, and that OpenMRS's machine is up",
        )
        return
    except OSError as problem:
        reason = (problem.strerror or type(problem).__name__).lower()
        yield error(
            "OpenMRS",
            f"{where} can't be reached: {reason}",
            "check ImagingWorklistURL and that OpenMRS runs",
        )
        return
    with plain:
        took = f"{(time.monotonic() - started) * 1000:.0f} ms"
        yield ok("OpenMRS", f"{where} is reached ({took})")
        if url.scheme == "https":
            yield from _tls(case, plain, url)
        elif not _is_local(plain):
            yield warning(
                "ImagingWorklistURL",
                "is http: the password and patients' data can be read on the way",
                "use https, or a network of their own for Orthanc and OpenMRS",
            )


def _is_local(connected: socket.socket) -> bool:
    try:
        return ip_address(connected.getpeername()[0].partition("%")[0]).is_loopback
    except (OSError, ValueError):
        return False


def _tls(case: Case, plain: socket.socket, url: SplitResult) -> Iterator[Finding]:
    settings = case.known_settings
    if settings.verify is False:
        yield warning(
            "OpenMRS.VerifyCertificates",
            "is false: any server is taken for OpenMRS",
            "name the hospital's authority in OpenMRS.CACertificates, and delete this key",
        )
        return
    context = ssl.create_default_context()
    trusted = settings.verify if isinstance(settings.verify, str) else system_certificates()
    try:
        if isinstance(trusted, str):
            context = _trusting(trusted)
        if settings.client_certificate:
            pair = settings.client_certificate
            context.load_cert_chain(*([pair] if isinstance(pair, str) else pair))
    except (OSError, ssl.SSLError):
        yield error(
            "OpenMRS.CACertificates",
            "this file, or ClientCertificate or ClientKey, can't be used",
            "they must be PEM files that Orthanc's user can read",
        )
        return
    try:
        with context.wrap_socket(plain, server_hostname=url.hostname) as secure:
            ends = ssl.cert_time_to_seconds(str((secure.getpeercert() or {})["notAfter"]))
    except ssl.SSLCertVerificationError as problem:
        meaning, _, advice = _CERTIFICATES.get(
            problem.verify_code, f"isn't trusted ({problem.verify_message}): check it"
        ).partition(": ")
        yield error("TLS", f"OpenMRS's certificate {meaning}", advice)
        return
    except (ssl.SSLError, ConnectionError):
        yield error(
            "TLS",
            "the server on this port doesn't speak TLS, or none that is safe",
            "check the port in ImagingWorklistURL, and whether it is http",
        )
        return
    except TimeoutError:
        yield error(
            "TLS", f"no TLS within {CONNECT_TIMEOUT} s", "check the port in ImagingWorklistURL"
        )
        return
    days = int((ends - time.time()) // 86400)
    if ends - time.time() < SOON:
        yield warning("TLS", f"OpenMRS's certificate ends in {days} days", "renew it in OpenMRS")
    else:
        yield ok("TLS", f"OpenMRS's certificate is trusted, for {days} more days")


def _trusting(path: str) -> ssl.SSLContext:
    folder = Path(path).is_dir()
    return ssl.create_default_context(
        capath=path if folder else None, cafile=None if folder else path
    )


def worklist(case: Case) -> Iterator[Finding]:
    """The account gets the list."""
    settings = case.known_settings
    client = case.openmrs()
    started = time.monotonic()
    try:
        case.answer = client.try_list()
    except OpenMRSError as problem:
        yield _refusal(case, client, "list", problem.kind, str(problem))
        return
    took = time.monotonic() - started
    refused = refusal(case.answer)
    if refused is None and case.snapshot is None:
        try:
            case.snapshot = _read(case, case.answer)
        except OpenMRSError as problem:
            refused = problem
    if refused is not None:
        yield _refusal(case, client, "list", refused.kind, str(refused))
        return
    size = f"{len(case.answer.body) / 1024:.0f} KiB in {took:.1f} s"
    if took > settings.timeout / 2:
        yield warning(
            "list",
            f"OpenMRS gives it slowly: {size}, where Timeout is {settings.timeout:g} s",
            "see to OpenMRS's load, or raise OpenMRS.Timeout",
        )
    else:
        yield ok("list", f"the account gets it ({size}{_rhythm(settings, took)})")


def _rhythm(settings: Settings, took: float) -> str:
    """How often the list is read, where that isn't as often as configured."""
    rest = REST * took
    return f", so it is read every {rest + took:.0f} s" if rest > settings.refresh_interval else ""


def _read(case: Case, answer: Answer) -> Snapshot:
    verbatim = case.known_settings.person_names == "verbatim"
    names = PersonNames(values.verbatim_name if verbatim else split_name)
    today = datetime.now().strftime("%Y%m%d")
    return Snapshot.build(read_list(answer.body), read_at=time.time(), day=today, names=names)


def _refusal(case: Case, client: OpenMRSClient, subject: str, kind: str, detail: str) -> Finding:
    """Sign-ins that fail look alike: OpenMRS's session says whether it is the account."""
    if kind in ("credentials", "privilege", "not-a-list", "server-error"):
        signed_in = is_signed_in(client.get_session())
        if signed_in is False:
            kind = "credentials"
        elif signed_in and kind == "credentials":
            kind = "privilege"
    if kind == "credentials" and case.known_settings.token_client is not None:
        kind = "token-unknown"
    meaning, _, advice = PROBLEMS.get(kind, kind).partition(": ")
    if kind == "privilege":
        right = EDIT_WORKLIST if subject == "list" else RECEIVE_UPDATES
        meaning = f"the account lacks the privilege {right}"
    if kind == "not-found" and subject != "list":
        advice = "check ImagingUpdateRequestStatus"
    return error(
        subject, f"{meaning} ({detail})", advice or "raise it, or see docs/configuration.md"
    )


def clock(case: Case) -> Iterator[Finding]:
    """Both machines have the same time."""
    try:
        theirs = parsedate_to_datetime(case.answer.date if case.answer else "").timestamp()
    except (ValueError, TypeError):
        yield ok("clock", "OpenMRS doesn't tell its time")
        return
    ahead = time.time() - theirs
    if abs(ahead) <= CLOCK_WARNING:
        zone = datetime.now().astimezone()
        yield ok("clock", f"agrees with OpenMRS's; today is {zone:%Y-%m-%d} here (UTC{zone:%z})")
        return
    way = "ahead of" if ahead > 0 else "behind"
    meaning = f"is {_duration(abs(ahead))} {way} OpenMRS's"
    advice = "let both machines get their time from one server (timedatectl set-ntp true)"
    report = error if abs(ahead) > CLOCK_ERROR else warning
    yield report("clock", meaning, advice)


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 600 else f"{seconds / 60:.0f} minutes"


def updates(case: Case) -> Iterator[Finding]:
    """The account may report: asked with an update of no step, which changes nothing."""
    client = case.openmrs()
    try:
        answer = client.try_update()
    except OpenMRSError as problem:
        yield _refusal(case, client, "status updates", problem.kind, str(problem))
        return
    kind = judge_empty_update(answer)
    if kind == "not-found" and case.snapshot is not None and case.snapshot.lacks_steps:
        kind = "module-too-old"  # a list without steps, and no updates: for certain
    if kind:
        yield _refusal(case, client, "status updates", kind, f"HTTP {answer.status}")
    else:
        of = _generation(case, answer)
        yield ok("status updates", f"the account may report, to a module of generation {of}")


def _generation(case: Case, answer: Answer) -> str:
    """As the list tells it, else what is answered to an update of no step."""
    listed = case.snapshot.generation if case.snapshot else ""
    return recognise(listed, of_empty_update(answer), update_url=case.known_settings.update_url)


def names(case: Case) -> Iterator[Finding]:
    """Structured names can be looked up, where that is configured."""
    if case.known_settings.person_names != "lookup" or case.snapshot is None:
        return
    patients = (item["PatientID"] for item in case.snapshot.offered)
    patient = next((uuid for uuid in patients if uuid), "")
    if not patient:
        return
    client = case.openmrs()
    try:
        client.get_patient(patient)
    except OpenMRSError as problem:
        yield warning(
            "names",
            f"a patient can't be looked up ({problem}): names are split instead",
            f"give the account the privilege {VIEW_PATIENTS}; check OpenMRS.RestURL",
        )
    else:
        yield ok("names", "patients can be looked up")


def steps(case: Case) -> Iterator[Finding]:
    """What becomes of the list's steps; by their ids, never by their patients."""
    snapshot = case.snapshot
    assert snapshot is not None
    open_ = [item for item in snapshot.items if item.step.status.is_open]
    left_out = [item for item in open_ if not item.offered]
    if snapshot.lacks_steps:
        meaning, _, advice = PROBLEMS["no-steps"].partition(": ")
        yield error("steps", f"{meaning} ({len(snapshot.requests)} requests)", advice)
        return
    yield ok("steps", f"{len(snapshot.items)} in the list, {len(snapshot.offered)} for scanners")
    for item in left_out[:SHOWN]:
        step = item.step.scheduled_procedure_step_id or "without an id"
        yield warning("steps", f"step {step[:64]} is left out: {item.reason}", "fix it in OpenMRS")
    for rejected in snapshot.rejected[:SHOWN]:
        yield warning(
            "steps",
            f"element {rejected.position} of the list is left out: {rejected.reason}",
            "fix it in OpenMRS",
        )
    more = len(left_out[SHOWN:]) + len(snapshot.rejected[SHOWN:])
    if more:
        yield warning("steps", f"{more} more are left out", "see Reason in /openmrs/worklist")
    repaired: defaultdict[str, list[str]] = defaultdict(list)
    for item in snapshot.offered:
        for text in item.warnings:
            repaired[text].append(item["ScheduledProcedureStepID"])
    for text, ids in sorted(repaired.items(), key=lambda one: -len(one[1]))[:SHOWN]:
        some = ", ".join(ids[:SHOWN]) + (", …" if len(ids) > SHOWN else "")
        yield ok("steps", f"{len(ids)} repaired ({some}): {text}")
