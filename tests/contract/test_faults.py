"""Faults on demand: each kind, on the wire and in an answer."""

import gzip
import http.client
import json
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from standin import (
    Fault,
    Standin,
)
from standin.faults import INSTEAD, KINDS
from tests.contract.calls import (
    NO_ANSWER,
    REST,
    Reply,
    add,
    call,
    elements,
    first,
    generations,
    get_list,
    is_cut_exception,
    is_exception,
    post,
    query,
    until,
    update,
)

WRONG_ANSWERS: dict[str, tuple[Fault, int, Callable[[Reply], object]]] = {
    "status": (Fault("status", status=502), 502, lambda r: b"<html" in r.body),
    "says": (Fault("says", status=409, text="no: ចាន់"), 409, lambda r: "ចាន់".encode() in r.body),
    "unauthorized": (Fault("unauthorized"), 401, lambda r: "error" in r.json),
    "forbidden": (Fault("forbidden"), 403, lambda r: "error" in r.json),
    "redirect": (Fault("redirect"), 302, lambda r: "login.htm" in r.headers["Location"]),
    "redirect_oauth2": (
        Fault("redirect_oauth2"),
        302,
        lambda r: r.headers["Location"] == "/openmrs/oauth2login",
    ),
    "redirect_https": (
        Fault("redirect_https"),
        301,
        lambda r: r.headers["Location"].startswith("https://127.0.0.1"),
    ),
    "tls_port": (Fault("tls_port"), 400, lambda r: b"requires TLS" in r.body),
    "exception": (Fault("exception", text="no: ចាន់"), 200, is_exception),
    "exception_cut": (Fault("exception_cut"), 500, is_cut_exception),
    "login_page": (Fault("login_page"), 200, lambda r: b"<html" in r.body),
    "garbage": (Fault("garbage"), 200, lambda r: "json" in r.headers["Content-Type"]),
    "deep": (Fault("deep"), 200, lambda r: r.body == b"[" * 100_000),
    "not_array": (Fault("not_array"), 200, lambda r: isinstance(r.json, dict)),
    "empty_200": (Fault("empty_200"), 200, lambda r: r.body == b""),
    "huge": (Fault("huge", mebibytes=3), 200, lambda r: len(r.json[0]["PatientName"]) == 3 << 20),
}


def test_every_fault_has_a_test() -> None:
    assert {*WRONG_ANSWERS, "exception_breaks", "gzip_bomb"} == set(INSTEAD)
    performed = {"slow", "hang", "cut", "truncated", "endless", "drip"}
    saved = {"cut_after_save", "error_after_save", "exception_after_save"}
    assert set(KINDS) == {*INSTEAD, *performed, *saved}
    with pytest.raises(ValueError, match="no fault 'flood'"):
        Fault("flood")


@pytest.mark.parametrize("kind", WRONG_ANSWERS)
def test_a_wrong_answer_is_given_and_nothing_saved(standin: Standin, kind: str) -> None:
    request = add(standin)
    fault, status, check = WRONG_ANSWERS[kind]
    standin.set_fault(fault)
    for reply in (get_list(standin), post(standin, update(request, 1))):
        assert reply.status == status
        assert check(reply)
    if kind == "garbage":
        with pytest.raises(ValueError, match="Expecting"):
            json.loads(reply.body)
    standin.clear_faults()
    assert first(standin)["PerformedProcedureStepStatus"] == "scheduled"


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("cut", NO_ANSWER),
        ("truncated", http.client.IncompleteRead),
        ("exception_breaks", http.client.IncompleteRead),
    ],
)
def test_a_connection_is_cut(
    standin: Standin, kind: str, error: type[Exception] | tuple[type[Exception], ...]
) -> None:
    request = add(standin)
    standin.set_fault(Fault(kind))
    with pytest.raises(error):
        get_list(standin)
    with pytest.raises(error):
        post(standin, update(request, 1))
    assert standin.records.statuses() == {1: "scheduled"}


@generations("v1", "v2", "v3")
def test_a_post_can_be_saved_and_still_fail(standin: Standin) -> None:
    one, two, three = add(standin), add(standin), add(standin)
    standin.set_fault(Fault("cut_after_save"))
    assert get_list(standin).status == 200  # of POSTs only
    with pytest.raises(NO_ANSWER):
        post(standin, update(one, 1), query(1))
    standin.set_fault(Fault("error_after_save"))
    assert post(standin, update(two, 2, uid="1.2"), query(2, "1.2")).status == 500
    standin.set_fault(Fault("exception_after_save"))
    assert is_exception(post(standin, update(three, 3, uid="1.3"), query(3, "1.3")))
    assert set(standin.records.statuses().values()) == {"completed"}


