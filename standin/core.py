"""OpenMRS's core REST, as far as it concerns patients.

Decides its JSON, as webservices.rest's resources have it (docs/orders.md has the sources). Must
not know the Imaging module, sign-in or sockets.
"""

from collections.abc import Mapping
from datetime import UTC, datetime

from .answers import Answer, error_answer, json_answer
from .records import Patient, Records
from .representations import Resource, UnknownProperty, asked_representation, render
from .values import compact_birth_date

NAME_DEFAULT = ("display", "uuid", "givenName", "middleName", "familyName", "familyName2", "voided")
NAME_FULL = (
    *("display", "uuid", "givenName", "middleName", "familyName", "familyName2", "preferred"),
    *("prefix", "familyNamePrefix", "familyNameSuffix", "degree", "voided"),
)
PERSON_DEFAULT = (
    *("uuid", "display", "gender", "birthdate", "birthdateEstimated", "preferredName:ref"),
    "voided",
)
PERSON_FULL = (
    *("uuid", "display", "gender", "birthdate", "birthdateEstimated", "preferredName:default"),
    *("names", "voided", "auditInfo"),
)
MINIMUM_SEARCH = 2  # characters, OpenMRS's own default


class Failure(Exception):
    """What core's REST refuses: its status and its words."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.answer: Answer = error_answer(status, message)


NOT_FOUND = "Object with given uuid doesn't exist"


def patient_answer(
    records: Records, uuid: str, query: Mapping[str, str], *, follows_merges: bool
) -> Answer:
    """A merged patient is voided and says with which row it was merged; `follows_merges`: it is
    answered with the preferred one."""
    patient = records.patient(uuid)
    while follows_merges and patient is not None and patient.merged_into is not None:
        patient = records.patient(patient.merged_into)
    if patient is None:
        raise Failure(404, NOT_FOUND)
    return json_answer(shown(patient_resource(records, patient), query))


def patients_found(records: Records, query: Mapping[str, str]) -> list[Patient]:
    """`?q=` (names that begin so, or one whole identifier) and `?identifier=`."""
    asked = query.get("identifier", query.get("q", "")).strip().casefold()
    by_name = "identifier" not in query
    if not asked or (by_name and len(asked) < MINIMUM_SEARCH):
        return []
    return [
        patient
        for patient in records.patients()
        if patient.merged_into is None
        and (
            asked in {number.casefold() for number in patient.identifiers}
            or (by_name and _names_begin(patient, asked.split()))
        )
    ]


def _names_begin(patient: Patient, words: list[str]) -> bool:
    names = patient.full_name.casefold().split()
    return all(any(name.startswith(word) for name in names) for word in words)


def shown(resource: Resource, query: Mapping[str, str]) -> object:
    try:
        return render(resource, asked_representation(query.get("v")))
    except UnknownProperty as unknown:
        raise Failure(400, f"Unable to convert object into response content [{unknown}]") from None


def patient_resource(records: Records, patient: Patient) -> Resource:
    voided = patient.merged_into is not None
    preferred = records.patient(patient.merged_into) if patient.merged_into else None
    reason = f"Merged with patient #{preferred.id}" if preferred else None
    identifiers = patient.identifiers
    return Resource(
        {
            "uuid": patient.uuid,
            "display": f"{patient.identifier} - {patient.full_name}",
            "identifiers": tuple(
                _identifier(patient, number, voided, preferred=number == identifiers[0])
                for number in identifiers
            ),
            "person": person_resource(patient, reason),
            "voided": voided,
            "auditInfo": _audit(reason),
        },
        default=("uuid", "display", "identifiers:ref", "person:default", "voided"),
        full=("uuid", "display", "identifiers:default", "person:full", "voided", "auditInfo"),
    )


def person_resource(patient: Patient, void_reason: str | None) -> Resource:
    born = compact_birth_date(patient.birthdate)
    date = datetime.strptime(born, "%Y%m%d").replace(tzinfo=UTC) if born else None
    name = _name(patient)
    return Resource(
        {
            "uuid": patient.uuid,
            "display": patient.full_name,
            "gender": patient.gender,
            "birthdate": date,
            "birthdateEstimated": False,
            "preferredName": name,
            "names": (name,),
            "voided": void_reason is not None,
            "auditInfo": _audit(void_reason),
        },
        default=PERSON_DEFAULT,
        full=PERSON_FULL,
    )


def _name(patient: Patient) -> Resource:
    return Resource(
        {
            "uuid": patient.name_uuid,
            "display": patient.full_name,
            "givenName": patient.given,
            "middleName": patient.middle,
            "familyName": patient.family,
            "familyName2": patient.family2,
            "preferred": True,
            "prefix": patient.prefix,
            "familyNamePrefix": patient.family_prefix,
            "familyNameSuffix": patient.suffix,
            "degree": patient.degree,
            "voided": False,
        },
        default=NAME_DEFAULT,
        full=NAME_FULL,
    )


def _identifier(patient: Patient, number: str, voided: bool, *, preferred: bool) -> Resource:
    kind = {"uuid": "05a29f94-c0ed-11e2-94be-8c13b969e334", "display": "OpenMRS ID"}
    return Resource(
        {
            "uuid": patient.identifier_uuid,
            "display": f"OpenMRS ID = {number}",
            "identifier": number,
            "identifierType": Resource(kind, default=("uuid", "display")),
            "preferred": preferred,
            "voided": voided,
        },
        default=("display", "uuid", "identifier", "identifierType:ref", "preferred", "voided"),
    )


def _audit(void_reason: str | None) -> dict[str, object]:
    return {} if void_reason is None else {"voidReason": void_reason}
