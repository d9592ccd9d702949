"""HTTP to OpenMRS, against real servers on localhost that are slow, hostile or strange."""

import base64
import gzip
import json
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import quote

import pytest

from orthanc_openmrs.openmrs.client import OpenMRSClient
from orthanc_openmrs.openmrs.persons import REPRESENTATION
from orthanc_openmrs.openmrs.sign_in import Password
from orthanc_openmrs.openmrs.transport import MAX_PAGE, Transport
from orthanc_openmrs.openmrs.verdicts import StatusUpdate, Verdict, judge
from tests.unit.doubles import Play, Server, answer, serving
from tests.unit.openmrs.clients import SECRET, UPDATE, client_of, refused


@pytest.fixture
def server() -> Iterator[Server]:
    """A server that answers with an empty list."""
    with serving() as found:
        yield found


# --- what is asked -------------------------------------------------------------------------


def test_the_list_is_asked_for_with_the_configured_url_and_account(server: Server) -> None:
    client = client_of(server, worklist_url=f"{server.url}/list?v=full")
    server.play = lambda handler: answer(handler, b'[{"PatientName": "\xe1\x9e\x85"}]')
    assert client.get_list() == b'[{"PatientName": "\xe1\x9e\x85"}]'
    (asked,) = server.asked
    assert (asked.method, asked.path, asked.query) == ("GET", "/list", {"v": ["full"]})
    scheme, token = asked.headers["authorization"].split()
    assert (scheme, base64.b64decode(token).decode()) == ("Basic", f"zoë:{SECRET}")
    assert asked.headers["accept"] == "application/json"
    assert asked.headers["user-agent"].startswith("orthanc-openmrs/")
    assert "cookie" not in asked.headers


def test_without_a_name_no_account_is_sent(server: Server) -> None:
    client_of(server, sign_in=None).get_list()
    assert "authorization" not in server.asked[0].headers


