"""Whose a study is, by what is known of it.

Decides: what counts more. What a person said, also that a study is nobody's; then the steps
that notifications link it to; then a PatientID that is a patient's uuid. Must not know: where
these come from.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from orthanc_openmrs.model import LinkedStep

_UUID = re.compile(r"[0-9A-Za-z][0-9A-Za-z-]{35,37}")
"""OpenMRS's column has 38 characters, and not all of its uuids are of RFC 9562's form."""


class Source(StrEnum):
    """Why a study is a patient's."""

    WORKLIST = "worklist"
    ASSIGNED = "assigned"
    PATIENT_ID = "patient-id"


@dataclass(frozen=True, slots=True)
class Owner:
    """The uuid of a study's patient, "" where it is nobody's, and the steps it is linked to."""

    patient: str = ""
    source: Source | None = None
    steps: tuple[str, ...] = ()


def is_uuid(text: str) -> bool:
    """Whether it can be the uuid of a patient in OpenMRS."""
    return _UUID.fullmatch(text) is not None


def same_patient(one: str, other: str) -> bool:
    """Compare two uuids without regard to case."""
    return one.lower() == other.lower()


def implied_patient(patient_id: str, *, anonymized: bool = False) -> str:
    """The patient whose uuid a PatientID is, "" where it is none. Orthanc gives studies that it
    anonymizes a uuid of its own making, which is no patient's."""
    text = patient_id.strip()
    return text if is_uuid(text) and not anonymized else ""


def owner_of(said: str | None, links: Sequence[LinkedStep], implied: str) -> Owner:
    """Whose a study is. `said` is what a person said ("": nobody's), None where nobody did;
    `links` what links it to steps, the newest last."""
    steps = tuple(dict.fromkeys(link.scheduled_procedure_step_id for link in links))
    if said is not None:
        return Owner(said, Source.ASSIGNED if said else None, steps)
    patients = [link.patient_id for link in links if link.patient_id]
    if patients:
        return Owner(patients[-1], Source.WORKLIST, steps)
    return Owner(implied, Source.PATIENT_ID if implied else None, steps)
