"""Moments, and who asks."""

import base64

import pytest

from orthanc_openmrs.rest.messages import Request, moment, user_of


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, None), (1, "19700101T000001Z"), (1751544000.9, "20250703T120000Z")]
)
def test_a_moment_is_told_in_orthancs_form_and_utc(seconds: float, text: str | None) -> None:
    assert moment(seconds) == text


@pytest.mark.parametrize(
    ("authorization", "user"),
    [
        ("", ""),
        ("Basic " + base64.b64encode("zoë:a:b".encode()).decode(), "zoë"),
        ("basic " + base64.b64encode(b"bob:").decode(), "bob"),
        ("Basic " + base64.b64encode(b"\xff:x").decode(), "\ufffd"),
        ("Basic " + base64.b64encode(b"u" * 500 + b":x").decode(), "u" * 100),
        ("Basic !", ""),
        ("Basic ចាន់", ""),
        ("Bearer abc", ""),
    ],
)
def test_who_decides_is_orthancs_user(authorization: str, user: str) -> None:
    assert user_of(Request("POST", "/", headers={"authorization": authorization})) == user
