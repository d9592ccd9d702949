"""Who a patient is: what OpenMRS says, or the worklist while OpenMRS is away.

Decides: who is asked, how long is waited. OpenMRS is asked in a thread of its own: Orthanc's have
a stack of 100 KiB, which a TLS handshake or a document that is nested deeply would exceed. Must
not know: HTTP, how candidates are found.
"""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import TypeVar

from orthanc_openmrs.errors import NotFound, OpenMRSError
from orthanc_openmrs.mapping.candidates import Patient, patient_of
from orthanc_openmrs.mapping.ownership import same_patient
from orthanc_openmrs.model import Demographics
from orthanc_openmrs.openmrs.persons import read_patient
from orthanc_openmrs.worklist.items import WorklistItem
from orthanc_openmrs.worklist.refresh import SourceStatus
from orthanc_openmrs.worklist.snapshot import Snapshot

MOST_ASKING = 4
"""Requests that wait for OpenMRS at the same time; Orthanc's other clients need threads too."""

AWAY = frozenset(
    ("unreachable", "timeout", "proxy", "https", "tls-port", "http-port", "moved", "tls")
)
"""Kinds of failure after which OpenMRS isn't asked for whom the worklist knows. A list that fails
by itself (one patient without a birth date) says nothing of core REST."""

_T = TypeVar("_T")


class Patients:
    """The patients of OpenMRS. `get_patient` gives a patient's document, None where there is
    none; `timeout` are the seconds that it may take."""

    def __init__(
        self,
        *,
        get_patient: Callable[[str], bytes | None],
        snapshot: Callable[[], Snapshot | None],
        source_status: Callable[[], SourceStatus],
        timeout: float,
    ) -> None:
        self._get_patient = get_patient
        self._snapshot = snapshot
        self._source_status = source_status
        self._timeout = timeout
        self._asking = threading.BoundedSemaphore(MOST_ASKING)

    def patient(self, uuid: str) -> Patient:
        """Who this is. Raises NotFound where OpenMRS says that there is no such patient and the
        worklist knows none; OpenMRSError where neither tells."""
        items = list(self._items(uuid))
        return patient_of(
            self._demographics(uuid, items),
            accession_numbers=(
                number
                for item in items
                for number in (item.request.accession_number, item["AccessionNumber"])
            ),
            open_steps=(
                item["ScheduledProcedureStepStartDate"]
                for item in items
                if item.step.status.is_open and not item.undated
            ),
        )

    def _items(self, uuid: str) -> Iterator[WorklistItem]:
        snapshot = self._snapshot()
        for item in snapshot.items if snapshot else ():
            if same_patient(item.request.patient_id, uuid):
                yield item

    def _demographics(self, uuid: str, items: list[WorklistItem]) -> Demographics:
        if items and self._source_status().error_kind in AWAY:
            return _listed(items)
        try:
            found = self._ask(lambda: self._read(uuid))
        except OpenMRSError:
            if items:
                return _listed(items)
            raise
        if found is None:
            if items:  # early modules list patients by an identifier's uuid
                return _listed(items)
            raise NotFound(f"OpenMRS has no patient {uuid}")
        return found

    def _read(self, uuid: str) -> Demographics | None:
        body = self._get_patient(uuid)
        return None if body is None else read_patient(body)

    def _ask(self, call: Callable[[], _T]) -> _T:
        if not self._asking.acquire(blocking=False):
            raise OpenMRSError("timeout", "several requests wait for OpenMRS already")
        answer: Future[_T] = Future()

        def ask() -> None:
            try:
                answer.set_result(call())
            except Exception as problem:  # raised where it is waited for
                answer.set_exception(problem)
            finally:
                self._asking.release()

        threading.Thread(target=ask, name="openmrs-patient", daemon=True).start()
        try:
            return answer.result(self._timeout)
        except TimeoutError:
            raise OpenMRSError("timeout", f"no answer within {self._timeout:g} s") from None


def _listed(items: list[WorklistItem]) -> Demographics:
    """What the list says of a patient who has an order."""
    requests = [item.request for item in items]
    return Demographics(
        names=tuple(dict.fromkeys(request.patient_name for request in requests)),
        birth_date=max(item["PatientBirthDate"] for item in items),
        sex=max(item["PatientSex"] for item in items),
    )
