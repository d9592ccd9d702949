"""What is examined, and what its checks found out for those that follow."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orthanc_openmrs.config import Settings
from orthanc_openmrs.connection import connect_orders
from orthanc_openmrs.doctor.configuration import Reading
from orthanc_openmrs.doctor.machine import Listener, User, listener, open_files
from orthanc_openmrs.doctor.orthanc import OverHttp
from orthanc_openmrs.model import Answer
from orthanc_openmrs.openmrs.client import OpenMRSClient
from orthanc_openmrs.openmrs.order_client import OrderClient
from orthanc_openmrs.worklist.snapshot import Snapshot

ORTHANC_LOGS = Path("/var/log/orthanc")
"""Where Debian's package has Orthanc write its log."""


@dataclass(slots=True)
class Case:
    """One installation.

    `read` gives its configuration, or raises Unreadable. `inside`: it is examined from inside the
    running Orthanc, by the plugin; `get` asks this Orthanc then (a route → its JSON), and
    `snapshot` is the list that is served. `connect` gives the OpenMRS of the settings, none of
    whose exchanges takes longer than the seconds of `longest`. `aet` is the scanner that is asked
    about, `logs` where Orthanc's log is; `listens` tells who listens on a port, `open_files` what
    a process has open.
    """

    read: Callable[[], Reading]
    connect: Callable[[Settings, float], OpenMRSClient]
    inside: bool = False
    get: Callable[[str], Any] | None = None
    snapshot: Snapshot | None = None
    user: User | None = None
    longest: float = 30
    aet: str = ""
    logs: Path = ORTHANC_LOGS
    listens: Callable[[int], Listener | None] = listener
    open_files: Callable[[int], Sequence[str]] = open_files

    reading: Reading | None = None
    settings: Settings | None = None
    orthanc: str = ""
    python: str = ""
    version: str = ""
    answer: Answer | None = None
    status: Mapping[str, Any] | None = None

    def orders(self) -> OrderClient | None:
        """Its own orders, None where they are no source."""
        return connect_orders(self.known_settings, self.longest)

    def openmrs(self) -> OpenMRSClient:
        """The OpenMRS of the settings, of a check that needs it."""
        return self.connect(self.known_settings, self.longest)

    @property
    def configuration(self) -> Mapping[str, Any]:
        """Orthanc's configuration, of a check that needs it."""
        assert self.reading is not None
        return self.reading.values

    @property
    def known_settings(self) -> Settings:
        """The plugin's settings, of a check that needs them."""
        assert self.settings is not None
        return self.settings

    @property
    def known_user(self) -> User:
        """The user that Orthanc runs as, of a check that needs the configuration."""
        assert self.user is not None
        return self.user

    def ask(self, path: str) -> Any:
        """The JSON of a route of the running Orthanc. Raises Unanswered."""
        if self.get is None:
            assert self.reading is not None
            self.get = OverHttp(self.reading.values, self.reading.folder).get
        return self.get(path)
