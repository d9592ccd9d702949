"""Who a patient is: what OpenMRS says, or the worklist while OpenMRS is away.

Decides: who is asked, how long is waited. OpenMRS is asked in a thread of its own: Orthanc's have
a stack of 100 KiB, which a TLS handshake or a document that is nested deeply would exceed. Must
not know: HTTP, how candidates are found.
"""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeVar

from orthanc_openmrs.errors import NotFound, OpenMRSError
from orthanc_openmrs.mapping.candidates import Patient, patient_of
from orthanc_openmrs.mapping.ownership import is_uuid, same_patient
from orthanc_openmrs.model import Demographics
from orthanc_openmrs.openmrs.persons import read_patient, read_patients
from orthanc_openmrs.worklist import values
from orthanc_openmrs.worklist.items import WorklistItem
from orthanc_openmrs.worklist.matching import holds
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

_log = logging.getLogger(__name__)


class ToldBy(StrEnum):
    """Who says so."""

    OPENMRS = "openmrs"
    WORKLIST = "worklist"


@dataclass(frozen=True, slots=True)
class Person:
    """A patient, to be told from others. `patient` is its uuid; the birth date is a DA."""

    patient: str
    name: str = field(default="", repr=False)
    birth_date: str = field(default="", repr=False)
    birth_date_estimated: bool = False
    sex: str = field(default="", repr=False)
    identifiers: tuple[str, ...] = field(default=(), repr=False)
    told_by: ToldBy = ToldBy.OPENMRS


class Patients:
    """The patients of OpenMRS. `get_patient` gives a patient's document, None where there is
    none, `find_patients` that of a search; `timeout` are the seconds that either may take."""

    def __init__(
        self,
        *,
        get_patient: Callable[[str], bytes | None],
        find_patients: Callable[[str, int], bytes],
        snapshot: Callable[[], Snapshot | None],
        source_status: Callable[[], SourceStatus],
        timeout: float,
    ) -> None:
        self._get_patient = get_patient
        self._find_patients = find_patients
        self._snapshot = snapshot
        self._source_status = source_status
        self._timeout = timeout
        self._asking = threading.BoundedSemaphore(MOST_ASKING)

    def patient(self, uuid: str) -> Patient:
        """Who this is, to be compared. Raises NotFound where OpenMRS says that there is no such
        patient and the worklist knows none; OpenMRSError where neither tells."""
        return self.known(uuid)[1]

    def person(self, uuid: str) -> Person:
        """Who this is, to be shown. Raises what `patient` raises."""
        return self.known(uuid)[0]

    def known(self, uuid: str) -> tuple[Person, Patient]:
        """Both, asked for once."""
        items = list(self._items(uuid))
        found, told_by = self._demographics(uuid, items)
        compared = patient_of(
            found,
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
        return _shown(uuid, found, told_by, items), compared

    def search(self, words: str, limit: int) -> list[Person]:
        """Patients by name, identifier or uuid: those that OpenMRS finds, then those of the
        worklist that the words fit in any script; these alone while OpenMRS is away."""
        if is_uuid(words):
            try:
                return [self.person(words)]
            except NotFound:
                return []
        told: list[Person] = []
        if self._source_status().error_kind not in AWAY:
            try:
                found = self._ask(lambda: read_patients(self._find_patients(words, limit)))
            except OpenMRSError as problem:
                _log.info("patients are those of the worklist: %s", problem)
            else:
                told = [_shown(uuid, one, ToldBy.OPENMRS) for uuid, one in found]
        known = {one.patient for one in told}
        told += (one for one in self._listed_like(words, limit) if one.patient not in known)
        return told[:limit]

    def _listed_like(self, words: str, limit: int) -> list[Person]:
        snapshot = self._snapshot()
        wanted = holds(words)
        of_patient: dict[str, list[WorklistItem]] = {}
        for item in snapshot.items if snapshot else ():
            uuid = item.request.patient_id
            if uuid and (uuid in of_patient or len(of_patient) < limit) and wanted(item):
                of_patient.setdefault(uuid, []).append(item)
        return [
            _shown(uuid, _listed(items), ToldBy.WORKLIST, items)
            for uuid, items in of_patient.items()
        ]

    def _items(self, uuid: str) -> Iterator[WorklistItem]:
        snapshot = self._snapshot()
        for item in snapshot.items if snapshot else ():
            if same_patient(item.request.patient_id, uuid):
                yield item

    def _demographics(self, uuid: str, items: list[WorklistItem]) -> tuple[Demographics, ToldBy]:
        if items and self._source_status().error_kind in AWAY:
            return _listed(items), ToldBy.WORKLIST
        try:
            found = self._ask(lambda: self._read(uuid))
        except OpenMRSError:
            if items:
                return _listed(items), ToldBy.WORKLIST
            raise
        if found is None:
            if items:  # early modules list patients by an identifier's uuid
                return _listed(items), ToldBy.WORKLIST
            raise NotFound(f"OpenMRS has no patient {uuid}")
        return found, ToldBy.OPENMRS

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


def _shown(
    uuid: str, found: Demographics, told_by: ToldBy, items: Sequence[WorklistItem] = ()
) -> Person:
    listed = told_by is ToldBy.WORKLIST and items
    return Person(
        patient=uuid,
        name=items[0]["PatientName"] if listed else next(iter(found.names), ""),
        birth_date=values.dicom_date(found.birth_date).text,
        birth_date_estimated=found.birth_date_estimated,
        sex=values.sex(found.sex).text,
        identifiers=found.identifiers,
        told_by=told_by,
    )


def _listed(items: list[WorklistItem]) -> Demographics:
    """What the list says of a patient who has an order."""
    requests = [item.request for item in items]
    return Demographics(
        names=tuple(dict.fromkeys(request.patient_name for request in requests)),
        birth_date=max(item["PatientBirthDate"] for item in items),
        sex=max(item["PatientSex"] for item in items),
    )
