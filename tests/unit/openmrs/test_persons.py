"""Core REST's persons: a name in parts, or none."""

import json

import pytest

from orthanc_openmrs.openmrs.persons import is_signed_in, read_person_name


@pytest.mark.parametrize(
    ("name", "expected", "why"),
    [
        (
            {"givenName": "Bob", "middleName": "P.", "familyName": "van Dyk"},
            "van Dyk^Bob^P.",
            "all",
        ),
        ({"givenName": "Bob", "middleName": None, "familyName": "van Dyk"}, "van Dyk^Bob", "two"),
        ({"givenName": "Bob", "familyName": ""}, "^Bob", "no family name"),
        ({"givenName": " Bob ", "familyName": "van^Dyk"}, "van Dyk^Bob", "a delimiter"),
        ({}, "", "no name"),
        (None, "", "no name"),
        ("Bob", "", "a text"),
        ([], "", "an array"),
    ],
)
def test_a_structured_name_is_read(name: object, expected: str, why: str) -> None:
    document = {"person": {"preferredName": name}}
    assert read_person_name(json.dumps(document).encode()) == expected


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
