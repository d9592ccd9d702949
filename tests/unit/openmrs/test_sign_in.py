"""The sign-in by a token: renewed in time, once after a refusal, and in no message."""

import base64
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, unquote_plus

import pytest

from orthanc_openmrs.errors import PROBLEMS, OpenMRSError
from orthanc_openmrs.model import Answer
from orthanc_openmrs.openmrs.sign_in import (
    MAX_TOKEN,
    UNTOLD_LIFETIME,
    BearerToken,
    Password,
    TokenClient,
)
from orthanc_openmrs.openmrs.transport import Transport
from tests.unit.builders import FrozenClock, within
from tests.unit.doubles import PATIENCE, Server, answer, serving

SECRET = "s3cret/§+&"


class Provider:
    """An identity provider: each answer once, the last one for ever."""

    def __init__(self, *answers: Answer | OpenMRSError) -> None:
        self.answers = list(answers)
        self.asked = 0
        self.gate = threading.Event()
        self.gate.set()
        self.reached = threading.Semaphore(0)

    def ask(self) -> Answer:
        """One request for a token."""
        self.asked += 1
        self.reached.release()
        assert self.gate.wait(PATIENCE)
        found = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(found, OpenMRSError):
            raise found
        return found


def given(token: str = "a.b.c", **more: object) -> Answer:
    """A token, as an identity provider gives it."""
    told = {"access_token": token, "token_type": "Bearer", "expires_in": 300} | more
    return Answer(200, json.dumps(told).encode())


def token_of(provider: Provider, clock: FrozenClock | None = None) -> BearerToken:
    """The sign-in by tokens of a provider."""
    return BearerToken(provider.ask, patience=PATIENCE, clock=clock or FrozenClock(0))


@pytest.mark.parametrize(
    ("told", "renewed_after"),
    [
        ({"expires_in": 300}, 270),
        ({"expires_in": 60}, 54),
        ({"expires_in": 10}, 9),
        ({"expires_in": 1e12}, 86370),
        ({"expires_in": None}, UNTOLD_LIFETIME * 0.9),
        ({"expires_in": "300"}, UNTOLD_LIFETIME * 0.9),
        ({"expires_in": 0}, UNTOLD_LIFETIME * 0.9),
        ({"expires_in": True}, UNTOLD_LIFETIME * 0.9),
        ({"expires_in": -1}, UNTOLD_LIFETIME * 0.9),
    ],
)
def test_a_token_is_renewed_before_it_ends(told: dict[str, object], renewed_after: float) -> None:
    clock = FrozenClock(1000.0)
    provider = Provider(given("first", **told), given("second"))
    token = token_of(provider, clock)
    for moment in (0.0, renewed_after - 0.5):
        clock.now = 1000.0 + moment
        assert token.header() == "Bearer first"
    clock.now = 1000.0 + renewed_after
    assert token.header() == "Bearer second"
    assert provider.asked == 2


def test_a_refused_token_is_forgotten_but_not_one_that_is_newer() -> None:
    provider = Provider(given("first"), given("second"), given("third"))
    token = token_of(provider)
    first = token.header()
    assert token.renew(first)
    assert token.header() == "Bearer second"
    assert token.renew(first), "another thread was refused the old one"
    assert token.header() == "Bearer second"
    assert provider.asked == 2


@pytest.mark.parametrize("works", [True, False])
def test_threads_that_need_a_token_at_once_share_one_request(works: bool) -> None:
    provider = Provider(given() if works else Answer(401, b'{"error": "invalid_client"}'))
    provider.gate.clear()
    token = token_of(provider)
    found: list[str] = []

    def take() -> None:
        try:
            found.append(token.header())
        except OpenMRSError as problem:
            found.append(str(problem))

    threads = [threading.Thread(target=take) for _ in range(8)]
    threads[0].start()
    assert provider.reached.acquire(timeout=PATIENCE)
    for thread in threads[1:]:
        thread.start()
    with within(PATIENCE, "they all have it"):
        while len(token._condition._waiters) < 7:  # type: ignore[attr-defined]
            threading.Event().wait(0.01)
        provider.gate.set()
        for thread in threads:
            thread.join()
    assert found == ["Bearer a.b.c" if works else "HTTP 401, invalid_client"] * 8
    assert provider.asked == 1


