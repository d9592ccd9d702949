"""Which studies that are nobody's may be a patient's: the policy.

Decides: what counts for and against it, and how much. `Evidence` is the whole policy; a score
is the sum of what is found, from 0 to 100. Must not know: where patients and studies come from.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from enum import Enum
from heapq import nlargest

from orthanc_openmrs.mapping.likeness import Likeness, Name, NameComparison, read_names
from orthanc_openmrs.mapping.studies import StudyHead
from orthanc_openmrs.model import Demographics
from orthanc_openmrs.worklist import values


class Evidence(Enum):
    """What is found: the points, and the words for an administrator."""

    NAME_SAME = 45, "the name is the same"
    NAME_FEWER = 38, "the name is the same, but one of them has more words"
    NAME_ALIKE = 30, "the name is alike"
    NAME_ONE_WORD = 8, "a part of the name is alike, another part differs"
    NAME_DIFFERS = -40, "the name differs"

    BIRTH_DATE_SAME = 35, "the birth date is the same"
    BIRTH_DATE_SAME_MADE_UP = 22, "the birth date is the same, but 1 January is often made up"
    BIRTH_DATE_TURNED = 25, "day and month of the birth date are exchanged"
    BIRTH_DATE_SLIP = 18, "one digit of the birth date differs, or two are exchanged"
    BIRTH_YEAR_SAME = 12, "the year of birth is the same, and one date is estimated"
    BIRTH_YEAR_NEAR = 4, "the year of birth is nearly the same, and one date is estimated"
    BIRTH_DATE_DIFFERS = -35, "the birth date differs"

    SEX_SAME = 5, "the sex is the same"
    SEX_DIFFERS = -20, "the sex differs"

    IDENTIFIER_SAME = 40, "the PatientID is an identifier of the patient"
    ACCESSION_SAME = 40, "the AccessionNumber is that of an order of the patient"

    STEP_OF_THAT_DAY = 10, "an open step of the patient is of that day or the one beside it"
    STEP_OF_THAT_WEEK = 5, "an open step of the patient is within a week of it"
    OLDER_THAN_PATIENT = -35, "the study was made before the patient was born"

    def __init__(self, points: int, words: str) -> None:
        self.points = points
        self.words = words

    @property
    def code(self) -> str:
        """The same for programs."""
        return self.name.lower().replace("_", "-")


_NAMES: Mapping[Likeness, Evidence] = {
    Likeness.SAME: Evidence.NAME_SAME,
    Likeness.SAME_BUT_FEWER: Evidence.NAME_FEWER,
    Likeness.ALIKE: Evidence.NAME_ALIKE,
    Likeness.ONE_WORD: Evidence.NAME_ONE_WORD,
    Likeness.NOTHING: Evidence.NAME_DIFFERS,
}

SHORTEST_IDENTIFIER = 4
"""Letters and digits that an identifier has at least: many patients have the number 7."""

ESTIMATED_WITHIN = 2
"""Years by which an estimated birth date may be wrong."""


@dataclass(frozen=True, slots=True)
class Patient:
    """Who is looked for. Dates are DA, identifiers as `identifier` leaves them."""

    names: tuple[Name, ...] = ()
    birth_date: str = ""
    estimated: bool = False
    sex: str = ""
    identifiers: frozenset[str] = frozenset()
    accession_numbers: frozenset[str] = frozenset()
    open_steps: tuple[str, ...] = ()
    """The dates of the patient's steps that wait for images."""


@dataclass(frozen=True, slots=True)
class Traits:
    """What a study says of its patient, in the same forms."""

    names: tuple[Name, ...] = ()
    birth_date: str = ""
    sex: str = ""
    identifiers: tuple[str, ...] = ()
    accession_number: str = ""
    study_date: str = ""


@dataclass(frozen=True, slots=True)
class Ranked:
    """A study (an Orthanc ID), its score from 0 to 100, and what was found."""

    study: str
    score: int
    found: tuple[Evidence, ...]

    @property
    def reasons(self) -> list[str]:
        """What was found, in words."""
        return [evidence.words for evidence in self.found]


_APART = re.compile(r"[\W_]+")


def identifier(text: str) -> str:
    """Letters and digits of an identifier; "" where it is too short to say anything."""
    folded = _APART.sub("", text[:64]).casefold()
    return folded if len(folded) >= SHORTEST_IDENTIFIER else ""


def patient_of(
    person: Demographics, *, accession_numbers: Iterable[str] = (), open_steps: Iterable[str] = ()
) -> Patient:
    """The patient behind OpenMRS's words; `open_steps` are dates (DA)."""
    return Patient(
        names=tuple(name for text in person.names for name in read_names(text)),
        birth_date=values.dicom_date(person.birth_date).text,
        estimated=person.birth_date_estimated,
        sex=values.sex(person.sex).text,
        identifiers=frozenset(map(identifier, person.identifiers)) - {""},
        accession_numbers=frozenset(map(identifier, accession_numbers)) - {""},
        open_steps=tuple(sorted({values.dicom_date(text).text for text in open_steps} - {""})),
    )


