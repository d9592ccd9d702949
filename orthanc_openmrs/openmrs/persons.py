"""Core REST's persons as our values: a patient, a patient's name, whose session it is.

Decides: how they are read. The names of core's fields stand here and nowhere else. Must not
know: HTTP, DICOM rules, the database.
"""

import json
import unicodedata
from collections import Counter
from typing import Any

from orthanc_openmrs.errors import OpenMRSError
from orthanc_openmrs.model import Demographics
from orthanc_openmrs.openmrs.texts import whole_characters

REPRESENTATION = (
    "custom:(uuid,voided,auditInfo,identifiers:(identifier,voided),person:(gender,birthdate,"
    "birthdateEstimated,voided,preferredName:full,names:full))"
)
"""What is asked of a patient: "full" has no prefix, suffix or degree of a name."""

PLAIN_REPRESENTATION = "full"
"""The same where core REST refuses that one."""

_COMPONENTS = (
    ("familyNamePrefix", "familyName", "familyName2"),
    ("givenName",),
    ("middleName",),
    ("prefix",),
    ("familyNameSuffix", "degree"),
)
"""Core's fields of a name, by the components of PN (PS3.5 6.2.1.1)."""


def read_person_name(body: bytes) -> str:
    """ "Family^Given^Middle^Prefix^Suffix" of core REST's patient, "" where it has no structured
    name. A name of one part is the family name."""
    try:
        name = json.loads(body)["person"]["preferredName"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
    return structured_name(name)


def structured_name(name: object) -> str:
    """ "Family^Given^Middle^Prefix^Suffix" of a name of core REST, "" where it is none."""
    return "^".join(_components(name)).rstrip("^") if isinstance(name, dict) else ""


def _components(name: dict[str, Any]) -> list[str]:
    family, given, middle, *rest = (
        " ".join(
            _written(name, field).replace("^", " ").replace("=", " ").strip() for field in fields
        ).strip()
        for fields in _COMPONENTS
    )
    if given and not family and not middle:
        family, given = given, ""
    return [family, given, middle, *rest]


def keeps_every_word(structured: str, listed: str) -> bool:
    """Whether a structured name has each word of the name as the list has it: where core's fields
    say less than its layout shows, the list's own text is the better one."""
    return not _words(listed) - _words(structured)


def _words(name: str) -> Counter[str]:
    folded = unicodedata.normalize("NFKC", name).casefold().replace("^", " ").replace("=", " ")
    return Counter(word for part in folded.split() if (word := part.strip(",;")))


_MOST_OF_A_KIND = 20
"""Names and identifiers of a patient that are read."""


def read_patients(body: bytes) -> list[tuple[str, Demographics]]:
    """The patients that a search of core REST found, each with its uuid. What is none is left out.

    Raises OpenMRSError where it is no list of them at all, as a sign-in page.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    results = document.get("results") if isinstance(document, dict) else None
    if not isinstance(results, list):
        raise OpenMRSError("not-a-patient", "the answer is no list of patients of core REST")
    return [
        (_written(one, "uuid"), _demographics(one))
        for one in results
        if isinstance(one, dict)
        and one.get("voided") is not True
        and isinstance(one.get("person"), dict)
        and _written(one, "uuid")
    ]


def read_patient(body: bytes) -> Demographics:
    """Core REST's patient. What is missing or no text is left out.

    Raises OpenMRSError where it is no patient at all, as a sign-in page.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict) or not isinstance(document.get("person"), dict):
        raise OpenMRSError("not-a-patient", "the answer is no patient of core REST")
    return _demographics(document)


def _demographics(document: dict[str, Any]) -> Demographics:
    """Of a patient that has a person."""
    person = document["person"]
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
    return "^".join(_components(name)[:3]).rstrip("^") or _written(name, "display")


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
