"""How the stand-in can be made to fail, and which request a fault hits.

Decides the kinds, their parameters, and the answers of those that are only a wrong answer. Must
not know sockets: the server performs what happens on the wire.
"""

import threading
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace

from .answers import HTML, JSON, Answer, error_answer, exception_answer, page_answer

LOGIN = b"<!doctype html><html><body><form action='login.htm'>Log in</form></body></html>"
TLS_PORT = "Bad Request\r\nThis combination of host and port requires TLS.\r\n"
DATA_ERROR = "could not execute statement; Duplicate entry '2.25.1' for key 'studyInstanceUid'"


def redirect(location: str, status: int = 302) -> Answer:
    return Answer(status, headers={"Location": location})


def _bomb(mebibytes: int) -> bytes:
    """Blanks that take a thousandth of their room on the way."""
    packer = zlib.compressobj(9, wbits=31)
    parts = [packer.compress(b" " * (1 << 20)) for _ in range(mebibytes)]
    return b"".join(parts) + packer.compress(b"[]") + packer.flush()


@dataclass(frozen=True)
class Fault:
    """`seconds` is for slow, `status` for status and says, `mebibytes` for huge and gzip_bomb.

    `text` is what says answers, the message of an exception, and where a redirect leads to.
    """

    kind: str
    seconds: float = 1.0
    status: int = 500
    mebibytes: int = 1
    text: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"no fault {self.kind!r}; there are: {', '.join(KINDS)}")


# kind -> the answer given instead of the real one; nothing is saved
INSTEAD: dict[str, Callable[[Fault], Answer]] = {
    "status": lambda fault: page_answer(fault.status),
    "says": lambda fault: Answer(fault.status, fault.text.encode(), JSON),
    "unauthorized": lambda _: error_answer(401, "User is not logged in"),
    "forbidden": lambda _: error_answer(403, "Privileges required"),
    "redirect": lambda fault: redirect(fault.text or "/openmrs/login.htm"),
    "redirect_oauth2": lambda _: redirect("/openmrs/oauth2login"),
    "redirect_https": lambda fault: redirect(fault.text or "https://127.0.0.1/openmrs", 301),
    "tls_port": lambda _: Answer(400, TLS_PORT.encode(), "text/plain"),
    "exception": lambda fault: exception_answer(fault.text or "null"),
    "exception_cut": lambda fault: exception_answer(fault.text or DATA_ERROR, "cut"),
    "exception_breaks": lambda fault: exception_answer(fault.text or "null", "breaks"),
    "login_page": lambda _: Answer(200, LOGIN, HTML),
    "garbage": lambda _: Answer(200, b'[{"AccessionNumber": NaN, <', JSON),
    "not_array": lambda _: Answer(200, b'{"results": []}', JSON),
    "deep": lambda _: Answer(200, b"[" * 100_000, JSON),
    "empty_200": lambda _: Answer(200),
    "huge": lambda fault: Answer(
        200, b'[{"PatientName":"' + b"X" * (fault.mebibytes << 20) + b'"}]', JSON
    ),
    "gzip_bomb": lambda fault: Answer(
        200, _bomb(fault.mebibytes), JSON, {"Content-Encoding": "gzip"}
    ),
}
# kind -> what happens on the wire
WIRE = {
    "slow": "waits, then does its work and answers, whether or not the client still listens",
    "hang": "waits until the fault is cleared, then goes on if the client still listens",
    "cut": "resets the connection before any answer",
    "truncated": "announces more bytes than it sends, then cuts",
    "endless": "a chunked array that never ends, as fast as the client reads",
    "drip": "one byte of the body every 0.2 s, for ever",
    "cut_after_save": "a POST is saved, then the connection is cut",
    "error_after_save": "a POST is saved, then answered 500 with a page",
    "exception_after_save": "a POST is saved, then answered 200 with an exception object",
}
KINDS = (*INSTEAD, *WIRE)


@dataclass(frozen=True)
class Rule:
    fault: Fault
    path: str | None
    method: str | None
    times: int | None

    def hits(self, method: str, path: str) -> bool:
        if self.fault.kind.endswith("_after_save") and method != "POST":
            return False
        return (self.path is None or self.path in path) and self.method in (None, method)


class Faults:
    """The faults in force: the newest that matches wins; the same path and method replaces.

    The event beside a fault is set when it is cleared, for whoever waits because of it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rules: list[Rule] = []
        self._over: dict[str | None, threading.Event] = {}  # by the path of the rule

    def set(self, rule: Rule) -> None:
        with self._lock:
            key = (rule.path, rule.method)
            self._rules = [r for r in self._rules if (r.path, r.method) != key]
            self._rules.insert(0, rule)

    def clear(self, path: str | None = None) -> None:
        """All of them, or those that were set for this path."""
        with self._lock:
            self._rules = [r for r in self._rules if path is not None and r.path != path]
            for over in [path] if path is not None else list(self._over):
                if over in self._over:
                    self._over.pop(over).set()

    def pick(self, method: str, path: str) -> tuple[Fault, threading.Event] | None:
        with self._lock:
            rule = next((r for r in self._rules if r.hits(method, path)), None)
            if rule is None:
                return None
            if rule.times is not None:
                at = self._rules.index(rule)
                left = rule.times - 1
                self._rules[at : at + 1] = [replace(rule, times=left)] if left > 0 else []
            return rule.fault, self._over.setdefault(rule.path, threading.Event())