def test_a_gzip_bomb_is_small_on_the_way(standin: Standin) -> None:
    standin.set_fault(Fault("gzip_bomb", mebibytes=20))
    reply = get_list(standin)
    assert len(reply.body) < 1 << 16
    assert len(gzip.decompress(reply.body)) > 20 << 20


def test_slow_waits_then_works(standin: Standin) -> None:
    add(standin)
    standin.set_fault(Fault("slow", seconds=0.2))
    start = time.monotonic()
    assert len(elements(standin)) == 1
    assert time.monotonic() - start >= 0.2


@pytest.mark.parametrize("kind", ["slow", "hang"])
def test_clearing_ends_a_wait_at_once_and_other_paths_work_meanwhile(
    standin: Standin, kind: str
) -> None:
    add(standin)
    standin.set_fault(Fault(kind, seconds=60), path="worklist/requests")
    with ThreadPoolExecutor(1) as pool:
        hung = pool.submit(elements, standin)
        until(lambda: standin.requests_log)
        assert standin.requests_log[0].status is None
        assert call(standin, "GET", REST + "session").status == 200
        assert not hung.done()
        standin.clear_faults()
        assert len(hung.result(timeout=2)) == 1


def test_a_hung_post_whose_client_left_is_not_saved(standin: Standin) -> None:
    request = add(standin)
    standin.set_fault(Fault("hang"), method="POST")
    with pytest.raises(TimeoutError):
        post(standin, update(request, 1), timeout=0.05)
    until(lambda: standin.requests_log)
    standin.clear_faults()
    assert get_list(standin).status == 200
    assert standin.records.statuses() == {1: "scheduled"}


@pytest.mark.parametrize("kind", ["endless", "drip"])
@pytest.mark.parametrize("end", [Standin.clear_faults, Standin.stop])
def test_a_body_without_end_ends_when_cleared_or_stopped(
    standin: Standin, kind: str, end: Callable[[Standin], None]
) -> None:
    standin.set_fault(Fault(kind))
    connection = http.client.HTTPConnection("127.0.0.1", standin.port, timeout=5)
    connection.request("GET", REST + "session")
    response = connection.getresponse()
    assert response.status == 200
    assert response.read(1) in (b"[", b" ")
    if kind == "endless":
        assert response.read(1 << 20)[:8] == b"{}, {}, "
    start = time.monotonic()
    end(standin)
    with suppress(*NO_ANSWER):  # cut, or ended early
        while response.read(1 << 20):
            pass
    assert time.monotonic() - start < 2
    connection.close()


def test_faults_are_chosen_by_path_method_and_times(standin: Standin) -> None:
    request = add(standin)
    standin.set_fault(Fault("status", status=503), path="worklist/requests", times=2)
    standin.set_fault(Fault("status", status=504), method="POST")
    assert call(standin, "GET", REST + "session").status == 200
    assert [get_list(standin).status for _ in range(3)] == [503, 503, 200]
    assert post(standin, update(request, 1)).status == 504


def test_the_faults_of_one_path_are_cleared_alone(standin: Standin) -> None:
    standin.set_fault(Fault("status"), path="session")
    standin.set_fault(Fault("hang"), path="worklist/requests")
    with ThreadPoolExecutor(1) as pool:
        hung = pool.submit(get_list, standin)
        until(lambda: standin.requests_log)
        standin.clear_faults("session")
        assert call(standin, "GET", REST + "session").status == 200
        assert not hung.done()
        standin.clear_faults("worklist/requests")
        assert hung.result(timeout=2).status == 200


@pytest.mark.parametrize("kind", ["hang", "slow", "endless", "drip"])
def test_stopping_is_quick_whatever_hangs(kind: str) -> None:
    standin = Standin().start()
    standin.set_fault(Fault(kind, seconds=60))
    clients = [socket.create_connection(("127.0.0.1", standin.port)) for _ in range(3)]
    for client in clients:
        client.sendall(b"GET /openmrs/ HTTP/1.1\r\nHost: x\r\n\r\n")
    idle = socket.create_connection(("127.0.0.1", standin.port))
    until(lambda: len(standin.requests_log) == 3)
    start = time.monotonic()
    standin.stop()
    assert time.monotonic() - start < 2
    for client in (*clients, idle):
        client.close()


def test_it_can_go_down_and_come_back_on_its_port(standin: Standin) -> None:
    add(standin)
    url = standin.worklist_url
    standin.stop()
    with pytest.raises(OSError, match="refused"):
        get_list(standin)
    standin.start()
    assert standin.worklist_url == url
    assert len(elements(standin)) == 1
