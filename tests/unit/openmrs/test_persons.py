"""Core REST's persons: a name in parts, or none."""

import json

import pytest

from orthanc_openmrs.openmrs.persons import is_signed_in, keeps_every_word, read_person_name


def named(**fields: object) -> bytes:
    """A patient of core REST with this preferred name."""
    return json.dumps({"person": {"preferredName": fields}}).encode()


ALL = {
    "prefix": "Dr.",
    "givenName": "Bob",
    "middleName": "P.",
    "familyNamePrefix": "van der",
    "familyName": "Dyk",
    "familyName2": "Quispe",
    "familyNameSuffix": "Jr.",
    "degree": "MD",
}


@pytest.mark.parametrize(
    ("name", "expected", "why"),
    [
        (ALL, "van der Dyk Quispe^Bob^P.^Dr.^Jr. MD", "every field of core"),
        ({"givenName": "Bob", "middleName": "P.", "familyName": "Dyk"}, "Dyk^Bob^P.", "three"),
        ({"givenName": "Bob", "middleName": None, "familyName": "Dyk"}, "Dyk^Bob", "two"),
        (
            {"givenName": "Ana", "familyName": "Rojas", "familyName2": "Paz"},
            "Rojas Paz^Ana",
            "Peru",
        ),
        ({"givenName": "Abebe", "familyName": "Bikila", "prefix": "Ato"}, "Bikila^Abebe^^Ato", ""),
        ({"givenName": "Ann", "familyName": "Lee", "degree": "RN"}, "Lee^Ann^^^RN", "a degree"),
        ({"givenName": "Bob", "familyName": ""}, "Bob", "one name is the family name"),
        ({"familyName": "Suharto", "givenName": None}, "Suharto", "the same"),
        ({"givenName": "Bob", "middleName": "P."}, "^Bob^P.", "two, and none is the family's"),
        ({"givenName": " Bob ", "familyName": "van^Dyk"}, "van Dyk^Bob", "a delimiter"),
        ({"givenName": "B=b", "familyName": "^"}, "B b", "delimiters only"),
        ({"givenName": 7, "familyName": "Dyk"}, "Dyk", "no text"),
        ({}, "", "no name"),
    ],
)
def test_a_structured_name_is_read(name: dict[str, object], expected: str, why: str) -> None:
    assert read_person_name(named(**name)) == expected, why


@pytest.mark.parametrize("name", [None, "Bob", [], 7])
def test_what_is_no_name_is_none(name: object) -> None:
    document = {"person": {"preferredName": name}}
    assert read_person_name(json.dumps(document).encode()) == ""


@pytest.mark.parametrize(
    ("listed", "structured", "kept", "why"),
    [
        ("Bob P. Dyk", "Dyk^Bob^P.", True, "the same words"),
        ("Dr. Bob Dyk MD", "Dyk^Bob^^Dr.^MD", True, "in any order"),
        ("Dyk, Bob", "Dyk^Bob", True, "a layout with a comma"),
        ("BOB  DYK", "Dyk^Bob", True, "another case"),
        ("Bob Dyk", "Dyk^Bob^^Dr.", True, "core knows more"),
        ("Jose\u0301 Paz", "Paz^Jos\u00e9", True, "the same letter, composed otherwise"),
        ("សុខា ចាន់", "ចាន់^សុខា", True, "another script"),
        ("Bob Dyk Quispe", "Dyk^Bob", False, "a word that core's fields don't have"),
        ("Bob Bob", "Bob", False, "a word twice"),
        ("", "Dyk^Bob", True, "nothing to lose"),
    ],
)
def test_no_word_of_the_lists_own_text_is_lost(
    listed: str, structured: str, kept: bool, why: str
) -> None:
    assert keeps_every_word(structured, listed) is kept, why


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"null", b'{"person": 1}', b"\xff", b"[" * 100_000]
)
def test_what_is_no_patient_has_no_structured_name(body: bytes) -> None:
    assert read_person_name(body) == ""


@pytest.mark.parametrize(
    ("session", "known"),
    [
        (b'{"authenticated": true}', True),
        (b'{"authenticated": false}', False),
        (b"{}", None),
        (b"[]", None),
        (b"<html>", None),
        (b"[" * 100_000, None),
        (None, None),
    ],
)
def test_a_session_is_somebodys_or_nobodys(session: bytes | None, known: bool | None) -> None:
    assert is_signed_in(session) is known