@pytest.mark.parametrize(
    ("answered", "words"),
    [
        (Answer(401, b'{"error": "invalid_client"}'), "HTTP 401, invalid_client"),
        (Answer(400, b'{"error": "invalid_scope", "error_description": "s3"}'), "invalid_scope"),
        (Answer(400, b'{"error": "Jones, Alice"}'), "HTTP 400"),
        (Answer(500, b"<html>"), "HTTP 500, no JSON object"),
        (Answer(302, b""), "HTTP 302, no JSON object"),
        (Answer(200, b"[]"), "no JSON object"),
        (Answer(200, b"[" * 100_000), "no JSON object"),
        (Answer(200, b"{}"), "no access_token that can be used"),
        (given(""), "no access_token that can be used"),
        (given("a b"), "no access_token that can be used"),
        (given("a\r\nX-Injected: 1"), "no access_token that can be used"),
        (given("a" * 20_000), "no access_token that can be used"),
        (given(token_type="MAC"), "another type than Bearer"),
        (given(token_type=7), "another type than Bearer"),
        (OpenMRSError("unreachable", "connection refused"), "unreachable: connection refused"),
        (OpenMRSError("tls", "certificate refused"), "tls: certificate refused"),
    ],
)
def test_why_there_is_no_token_is_told(answered: Answer | OpenMRSError, words: str) -> None:
    token = token_of(Provider(answered, given()))
    with pytest.raises(OpenMRSError) as caught:
        token.header()
    refused = isinstance(answered, Answer) and answered.status in (400, 401)
    assert caught.value.kind == ("token-refused" if refused else "token-server")
    assert words in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert "Jones" not in str(caught.value)
    assert token.header() == "Bearer a.b.c", "the next request tries again"


@pytest.mark.parametrize("kind", ["bearer", "BEARER", "Bearer"])
def test_the_type_is_of_any_case(kind: str) -> None:
    assert token_of(Provider(given(token_type=kind))).header() == "Bearer a.b.c"


# --- on the wire ---------------------------------------------------------------------------


@pytest.fixture
def server() -> Iterator[Server]:
    """An OpenMRS and an identity provider in one."""
    with serving() as found:
        yield found


def transport_of(server: Server) -> Transport:
    """Signs in by a token of the same server."""
    client = TokenClient(f"{server.url}/token", "orthanc/1", SECRET, "openid profile")
    provider = Transport(sign_in=client.sign_in())
    return Transport(
        sign_in=BearerToken(
            lambda: provider.ask("POST", client.url, timeout=5, limit=MAX_TOKEN, form=client.form),
            patience=5,
        )
    )


def plays(server: Server, refuse: Callable[[str], bool], **refusal: object) -> None:
    """OpenMRS refuses some tokens, in some way; the provider counts them."""

    def play(handler: BaseHTTPRequestHandler) -> None:
        if handler.path == "/token":
            numbers = sum(one.path == "/token" for one in server.asked)
            answer(handler, given(f"t{numbers}").body)
        elif refuse(handler.headers["Authorization"]):
            answer(handler, **refusal)  # type: ignore[arg-type]
        else:
            answer(handler, b"[]")

    server.play = play


REFUSALS: list[dict[str, object]] = [
    {"status": 401},
    {"status": 302, "Location": "/openmrs/oauth2login"},
]


@pytest.mark.parametrize("refusal", REFUSALS)
def test_a_token_that_openmrs_no_longer_takes_is_renewed_once(
    server: Server, refusal: dict[str, object]
) -> None:
    plays(server, lambda header: header == "Bearer t1", **refusal)
    transport = transport_of(server)
    for _ in range(2):
        told = transport.ask("POST", f"{server.url}/list", timeout=5, limit=100, json={"a": "ចាន់"})
        assert (told.status, told.problem) == (200, "")
    paths = [asked.path for asked in server.asked]
    assert paths == ["/token", "/list", "/token", "/list", "/list"]
    bodies = {asked.body for asked in server.asked if asked.path == "/list"}
    assert [json.loads(body) for body in bodies] == [{"a": "ចាន់"}]


@pytest.mark.parametrize("refusal", REFUSALS)
def test_a_token_that_openmrs_never_takes_is_told(
    server: Server, refusal: dict[str, object]
) -> None:
    plays(server, lambda header: True, **refusal)
    told = transport_of(server).ask("GET", f"{server.url}/list", timeout=5, limit=100)
    assert told.problem == "token-unknown"
    assert [asked.path for asked in server.asked] == ["/token", "/list"] * 2
    assert told.problem in PROBLEMS


def test_the_provider_is_asked_as_the_standard_has_it(server: Server) -> None:
    plays(server, lambda header: False)
    transport_of(server).ask("GET", f"{server.url}/list", timeout=5, limit=100)
    asked = server.asked[0]
    assert asked.headers["content-type"] == "application/x-www-form-urlencoded"
    form = parse_qs(asked.body.decode())
    assert form == {"grant_type": ["client_credentials"], "scope": ["openid profile"]}
    scheme, pair = asked.headers["authorization"].split()
    name, _, secret = base64.b64decode(pair).decode().partition(":")
    assert (scheme, unquote_plus(name), unquote_plus(secret)) == ("Basic", "orthanc/1", SECRET)
    assert server.asked[1].headers["authorization"] == "Bearer t1"


def test_no_secret_is_in_a_repr() -> None:
    client = TokenClient("https://sso/token", "orthanc", SECRET)
    token = token_of(Provider(given("secret-token")))
    token.header()
    texts = f"{client!r}{client.sign_in()!r}{token!r}{token._token!r}{Password('a', SECRET)!r}"
    assert SECRET not in texts
    assert "secret-token" not in texts
