"""Which studies are whose: look-up in both directions, and what a person decides of it.

Decides: what may be assigned and unassigned, what a list costs. Orthanc's own list of studies
is asked each time; remembered is whether a PatientID implies a patient, for it never changes of
an Orthanc ID, and what a study says of its patient, until Orthanc says that the study changed.
Must not know: HTTP, SQL, how candidates are judged.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

from orthanc_openmrs.errors import Conflict, NotFound
from orthanc_openmrs.mapping.candidates import Patient, Ranked, Traits, rank, traits_of, weigh
from orthanc_openmrs.mapping.ownership import Owner, is_uuid, owner_of, same_patient
from orthanc_openmrs.mapping.studies import SeriesHead, StudyHead, is_orthanc_id, may_be_uid
from orthanc_openmrs.model import LinkedStep

_log = logging.getLogger(__name__)

PAGE = 1000
"""Studies whose owners are looked up at once."""

MOST_OF_A_PATIENT = 1000
"""Studies of one patient that are looked at."""

REMEMBERED = 200_000
"""Studies of which it is remembered whether their PatientID implies a patient (30 MB)."""

EXPANDED = 50
"""Studies that are read of Orthanc in one call: 2 ms, in which the interpreter does nothing
else."""

MOST_RANKED = 50_000
"""Studies that are nobody's and are ranked for a patient, in Orthanc's order. What they say of
their patients is remembered, of twice as many at most."""

TRIES = 5
"""Times that a decision is taken anew because another person was faster."""


class Studies(Protocol):
    """Orthanc, as far as it is needed here."""

    def study(self, study: str) -> StudyHead | None: ...
    def series(self, study: str) -> list[SeriesHead]: ...
    def ids(self, since: int, limit: int) -> list[str]: ...
    def heads(self, since: int, limit: int) -> list[StudyHead]: ...
    def with_uid(self, study_instance_uid: str) -> list[StudyHead]: ...
    def of_patient_id(self, patient_id: str, limit: int) -> list[StudyHead]: ...
    def metadata(self, study: str, number: int) -> str: ...
    def set_metadata(self, study: str, number: int, text: str) -> None: ...


class Records(Protocol):
    """The database, as far as it is needed here; each method may raise StoreError."""

    def assigned(self, ids: Sequence[str]) -> dict[str, str]: ...
    def linked(self, ids: Sequence[str]) -> list[LinkedStep]: ...
    def owned(self, ids: Sequence[str] | None = None) -> dict[str, bool]: ...
    def studies_of(self, patient_id: str, limit: int) -> list[str]: ...
    def assign(self, study: str, patient_id: str, user: str, expected: str | None) -> bool: ...
    def assigned_after(self, study: str, limit: int) -> list[str]: ...
    def forget_assignment(self, study: str, before: float) -> None: ...


@dataclass(frozen=True, slots=True)
class MappedStudy:
    """A study, its series, and whose it is."""

    head: StudyHead
    series: tuple[SeriesHead, ...]
    owner: Owner


@dataclass(frozen=True, slots=True)
class Candidate:
    """A study that may be a patient's, and why."""

    study: MappedStudy
    ranked: Ranked


