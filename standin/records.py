"""The rows that OpenMRS stores: patients, imaging requests and their steps.

Decides ids, the unique columns and what completing a step does to its request. Rows are frozen
and replaced when they change, so an unchanged row is the same object: whoever encodes rows may
cache by identity. Must not know generations, JSON or HTTP: every field is the text that a user
typed, nonsense and None included.
"""

import random
import threading
import uuid as uuids
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

CLOSED = frozenset({"completed", "rejected"})


class DuplicateValue(ValueError):
    """A unique column (AccessionNumber, StudyInstanceUID) would hold a value twice."""


@dataclass(frozen=True)
class Patient:
    id: int
    uuid: str
    identifier: str
    identifier_uuid: str
    given: str | None
    middle: str | None
    family: str | None
    birthdate: str | None
    gender: str | None
    prefix: str | None = None
    family_prefix: str | None = None
    family2: str | None = None
    suffix: str | None = None
    degree: str | None = None
    merged_into: str | None = None  # the uuid of the preferred patient; this one is voided
    more_identifiers: tuple[str, ...] = ()  # copied from patients that were merged into this one

    @property
    def identifiers(self) -> tuple[str, ...]:
        return (self.identifier, *self.more_identifiers)

    @property
    def name_uuid(self) -> str:
        return str(uuids.uuid5(uuids.NAMESPACE_OID, self.uuid))

    @property
    def full_name(self) -> str:
        """By OpenMRS's layout.name.*, which a site may change: here all that there is."""
        given = (self.prefix, self.given, self.middle)
        family = (self.family_prefix, self.family, self.family2, self.suffix, self.degree)
        return " ".join(part for part in (*given, *family) if part)


@dataclass(frozen=True)
class StepFields:
    """What a user types into a step. The date is 14 digits, as the module's own form sends it."""

    modality: str | None = "CT"
    aet_title: str | None = "CT1"
    start_date: str | None = "20250703090000"
    start_time: str | None = "090000"
    description: str | None = ""
    physician: str | None = None
    station_name: str | None = ""
    location: str | None = ""
    status: str | None = "scheduled"


@dataclass(frozen=True)
class Step(StepFields):
    id: int = field(kw_only=True)


@dataclass(frozen=True)
class ImagingRequest:
    id: int
    patient: Patient
    accession: str
    description: str | None
    priority: str | None
    physician: str | None
    study_instance_uid: str | None
    status: str
    steps: tuple[Step, ...]

    def step(self, step_id: int) -> Step:
        return next(step for step in self.steps if step.id == step_id)


def new_accession() -> str:
    """19 digits, three more than SH allows: what the frontend's button makes."""
    return str(random.randrange(10**18, 10**19))


