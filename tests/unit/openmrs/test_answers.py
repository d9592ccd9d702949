"""What an answer of OpenMRS amounts to: each problem of its own kind, an exception in any form."""

import ast
import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from orthanc_openmrs.errors import PROBLEMS
from orthanc_openmrs.openmrs.answers import ServerException, problem_of, read_exception

ASKED = "http://openmrs.hospital:8080/openmrs/ws/rest/v1/worklist/requests"
PATH = "/openmrs/ws/rest/v1/worklist/requests"


@pytest.mark.parametrize(
    ("status", "location", "body", "kind"),
    [
        (200, "", b"", ""),
        (401, "", b"", "credentials"),
        (403, "", b"", "privilege"),
        (404, "", b"", "not-found"),
        (405, "", b"", "not-found"),
        (500, "", b"", "server-error"),
        (204, "", b"", "server-error"),
        (400, "", b"Invalid request status", "server-error"),
        (502, "", b"", "proxy"),
        (503, "", b"", "proxy"),
        (504, "", b"", "proxy"),
        # what a server says on its TLS port to a request without TLS
        (400, "", b"The plain HTTP request was sent to HTTPS port", "tls-port"),
        (400, "", b"This combination of host and port requires TLS.", "tls-port"),
        (400, "", b"You're speaking plain HTTP to an SSL-enabled server port.", "tls-port"),
        # another scheme, of the same host
        (301, f"https://openmrs.hospital{PATH}", b"", "https"),
        (302, f"https://openmrs.hospital:8443{PATH}", b"", "https"),
        (307, f"https://OPENMRS.hospital{PATH}/", b"", "https"),
        # to a login
        (302, "", b"", "credentials"),
        (302, "/openmrs/login.htm", b"", "credentials"),
        (302, "/openmrs/spa/login", b"", "credentials"),
        (301, "/openmrs/login.htm", b"", "credentials"),
        (302, "https://openmrs.hospital/openmrs/login.htm", b"", "credentials"),
        (302, "/openmrs/", b"", "credentials"),
        # to single sign-on
        (302, "/openmrs/oauth2login", b"", "single-sign-on"),
        (302, "https://openmrs.hospital/openmrs/oauth2login?x=1", b"", "single-sign-on"),
        (
            302,
            "https://sso.hospital/realms/h/protocol/openid-connect/auth?client_id=openmrs",
            b"",
            "single-sign-on",
        ),
        # for good, to somewhere else
        (301, f"http://new.hospital{PATH}", b"", "moved"),
        (308, f"https://new.hospital{PATH}", b"", "moved"),
        (301, f"{PATH}/", b"", "moved"),
        (302, "http://[", b"", "credentials"),
    ],
)
def test_each_problem_is_its_own(status: int, location: str, body: bytes, kind: str) -> None:
    found = problem_of(status, asked=ASKED, location=location, body=body)
    assert found == kind
    assert not kind or kind in PROBLEMS


def test_https_is_no_problem_where_it_was_asked_for() -> None:
    asked = ASKED.replace("http:", "https:")
    assert problem_of(302, asked=asked, location=asked) == "credentials"


def test_each_problem_says_what_to_do() -> None:
    for kind, words in PROBLEMS.items():
        meaning, _, advice = words.partition(": ")
        assert meaning, kind
        assert advice, kind


def test_every_kind_is_told_by_somebody_and_no_other() -> None:
    constants: set[object] = set()
    raised: set[object] = set()
    for path in (Path(__file__).parents[3] / "orthanc_openmrs").rglob("*.py"):
        if path.name == "errors.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant):
                constants.add(node.value)
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "OpenMRSError":
                raised |= {node.args[0].value} if isinstance(node.args[0], ast.Constant) else set()
    assert set(PROBLEMS) <= constants
    assert raised <= set(PROBLEMS)


# --- exceptions ----------------------------------------------------------------------------

FRAMES = [
    {"methodName": "parse", "className": "java.time.format.DateTimeFormatter", "lineNumber": 1},
    {
        "methodName": "getRequests",
        "fileName": "RequestProcedureController.java",
        "lineNumber": 77,
        "className": "org.openmrs.module.imaging.web.controller.RequestProcedureController",
        "nativeMethod": False,
    },
]
OWN = "org.openmrs.module.imaging.web.controller.RequestProcedureController.getRequests"


def thrown(message: str | None = "boom", **keys: Any) -> dict[str, Any]:
    """An exception as OpenMRS's JSON writer gives one."""
    document = {"cause": None, "stackTrace": FRAMES, "message": message}
    return {**document, "localizedMessage": message, "suppressed": [], **keys}


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (thrown("boom"), "boom"),
        (thrown(None), ""),
        (thrown(" two\n lines "), "two lines"),
        (thrown("outer", cause=thrown("inner")), "outer / inner"),
        (thrown("same", cause=thrown("same")), "same"),
        (thrown("object java.lang.Object@1f2e3d4c"), "object java.lang.Object@"),
        (thrown("x" * 1000), "x" * 200),
        ({"cause": None, "message": "no trace"}, "no trace"),
    ],
)
def test_an_exception_is_recognised_whole(document: dict[str, Any], words: str) -> None:
    found = read_exception(json.dumps(document).encode())
    assert found is not None
    assert found.words == words


def test_an_exception_is_recognised_wherever_it_is_cut() -> None:
    text = json.dumps(thrown("boom", cause=thrown("Data too long for column 'result'"))).encode()
    for end in range(len(b'{"cause": '), len(text)):
        assert read_exception(text[:end]) is not None, text[:end]
    cut = read_exception(text[: -len(b', "suppressed": []}')])
    assert cut == ServerException("Data too long for column 'result' / boom", OWN)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"score": 80, "message": "x", "cause": null}',
        b'{"score": 80, "diff',
        b'{"error": {"message": "denied"}}',
        b'{"message": "not found"}',
        b"<html>stackTrace</html>",
        b"No series data found in payload",
        b"{" * 100_000,
        b"\xff",
    ],
)
def test_anything_else_is_no_exception(body: bytes) -> None:
    assert read_exception(body) is None


def test_what_is_logged_of_an_exception_has_none_of_its_words() -> None:
    found = read_exception(
        json.dumps(thrown("Jones, Alice was born on an impossible date")).encode()
    )
    assert found is not None
    told = found.describe()
    assert "Jones" not in told
    assert OWN in told


@pytest.mark.parametrize(
    ("message", "kind", "parameter"),
    [
        ("boom", "server-error", False),
        ("Required String parameter 'studyInstanceUID' is not present", "server-error", True),
        ("Privileges required: Task: Edit Worklist", "privilege", False),
        ("User is not logged in", "credentials", False),
        ("Invalid username and/or password: admin", "credentials", False),
    ],
)
def test_an_exception_may_be_a_refusal(message: str, kind: str, parameter: bool) -> None:
    found = read_exception(json.dumps(thrown(message)).encode())
    assert found is not None
    assert (found.problem, found.misses_parameter) == (kind, parameter)


def test_a_long_list_is_told_by_its_head() -> None:
    body = b"[" + b'{"stackTrace": []},' * 1_000_000
    tracemalloc.start()
    try:
        assert read_exception(body) is None
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 10_000


@pytest.mark.parametrize("name", ["a\nb", "Jones, Alice", "", "x" * 300, 7, None, {}])
def test_a_place_is_a_name_of_java_or_nothing(name: object) -> None:
    frames = [{"className": name, "methodName": name}]
    found = read_exception(json.dumps(thrown(stackTrace=frames)).encode())
    assert found is not None
    assert found.place in ("", "7.7", "None.None", ".")
