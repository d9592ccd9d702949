"""The checks of what is installed: Orthanc's configuration, its script, the packages.

Decides: what makes them good, and the words for what isn't. Must not know: how Orthanc is asked.
"""

import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from orthanc_openmrs import __version__
from orthanc_openmrs.config import SCHEMA, Settings, likely, read_settings
from orthanc_openmrs.doctor import advice
from orthanc_openmrs.doctor.case import Case
from orthanc_openmrs.doctor.configuration import Unreadable
from orthanc_openmrs.doctor.findings import Finding, error, ok, warning
from orthanc_openmrs.doctor.machine import (
    embedded_python,
    import_plugin,
    is_public,
    orthanc_user,
    refused,
    way_to,
)
from orthanc_openmrs.doctor.orthanc import Unanswered, http_port
from orthanc_openmrs.errors import ConfigurationError
from orthanc_openmrs.worklist.charset import codec_of

OLDEST_PYTHON = (3, 11)

PYTHON_PLUGIN = "libOrthancPython.so"

OWN_KEYS = frozenset((*SCHEMA["properties"], "Plugins", "PythonScript"))
"""Keys of Orthanc's configuration without which this plugin doesn't work."""

PATHS = {
    # the end of each, in the Imaging module 1.0.1 and later, and before
    "ImagingWorklistURL": ("/worklist/requests", "/imaging/worklist"),
    "ImagingUpdateRequestStatus": ("/worklist/updaterequeststatus", "/imaging/updatestatus"),
}
REST = "/ws/rest/v1"

SHOWN = 20
"""AE titles that are named."""

SHORT_STABLE_AGE = 10
LONG_STABLE_AGE = 600


# --- the configuration -----------------------------------------------------------------------


def configuration(case: Case) -> Iterator[Finding]:
    """It can be read as Orthanc reads it."""
    try:
        case.reading = case.read()
    except Unreadable as problem:
        yield error(problem.where, problem.meaning, problem.advice)
        return
    reading = case.reading
    if case.user is None:
        case.user = orthanc_user(http_port(reading.values))
    shut = refused(case.user, [(file, os.R_OK) for file in reading.files])
    if shut:
        outside = refused(case.user, way_to(shut[0]))
        yield error(
            str(shut[0]),
            f"can't be read by the user {case.user.name}, whom Orthanc runs as",
            advice.move_configuration(case.user)
            if outside
            else advice.let_read(case.user, shut[0]),
        )
        return
    files = f"{len(reading.files)} file" + ("s" if len(reading.files) != 1 else "")
    yield ok("configuration", "is Orthanc's own" if case.inside else f"{files} can be read")
    file = reading.origin.get("ImagingWorklistPassword")
    if file and reading.values["ImagingWorklistPassword"] and is_public(file):
        yield warning(
            str(file),
            "holds a password, and everybody on this machine can read it",
            advice.let_read(case.user, file),
        )
    for key, found_in in reading.twice.items():
        yield warning(
            key,
            f"stands twice in {found_in.name}: Orthanc takes the last one only",
            "remove the other one",
        )
    for name, keys in reading.unset.items():
        if OWN_KEYS.isdisjoint(keys):
            continue  # Orthanc's own keys may do without
        yield warning(
            f"${{{name}}}",
            "isn't set here: Orthanc puts nothing in its place where it isn't set there either",
            "run the doctor with the environment that Orthanc has",
        )


def settings(case: Case) -> Iterator[Finding]:
    """The plugin starts with it."""
    assert case.reading is not None
    try:
        case.settings = read_settings(case.configuration, case.reading.folder)
    except ConfigurationError as problem:
        yield error(
            problem.key,
            problem.problem,
            "correct it, and restart Orthanc: see docs/configuration.md",
        )
        return
    files = _tls_files(case.settings)
    shut = refused(case.known_user, [(file, os.R_OK) for file in files])
    if shut:
        user, folder = case.known_user, case.reading.folder
        yield error(
            str(shut[0]),
            f"can't be read by the user {user.name}, whom Orthanc runs as",
            advice.let_read(user, shut[0])
            if shut[0].parent == folder
            else advice.copy_beside_configuration(user, shut[0], folder, files[shut[0]]),
        )
        return
    yield ok("settings", "the plugin starts with these keys")
    yield from _paths(case)
    yield from _misspelt(case)
    if case.settings.debug:
        yield warning(
            "OpenMRS.Debug",
            "is true: patients' data go to Orthanc's log",
            "set it to false when the fault is found",
        )


def _paths(case: Case) -> Iterator[Finding]:
    """The addresses are of the Imaging module's routes, as far as can be seen."""
    for key, ends in PATHS.items():
        url = urlsplit(str(case.configuration[key]))
        path = url.path.rstrip("/")
        if path.endswith(ends):
            continue
        before = path[: path.index("/ws/")] if "/ws/" in path else path
        host = url.netloc
        yield warning(
            key,
            f"asks {host} for {path or '/'}, where the Imaging module has {ends[0]}",
            f"it should end so: {url.scheme}://{host}{before}{REST}{ends[0]}",
        )


