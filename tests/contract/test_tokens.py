"""The identity provider, and an OpenMRS with single sign-on (module oauth2login)."""

import base64
from typing import Any
from urllib.parse import quote_plus, urlencode

import pytest

from standin import Client, Fault, Standin
from standin.tokens import TOKEN_PATH
from tests.contract.calls import IMAGING, REST, Reply, add, call, get_list, post, update

SECRET = "s3cret/§+&"
FORM = {"grant_type": "client_credentials"}
IN_FORM = {**FORM, "client_id": "orthanc", "client_secret": SECRET}
FORM_TYPE = "application/x-www-form-urlencoded"


def basic(name: str, secret: str) -> dict[str, str]:
    pair = f"{quote_plus(name)}:{quote_plus(secret)}"
    return {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}


def ask(standin: Standin, form: dict[str, str], **headers: str) -> Reply:
    given: dict[str, str] = {"Content-Type": FORM_TYPE, **headers}
    body = urlencode(form).encode()
    return call(standin, "POST", TOKEN_PATH, body, account=None, headers=given)


def bearer(standin: Standin) -> dict[str, str]:
    return {"Authorization": "Bearer " + ask(standin, IN_FORM).json["access_token"]}


def test_client_credentials_give_a_token(standin: Standin) -> None:
    for told in (ask(standin, IN_FORM), ask(standin, FORM, **basic("orthanc", SECRET))):
        assert (told.status, told.headers["Cache-Control"]) == (200, "no-store")
        assert (told.json["token_type"], told.json["expires_in"]) == ("Bearer", 300)
        assert told.json["access_token"].count(".") == 2  # a JWT
    assert standin.token_url.endswith(TOKEN_PATH)
    assert standin.tokens.issued == 2
    assert ask(standin, {**IN_FORM, "scope": "openid"}).json["scope"] == "openid"
    standin.tokens.tells_lifetime = False
    assert "expires_in" not in ask(standin, IN_FORM).json


REFUSALS: list[tuple[dict[str, str], dict[str, str], int, str]] = [
    ({**IN_FORM, "client_secret": "wrong"}, {}, 401, "invalid_client"),
    ({**IN_FORM, "client_id": "ghost"}, {}, 401, "invalid_client"),
    (FORM, {}, 401, "invalid_client"),
    (FORM, basic("orthanc", "wrong"), 401, "invalid_client"),
    ({**IN_FORM, "grant_type": "password"}, {}, 400, "unsupported_grant_type"),
    ({**IN_FORM, "scope": "openid moon"}, {}, 400, "invalid_scope"),
    (IN_FORM, {"Content-Type": "application/json"}, 400, "invalid_request"),
]


@pytest.mark.parametrize(("form", "headers", "status", "error"), REFUSALS)
def test_a_refusal_is_the_standards(
    standin: Standin, form: dict[str, str], headers: dict[str, str], status: int, error: str
) -> None:
    reply = ask(standin, form, **headers)
    assert (reply.status, reply.json["error"]) == (status, error)
    assert standin.tokens.issued == 0


def test_a_token_signs_in_until_it_ends(standin: Standin) -> None:
    add(standin)
    headers = bearer(standin)

    def listed() -> Reply:
        return get_list(standin, account=None, headers=headers)

    assert listed().status == 200
    session = call(standin, "GET", REST + "session", account=None, headers=headers)
    assert session.json == {"authenticated": True, "user": {"username": "imaging"}}
    standin.tokens.revoke_all()
    assert listed().status == 401
    standin.tokens.lifetime = 0
    headers = bearer(standin)
    assert listed().status == 401


def test_single_sign_on_sends_everybody_else_to_its_login(standin: Standin) -> None:
    standin.set_behaviour(single_sign_on=True)
    headers = bearer(standin)
    body = update(add(standin), 1)
    options: list[dict[str, Any]] = [
        {"account": IMAGING},
        {"account": None},
        {"account": None, "headers": {"Authorization": "Bearer a.b.c"}},
    ]
    for refused in options:
        for reply in (
            get_list(standin, **refused),
            post(standin, body, **refused),
            call(standin, "GET", REST + "session", **refused),
        ):
            assert (reply.status, reply.headers["Location"]) == (302, "/openmrs/oauth2login")
    assert get_list(standin, account=None, headers=headers).status == 200
    assert post(standin, body, account=None, headers=headers).status == 200
    standin.tokens.revoke_all()
    assert get_list(standin, account=None, headers=headers).status == 302  # never a 401


def test_a_token_has_the_privileges_of_its_account(standin: Standin) -> None:
    standin.tokens.clients["reader"] = Client("r", account="reader")
    told = ask(standin, {**FORM, "client_id": "reader", "client_secret": "r"})
    headers = {"Authorization": "Bearer " + told.json["access_token"]}
    assert get_list(standin, account=None, headers=headers).status == 200
    assert post(standin, {}, account=None, headers=headers).status == 403


def test_faults_hit_the_token_server_alone(standin: Standin) -> None:
    standin.set_fault(Fault("status", status=503), path=TOKEN_PATH, times=1)
    assert get_list(standin).status == 200
    assert [ask(standin, IN_FORM).status for _ in range(2)] == [503, 200]
    assert [entry.path for entry in standin.requests_log][1:] == [TOKEN_PATH] * 2
