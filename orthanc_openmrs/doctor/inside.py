"""The doctor inside the running Orthanc: `/openmrs/status?full`.

Decides: that one examination is made at a time, that it ends in time, and that those who ask at
once share it. Must not know: HTTP, Orthanc's module.
"""

import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from orthanc_openmrs.config import Settings
from orthanc_openmrs.doctor.case import Case
from orthanc_openmrs.doctor.checks import CHECKS
from orthanc_openmrs.doctor.configuration import Reading
from orthanc_openmrs.doctor.findings import Examination, Finding
from orthanc_openmrs.doctor.machine import user_of
from orthanc_openmrs.doctor.orthanc import Unanswered
from orthanc_openmrs.openmrs.client import OpenMRSClient
from orthanc_openmrs.worklist.snapshot import Snapshot

LIMIT = 15
"""Seconds that an examination may take."""

OPENMRS_LIMIT = 5
"""Seconds that OpenMRS is waited for, a call."""

KEPT = 10
"""Seconds that the findings are told again: OpenMRS is not asked more often."""


class Doctor:
    """Examines the Orthanc that it runs in. `get` asks Orthanc's core REST API (None: there is no
    such thing), `status` is what `/openmrs/status` says, `snapshot` the list that is served,
    `connect` as a case has it."""

    def __init__(
        self,
        *,
        read: Callable[[], Reading],
        get: Callable[[str], Any],
        status: Callable[[], Mapping[str, Any]],
        snapshot: Callable[[], Snapshot | None],
        connect: Callable[[Settings, float], OpenMRSClient],
    ) -> None:
        self._read = read
        self._get = get
        self._status = status
        self._snapshot = snapshot
        self._connect = connect
        self._examination = Examination()
        self._condition = threading.Condition()
        self._under_way = False
        self._kept: tuple[float, list[Finding]] | None = None

    def findings(self) -> list[Finding] | None:
        """What is found, not older than KEPT seconds; None where it isn't in time."""
        with self._condition:
            done = self._condition.wait_for(lambda: not self._under_way, LIMIT + 1)
            if not done:
                return None
            if self._kept is not None and time.monotonic() - self._kept[0] < KEPT:
                return self._kept[1]
            self._under_way = True
        found: list[Finding] | None = None
        try:
            found = self._examination.make(self._case(), CHECKS, LIMIT)
        finally:
            with self._condition:
                self._under_way = False
                if found is not None:
                    self._kept = time.monotonic(), found
                self._condition.notify_all()
        return found

    def tell_to_stop(self) -> None:
        """Let whoever waits go on at once."""
        self._examination.tell_to_stop()

    def join(self, deadline: float) -> None:
        """No thread is waited for: they change nothing."""

    def _case(self) -> Case:
        return Case(
            self._read,
            connect=self._connect,
            inside=True,
            get=self._ask,
            snapshot=self._snapshot(),
            user=user_of(os.geteuid()),
            longest=OPENMRS_LIMIT,
        )

    def _ask(self, path: str) -> Any:
        found = self._status() if path == "/openmrs/status" else self._get(path)
        if found is None:
            raise Unanswered("HTTP 404", 404)
        return found
