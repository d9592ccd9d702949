"""The list of OpenMRS as linking and sending use it.

Decides: which list is old enough to say nothing, and that a list is indexed once for all who
ask. Must not know: HTTP, Orthanc.
"""

import threading
from collections.abc import Callable
from typing import Protocol

from orthanc_openmrs.completion.evidence import Orders
from orthanc_openmrs.errors import PROBLEMS, OpenMRSError
from orthanc_openmrs.worklist.snapshot import Snapshot
from orthanc_openmrs.worklist.uids import GivenUids

LIST_TIMEOUT = 60.0
"""Seconds that a decision waits for a fresh list before it is put off."""

STRICT = frozenset(("v3",))
"""Generations that take nothing of images whose PatientID isn't the patient's whole uuid."""


class Lists(Protocol):
    """Where a list that is fresh for sure comes from."""

    def read_after(self, moment: float, timeout: float, of: str = "") -> Snapshot:
        """A list whose read began after a moment of `time.monotonic`; as far as it is of the
        source from which the request with the RequestedProcedureID `of` comes, where one is named.
        Raises OpenMRSError."""


def waiting_for(problem: OpenMRSError) -> str:
    """Why something waits for a list, for a person."""
    meaning = PROBLEMS.get(problem.kind, problem.kind)
    return f"waiting for OpenMRS's list: {meaning} ({problem})"


class OrderIndex:
    """The orders of a list, indexed once. `generation` is that of the module, as its answers to
    updates tell it, where the list doesn't."""

    def __init__(
        self, given: Callable[[], GivenUids], generation: Callable[[], str] = lambda: ""
    ) -> None:
        self._given = given
        self._generation = generation
        self._lock = threading.Lock()
        self._made: tuple[object, GivenUids, bool, Orders] | None = None

    def of(self, snapshot: Snapshot) -> Orders:
        """The orders of a list."""
        given = self._given()
        strict = (snapshot.generation or self._generation()) in STRICT
        with self._lock:
            made = self._made
            if (
                made is None
                or made[0] is not snapshot.requests
                or made[1] is not given
                or made[2] is not strict
            ):
                orders = Orders.of(snapshot.requests, given, whole_patient_id=strict)
                self._made = made = (snapshot.requests, given, strict, orders)
            return made[3]