def traits_of(head: StudyHead) -> Traits:
    """What Orthanc's index has of a study's patient, whatever a scanner put there."""
    return Traits(
        names=read_names(head.patient_name),
        birth_date=values.dicom_date(head.patient_birth_date).text,
        sex=values.sex(head.patient_sex).text,
        identifiers=tuple(
            found
            for text in (head.patient_id, *head.other_patient_ids.split("\\")[:4])
            if (found := identifier(text))
        ),
        accession_number=identifier(head.accession_number),
        study_date=values.dicom_date(head.study_date).text,
    )


def rank(patient: Patient, studies: Mapping[str, Traits], limit: int) -> list[Ranked]:
    """The studies for which more speaks than against, the best first, at most `limit`.

    Of two with the same score the one whose name is more alike is first, then the newer one. A
    study is looked at where a part of the name, the birth date or an identifier fits: without
    any of them nothing else would make it a candidate.
    """
    names = NameComparison(
        patient.names,
        (word for traits in studies.values() for name in traits.names for word in name.words),
    )
    found = (
        (score, likeness, traits.study_date, study, evidence)
        for study, traits in studies.items()
        for score, likeness, evidence in _scores(patient, traits, names)
    )
    return [
        Ranked(study, score, evidence)
        for score, _, _, study, evidence in nlargest(limit, found, key=lambda one: one[:4])
    ]


def weigh(patient: Patient, study: str, traits: Traits) -> Ranked:
    """What speaks for and against one study, whatever comes of it."""
    names = NameComparison(patient.names, (word for name in traits.names for word in name.words))
    _, evidence = _found(patient, traits, names)
    return Ranked(study, max(0, min(100, sum(one.points for one in evidence))), evidence)


def _scores(
    patient: Patient, traits: Traits, names: NameComparison
) -> Iterator[tuple[int, float, tuple[Evidence, ...]]]:
    """The score, how alike the name is, the evidence; nothing where more speaks against it."""
    identified = tuple(_identifiers(patient, traits))
    born = tuple(_birth_date(patient, traits))
    fits = identified or (born and born[0].points > 0)
    if not fits and not any(names.may_have_one(name) for name in traits.names):
        return
    likeness, evidence = _found(patient, traits, names)
    score = min(100, sum(one.points for one in evidence))
    if score > 0:
        yield score, likeness, evidence


def _found(
    patient: Patient, traits: Traits, names: NameComparison
) -> tuple[float, tuple[Evidence, ...]]:
    """How alike the name is, and all evidence."""
    how, likeness = names.best(traits.names)
    return likeness, (
        *([_NAMES[how]] if how in _NAMES else []),
        *_birth_date(patient, traits),
        *_sex(patient, traits),
        *_identifiers(patient, traits),
        *_dates(patient, traits),
    )


def _identifiers(patient: Patient, traits: Traits) -> Iterator[Evidence]:
    if not patient.identifiers.isdisjoint(traits.identifiers):
        yield Evidence.IDENTIFIER_SAME
    if traits.accession_number in patient.accession_numbers:
        yield Evidence.ACCESSION_SAME


def _birth_date(patient: Patient, traits: Traits) -> Iterator[Evidence]:
    here, there = patient.birth_date, traits.birth_date
    if not here or not there:
        return
    estimated = patient.estimated or "0101" in (here[4:], there[4:])
    if here == there:
        yield (Evidence.BIRTH_DATE_SAME_MADE_UP if here[4:] == "0101" else Evidence.BIRTH_DATE_SAME)
    elif here == there[:4] + there[6:] + there[4:6]:
        yield Evidence.BIRTH_DATE_TURNED
    elif estimated and here[:4] == there[:4]:
        yield Evidence.BIRTH_YEAR_SAME
    elif estimated and abs(int(here[:4]) - int(there[:4])) <= ESTIMATED_WITHIN:
        yield Evidence.BIRTH_YEAR_NEAR
    elif not estimated and _slip(here, there):
        yield Evidence.BIRTH_DATE_SLIP
    else:
        yield Evidence.BIRTH_DATE_DIFFERS


def _slip(one: str, other: str) -> bool:
    """Whether one digit differs, or two neighbours are exchanged."""
    at = [position for position in range(8) if one[position] != other[position]]
    if len(at) == 2 and at[1] == at[0] + 1:
        return one[at[0]] == other[at[1]] and one[at[1]] == other[at[0]]
    return len(at) == 1


def _sex(patient: Patient, traits: Traits) -> Iterator[Evidence]:
    if patient.sex in ("M", "F") and traits.sex in ("M", "F"):
        yield Evidence.SEX_SAME if patient.sex == traits.sex else Evidence.SEX_DIFFERS


def _dates(patient: Patient, traits: Traits) -> Iterator[Evidence]:
    made = traits.study_date
    if not made:
        return
    if patient.birth_date and not patient.estimated and made < patient.birth_date:
        yield Evidence.OLDER_THAN_PATIENT
    day = _day(made)
    nearest = min((abs(_day(step) - day) for step in patient.open_steps), default=None)
    if nearest is not None and nearest <= 7:
        yield Evidence.STEP_OF_THAT_DAY if nearest <= 1 else Evidence.STEP_OF_THAT_WEEK


def _day(text: str) -> int:
    return date(int(text[:4]), int(text[4:6]), int(text[6:])).toordinal()
