"""`python3 -m orthanc_openmrs doctor /etc/orthanc/`: the findings on a terminal, or as JSON."""

import argparse
import json
import os
import pwd
from collections.abc import Sequence
from pathlib import Path

from orthanc_openmrs import __version__
from orthanc_openmrs.connection import connect
from orthanc_openmrs.doctor.case import ORTHANC_LOGS, Case
from orthanc_openmrs.doctor.checks import CHECKS
from orthanc_openmrs.doctor.configuration import read_configurations
from orthanc_openmrs.doctor.findings import Examination, Finding, State, worst
from orthanc_openmrs.doctor.machine import User, user_of

DEFAULT_PATH = "/etc/orthanc/"

LIMIT = 120
"""Seconds for all the checks."""

EXIT = {State.OK: 0, State.WARNING: 1, State.ERROR: 2}

_INDENT = " " * 9


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python3 -m orthanc_openmrs",
        description=f"orthanc-openmrs {__version__}",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="doctor")
    doctor = commands.add_parser(
        "doctor",
        help="say what is wrong with an installation, and what to do",
        description="Says what is wrong with an installation, and what to do. Changes nothing.",
        epilog="Exit status: 0 all is well, 1 there are warnings, 2 there are errors.",
    )
    doctor.add_argument(
        "paths",
        nargs="*",
        type=Path,
        metavar="path",
        help=f"Orthanc's configuration: the files or folders that it is given ({DEFAULT_PATH})",
    )
    doctor.add_argument("--json", action="store_true", help="the findings as JSON")
    doctor.add_argument(
        "--user",
        type=_user,
        help="the user that Orthanc runs as; without it, who listens on Orthanc's port, or orthanc",
    )
    doctor.add_argument(
        "--aet",
        type=_ae_title,
        help="ask as the scanner with this AE title would",
    )
    doctor.add_argument(
        "--log",
        type=Path,
        default=ORTHANC_LOGS,
        help=f"Orthanc's log, or its folder ({ORTHANC_LOGS})",
    )
    chosen = parser.parse_args(arguments)
    case = Case(
        lambda: read_configurations(chosen.paths or [Path(DEFAULT_PATH)], os.environ),
        connect=connect,
        user=chosen.user,
        aet=chosen.aet,
        logs=chosen.log,
    )
    findings = Examination().make(case, CHECKS, LIMIT)
    print(as_json(findings) if chosen.json else as_text(findings), flush=True)
    return EXIT[worst(findings)]


def _ae_title(text: str) -> str:
    title = text.strip()
    if not 0 < len(title) <= 16 or "\\" in title or not title.isascii():
        raise argparse.ArgumentTypeError("an AE title has 1 to 16 letters, of ASCII")
    return title


def _user(name: str) -> User:
    try:
        return user_of(pwd.getpwnam(name).pw_uid)
    except KeyError:
        raise argparse.ArgumentTypeError(f"there is no user {name}") from None


def as_json(findings: Sequence[Finding]) -> str:
    """A document with the worst state and every finding."""
    found = [finding.describe() for finding in findings]
    return json.dumps({"State": worst(findings).value, "Findings": found}, indent=2)


def as_text(findings: Sequence[Finding]) -> str:
    """A line for each finding, below it what to do, at last a summary."""
    lines: list[str] = []
    for finding in findings:
        lines.append(f"{finding.state.value:<8} {finding.subject}: {finding.meaning}")
        if finding.advice:
            lines.append(f"{_INDENT}-> {finding.advice}")
    counts = {state: sum(one.state is state for one in findings) for state in State}
    errors, warnings = counts[State.ERROR], counts[State.WARNING]
    summary = (
        "all is well"
        if not errors and not warnings
        else (
            f"{errors} error{'' if errors == 1 else 's'}, "
            f"{warnings} warning{'' if warnings == 1 else 's'}"
        )
    )
    return "\n".join([*lines, "", summary])
