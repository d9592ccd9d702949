"""What makes a unit test one: the same examples on every machine, none against the clock; and
nothing but the checkout, the interpreter and temporary files, on this machine alone.
"""

import socket
import sys
import sysconfig
from collections.abc import Iterator
from os import PathLike, fsdecode
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

settings.register_profile(
    "unit", derandomize=True, deadline=None, max_examples=60, print_blob=False, database=None
)
settings.load_profile("unit")

ROOT = Path(__file__).resolve().parents[2]
PLACES = [
    str(Path(place).resolve())
    for place in (
        str(ROOT),
        "/dev/null",
        *(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")),
    )
]
PROCESSES = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork")
LOOPBACK = ("localhost", "127.0.0.1")

_running = False


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    """Python's own word of what is about to happen (sys.addaudithook)."""
    if not _running:
        return
    if event in PROCESSES and arguments[:1] != (sys.executable,):
        raise AssertionError(f"a unit test starts no other program: {arguments}")
    if event == "open" and isinstance(arguments[0], str | bytes | PathLike):
        path = str(Path(fsdecode(arguments[0])).absolute())
        if not path.startswith(tuple(PLACES)):
            raise AssertionError(f"a unit test needs nothing beside the checkout: {path}")
    if event == "socket.getaddrinfo" and arguments[0] not in LOOPBACK:
        raise AssertionError(f"a unit test asks nobody: {arguments[0]}")


sys.addaudithook(_audit)


@pytest.fixture(autouse=True)
def unit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Holds a test to it."""
    global _running
    places = str(tmp_path_factory.getbasetemp())
    if places not in PLACES:
        PLACES.append(places)
    _running = True
    yield
    _running = False


@pytest.fixture
def nobody_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name server that knows no name; addresses stay addresses."""
    known = socket.getaddrinfo

    def look_up(host: str, *arguments: Any, **options: Any) -> Any:
        if host in LOOPBACK:
            return known(host, *arguments, **options)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
