"""How the stand-in can be made to fail, and which request a fault hits.

Decides the kinds, their parameters, and the answers of those that are only a wrong answer. Must
not know sockets: the server performs what happens on the wire.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from .dialects import HTML, JSON, Answer, error_answer, page_answer

LOGIN = b"<!doctype html><html><body><form action='login.htm'>Log in</form></body></html>"


@dataclass(frozen=True)
class Fault:
    """`seconds` is for slow, `status` for status and says, `mebibytes` for huge, `text` for says:
    what is answered."""

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
    "redirect": lambda _: Answer(302, headers={"Location": "/openmrs/login.htm"}),
    "login_page": lambda _: Answer(200, LOGIN, HTML),
    "garbage": lambda _: Answer(200, b'[{"AccessionNumber": NaN, <', JSON),
    "not_array": lambda _: Answer(200, b'{"results": []}', JSON),
    "deep": lambda _: Answer(200, b"[" * 100_000, JSON),
    "empty_200": lambda _: Answer(200),
    "huge": lambda fault: Answer(
        200, b'[{"PatientName":"' + b"X" * (fault.mebibytes << 20) + b'"}]', JSON
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

    `over` is set when they are cleared, for whoever waits because of one.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rules: list[Rule] = []
        self._over = threading.Event()

    def set(self, rule: Rule) -> None:
        with self._lock:
            key = (rule.path, rule.method)
            self._rules = [r for r in self._rules if (r.path, r.method) != key]
            self._rules.insert(0, rule)

    def clear(self) -> None:
        with self._lock:
            self._rules = []
            self._over.set()
            self._over = threading.Event()

    def pick(self, method: str, path: str) -> tuple[Fault, threading.Event] | None:
        with self._lock:
            rule = next((r for r in self._rules if r.hits(method, path)), None)
            if rule is None:
                return None
            if rule.times is not None:
                at = self._rules.index(rule)
                left = rule.times - 1
                self._rules[at : at + 1] = [replace(rule, times=left)] if left > 0 else []
            return rule.fault, self._over
