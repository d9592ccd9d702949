"""What any answer of OpenMRS amounts to, whatever was asked.

Decides: which of `errors.PROBLEMS` a status, a redirect or a page is, how an exception of OpenMRS
is recognised, and which of its words may be logged. Must not know: HTTP's ways, the list, the
status update.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

LONGEST_WORDS = 200
"""Characters of OpenMRS's own words that are kept."""

_STATUSES = {
    401: "credentials",
    403: "privilege",
    404: "not-found",
    405: "not-found",
    # OpenMRS itself sends none of these: a proxy in front of it does, or its servlet container.
    502: "proxy",
    503: "proxy",
    504: "proxy",
}

_SINGLE_SIGN_ON = ("oauth2login", "/oauth2/", "/openid-connect/", "/saml")
"""Parts of an address to which OpenMRS (module oauth2login), a gateway or Keycloak sends."""

_TLS_WANTED = (
    b"HTTPS port",  # nginx
    b"requires TLS",  # Tomcat
    b"speaking plain HTTP",  # Apache
)
"""Words of the 400 with which a server refuses plain HTTP on its TLS port."""

_PERMANENT = (301, 308)


def problem_of(status: int, *, asked: str, location: str = "", body: bytes = b"") -> str:
    """The kind of problem that an answer tells by its head (or, 400, by its page): one of
    PROBLEMS, "" for 200. `asked` is the URL of the request, `location` where it redirects to."""
    if status == 200:
        return ""
    if 300 <= status < 400:
        return _redirection(status, asked, location)
    if status == 400 and any(words in body for words in _TLS_WANTED):
        return "tls-port"
    return _STATUSES.get(status, "server-error")


def _redirection(status: int, asked_url: str, location: str) -> str:
    if not location:
        return "credentials"
    try:
        asked, to = urlsplit(asked_url), urlsplit(urljoin(asked_url, location))
    except ValueError:
        return "credentials"
    target = to.geturl().lower()
    if any(part in target for part in _SINGLE_SIGN_ON):
        return "single-sign-on"
    same = asked.hostname == to.hostname and asked.path.rstrip("/") == to.path.rstrip("/")
    if same and (asked.scheme, to.scheme) == ("http", "https"):
        return "https"
    return "moved" if status in _PERMANENT and "login" not in target else "credentials"


# --- exceptions ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ServerException:
    """An exception that OpenMRS didn't catch, as it sends one.

    `words` are its own, on one line: they may name a patient. `place` is the class and method that
    threw it, which may be logged. Either may be "", for the object may have been cut.
    """

    words: str = ""
    place: str = ""

    @property
    def problem(self) -> str:
        """The kind of problem that it is."""
        return next((kind for sign, kind in _SIGNS if sign.search(self.words)), "server-error")

    @property
    def misses_parameter(self) -> bool:
        """Whether it's about a request without a parameter, which found the route all the same."""
        return _PARAMETER.search(self.words) is not None

    def describe(self) -> str:
        """What may be logged."""
        return f"an exception in {self.place}" if self.place else "an exception"


_PARAMETER = re.compile(r"\bparameter\b.*\bis not present\b")

_SIGNS = (
    (re.compile(r"privilege", re.IGNORECASE), "privilege"),
    (re.compile(r"not (logged|signed) in|not authenticated|password", re.I), "credentials"),
)
"""What else than a failure an exception may be, by its words."""


_HEAD = 100
"""Bytes of which one is the first that is no blank."""


def read_exception(body: bytes) -> ServerException | None:
    """The exception that an answer is, whole or cut off in the middle; None where it is none."""
    if not body[:_HEAD].decode("utf-8-sig", "replace").lstrip().startswith("{"):
        return None  # a list of megabytes is told by its head
    text = body.decode("utf-8-sig", "replace").strip()
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return _cut_exception(text) if _EXCEPTION_KEY.search(text) else None
    if not isinstance(document, dict) or "score" in document:
        return None
    if "stackTrace" not in document and not {"cause", "message"} <= document.keys():
        return None
    return ServerException(_one_line(" / ".join(_messages(document))), _place(document))


_EXCEPTION_KEY = re.compile(r'^\{\s*"(?:cause|suppressed)"\s*:|"stackTrace"\s*:\s*\[')
_MESSAGE = re.compile(r'"(?:localizedM|m)essage"\s*:\s*"((?:[^"\\]|\\.)*)"')
_FRAME = re.compile(r"\{[^{}]*\}")
_NAME = re.compile(r"[\w.$]{1,200}")
_OWN = "org.openmrs.module."
_DEEPEST = 8
_FRAMES = 200


def _messages(document: dict[str, object]) -> Iterator[str]:
    """Its message and those of its causes, each once."""
    seen: set[str] = set()
    link: object = document
    for _ in range(_DEEPEST):
        if not isinstance(link, dict):
            return
        message = link.get("message") or link.get("localizedMessage")
        if isinstance(message, str) and message not in seen:
            seen.add(message)
            yield message
        link = link.get("cause")


def _place(document: dict[str, object]) -> str:
    frames = document.get("stackTrace")
    found = [
        place
        for frame in (frames[:_FRAMES] if isinstance(frames, list) else [])
        if isinstance(frame, dict) and (place := _frame_name(frame))
    ]
    return next((name for name in found if name.startswith(_OWN)), found[0] if found else "")


def _frame_name(frame: dict[str, object]) -> str:
    name = f"{frame.get('className')}.{frame.get('methodName')}"
    return name if _NAME.fullmatch(name) else ""


def _cut_exception(text: str) -> ServerException:
    """What there is of an object that ends in the middle."""
    frames: list[object] = []
    for found in _FRAME.finditer(text):
        if len(frames) == _FRAMES:
            break
        try:
            frames.append(json.loads(found.group()))
        except (ValueError, RecursionError):
            continue
    words = dict.fromkeys(found.group(1) for found in _MESSAGE.finditer(text))
    return ServerException(_one_line(" / ".join(words)), _place({"stackTrace": frames}))


_OBJECT_HASH = re.compile(r"@[0-9a-f]{4,8}\b")


def _one_line(text: str) -> str:
    """Short, and the same where OpenMRS says the same again: Java names objects by a number."""
    return " ".join(_OBJECT_HASH.sub("@", text).split())[:LONGEST_WORDS]


def server_text(text: str) -> str:
    """OpenMRS's own message of a short answer, on one line: core REST's error object, or a text."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        document = text
    if isinstance(document, dict):
        error = document.get("error", document.get("message", ""))
        document = error.get("message") if isinstance(error, dict) else error
    return " ".join(str(document or "").split())[:LONGEST_WORDS]
