"""An identity provider such as Keycloak, as far as OAuth2's client credentials go (RFC 6749 4.4).

Decides who gets a token, and which tokens are valid. Must not know what they are good for.
"""

import base64
import itertools
import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote_plus

from .answers import Answer, json_answer

TOKEN_PATH = "/realms/openmrs/protocol/openid-connect/token"


@dataclass(frozen=True)
class Client:
    """`account`: the OpenMRS account that its tokens sign in as. `scopes`: those it may ask for."""

    secret: str
    account: str = "imaging"
    scopes: frozenset[str] = frozenset({"openid", "profile"})


class Tokens:
    """Every method may be called from any thread. `lifetime` is in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clients: dict[str, Client] = {"orthanc": Client("s3cret/§+&")}
        self.lifetime = 300.0
        self.tells_lifetime = True  # expires_in is only recommended
        self.issued = 0
        self._clock = clock
        self._valid: dict[str, tuple[str, float]] = {}  # token -> client, until
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()

    def revoke_all(self) -> None:
        with self._lock:
            self._valid.clear()

    def account_of(self, token: str) -> str | None:
        """The OpenMRS account that a token signs in as, None where it is no longer good."""
        with self._lock:
            client, until = self._valid.get(token, ("", 0.0))
            known = self.clients.get(client)
            return known.account if known and self._clock() < until else None

    def answer(self, authorization: str, content_type: str, body: bytes) -> Answer:
        if not content_type.lower().startswith("application/x-www-form-urlencoded"):
            return _refused(400, "invalid_request", "Missing form parameter: grant_type")
        form = dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
        name, secret = _client(authorization, form)
        client = self.clients.get(name)
        if client is None or client.secret != secret:
            return _refused(401, "invalid_client", "Invalid client or Invalid client credentials")
        if form.get("grant_type") != "client_credentials":
            return _refused(400, "unsupported_grant_type", "Unsupported grant_type")
        asked = set(form.get("scope", "").split())
        if asked - client.scopes:
            return _refused(400, "invalid_scope", "Invalid scopes: " + form["scope"])
        token = self._issue(name)
        told: dict[str, object] = {
            "access_token": token,
            "token_type": "Bearer",
            "scope": " ".join(sorted(asked or {"profile"})),
            "not-before-policy": 0,
        }
        if self.tells_lifetime:
            told["expires_in"] = int(self.lifetime)
        answer = json_answer(told)
        return Answer(200, answer.body, "application/json", {"Cache-Control": "no-store"})

    def _issue(self, client: str) -> str:
        with self._lock:
            self.issued += 1
            claims = {"azp": client, "jti": next(self._numbers), "preferred_username": client}
            token = ".".join(_base64({"alg": "none"} if i == 0 else claims) for i in range(2))
            token += ".c2lnbmF0dXJl"
            self._valid[token] = (client, self._clock() + self.lifetime)
            return token


def _client(authorization: str, form: Mapping[str, str]) -> tuple[str, str]:
    """By Basic, where both parts are form-encoded first (RFC 6749 2.3.1), or by the form."""
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return form.get("client_id", ""), form.get("client_secret", "")
    try:
        name, _, secret = base64.b64decode(encoded).decode().partition(":")
    except ValueError:
        return "", ""
    return unquote_plus(name), unquote_plus(secret)


def _refused(status: int, error: str, description: str) -> Answer:
    return json_answer({"error": error, "error_description": description}, status)


def _base64(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")