class Records:
    """Every method may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._patients: dict[str, Patient] = {}
        self._requests: dict[int, ImagingRequest] = {}
        self._owner: dict[int, int] = {}  # step id -> request id
        self._accessions: dict[str, int] = {}
        self._study_uids: dict[str, int] = {}
        # Separate counters: a request and a step often have the same id, as in the real tables.
        self._patient_ids, self._request_ids, self._step_ids = count(1), count(1), count(1)
        self.assigns_study_uids = False
        # Appended to the list answer as they are: JSON values, or bytes already encoded.
        self.raw_elements: list[object] = []

    def add_patient(
        self,
        given: str | None,
        family: str | None,
        middle: str | None = "",
        birthdate: str | None = "1990-01-01",
        gender: str | None = "F",
        uuid: str | None = None,
        **name: Any,
    ) -> Patient:
        """`name`: prefix, family_prefix, family2, suffix, degree."""
        with self._lock:
            number = next(self._patient_ids)
            patient = Patient(
                id=number,
                uuid=uuid or str(uuids.uuid4()),
                identifier=f"100{number:03d}GEJ",
                identifier_uuid=str(uuids.uuid4()),
                given=given,
                middle=middle,
                family=family,
                birthdate=birthdate,
                gender=gender,
                **name,
            )
            self._patients[patient.uuid] = patient
            return patient

    def merge_patients(self, preferred: Patient, duplicate: Patient, *, move: bool = False) -> None:
        """Voids the duplicate, whose identifiers the preferred patient gets.

        OpenMRS's core moves its own rows only: the module's requests stay with the duplicate,
        unless `move` is true.
        """
        with self._lock:
            kept = self._patients[preferred.uuid]
            numbers = tuple(dict.fromkeys((*kept.more_identifiers, *duplicate.identifiers)))
            kept = self._patients[kept.uuid] = replace(kept, more_identifiers=numbers)
            old = self._patients[duplicate.uuid]
            self._patients[old.uuid] = replace(old, merged_into=kept.uuid)
            for request in self._requests.values():
                if request.patient.uuid == old.uuid and move:
                    self._requests[request.id] = replace(request, patient=kept)

    def add_request(
        self,
        patient: Patient,
        *,
        accession: str | None = None,
        description: str | None = "",
        priority: str | None = "medium",
        physician: str | None = "",
        study_instance_uid: str | None = None,
        steps: Iterable[StepFields] = (),
    ) -> ImagingRequest:
        with self._lock:
            accession = new_accession() if accession is None else accession
            if study_instance_uid is None and self.assigns_study_uids:
                study_instance_uid = f"2.25.{uuids.uuid4().int}"
            number = next(self._request_ids)
            self._check_unique(self._accessions, accession, number)
            self._check_unique(self._study_uids, study_instance_uid, number)
            self._accessions[accession] = number
            if study_instance_uid is not None:
                self._study_uids[study_instance_uid] = number
            rows = tuple(Step(**vars(fields), id=next(self._step_ids)) for fields in steps)
            request = ImagingRequest(
                id=number,
                patient=patient,
                accession=accession,
                description=description,
                priority=priority,
                physician=physician,
                study_instance_uid=study_instance_uid,
                # savestep stores "progress"; the list's filter looks for "in progress".
                status="progress" if rows else "scheduled",
                steps=rows,
            )
            self._requests[number] = request
            self._owner.update((step.id, number) for step in rows)
            return request

    def change_request(
        self, request_id: int, *, accession: str | None = None, patient: Patient | None = None
    ) -> None:
        """A clerk types another accession number, or corrects the patient."""
        with self._lock:
            request = self._requests[request_id]
            if accession is not None:
                self._check_unique(self._accessions, accession, request_id)
                del self._accessions[request.accession]
                self._accessions[accession] = request_id
                request = replace(request, accession=accession)
            if patient is not None:
                request = replace(request, patient=patient)
            self._requests[request_id] = request

    def delete_request(self, request_id: int) -> None:
        with self._lock:
            request = self._requests.pop(request_id)
            for step in request.steps:
                del self._owner[step.id]
            del self._accessions[request.accession]
            if request.study_instance_uid is not None:
                del self._study_uids[request.study_instance_uid]

    def patient(self, uuid: str) -> Patient | None:
        with self._lock:
            return self._patients.get(uuid)

    def patients(self) -> list[Patient]:
        with self._lock:
            return list(self._patients.values())

    def requests(self) -> list[ImagingRequest]:
        """In the database's order."""
        with self._lock:
            return list(self._requests.values())

    def request(self, request_id: int) -> ImagingRequest:
        with self._lock:
            return self._requests[request_id]

    def request_of(self, step_id: int) -> ImagingRequest | None:
        with self._lock:
            owner = self._owner.get(step_id)
            return None if owner is None else self._requests[owner]

    def request_with_study(self, study_instance_uid: str) -> ImagingRequest | None:
        with self._lock:
            owner = self._study_uids.get(study_instance_uid)
            return None if owner is None else self._requests[owner]

    def step(self, step_id: int) -> Step:
        """KeyError where there is none."""
        with self._lock:
            return self._requests[self._owner[step_id]].step(step_id)

    def statuses(self) -> dict[int, str | None]:
        with self._lock:
            return {s.id: s.status for request in self._requests.values() for s in request.steps}

    def set_step_status(self, step_id: int, status: str | None) -> None:
        with self._lock:
            self._set_statuses(self._owner[step_id], (step_id,), status)

    def complete(self, step_ids: Iterable[int], study_instance_uid: str | None) -> None:
        """Completes steps of one request and gives it the study; all or, on DuplicateValue, none.

        The request is completed once all its steps are completed or rejected.
        """
        with self._lock:
            step_ids = tuple(step_ids)
            request = self._requests[self._owner[step_ids[0]]]
            self._check_unique(self._study_uids, study_instance_uid, request.id)
            if request.study_instance_uid is not None:
                del self._study_uids[request.study_instance_uid]
            if study_instance_uid is not None:
                self._study_uids[study_instance_uid] = request.id
            self._set_statuses(request.id, step_ids, "completed")
            request = self._requests[request.id]
            closed = all((s.status or "").strip().lower() in CLOSED for s in request.steps)
            self._requests[request.id] = replace(
                request,
                study_instance_uid=study_instance_uid,
                status="completed" if closed else request.status,
            )

    def _set_statuses(self, request_id: int, ids: tuple[int, ...], status: str | None) -> None:
        request = self._requests[request_id]
        steps = tuple(replace(s, status=status) if s.id in ids else s for s in request.steps)
        self._requests[request_id] = replace(request, steps=steps)

    @staticmethod
    def _check_unique(column: dict[str, int], value: str | None, request_id: int) -> None:
        if value is not None and column.get(value, request_id) != request_id:
            raise DuplicateValue(f"{value!r} belongs to request {column[value]}")