def test_nothing_of_the_environment_is_used(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine localhost login mallory password stolen\n")
    monkeypatch.setenv("NETRC", str(netrc))
    for key in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(key, "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "")
    assert client_of(server, sign_in=None).get_list() == b"[]"
    assert "authorization" not in server.asked[0].headers


def test_a_status_update_is_one_post_with_query_and_body(server: Server) -> None:
    server.play = lambda handler: answer(handler, b'{"score": 1}')
    told = client_of(server).post_update(UPDATE)
    assert (told.status, told.body) == (200, b'{"score": 1}')
    (asked,) = server.asked
    assert (asked.method, asked.path) == ("POST", "/ws/rest/v1/worklist/updaterequeststatus")
    assert asked.query == {key: [value] for key, value in UPDATE.parameters.items()}
    assert asked.headers["content-type"] == "application/json"
    assert json.loads(asked.body) == UPDATE.body


@pytest.mark.parametrize(
    ("update_url", "known"),
    [
        ("/ws/rest/v1/worklist/updaterequeststatus", True),
        ("/ws/rest/v1/imaging/updatestatus", False),
        ("/ws/rest/v1/worklist/updaterequeststatus?x=1", False),
    ],
)
def test_the_status_of_a_step_is_posted_beside_the_configured_url(
    server: Server, update_url: str, known: bool
) -> None:
    client = client_of(server, update_url=server.url + update_url)
    assert client.has_step_status is known
    if known:
        assert client.post_step_status("14", "in progress").status == 200
        (asked,) = server.asked
        assert asked.path == "/ws/rest/v1/worklist/updateprocedurestepstatus"
        assert asked.query == {"stepId": ["14"], "status": ["in progress"]}


@pytest.mark.parametrize(
    ("uuid", "path"), [("abc-1", "/patient/abc-1"), ("../a?b", "/patient/..%2Fa%3Fb")]
)
def test_a_patient_is_asked_for_by_uuid(server: Server, uuid: str, path: str) -> None:
    assert client_of(server).get_patient(uuid) == b"[]"
    assert server.asked[0].path.endswith(path)
    assert server.asked[0].query == {"v": [REPRESENTATION]}
    server.play = lambda handler: answer(handler, b' {"error": {}}', 404)
    assert client_of(server).get_patient(uuid) is None
    for page in (b"", b"<html>"):  # of a servlet container: OpenMRS says nothing of a patient
        server.play = lambda handler, page=page: answer(handler, page, 404)  # type: ignore[misc]
        assert refused(lambda: client_of(server).get_patient(uuid)).kind == "not-found"
    assert refused(lambda: client_of(server, rest_url="").get_patient(uuid)).kind == "not-found"


HOSTILE = "1\r\nX-Injected: 1\r\n\r\nGET /x HTTP/1.1\u2028&performedProcedureStepID=9#?/../\0%0d%0a"


def test_no_text_of_a_list_or_a_study_changes_a_request(server: Server) -> None:
    client = client_of(server)
    parameters = {"studyInstanceUID": HOSTILE, "performedProcedureStepID": HOSTILE}
    client.post_update(StatusUpdate(parameters, {"studyInfo": {HOSTILE: HOSTILE}}))
    client.post_step_status(HOSTILE, HOSTILE)
    client.get_patient(HOSTILE)
    update, status, patient = server.asked
    assert update.query == {key: [text] for key, text in parameters.items()}
    assert json.loads(update.body) == {"studyInfo": {HOSTILE: HOSTILE}}
    assert status.query == {"stepId": [HOSTILE], "status": [HOSTILE]}
    assert patient.path == f"/ws/rest/v1/patient/{quote(HOSTILE, safe='')}"
    for asked in server.asked:
        assert "x-injected" not in asked.headers


def test_no_secret_is_in_the_repr_of_a_client_or_its_session(server: Server) -> None:
    sign_in = Password("zoë", SECRET)
    transport = Transport(sign_in=sign_in)
    client = OpenMRSClient(transport, worklist_url=server.url, update_url=server.url)
    client.get_list()
    session = transport._session()
    token = base64.b64encode(f"zoë:{SECRET}".encode()).decode()
    texts = f"{client!r}{client}{transport!r}{session!r}{session.headers!r}{sign_in!r}"
    assert not any(secret in texts for secret in (SECRET, "wörd", token))


def test_a_core_that_refuses_the_representation_is_asked_plainly_from_then_on(
    server: Server,
) -> None:
    def play(handler: BaseHTTPRequestHandler) -> None:
        known = handler.path.endswith("?v=full")
        answer(handler, b'{"uuid": "p"}' if known else b'{"error": {}}', 200 if known else 400)

    server.play = play
    client = client_of(server)
    assert [client.get_patient(uuid) for uuid in "pq"] == [b'{"uuid": "p"}'] * 2
    assert [asked.query["v"] for asked in server.asked] == [[REPRESENTATION], ["full"], ["full"]]


# --- what is answered ----------------------------------------------------------------------

KINDS = [
    (401, "credentials"),
    (301, "credentials"),
    (302, "credentials"),
    (307, "credentials"),
    (403, "privilege"),
    (404, "not-found"),
    (400, "server-error"),
    (500, "server-error"),
    (502, "proxy"),
    (503, "proxy"),
    (504, "proxy"),
    (405, "not-found"),
    (204, "server-error"),
]


@pytest.mark.parametrize(("status", "kind"), KINDS)
def test_each_status_of_the_list_is_a_kind_of_problem(
    server: Server, status: int, kind: str
) -> None:
    server.play = lambda handler: answer(handler, b"" if status == 204 else b"[]", status)
    found = refused(client_of(server).get_list)
    assert (found.kind, str(found)) == (kind, f"HTTP {status}")


@pytest.mark.parametrize("status", [200, 302, 400, 401, 404, 409, 500])
def test_each_status_of_an_update_is_an_answer(server: Server, status: int) -> None:
    server.play = lambda handler: answer(handler, b"why", status, Location="/elsewhere")
    told = client_of(server).post_update(UPDATE)
    assert (told.status, told.body) == (status, b"why")
    assert len(server.asked) == 1, "no redirect is followed, nothing is sent twice"


def test_no_redirect_is_followed_and_no_account_goes_elsewhere(server: Server) -> None:
    with serving() as elsewhere:
        server.play = lambda handler: answer(handler, b"", 302, Location=elsewhere.url)
        assert refused(client_of(server).get_list).kind == "credentials"
        assert elsewhere.asked == []
    assert len(server.asked) == 1


def test_no_cookie_is_kept(server: Server) -> None:
    cookie = "JSESSIONID=1; Path=/"
    server.play = lambda handler: answer(handler, Set_Cookie=cookie)
    client = client_of(server)
    for _ in range(3):
        client.get_list()
    client.post_update(UPDATE)
    assert all("cookie" not in asked.headers for asked in server.asked)
    assert all("authorization" in asked.headers for asked in server.asked)


# --- time ----------------------------------------------------------------------------------


def silent(server: Server, handler: BaseHTTPRequestHandler) -> None:
    """Nothing comes."""
    server.over.wait(20)


def drip(server: Server, handler: BaseHTTPRequestHandler) -> None:
    """A byte now and then."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000000")
    handler.end_headers()
    while not server.over.wait(0.05):
        handler.wfile.write(b" ")


def drip_of_chunks(server: Server, handler: BaseHTTPRequestHandler) -> None:
    """The same in chunks."""
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    while not server.over.wait(0.05):
        handler.wfile.write(b"1\r\n \r\n")


def drip_of_gzip(server: Server, handler: BaseHTTPRequestHandler) -> None:
    """The same of what decompresses to nothing."""
    handler.send_response(200)
    handler.send_header("Content-Encoding", "gzip")
    handler.end_headers()
    while not server.over.wait(0.05):
        handler.wfile.write(gzip.compress(b"")[:1])


def drip_of_headers(server: Server, handler: BaseHTTPRequestHandler) -> None:
    """A header that doesn't end."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Header: ")
    while not server.over.wait(0.05):
        handler.wfile.write(b"x")


@pytest.mark.parametrize("play", [silent, drip, drip_of_chunks, drip_of_gzip, drip_of_headers])
@pytest.mark.parametrize("method", ["get_list", "post_update"])
def test_an_answer_that_doesnt_end_in_time_is_a_timeout(
    server: Server, play: Callable[[Server, BaseHTTPRequestHandler], None], method: str
) -> None:
    server.play = lambda handler: play(server, handler)
    client = client_of(server, timeout=0.3, update_timeout=0.3)
    ask = client.get_list if method == "get_list" else lambda: client.post_update(UPDATE)
    found = refused(ask, 1.5)
    assert found.kind == "timeout" or (found.kind == "unreachable" and play is drip_of_gzip)


def test_an_update_has_more_time_than_the_list(server: Server) -> None:
    def slow(handler: BaseHTTPRequestHandler) -> None:
        server.over.wait(0.5)
        answer(handler)

    server.play = slow
    client = client_of(server, timeout=0.2, update_timeout=5)
    assert refused(client.get_list).kind == "timeout"
    assert client.post_update(UPDATE).status == 200


# --- size ----------------------------------------------------------------------------------

MIB = 1024 * 1024


def endless(handler: BaseHTTPRequestHandler) -> None:
    """As much as is taken."""
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    while True:
        handler.wfile.write(chunk)


def endless_redirect(handler: BaseHTTPRequestHandler) -> None:
    """As much as is taken of the text of a redirect, which nobody shows."""
    handler.send_response(302)
    handler.send_header("Location", "/login")
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    while True:
        handler.wfile.write(b"10000\r\n" + b" " * 65536 + b"\r\n")


def bomb(handler: BaseHTTPRequestHandler) -> None:
    """A quarter of a MiB that becomes 256."""
    answer(handler, BOMB, Content_Encoding="gzip")


BOMB = gzip.compress(b" " * (256 * MIB), 9)


def double_bomb(handler: BaseHTTPRequestHandler) -> None:
    """The same, compressed twice."""
    answer(handler, gzip.compress(BOMB), Content_Encoding="gzip, gzip")


@pytest.mark.parametrize("play", [endless, endless_redirect, bomb, double_bomb])
@pytest.mark.parametrize("method", ["get_list", "get_patient", "post_update"])
def test_an_answer_that_is_too_long_is_refused_while_it_comes(
    server: Server, play: Play, method: str
) -> None:
    server.play = play
    client = client_of(server, max_response_size=MIB)
    ask: dict[str, Callable[[], object]] = {
        "get_list": client.get_list,
        "get_patient": lambda: client.get_patient("p"),
        "post_update": lambda: client.post_update(UPDATE),
    }
    tracemalloc.start()
    try:
        if play is endless_redirect and method == "post_update":
            assert client.post_update(UPDATE).status == 302
        else:
            kind = "credentials" if play is endless_redirect else "too-big"
            assert refused(ask[method]).kind == kind
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 24 * MIB


@pytest.mark.parametrize(("size", "fits"), [(MIB, True), (MIB + 1, False)])
@pytest.mark.parametrize("compressed", [False, True])
def test_the_limit_is_of_what_is_read_not_of_what_is_sent(
    server: Server, size: int, fits: bool, compressed: bool
) -> None:
    body = b"[" + b" " * (size - 1)
    if compressed:
        server.play = lambda handler: answer(handler, gzip.compress(body), Content_Encoding="gzip")
    else:
        server.play = lambda handler: answer(handler, body)
    client = client_of(server, max_response_size=MIB)
    if fits:
        assert client.get_list() == body
    else:
        assert refused(client.get_list).kind == "too-big"
    assert MAX_PAGE < MIB


def truncated(handler: BaseHTTPRequestHandler) -> None:
    """Less than was announced."""
    handler.close_connection = True
    answer(handler, b"[1, 2", Content_Length="1000")


def truncated_chunks(handler: BaseHTTPRequestHandler) -> None:
    """No last chunk."""
    handler.close_connection = True
    answer(handler, b"5\r\n[1, 2\r\n", Content_Length="", Transfer_Encoding="chunked")


def truncated_gzip(handler: BaseHTTPRequestHandler) -> None:
    """Less of a compressed text than was announced: what came may be a list by itself."""
    handler.close_connection = True
    body = gzip.compress(b"[1, 2, 3]")
    answer(handler, body[:-8], Content_Encoding="gzip", Content_Length=str(len(body)))


def no_gzip(handler: BaseHTTPRequestHandler) -> None:
    """What isn't compressed, said to be."""
    answer(handler, b"[1, 2, 3]", Content_Encoding="gzip")


def no_http(handler: BaseHTTPRequestHandler) -> None:
    """Another protocol."""
    handler.wfile.write(b"SSH-2.0-OpenSSH_9.2\r\n")
    handler.close_connection = True


def nothing(handler: BaseHTTPRequestHandler) -> None:
    """An end without a word."""
    handler.close_connection = True


def many_headers(handler: BaseHTTPRequestHandler) -> None:
    """More headers than anybody reads."""
    handler.send_response(200)
    for at in range(500):
        handler.send_header(f"X-{at}", "x")
    handler.end_headers()


@pytest.mark.parametrize(
    "play", [truncated, truncated_chunks, truncated_gzip, no_gzip, no_http, nothing, many_headers]
)
def test_what_breaks_off_or_is_no_answer_is_no_list(server: Server, play: Play) -> None:
    server.play = play
    client = client_of(server)
    assert refused(client.get_list).kind == "unreachable"
    assert refused(lambda: client.post_update(UPDATE)).kind == "unreachable"
    server.play = answer
    assert client.get_list() == b"[]"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://127.0.0.1:1", "refused"),
        ("http://name.invalid", "unknown"),
        (f"http://{'x' * 70}.invalid", ""),
    ],
)
def test_who_isnt_there_is_unreachable(
    server: Server, nobody_is_known: None, url: str, words: str
) -> None:
    found = refused(client_of(server, worklist_url=url).get_list)
    assert found.kind == "unreachable"
    assert words in str(found)


