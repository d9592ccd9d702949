"""An alert is one signed POST, and one that isn't taken is known not to be."""

import hashlib
import hmac
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler

import pytest

from orthanc_openmrs.alerts.conditions import NotTaken
from orthanc_openmrs.alerts.webhook import SIGNATURE, Webhook
from tests.unit.doubles import Server, answer, serving

SECRET = "a secret of sixteen letters"


@pytest.fixture
def server() -> Iterator[Server]:
    """A server that takes what comes."""
    with serving() as found:
        yield found


def test_an_alert_is_posted_and_signed(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    Webhook(f"{server.url}/hook?token=1", SECRET).send({"Text": "ចាន់"})
    (asked,) = server.asked
    assert (asked.method, asked.path, asked.query) == ("POST", "/hook", {"token": ["1"]})
    assert json.loads(asked.body) == {"Text": "ចាន់"}
    made = hmac.new(SECRET.encode(), asked.body, hashlib.sha256).hexdigest()
    assert asked.headers[SIGNATURE.lower()] == f"sha256={made}"
    Webhook(server.url, "").send({})
    assert SIGNATURE.lower() not in server.asked[1].headers


@pytest.mark.parametrize("status", [200, 201, 202, 204, 301, 302, 400, 401, 404, 429, 500, 503])
def test_only_a_success_is_taken(server: Server, status: int) -> None:
    server.play = lambda handler: answer(handler, b"", status, Location="/elsewhere")
    webhook = Webhook(f"{server.url}/hook", SECRET)
    if status < 300:
        webhook.send({})
    else:
        with pytest.raises(NotTaken, match=f"HTTP {status}"):
            webhook.send({})
    assert len(server.asked) == 1


def test_an_endless_answer_is_not_read(server: Server) -> None:
    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        while True:
            handler.wfile.write(b" " * 65536)

    server.play = endless
    Webhook(server.url, SECRET).send({})


def test_no_address_is_in_the_words_of_a_failure(nobody_is_known: None) -> None:
    for url in ("http://127.0.0.1:1/token", "http://name.invalid/token", "http://[/token"):
        with pytest.raises(NotTaken) as caught:
            Webhook(url, SECRET).send({})
        assert "token" not in f"{caught.value}{caught.value.__cause__}"
