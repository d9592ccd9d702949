"""The stand-in for OpenMRS in a process of its own, so that it shares no interpreter lock.

Decides: the commands that it takes on its standard input. Must not know: who reads the list.
"""

import contextlib
import select
import subprocess
import sys
from pathlib import Path
from typing import Any

import requests

from standin import Standin
from standin.samples import many

ROOT = Path(__file__).resolve().parent.parent
LIST = "/openmrs/ws/rest/v1/worklist/requests"
UPDATE = "/openmrs/ws/rest/v1/worklist/updaterequeststatus"
ACCOUNT = ("imaging", "Imaging123")


class OpenMRS:
    """The running stand-in."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.openmrs"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        self.url = self._answer()
        self._session = requests.Session()
        self._session.trust_env = False

    def __enter__(self) -> "OpenMRS":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End it: connections are refused from now on."""
        self._session.close()
        self._process.terminate()
        self._process.communicate()  # closes its pipes too

    @property
    def keys(self) -> dict[str, Any]:
        """The module's four keys of Orthanc's configuration."""
        return {
            "ImagingWorklistURL": self.url + LIST,
            "ImagingUpdateRequestStatus": self.url + UPDATE,
            "ImagingWorklistUsername": ACCOUNT[0],
            "ImagingWorklistPassword": ACCOUNT[1],
        }

    def grow(self, size: int) -> bytes:
        """Have `size` requests, those before among them; returns the list."""
        self._command(f"grow {size}")
        return self.read()

    def read(self) -> bytes:
        """The list as the plugin reads it."""
        response = self._session.get(self.url + LIST, auth=ACCOUNT, timeout=60)
        response.raise_for_status()
        return response.content

    def add_patient(self, **details: str) -> str:
        """A patient without an order; the uuid."""
        response = self._session.post(self.url + "/standin/patients", json=details, timeout=60)
        response.raise_for_status()
        uuid: str = response.json()["uuid"]
        return uuid

    def change(self) -> None:
        """Change one request now."""
        self._command("change")

    def change_each_second(self, changing: bool) -> None:
        """Change one request each second, or stop that."""
        self._command("keep-changing" if changing else "keep-still")

    def reads(self) -> list[tuple[float, float]]:
        """When the list was asked for (time.monotonic), oldest first, and the seconds that it
        took; those of one that goes on are left out."""
        return [
            (float(entry["time"]), float(entry["seconds"]))
            for entry in self.log(LIST)
            if entry["seconds"] is not None
        ]

    def size(self, encoding: str) -> int:
        """The bytes of the list on the wire, in a content encoding."""
        url, headers = self.url + LIST, {"Accept-Encoding": encoding}
        with self._session.get(
            url, auth=ACCOUNT, timeout=60, headers=headers, stream=True
        ) as response:
            response.raise_for_status()
            return len(response.raw.read(decode_content=False))

    def log(self, path: str) -> list[dict[str, Any]]:
        """The requests for a path, oldest first; `time` is time.monotonic at the arrival."""
        log = self._session.get(self.url + "/standin/log", timeout=60).json()
        return [entry for entry in log if entry["path"] == path]

    def requests(self) -> list[dict[str, Any]]:
        """What OpenMRS knows of each request: its steps, their statuses, its study."""
        found: list[dict[str, Any]] = self._session.get(
            self.url + "/standin/requests", timeout=60
        ).json()
        return found

    def go_down(self) -> None:
        """Every connection ends, no new one is taken. What it knows is kept."""
        self._command("go-down")

    def come_back(self) -> None:
        """On the same port."""
        self._command("come-back")

    def fault(self, kind: str, method: str, path: str, **details: float) -> None:
        """Fail in some way from now on, whenever a path that contains `path` is asked for."""
        fault = {"kind": kind, "method": method, "path": path, **details}
        self._session.put(self.url + "/standin/fault", json=fault, timeout=60).raise_for_status()

    def mend(self) -> None:
        """Fail in no way any more."""
        self._session.delete(self.url + "/standin/fault", timeout=60).raise_for_status()

    def _command(self, line: str) -> None:
        assert self._process.stdin is not None
        print(line, file=self._process.stdin, flush=True)
        if self._answer() != "done":
            raise RuntimeError(f"the stand-in doesn't know: {line}")

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the stand-in ended")
        return line.strip()


def main() -> None:
    """Serve until the standard input ends."""
    changing = False
    turn = 0
    with Standin("v2") as standin:
        print(standin.origin, flush=True)

        def change() -> None:
            numbers = sorted(standin.records.statuses())
            number = numbers[turn // 2 % len(numbers)]
            standin.records.set_step_status(number, ("in progress", "scheduled")[turn % 2])

        while True:
            pause = 1.0 if changing else None
            if not select.select([sys.stdin], [], [], pause)[0]:
                change()
                turn += 1
                continue
            match sys.stdin.readline().split():
                case []:
                    return
                case ["grow", size]:
                    present = len(standin.records.requests())
                    for at, sample in enumerate(many(int(size))):
                        if at >= present:
                            sample.add_to(standin.records)
                case ["change"]:
                    change()
                    turn += 1
                case ["keep-changing"]:
                    changing = True
                case ["go-down"]:
                    standin.stop()
                case ["come-back"]:
                    standin.start()
                case ["keep-still"]:
                    changing = False
                    if turn % 2:
                        change()
                        turn += 1
                case _:
                    print("unknown", flush=True)
                    continue
            print("done", flush=True)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):  # Ctrl-C reaches the whole group
        main()
