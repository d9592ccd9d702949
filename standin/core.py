"""OpenMRS's core REST, as far as it concerns patients.

Decides its JSON. Must not know the Imaging module, sign-in or sockets.
"""

from .answers import Answer, error_answer, json_answer
from .records import Patient, Records
from .values import compact_birth_date


def patient_answer(records: Records, uuid: str, *, follows_merges: bool) -> Answer:
    """A merged patient is voided and names the preferred one, or is answered with that one."""
    patient = records.patient(uuid)
    while follows_merges and patient is not None and patient.merged_into is not None:
        patient = records.patient(patient.merged_into)
    if patient is None:
        return error_answer(404, "Object with given uuid doesn't exist")
    preferred = None if patient.merged_into is None else records.patient(patient.merged_into)
    return json_answer(core_patient(patient, preferred))


def core_patient(patient: Patient, preferred: Patient | None = None) -> dict[str, object]:
    born = compact_birth_date(patient.birthdate)
    iso = f"{born[:4]}-{born[4:6]}-{born[6:]}T00:00:00.000+0000" if born else None
    name = {
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
    }
    voided = patient.merged_into is not None
    reason = f"Merged with patient #{preferred.id}" if preferred else None
    number = {"uuid": patient.identifier_uuid, "identifier": patient.identifier}
    return {
        "uuid": patient.uuid,
        "display": f"{patient.identifier} - {patient.full_name}",
        "identifiers": [
            {**number, "display": f"OpenMRS ID = {patient.identifier}", "voided": voided}
        ],
        "person": {
            "uuid": patient.uuid,
            "display": patient.full_name,
            "gender": patient.gender,
            "birthdate": iso,
            "preferredName": name,
            "names": [name],
            "voided": voided,
        },
        "voided": voided,
        "auditInfo": {"voidReason": reason} if voided else {},
    }