def test_after_the_end_no_exchange_starts(server: Server) -> None:
    client = client_of(server)
    client.close()
    assert refused(client.get_list).kind == "unreachable"
    assert refused(lambda: client.post_update(UPDATE)).kind == "unreachable"
    assert server.asked == []


def test_each_thread_has_its_own_exchange(server: Server) -> None:
    client, together = client_of(server), threading.Barrier(4, timeout=10)

    def play(handler: BaseHTTPRequestHandler) -> None:
        together.wait()
        answer(handler)

    server.play = play
    found: list[bytes] = []
    threads = [threading.Thread(target=lambda: found.append(client.get_list())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [b"[]"] * 4


@pytest.mark.parametrize(
    ("play", "kind"),
    [
        (lambda handler: handler.wfile.write(b"\x15\x03\x01\x00\x02\x02\x46"), "tls-port"),
        (lambda handler: answer(handler, b"... to HTTPS port", 400), "tls-port"),
        (lambda handler: answer(handler, b"", 302, Location="/oauth2login"), "single-sign-on"),
    ],
)
def test_what_the_wrong_port_says_is_understood(server: Server, play: Play, kind: str) -> None:
    def once(handler: BaseHTTPRequestHandler) -> None:
        handler.close_connection = True
        play(handler)

    server.play = once
    assert refused(client_of(server).get_list).kind == kind


def test_a_redirect_to_https_is_told(server: Server) -> None:
    def to_https(handler: BaseHTTPRequestHandler) -> None:
        host = server.url.removeprefix("http://")
        answer(handler, b"", 301, Location=f"https://{host}{handler.path}")

    server.play = to_https
    assert refused(client_of(server).get_list).kind == "https"


def test_an_exception_that_breaks_off_is_openmrs_failure(server: Server) -> None:
    def breaks_off(handler: BaseHTTPRequestHandler) -> None:
        text = b'{"cause": null, "stackTrace": [{"methodName": "m", "className": "a.B"}, {"met'
        handler.close_connection = True
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        handler.wfile.write(b"%x\r\n%s\r\n" % (len(text), text))

    server.play = breaks_off
    client = client_of(server)
    found = refused(client.get_list)
    assert found.kind == "server-error"
    assert str(found).startswith("HTTP 200, an exception in a.B.m")
    for told in (client.post_update(UPDATE), client.post_step_status("abc", "in progress")):
        assert judge(told).verdict is Verdict.EXCEPTION
        assert judge(told).words == "a.B.m"


def test_gzip_is_asked_for(server: Server) -> None:
    server.play = lambda handler: answer(handler, gzip.compress(b"[]"), Content_Encoding="gzip")
    assert client_of(server).get_list() == b"[]"
    assert server.asked[0].headers["accept-encoding"] == "gzip"