class PatientMapping:
    """Patients and their studies. `metadata` is the number of Orthanc's metadata that the
    patient's uuid is written to, 0 for none; `later` is told of a study whose metadata couldn't
    be written."""

    def __init__(
        self,
        *,
        studies: Studies,
        records: Records,
        metadata: int,
        later: Callable[[str], None],
        clock: Callable[[], float],
    ) -> None:
        self._studies = studies
        self._records = records
        self._metadata = metadata
        self._later = later
        self._clock = clock
        self._implies: dict[bytes, bool] = {}
        self._traits: dict[bytes, Traits] = {}

    # --- look-up ---

    def study(self, name: str) -> MappedStudy:
        """One study, by its Orthanc ID or StudyInstanceUID. Raises NotFound, Conflict."""
        head = self._head(name)
        return self._mapped(head, self._owner(head))

    def studies_of(self, patient: str, *, limit: int, since: int) -> list[MappedStudy]:
        """A patient's studies, the newest first, from a position on."""
        heads = {
            head.study: head for head in self._studies.of_patient_id(patient, MOST_OF_A_PATIENT)
        }
        for study in self._records.studies_of(patient, MOST_OF_A_PATIENT):
            head = None if study in heads else self._studies.study(study)
            if head is not None:
                heads[study] = head
        owners = self._owners(heads)
        theirs = [
            head for head in heads.values() if same_patient(owners[head.study].patient, patient)
        ]
        theirs.sort(key=lambda head: head.study)
        theirs.sort(key=lambda head: head.study_date, reverse=True)
        return [self._mapped(head, owners[head.study]) for head in theirs[since : since + limit]]

    def described(self, ids: Sequence[str]) -> list[MappedStudy]:
        """These studies, in this order, but those that are gone."""
        heads = {head.study: head for head in (self._studies.study(study) for study in ids) if head}
        owners = self._owners(heads)
        return [self._mapped(head, owners[study]) for study, head in heads.items()]

    def fit(self, patient: Patient, name: str) -> Candidate:
        """How a study fits a patient, whoever's it is. Raises NotFound, Conflict."""
        found = self.study(name)
        return Candidate(found, weigh(patient, found.head.study, traits_of(found.head)))

    def candidates(self, patient: Patient, limit: int) -> list[Candidate]:
        """The studies that are nobody's and may be this patient's, the best first."""
        nobodys = {
            study: traits
            for study in islice(self._which_are(False), MOST_RANKED)
            if (traits := self._traits_of(study)) is not None
        }
        ranked = rank(patient, nobodys, limit)
        heads = {head.study: head for head in map(self._studies.study, _ids(ranked)) if head}
        owners = self._owners(heads)
        return [
            Candidate(self._mapped(heads[one.study], owners[one.study]), one)
            for one in ranked
            if one.study in heads and not owners[one.study].patient
        ]

    def _which_are(self, assigned: bool) -> Iterator[str]:
        """Orthanc's studies that are somebody's, or nobody's; read no further than asked for."""
        at = 0
        owned: dict[str, bool] = {}
        while ids := self._studies.ids(at, PAGE):
            if at == 0:
                owned = self._records.owned(ids)
            elif at == PAGE:  # who reads on is likely to read all
                owned = self._records.owned()
            for start in range(0, len(ids), EXPANDED):
                some = ids[start : start + EXPANDED]
                self._look_through([one for one in some if one not in owned], at + start)
                for study in some:
                    known = owned.get(study)
                    if (self._is_implied(study) if known is None else known) is assigned:
                        yield study
            at += PAGE

    def _look_through(self, wanted: Sequence[str], since: int) -> None:
        """Read studies from a position on, where several of them weren't read yet."""
        if sum(not self._is_remembered(_key(study)) for study in wanted) > 1:
            for head in self._studies.heads(since, EXPANDED):
                self._remember(head)

    def _remember(self, head: StudyHead) -> None:
        key = _key(head.study)
        if len(self._implies) >= REMEMBERED:
            self._implies.clear()
        self._implies[key] = bool(head.implied)
        if not head.implied:
            if len(self._traits) >= 2 * MOST_RANKED:
                self._traits.clear()
            self._traits[key] = traits_of(head)

    def _is_remembered(self, key: bytes) -> bool:
        return key in self._traits or self._implies.get(key, False)

    def _is_implied(self, study: str) -> bool | None:
        """Whether the PatientID of a study implies a patient; None where the study is gone."""
        known = self._implies.get(_key(study))
        if known is None:
            head = self._studies.study(study)
            if head is None:
                return None
            self._remember(head)
            known = bool(head.implied)
        return known

    def _traits_of(self, study: str) -> Traits | None:
        """What a study says of its patient, None where the study is gone."""
        known = self._traits.get(_key(study))
        if known is None:
            head = self._studies.study(study)
            known = traits_of(head) if head else None
        return known

    def forget(self, study: str) -> None:
        """A study was deleted or changed: what was read of it may be wrong. Waits for nothing."""
        if is_orthanc_id(study):
            self._traits.pop(_key(study), None)
            self._implies.pop(_key(study), None)

    def _head(self, name: str) -> StudyHead:
        if is_orthanc_id(name):
            head = self._studies.study(name)
            found = [head] if head else []
        else:
            # Anything else may hold a wildcard.
            found = self._studies.with_uid(name) if may_be_uid(name) else []
        if not found:
            raise NotFound(f"Orthanc has no study {name}")
        if len(found) > 1:
            ids = ", ".join(sorted(head.study for head in found))
            raise Conflict(f"several studies have this StudyInstanceUID, name one by its ID: {ids}")
        return found[0]

    def _mapped(self, head: StudyHead, owner: Owner) -> MappedStudy:
        return MappedStudy(head, tuple(self._studies.series(head.study)), owner)

    def _owner(self, head: StudyHead) -> Owner:
        return self._owners({head.study: head})[head.study]

    def _owners(self, heads: Mapping[str, StudyHead]) -> dict[str, Owner]:
        ids = list(heads)
        said = self._records.assigned(ids)
        links: dict[str, list[LinkedStep]] = {study: [] for study in ids}
        for link in self._records.linked(ids):
            links[link.study].append(link)
        return {
            study: owner_of(said.get(study), links[study], head.implied)
            for study, head in heads.items()
        }

    # --- decisions ---

    def assign(self, patient: str, name: str, user: str, *, force: bool) -> MappedStudy:
        """A study is this patient's, says a person. Raises NotFound; Conflict where it is
        another patient's, unless `force`."""

        def allowed(owner: Owner) -> None:
            if owner.patient and not same_patient(owner.patient, patient) and not force:
                raise Conflict(
                    f"the study is of patient {owner.patient} ({owner.source}): "
                    'move it with {"Force": true}'
                )

        return self._decide(name, patient, user, allowed)

    def unassign(self, patient: str, name: str, user: str) -> MappedStudy:
        """A study is nobody's, says a person, whatever its PatientID or a step implies. Raises
        NotFound where it isn't this patient's."""

        def allowed(owner: Owner) -> None:
            if not same_patient(owner.patient, patient):
                raise NotFound(f"study {name} is not of patient {patient}")

        return self._decide(name, "", user, allowed)

    def _decide(
        self, name: str, patient: str, user: str, allowed: Callable[[Owner], None]
    ) -> MappedStudy:
        head = self._head(name)
        for _ in range(TRIES):
            said = self._records.assigned([head.study]).get(head.study)
            links = self._records.linked([head.study])
            allowed(owner_of(said, links, head.implied))
            if said == patient or self._records.assign(head.study, patient, user, said):
                break
        else:
            raise Conflict("others decide about this study at the same time")
        try:
            self._publish(head)
        except Exception as problem:  # the decision stands without it
            _log.warning(
                "the metadata of study %s can't be written now: %s",
                head.study,
                type(problem).__name__,
            )
            self._later(head.study)
        return self._mapped(head, self._owner(head))

    # --- what follows of a study's life ---

    def synchronise(self, study: str) -> None:
        """Something became of a study: what was said of one that is gone is forgotten, the
        metadata of one that is there are brought up to date. May raise what Orthanc raises."""
        asked = self._clock()
        head = self._studies.study(study)
        if head is None:
            self._records.forget_assignment(study, asked)
        else:
            self._publish(head)

    def forget_gone(self, stopping: Callable[[], bool]) -> None:
        """Forget what was said of studies that went while nobody listened.

        An Orthanc without any study is a new one, or one whose index is elsewhere: what persons
        said is kept.
        """
        if not self._studies.ids(0, 1):
            return
        last = ""
        while ids := self._records.assigned_after(last, PAGE):
            last = ids[-1]
            for study in ids:
                if stopping():
                    return
                asked = self._clock()
                if self._studies.study(study) is None:
                    self._records.forget_assignment(study, asked)

    def _publish(self, head: StudyHead) -> None:
        """Write the patient's uuid to the study's metadata; again where somebody decided
        otherwise meanwhile."""
        if not self._metadata:
            return
        for _ in range(TRIES):
            patient = self._owner(head).patient
            present = self._studies.metadata(head.study, self._metadata)
            if present and not is_uuid(present):
                return  # something else's, under the same number
            if present != patient:
                self._studies.set_metadata(head.study, self._metadata, patient)
            if self._owner(head).patient == patient:
                return


def _key(study: str) -> bytes:
    """An Orthanc ID in a fifth of the memory."""
    return bytes.fromhex(study.replace("-", ""))


def _ids(ranked: Iterable[Ranked]) -> Iterator[str]:
    return (one.study for one in ranked)
