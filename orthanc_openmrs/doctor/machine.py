"""The machine: which user Orthanc runs as, what this user may do, which interpreter it embeds.

Decides: how that is found out without changing anything. Must not know: what it is good for.
"""

import grp
import json
import os
import pwd
import re
import stat
import subprocess
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PACKAGE_USER = "orthanc"
"""The user that Debian's package runs Orthanc as."""

CHILD_LIMIT = 30
"""Seconds for a child process."""


@dataclass(frozen=True, slots=True)
class User:
    """A user of the machine."""

    name: str
    uid: int
    gid: int

    @property
    def is_me(self) -> bool:
        """Whether this process runs as this user."""
        return self.uid == os.geteuid()

    @property
    def group(self) -> str:
        """The name of its group, or its number."""
        try:
            return grp.getgrgid(self.gid).gr_name
        except KeyError:
            return str(self.gid)


def user_of(uid: int) -> User:
    """The user with a number; one without a name is called by it."""
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        return User(str(uid), uid, uid)
    return User(entry.pw_name, uid, entry.pw_gid)


def orthanc_user(port: int) -> User:
    """The user that Orthanc runs as: who listens on its port, else that of Debian's package where
    root asks, else whoever asks."""
    there = listener(port)
    uid = there.uid if there else None
    if uid is None and os.geteuid() == 0:
        try:
            uid = pwd.getpwnam(PACKAGE_USER).pw_uid
        except KeyError:
            uid = None
    return user_of(os.geteuid() if uid is None else uid)


@dataclass(frozen=True, slots=True)
class Listener:
    """Who listens on a port: the user's number, and the process where we may know it."""

    uid: int
    pid: int = 0
    program: str = ""

    def __str__(self) -> str:
        return f"{self.program} (process {self.pid})" if self.pid else "another program"


def listener(port: int) -> Listener | None:
    """Who listens on a TCP port, None where nobody does (proc(5), /proc/net/tcp: address, state
    0A, user, inode). Only root sees the processes of others."""
    for name in ("tcp", "tcp6"):
        try:
            lines = Path("/proc/net", name).read_text().splitlines()[1:]
        except OSError:
            continue
        for words in map(str.split, lines):
            if words[3] == "0A" and int(words[1].rpartition(":")[2], 16) == port:
                pid = _process_with(f"socket:[{words[9]}]")
                return Listener(int(words[7]), pid, _program(pid) if pid else "")
    return None


def _process_with(open_file: str) -> int:
    for process in Path("/proc").glob("[0-9]*"):
        if open_file in open_files(int(process.name)):
            return int(process.name)
    return 0


