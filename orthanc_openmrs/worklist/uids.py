"""Which StudyInstanceUID a request has, whatever OpenMRS changes.

Decides: that a UID which was given out to scanners belongs to its request for ever. OpenMRS's
request numbers begin anew where it is installed anew, so a request is the same where its number
is, and its patient or its accession number (a clerk may correct one of them, and both of
another order differ). Must not know: the database, OpenMRS.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from orthanc_openmrs.model import GivenUid, ImagingRequest

_Given = Mapping[str, tuple[GivenUid, ...]]


@dataclass(frozen=True, slots=True)
class GivenUids:
    """The StudyInstanceUIDs that were given out, the newest last. Build it with `of`."""

    given: tuple[GivenUid, ...] = field(default=(), repr=False)
    _by_request: _Given = field(default_factory=dict, repr=False)
    _by_uid: _Given = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, given: Iterable[GivenUid]) -> "GivenUids":
        """Index what was given out."""
        by_request: dict[str, list[GivenUid]] = defaultdict(list)
        by_uid: dict[str, list[GivenUid]] = defaultdict(list)
        every = tuple(dict.fromkeys(given))
        for one in every:
            by_request[one.requested_procedure_id].append(one)
            by_uid[one.study_instance_uid].append(one)
        return cls(
            every,
            {key: tuple(found) for key, found in by_request.items()},
            {key: tuple(found) for key, found in by_uid.items()},
        )

    def to(self, request: ImagingRequest) -> tuple[GivenUid, ...]:
        """What was given out for a request, under whatever patient and accession number, and for
        those whose place it took."""
        before = [one.requested_procedure_id for one in reversed(request.predecessors)]
        numbers = (*before, request.requested_procedure_id)
        given = [one for number in numbers for one in self._by_request.get(number, ())]
        uids = {one.study_instance_uid for one in given if _same(one, request)}
        return tuple(one for one in given if one.study_instance_uid in uids)

    def uid_of(self, request: ImagingRequest) -> str:
        """The UID that was given out for a request last, "" where none was."""
        given = self.to(request)
        return given[-1].study_instance_uid if given else ""

    def requests_of(self, study_instance_uid: str) -> tuple[str, ...]:
        """The RequestedProcedureIDs that a UID was given out for."""
        given = self._by_uid.get(study_instance_uid, ())
        return tuple(dict.fromkeys(one.requested_procedure_id for one in given))

    def and_(self, more: Iterable[GivenUid]) -> "GivenUids":
        """These and more."""
        return GivenUids.of((*self.given, *more))

    def has(self, one: GivenUid) -> bool:
        """Whether exactly this was given out."""
        return one in self._by_uid.get(one.study_instance_uid, ())


def _same(given: GivenUid, request: ImagingRequest) -> bool:
    patient, accession = request.patient_id.lower(), request.accession_number.strip()
    return (patient != "" and given.patient_id.lower() == patient) or (
        accession != "" and given.accession_number.strip() == accession
    )
