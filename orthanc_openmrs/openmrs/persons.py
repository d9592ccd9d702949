"""Core REST's persons as our values: a patient, a patient's name, whose session it is.

Decides: how they are read. The names of core's fields stand here and nowhere else. Must not
know: HTTP, DICOM rules, the database.
"""

import json
from typing import Any

from orthanc_openmrs.errors import OpenMRSError
from orthanc_openmrs.model import Demographics
from orthanc_openmrs.openmrs.texts import whole_characters


def read_person_name(body: bytes) -> str:
    """ "Family^Given^Middle" of core REST's patient, "" where it has no structured name."""
    try:
        name = json.loads(body)["person"]["preferredName"]
        family, given, middle = (
            name.get(key) or "" for key in ("familyName", "givenName", "middleName")
        )
        parts = [str(part).replace("^", " ").strip() for part in (family, given, middle)]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return ""
    return whole_characters("^".join(parts).rstrip("^"))


_MOST_OF_A_KIND = 20
"""Names and identifiers of a patient that are read."""


def read_patient(body: bytes) -> Demographics:
    """Core REST's patient. What is missing or no text is left out.

    Raises OpenMRSError where it is no patient at all, as a sign-in page.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    person = document.get("person") if isinstance(document, dict) else None
    if not isinstance(person, dict):
        raise OpenMRSError("not-a-patient", "the answer is no patient of core REST")
    names = _entries(person, "names")
    preferred = person.get("preferredName")
    if isinstance(preferred, dict):
        names = [preferred, *names]
    identifiers = [_written(one, "identifier") for one in _entries(document, "identifiers")]
    return Demographics(
        names=tuple(dict.fromkeys(name for name in map(_structured, names) if name)),
        birth_date=_written(person, "birthdate"),
        birth_date_estimated=person.get("birthdateEstimated") is True,
        sex=_written(person, "gender"),
        identifiers=tuple(text for text in identifiers if text),
    )


def _structured(name: dict[str, Any]) -> str:
    """ "Family^Given^Middle", or the text that is displayed where there are no parts."""
    parts = [_written(name, key) for key in ("familyName", "givenName", "middleName")]
    joined = "^".join(part.replace("^", " ").replace("=", " ") for part in parts).rstrip("^")
    return joined or _written(name, "display")


def _entries(source: dict[str, Any], key: str) -> list[dict[str, Any]]:
    found = source.get(key)
    entries = found[:_MOST_OF_A_KIND] if isinstance(found, list) else []
    return [one for one in entries if isinstance(one, dict) and one.get("voided") is not True]


def _written(source: dict[str, Any], key: str) -> str:
    text = source.get(key)
    return whole_characters(text).strip() if isinstance(text, str) else ""


def is_signed_in(session: bytes | None) -> bool | None:
    """Whether core REST's session is somebody's; None where that isn't known."""
    try:
        known = json.loads(session or b"").get("authenticated")
    except (ValueError, AttributeError, RecursionError):
        return None
    return known if isinstance(known, bool) else None
