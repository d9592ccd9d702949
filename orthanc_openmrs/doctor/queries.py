"""The checks of how a scanner's query reaches the plugin: the Lua filter, Orthanc's workers.

Decides: what makes them good, and the words for what isn't. Must not know: how a query matches.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from orthanc_openmrs.doctor.case import Case
from orthanc_openmrs.doctor.findings import Finding, error, ok, warning
from orthanc_openmrs.doctor.installation import modalities
from orthanc_openmrs.doctor.machine import refused, way_to

FILTER = Path(__file__).resolve().parents[2] / "orthancWorklist.lua"
"""The filter that came with this plugin, beside its script."""

WORKERS = 4
"""Orthanc's DicomThreadsCount where the configuration has none."""

_KEY = "LuaScripts"
_DEFINES = re.compile(
    r"^\s*(?:function\s+IncomingWorklistRequestFilter\b|IncomingWorklistRequestFilter\s*=)",
    re.MULTILINE,
)


def lua_filter(case: Case) -> Iterator[Finding]:
    """A query reaches the plugin as the scanner sent it."""
    assert case.reading is not None
    listed = case.configuration.get(_KEY, [])
    scripts = [
        case.reading.folder / name
        for name in (listed if isinstance(listed, list) else [])
        if isinstance(name, str)
    ]
    shut = [
        file
        for script in scripts
        for file in refused(case.known_user, [*way_to(script), (script, os.R_OK)])[:1]
    ]
    if shut:
        yield error(
            _KEY,
            f"the user {case.known_user.name} can't read {shut[0]}: Orthanc doesn't start",
            f"let it be read, or take it out of {_KEY}",
        )
        return
    defining = [script for script in scripts if _DEFINES.search(_text(script))]
    ours = [script for script in defining if script.name == FILTER.name]
    if not ours:
        yield warning(
            _KEY,
            "has no orthancWorklist.lua: Orthanc drops steps that the standard would answer",
            f'put "{FILTER}" into "{_KEY}", and restart Orthanc; see docs/conformance.md',
        )
    elif defining[-1] != ours[-1]:
        yield warning(
            _KEY,
            f"{defining[-1].name} comes behind orthancWorklist.lua and takes its place",
            f"put it before orthancWorklist.lua in {_KEY}, and restart Orthanc",
        )
    elif FILTER.exists() and _text(ours[-1]) != _text(FILTER):
        yield warning(
            _KEY,
            f"{ours[-1]} is of another version than the plugin",
            f'use "{FILTER}" in "{_KEY}", and restart Orthanc',
        )
    else:
        yield ok(_KEY, "orthancWorklist.lua hands queries to the plugin as they are")


def _text(script: Path) -> str:
    try:
        return script.read_text(errors="replace")
    except OSError:
        return ""


def workers(case: Case) -> Iterator[Finding]:
    """A scanner that doesn't read its answers leaves a worker for the others."""
    found = case.configuration.get("DicomThreadsCount", WORKERS)
    if not isinstance(found, int) or isinstance(found, bool):
        return  # Orthanc says so itself
    known = len(modalities(case))
    if found < WORKERS or found < known:
        yield warning(
            "DicomThreadsCount",
            f"is {found}, for {known} scanners: as many that don't read long answers stop the "
            "others",
            f'set "DicomThreadsCount": {max(2 * WORKERS, known + 1)}',
        )
    else:
        yield ok("DicomThreadsCount", f"is {found}, for {known} scanners that are known")
