"""One interpreter a process: what Orthanc does at `/tools/reset`, and at SIGHUP after a change of
its configuration, can't be survived by libraries of compiled code.

Decides: that Orthanc then takes its own place, as a new process with the same number, arguments
and environment. Must not import what is compiled: it is asked before anything else is imported.
"""

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

from orthanc_openmrs.host.api import Orthanc

MARK = "ORTHANC_OPENMRS_PROCESS"
"""The environment variable that says in which process the plugin was loaded already: it is the
process's, and outlives the interpreter."""

_FIRST_OWN = 3
"""The first file descriptor beside standard input, output and error."""


def is_second_interpreter() -> bool:
    """Whether the plugin was loaded in this process before; from now on it was."""
    here = str(os.getpid())
    if os.environ.get(MARK) == here:
        return True
    os.environ[MARK] = here
    return False


def begin(host: Orthanc) -> None:
    """To be called before the plugin is imported. Doesn't return where it was loaded before in
    this process: Orthanc begins again then, as a new program in its place."""
    if not is_second_interpreter():
        return
    host.LogWarning(
        "Orthanc was reset: it begins again as a new program, for compiled libraries of Python "
        "can't be loaded twice in one"
    )
    del os.environ[MARK]
    program = Path("/proc/self/exe").readlink()
    arguments = Path("/proc/self/cmdline").read_bytes().split(b"\0")[:-1]
    sys.stdout.flush()
    sys.stderr.flush()
    # Nothing of the old one goes on: its files and sockets would stay open, its signals blocked.
    for name in os.listdir("/proc/self/fd"):
        if int(name) >= _FIRST_OWN:
            with suppress(OSError):  # of the listing itself
                os.close(int(name))
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    os.execv(program if program.exists() else "/proc/self/exe", arguments)  # noqa: S606 - itself
