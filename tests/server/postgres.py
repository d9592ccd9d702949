"""A scratch PostgreSQL: Debian's, on a free port, in a folder that goes with it."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trial.ports import free_port

VERSIONS = Path("/usr/lib/postgresql")
TIMEOUT = 60


def programs() -> Path | None:
    """Where the newest PostgreSQL's programs are, None where there is none."""
    return max(VERSIONS.glob("*/bin"), key=lambda path: int(path.parent.name), default=None)


@contextmanager
def server(*databases: str) -> Iterator[int]:
    """The port of a server that has these databases and lets the user postgres in."""
    folder = programs()
    assert folder is not None
    # As user postgres where we are root, for initdb refuses to run as root.
    prefix = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []

    def run(program: str, *arguments: str) -> None:
        subprocess.run(
            [*prefix, str(folder / program), *arguments],
            check=True,
            timeout=TIMEOUT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
        )

    port = free_port()
    home = tempfile.mkdtemp(prefix="orthanc-openmrs-postgresql-")
    try:
        if prefix:
            shutil.chown(home, "postgres")
        data = f"{home}/data"
        run("initdb", "-A", "trust", "-U", "postgres", "-D", data)
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={home}"
        run("pg_ctl", "-w", "-D", data, "-l", f"{home}/log", "-o", options, "start")
        try:
            for database in databases:
                run("createdb", "-h", "127.0.0.1", "-p", str(port), "-U", "postgres", database)
            yield port
        finally:
            run("pg_ctl", "-w", "-D", data, "-m", "immediate", "stop")
    finally:
        shutil.rmtree(home)