def _program(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def open_files(pid: int) -> list[str]:
    """What a process has open, as proc(5) names it: a path, "path (deleted)", "socket:[inode]"."""
    found = []
    with suppress(OSError):
        for one in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                found.append(os.readlink(one))
    return found


_ERROR = re.compile(r"^E\d{4} (\S+?)(?:\.\d+)? .*?\] (.*)$", re.MULTILINE)
_START = "Orthanc version:"
_CONSEQUENCES = (
    "Uncaught exception, stopping now",
    "Error while initializing plugin",
    "Error during the installation of the Python script",
    "INTERNAL ERROR: ServerContext::Stop()",
)
"""Errors of Orthanc that say only that there was one before them."""
_END_OF_LOG = 256 * 1024
_LONGEST_LINE = 300


def last_error(logs: Path) -> str:
    """The last error in Orthanc's newest log since its last start that says more than that there
    was one, with its time; "" where there is none. `logs` is the file, or the folder of
    `--logdir`."""
    try:
        found = [logs] if logs.is_file() else [one for one in logs.iterdir() if "log" in one.name]
        newest = max(found, key=lambda one: one.stat().st_mtime)
        with newest.open("rb") as file:
            file.seek(max(0, newest.stat().st_size - _END_OF_LOG))
            text = file.read().decode(errors="replace")
    except (OSError, ValueError):
        return ""
    errors = _ERROR.findall(text[max(0, text.rfind(_START)) :])
    if not errors:
        return ""
    reasons = [one for one in errors if not one[1].startswith(_CONSEQUENCES)]
    when, what = (reasons or errors)[-1]
    return f"{when} {what[:_LONGEST_LINE]}"


def refused(user: User, wanted: Iterable[tuple[Path, int]]) -> list[Path]:
    """The paths for which a user lacks the access (os.R_OK, …) that is wanted, in order.

    Of another user's, root asks as this user, in a child process. Who is neither can't know.
    """
    pairs = [(str(path), mode) for path, mode in wanted]
    if user.is_me or os.geteuid() != 0:
        return [Path(path) for path, mode in pairs if not os.access(path, mode)]
    script = (
        "import json, os, sys\n"
        "pairs = json.loads(sys.argv[1])\n"
        "print(json.dumps([path for path, mode in pairs if not os.access(path, mode)]))"
    )
    # Debian's interpreter: that of a virtual environment may be in a folder that is shut to the
    # user.
    python = "/usr/bin/python3" if Path("/usr/bin/python3").exists() else sys.executable
    found = run_as(user, [python, "-I", "-S", "-c", script, json.dumps(pairs)])
    return [Path(path) for path in json.loads(found.stdout)]


def is_public(path: Path) -> bool:
    """Whether everybody on this machine can read a file."""
    try:
        modes = [folder.stat().st_mode for folder in path.parents]
        return bool(path.stat().st_mode & stat.S_IROTH) and all(
            mode & stat.S_IXOTH for mode in modes
        )
    except OSError:
        return False


def way_to(path: Path) -> list[tuple[Path, int]]:
    """The folders that must be entered to reach a path, the outermost first."""
    return [(folder, os.X_OK) for folder in reversed(path.parents)]


def run_as(user: User, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run a command as a user, from the root of the file system, with nothing of our environment.

    Raises OSError and subprocess.SubprocessError where that doesn't work.
    """
    who: dict[str, Any] = {}
    if not user.is_me and os.geteuid() == 0:
        who = {"user": user.uid, "group": user.gid, "extra_groups": _groups(user)}
    return subprocess.run(  # noqa: S603 - fixed commands, and paths of the configuration
        command,
        cwd="/",
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=CHILD_LIMIT,
        check=False,
        **who,
    )


def _groups(user: User) -> list[int]:
    try:
        return os.getgrouplist(user.name, user.gid)
    except (KeyError, OSError):
        return [user.gid]


_LIBPYTHON = re.compile(rb"libpython(3\.\d+)\.so")


def embedded_python(plugin: Path) -> str:
    """The Python that Orthanc's plugin is linked with, as "3.11"; "" where that isn't seen."""
    try:
        found = _LIBPYTHON.search(plugin.read_bytes())
    except OSError:
        return ""
    return found[1].decode() if found else ""


_IMPORT = """
import json, sys
sys.dont_write_bytecode = True
sys.path[:0] = sys.argv[1:]
try:
    import orthanc_openmrs.plugin, orthanc_openmrs
    found = {"Version": orthanc_openmrs.__version__, "File": orthanc_openmrs.__file__}
except BaseException as problem:
    name = getattr(problem, "name", "") or ""
    found = {"Problem": type(problem).__name__, "Name": name}
print(json.dumps({**found, "Python": "%d.%d.%d" % sys.version_info[:3]}))
"""


def import_plugin(user: User, python: str, folders: Iterable[Path]) -> dict[str, str]:
    """What an interpreter finds when it imports the plugin from some folders, as a user: Python,
    and Version and File, or Problem and Name (the module that is missing)."""
    try:
        done = run_as(user, [python, "-I", "-c", _IMPORT, *map(str, folders)])
        found: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    except (OSError, subprocess.SubprocessError, ValueError, IndexError) as problem:
        return {"Problem": type(problem).__name__, "Name": ""}
    return found