def _misspelt(case: Case) -> Iterator[Finding]:
    """No key was meant to be one of the plugin's."""
    known = SCHEMA["properties"]
    missing = [key for key in known if key not in case.configuration]
    for key in case.configuration:
        meant = likely(key, missing) if key not in known else ""
        if meant:
            yield warning(
                " ".join(key.split()),
                "is a key that neither Orthanc nor this plugin reads",
                f"did you mean {meant}?",
            )


def _tls_files(settings: Settings) -> dict[Path, str]:
    """The files of CACertificates, ClientCertificate, ClientKey, and which is named by which."""
    pair = settings.client_certificate
    names = (settings.verify, *((pair,) if isinstance(pair, str) else pair or ()))
    keys = ("OpenMRS.CACertificates", "OpenMRS.ClientCertificate", "OpenMRS.ClientKey")
    return {
        Path(name): key for name, key in zip(names, keys, strict=False) if isinstance(name, str)
    }


# --- the Python plugin and its script --------------------------------------------------------


def plugins(case: Case) -> Iterator[Finding]:
    """Orthanc loads its Python plugin."""
    if case.inside:
        case.python = "{}.{}".format(*sys.version_info)
        yield ok("Plugins", "the Python plugin is loaded")
        return
    assert case.reading is not None
    folder = case.reading.folder
    listed = case.configuration.get("Plugins", [])
    found = [_plugin_in(folder / str(one)) for one in listed] if isinstance(listed, list) else []
    plugin = next((path for path in found if path is not None), None)
    if plugin is None:
        yield error(
            "Plugins",
            f"none of them is Orthanc's Python plugin ({PYTHON_PLUGIN})",
            advice.install_package(
                "orthanc-python",
                'name its folder, "Plugins": ["/usr/share/orthanc/plugins/"], and install it '
                "where it is missing",
            ),
        )
        return
    case.python = embedded_python(plugin)
    embeds = f", which embeds Python {case.python}" if case.python else ""
    yield ok("Plugins", f"{plugin}{embeds}")


def _plugin_in(path: Path) -> Path | None:
    """The Python plugin at a path, or in this folder."""
    if path.is_dir():
        return next(iter(sorted(path.glob(f"{PYTHON_PLUGIN}*"))), None)
    return path if path.name.startswith(PYTHON_PLUGIN) and path.exists() else None


def script(case: Case) -> Iterator[Finding]:
    """Orthanc's Python plugin loads this plugin."""
    if case.inside:
        yield ok("PythonScript", "it started this plugin")
        return
    named = case.configuration.get("PythonScript")
    name_it = 'set "PythonScript" to the path of this plugin\'s orthancWorklist.py'
    if not isinstance(named, str) or not named:
        yield error("PythonScript", "is missing: the Python plugin loads nothing", name_it)
        return
    path = Path(named)
    if not path.is_absolute():
        yield error(
            "PythonScript",
            "is a relative path, which counts from wherever Orthanc is started",
            "write the whole path, from / on",
        )
        return
    user = case.known_user
    shut = refused(user, [*way_to(path), (path, os.R_OK)])
    if not path.exists():
        yield error("PythonScript", f"there is no file {path}", name_it)
        return
    if shut:
        yield error(
            "PythonScript",
            f"the user {user.name} can't reach {shut[0]}",
            advice.let_read_code(path.parent)
            if path.parent in (shut[0], *shut[0].parents) and advice.is_own_folder(path.parent)
            else advice.move_code(path.parent),
        )
        return
    try:
        text = path.read_text(errors="replace")
    except OSError:
        yield error("PythonScript", f"{path} can't be read by you", "run the doctor with sudo")
        return
    if "orthanc_openmrs" not in text:
        seed = "ImagingWorklistURL" in text
        which = "the Imaging module's own script" if seed else "another script"
        yield error(
            "PythonScript",
            f"{path} is {which}, which doesn't start this plugin",
            f'{name_it}, or let that script start it: docs/installation.md, "Beside another '
            'script"',
        )
        return
    yield ok("PythonScript", f"{path} starts this plugin")


