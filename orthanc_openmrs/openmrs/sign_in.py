"""How the plugin signs in to OpenMRS: by a password, or by a token of the site's single sign-on.

Decides: what the Authorization header says, when a token is renewed (before it ends, and once
where OpenMRS no longer takes it), and what of an identity provider's answer is told. Must not
know: HTTP's ways, OpenMRS's routes. A secret is in no message and no repr.
"""

import base64
import json
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import quote_plus

from orthanc_openmrs.errors import OpenMRSError
from orthanc_openmrs.model import Answer

MAX_TOKEN = 64 * 1024
"""Bytes read of an identity provider's answer."""

UNTOLD_LIFETIME = 60.0
"""Seconds that a token is used of which nobody says how long it is good (RFC 6749 5.1 only
recommends that)."""

LONGEST_LIFETIME = 86400.0

AHEAD = 30.0
"""Seconds before its end at which a token is renewed, a tenth of its life at most."""

_TOKEN = re.compile(r"[\x21-\x7e]{1,16384}")
_ERROR = re.compile(r"[a-z_]{1,60}")


class SignIn(Protocol):
    """What a transport asks for a request's Authorization header."""

    def header(self) -> str:
        """The header now. Raises OpenMRSError where there is none."""

    def renew(self, header: str) -> bool:
        """This one was refused: whether another may be taken."""

    def problem(self, kind: str) -> str:
        """The kind of a problem where this way of signing in is what was refused."""


class Password:
    """Basic sign-in."""

    def __init__(self, username: str, password: str) -> None:
        pair = f"{username}:{password}".encode()
        self._header = f"Basic {base64.b64encode(pair).decode()}"

    def header(self) -> str:
        """The same, always."""
        return self._header

    def renew(self, header: str) -> bool:
        """Never: a password that was refused is refused again."""
        return False

    def problem(self, kind: str) -> str:
        """As it is."""
        return kind


@dataclass(frozen=True, slots=True)
class TokenClient:
    """The client of an identity provider that the plugin is (`OpenMRS.BearerToken`)."""

    url: str
    client_id: str
    secret: str = field(repr=False)
    scope: str = ""

    @property
    def form(self) -> dict[str, str]:
        """The request for a token (RFC 6749 4.4.2)."""
        scope = {"scope": self.scope} if self.scope else {}
        return {"grant_type": "client_credentials", **scope}

    def sign_in(self) -> Password:
        """To the identity provider: both parts are form-encoded first (RFC 6749 2.3.1)."""
        return Password(quote_plus(self.client_id), quote_plus(self.secret))


@dataclass(frozen=True, slots=True)
class _Token:
    header: str = field(repr=False)
    until: float


class BearerToken:
    """A token of an identity provider, which `ask` asks for one.

    Threads that need one at once share one request, and no lock is held meanwhile: they wait for
    it `patience` seconds at most.
    """

    def __init__(
        self,
        ask: Callable[[], Answer],
        *,
        patience: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ask = ask
        self._patience = patience
        self._clock = clock
        self._condition = threading.Condition()
        self._asking = False
        self._token: _Token | None = None
        self._failure: OpenMRSError | None = None

    def header(self) -> str:
        """The header of a token that is good. Raises OpenMRSError where none can be had."""
        with self._condition:
            waited = self._asking
            if not self._condition.wait_for(lambda: not self._asking, self._patience):
                raise OpenMRSError("token-server", "another request for one isn't answered")
            if self._token is not None and self._clock() < self._token.until:
                return self._token.header
            if waited and self._failure is not None:
                raise OpenMRSError(self._failure.kind, str(self._failure))
            self._asking = True
        token, failure = None, OpenMRSError("token-server", "the request for one failed")
        try:
            token = _read_token(self._ask(), self._clock())
            return token.header
        except OpenMRSError as problem:
            failure = _token_problem(problem)
            raise failure from None
        finally:
            with self._condition:
                self._asking = False
                self._token, self._failure = token, None if token else failure
                self._condition.notify_all()

    def renew(self, header: str) -> bool:
        """Forget this one, where it still is the one that is used."""
        with self._condition:
            if self._token is not None and self._token.header == header:
                self._token = None
        return True

    def problem(self, kind: str) -> str:
        """OpenMRS answers a token that isn't good as it does nobody: by 401, or by the way to its
        single sign-on."""
        return "token-unknown" if kind in ("credentials", "single-sign-on") else kind


def _token_problem(problem: OpenMRSError) -> OpenMRSError:
    if problem.kind in ("token-refused", "token-server"):
        return problem
    return OpenMRSError("token-server", f"{problem.kind}: {problem}")


def _read_token(answer: Answer, now: float) -> _Token:
    """What an identity provider gives (RFC 6749 5.1), or why it doesn't (5.2)."""
    try:
        document = json.loads(answer.body)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise OpenMRSError("token-server", f"HTTP {answer.status}, no JSON object")
    if answer.status != 200:
        error = document.get("error")
        known = isinstance(error, str) and _ERROR.fullmatch(error)
        kind = "token-refused" if answer.status in (400, 401, 403) else "token-server"
        raise OpenMRSError(kind, f"HTTP {answer.status}" + (f", {error}" if known else ""))
    value, kind = document.get("access_token"), document.get("token_type", "Bearer")
    if not isinstance(value, str) or not _TOKEN.fullmatch(value):
        raise OpenMRSError("token-server", "the answer has no access_token that can be used")
    if not isinstance(kind, str) or kind.lower() != "bearer":
        raise OpenMRSError("token-server", "the token is of another type than Bearer")
    lifetime = document.get("expires_in")
    if isinstance(lifetime, bool) or not isinstance(lifetime, int | float) or not lifetime > 0:
        lifetime = UNTOLD_LIFETIME
    lifetime = min(float(lifetime), LONGEST_LIFETIME)
    return _Token(f"Bearer {value}", now + lifetime - min(AHEAD, lifetime / 10))
