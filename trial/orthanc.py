"""A scratch Orthanc: a real one, on free ports, in a folder that goes with it.

Decides: how it is configured, started, watched and stopped. Only processes that it started
are ever stopped, by their pid.
"""

import json
import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import requests

from trial.ports import free_port
from trial.waiting import eventually

PLUGINS = Path("/usr/share/orthanc/plugins")
PYTHON_PLUGIN = PLUGINS / "libOrthancPython.so"
SCRIPT = Path(__file__).resolve().parent.parent / "orthancWorklist.py"

START_TIMEOUT = 30
STOP_TIMEOUT = 20


class StartFailed(Exception):
    """Orthanc ended instead of starting; `log` says why."""

    def __init__(self, log: str) -> None:
        super().__init__("Orthanc did not start:\n" + log[-2000:])
        self.log = log


class ScratchOrthanc:
    """One Orthanc. `configuration` is merged over a configuration that works by itself."""

    def __init__(
        self,
        folder: Path,
        configuration: Mapping[str, Any] | None = None,
        *,
        script: Path | None = SCRIPT,
        environment: Mapping[str, str] | None = None,
        verbose: bool = False,
    ) -> None:
        self.folder = folder
        self.http_port = free_port()
        self.dicom_port = free_port()
        self.log_path = folder / "orthanc.log"
        self.configuration: dict[str, Any] = {
            "Name": "orthanc-openmrs trial",
            "StorageDirectory": str(folder / "storage"),
            "IndexDirectory": str(folder / "index"),
            "Plugins": [str(PYTHON_PLUGIN)] if script else [],
            "HttpPort": self.http_port,
            "DicomPort": self.dicom_port,
            "DicomAet": "ORTHANC",
            "DicomAlwaysAllowFindWorklist": True,
            "DefaultEncoding": "Utf8",
            "StableAge": 1,
            "SaveJobs": False,
            **({"PythonScript": str(script)} if script else {}),
            **(configuration or {}),
        }
        self.session = requests.Session()
        self.session.trust_env = False
        self._environment = dict(environment or {})
        self._verbose = verbose
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The root of its REST API."""
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def pid(self) -> int:
        """The process of the running Orthanc."""
        assert self._process is not None
        return self._process.pid

    @property
    def python_plugin(self) -> int:
        """The major version of its Python plugin."""
        return int(self.get("/plugins/python")["Version"].split(".")[0])

    @property
    def log(self) -> str:
        """All that it has logged, over all its starts."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def __enter__(self) -> "ScratchOrthanc":
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> "ScratchOrthanc":
        """Start it and wait until it answers. Raises StartFailed where it ends instead."""
        for name in ("storage", "index"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        path = self.folder / "orthanc.json"
        path.write_text(json.dumps(self.configuration, indent=2))
        command = ["Orthanc", *(["--verbose"] if self._verbose else []), str(path)]
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **self._environment},
                cwd=self.folder,
            )
        eventually(self._answers, "Orthanc does not answer", START_TIMEOUT)
        return self

    def _answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise StartFailed(self.log)
        try:
            # Any status is an answer: an Orthanc with users says 401.
            self.session.get(f"{self.url}/system", timeout=2)
        except requests.RequestException:
            return False
        return True

    def stop(self) -> None:
        """Stop it as an administrator would; wait for its end."""
        status = self._end(signal.SIGTERM)
        assert status == 0 or self._unloaded_badly(status), "Orthanc crashed when it stopped"

    def _unloaded_badly(self, status: int) -> bool:
        """The Python plugin 7.1 crashes when it is unloaded, with any script, where a change (a
        study gets stable) came while Orthanc stopped. It was finalized by then: all is written."""
        start = self.log.rpartition("Registering plugin 'python'")[2]
        return (
            status in (-signal.SIGABRT, -signal.SIGSEGV)
            and start.startswith(" (version 7.1)")
            and "Python plugin is finalizing" in start
        )

    def kill(self) -> None:
        """kill -9."""
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        process.send_signal(how)
        try:
            return process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"Orthanc did not stop within {STOP_TIMEOUT} s") from None

    def get(self, path: str, **arguments: Any) -> Any:
        """The JSON of one of its routes; requests.HTTPError where it refuses."""
        response = self.session.get(f"{self.url}{path}", timeout=30, **arguments)
        response.raise_for_status()
        return response.json()