def packages(case: Case) -> Iterator[Finding]:
    """The interpreter that Orthanc embeds finds the plugin and what it needs."""
    if case.inside:
        case.version = __version__
        yield from _versions_of_python("{}.{}.{}".format(*sys.version_info))
        return
    path = Path(str(case.configuration["PythonScript"])).resolve()
    user = case.known_user
    here = Path(__file__).resolve().parents[2]
    folder = path.parent if (path.parent / "orthanc_openmrs").is_dir() else here
    python = f"/usr/bin/python{case.python}" if case.python else "/usr/bin/python3"
    if not Path(python).exists():
        yield warning(
            "packages",
            f"not checked: there is no {python}, the Python that Orthanc embeds",
            advice.install_package(Path(python).name),
        )
        return
    version = case.python or "3*"
    site = sorted((folder / ".venv" / "lib").glob(f"python{version}/site-packages"))
    found = import_plugin(user, python, [folder, *site])
    if "Problem" in found:
        what = found["Name"] or "the plugin"
        yield error(
            "packages",
            f"{python} can't import {what} as the user {user.name} ({found['Problem']})",
            advice.let_read_code(folder)
            if refused(user, [(one, os.R_OK) for one in (folder / "orthanc_openmrs", *site)])
            and advice.is_own_folder(folder)
            else advice.install_again(folder),
        )
        return
    case.version = found["Version"]
    yield from _versions_of_python(found["Python"])


def _versions_of_python(python: str) -> Iterator[Finding]:
    if tuple(map(int, python.split("."))) < OLDEST_PYTHON:
        yield error("packages", f"Python {python} is too old", "use Debian 12 or later")
    else:
        yield ok("packages", f"orthanc-openmrs can be imported by Python {python}")


# --- Orthanc's own keys ----------------------------------------------------------------------


def encoding(case: Case) -> Iterator[Finding]:
    """Names reach the scanners."""
    found = case.configuration.get("DefaultEncoding", "Latin1")
    if codec_of(str(found)) == "utf-8":
        yield ok("DefaultEncoding", "is Utf8: scanners get names of every script")
    else:
        yield warning(
            "DefaultEncoding",
            f"is {found}: names that it can't hold are sent in Latin letters",
            'set "DefaultEncoding": "Utf8"; for a scanner that can\'t read it, Charset in '
            "OpenMRS.Stations",
        )


def stable_age(case: Case) -> Iterator[Finding]:
    """Studies are complete when they are told, and told soon."""
    age = case.configuration.get("StableAge", 60)
    if not isinstance(age, int | float) or isinstance(age, bool):
        yield error("StableAge", "is no number", 'set "StableAge": 60')
    elif age < SHORT_STABLE_AGE:
        yield warning(
            "StableAge",
            f"is {age:g} s: a step may be reported as completed between two series",
            'set "StableAge": 60',
        )
    elif age > LONG_STABLE_AGE:
        yield warning(
            "StableAge",
            f"is {age:g} s: OpenMRS is notified that long after the last image",
            'set "StableAge": 60',
        )
    else:
        yield ok("StableAge", f"is {age:g} s")


def scanners(case: Case) -> Iterator[Finding]:
    """Scanners may ask."""
    keys = case.configuration
    if keys.get("DicomServerEnabled", True) is not True:
        yield error(
            "DicomServerEnabled", "is false: no scanner can ask", 'set "DicomServerEnabled": true'
        )
        return
    where = f"AE title {keys.get('DicomAet', 'ORTHANC')}, port {keys.get('DicomPort', 4242)}"
    known = modalities(case)
    if keys.get("DicomAlwaysAllowFindWorklist", False) is True:
        yield ok("DicomAlwaysAllowFindWorklist", f"is true: every scanner may ask ({where})")
        return
    able = sorted({who for one in known.values() if may_ask(one) and (who := _who(one, keys))})
    if not able:
        what = "DicomModalities is empty" if not known else "none in DicomModalities may ask"
        yield error(
            "DicomAlwaysAllowFindWorklist",
            f"is false, and {what}: every scanner is refused",
            "set it to true, or list the scanners in DicomModalities",
        )
        return
    some = ", ".join(able[:SHOWN]) + (f" and {len(able) - SHOWN} more" if able[SHOWN:] else "")
    yield ok("DicomModalities", f"only {some} may ask; is your scanner called so? ({where})")


def _who(modality: Any, keys: Mapping[str, Any]) -> str:
    """The AE title of a modality, with its address where Orthanc compares it too."""
    title, host = title_and_host(modality)
    return f"{title} at {host}" if title and keys.get("DicomCheckModalityHost") is True else title


def title_and_host(modality: Any) -> tuple[str, str]:
    """Of one of DicomModalities, in either of its forms."""
    if isinstance(modality, Mapping):
        return str(modality.get("AET", "")), str(modality.get("Host", ""))
    if isinstance(modality, list):
        title, host = (*modality, "", "")[:2]
        return str(title), str(host)
    return "", ""


def modalities(case: Case) -> Mapping[str, Any]:
    """The scanners that Orthanc knows: by its configuration, or by its database."""
    if case.configuration.get("DicomModalitiesInDatabase") is True:
        try:
            found = case.ask("/modalities?expand")
        except Unanswered:
            found = {}
    else:
        found = case.configuration.get("DicomModalities", {})
    return found if isinstance(found, Mapping) else {}


def may_ask(modality: Any) -> bool:
    if not isinstance(modality, Mapping):
        return True
    allowed: bool = modality.get("AllowFindWorklist", modality.get("AllowFind", True)) is not False
    return allowed
