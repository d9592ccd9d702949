"""What Orthanc's callbacks may raise, what they answer, and what reaches Orthanc's log."""

import json
import logging
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from orthanc_openmrs.completion.study import read_study
from orthanc_openmrs.errors import (
    NotFound,
    OpenMRSError,
    PluginError,
    StoreError,
    WorklistUnavailable,
)
from orthanc_openmrs.host import guards, logs
from orthanc_openmrs.metrics import FAILED
from orthanc_openmrs.rest.messages import HttpError, Request, Response, answer, error
from orthanc_openmrs.rest.router import Route, Router
from orthanc_openmrs.rest.worklist import KEYWORDS
from orthanc_openmrs.worklist.service import Answers
from tests.unit.doubles import (
    Connection,
    Find,
    OrthancException,
    OrthancModule,
    OrthancModule7,
    Output,
    Output4,
)


@pytest.fixture
def orthanc() -> Iterator[OrthancModule]:
    """An Orthanc that has the plugin's log."""
    logger = logging.getLogger(logs.LOGGER)
    before = (logger.handlers, logger.level, logger.propagate)
    module = OrthancModule()
    logs.install(module)
    yield module
    logger.handlers, logger.level, logger.propagate = before


def raising(problem: Exception) -> Callable[..., Any]:
    """A use case that fails."""

    def fail(*_: object) -> Any:
        raise problem

    return fail


# --- C-FIND --------------------------------------------------------------------------------


def test_a_query_gets_its_answers_and_no_more(orthanc: OrthancModule) -> None:
    asked: list[tuple[bytes, str]] = []

    def answers_to(identifier: bytes, ae_title: str) -> Answers:
        asked.append((identifier, ae_title))
        return Answers([b"1", b"2"])

    find = Find(b"query")
    guards.worklist_callback(answers_to)(find, find, "CT1", "ORTHANC")
    assert (asked, find.answered) == ([(b"query", "CT1")], [b"1", b"2"])
    assert orthanc.lines == [("info", "OpenMRS: 2 steps for CT1")]


def test_what_orthanc_would_drop_of_an_interval_is_said(orthanc: OrthancModule) -> None:
    find = Find(b"")
    guards.worklist_callback(lambda identifier, ae_title: Answers([], 3))(find, find, "CT1", "O")
    assert [level for level, line in orthanc.lines if "3 steps" in line] == ["warning"]


@pytest.mark.parametrize(
    "problem",
    [WorklistUnavailable("the worklist is 90000 s old"), ValueError("no DICOM dataset")],
)
def test_a_query_fails_where_an_empty_answer_would_read_as_no_patients(
    orthanc: OrthancModule, problem: Exception
) -> None:
    find = Find(b"")
    with pytest.raises(type(problem)):
        guards.worklist_callback(raising(problem))(find, find, "CT1", "ORTHANC")
    assert find.answered == []
    assert orthanc.lines == [("error", f"OpenMRS: the query of CT1 fails: {problem}")]


def test_what_nobody_expected_fails_a_query_without_its_words(orthanc: OrthancModule) -> None:
    find = Find(b"")
    with pytest.raises(WorklistUnavailable) as caught:
        guards.worklist_callback(raising(KeyError(SECRET)))(find, find, "CT1", "ORTHANC")
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    ((level, line),) = orthanc.lines
    assert level == "error"
    assert "CT1" in line
    assert "KeyError" in line
    assert SECRET not in line


def test_the_caller_is_logged_with_its_address_where_orthanc_tells_it(
    orthanc: OrthancModule,
) -> None:
    find = Find(b"")
    asked: list[tuple[str, str, int]] = []
    on_worklist = guards.worklist_callback(
        lambda identifier, ae_title: Answers([ae_title.encode()], 3),
        asked=lambda *who: asked.append(who),
    )
    old, new = OrthancModule(), OrthancModule7()
    calls: list[tuple[OrthancModule, tuple[Any, ...]]] = [
        (old, ("CT1", "ORTHANC")),
        (new, (Connection("CT1", "192.0.2.7"),)),
        (new, (Connection("CT1", ""),)),
    ]
    for module, arguments in calls:
        assert guards.register_worklist(module, on_worklist) == module.on_worklist
        module.on_worklist(find, find, *arguments)
    assert find.answered == [b"CT1"] * 3
    assert (old.done, new.done) == (["worklist"], ["worklist 2"] * 2)
    assert asked == [("CT1", "", 1), ("CT1", "192.0.2.7", 1), ("CT1", "", 1)]
    callers = ("CT1", "CT1 at 192.0.2.7", "CT1")
    assert [line for level, line in orthanc.lines if level == "info"] == [
        f"OpenMRS: 1 steps for {caller}" for caller in callers
    ]
    warned = [line for level, line in orthanc.lines if level == "warning"]
    assert all(
        line.startswith(f"OpenMRS: {caller} asks for a range")
        for line, caller in zip(warned, callers, strict=True)
    )
    for problem, words in ((WorklistUnavailable("too old"), ": too old"), (KeyError(SECRET), "")):
        guards.register_worklist(new, guards.worklist_callback(raising(problem)))
        with pytest.raises(WorklistUnavailable):
            new.on_worklist(find, find, Connection("CT1", "192.0.2.7"))
        level, line = orthanc.lines[-1]
        assert level == "error"
        assert line.startswith(f"OpenMRS: the query of CT1 at 192.0.2.7 fails{words}")


# --- changes -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("problem", "lines"),
    [
        (None, []),
        (StoreError("the database fails: disk full"), ["disk full"]),
        (PluginError("odd"), ["odd"]),
        (RuntimeError("odder"), ["RuntimeError"]),
        (KeyError(7), ["KeyError"]),
        (RecursionError(), ["RecursionError"]),
    ],
)
def test_a_change_callback_never_raises(
    orthanc: OrthancModule, problem: Exception | None, lines: list[str]
) -> None:
    seen: list[tuple[int, int, str]] = []

    def on_change(change_type: int, level: int, resource: str) -> None:
        seen.append((change_type, level, resource))
        if problem:
            raise problem

    guards.change_callback(on_change)(9, 1, "abc")
    assert seen == [(9, 1, "abc")]
    assert [level for level, _ in orthanc.lines] == ["error"] * len(lines)
    assert all("abc" in line and words in line for words, (_, line) in zip(lines, orthanc.lines))  # noqa: B905 - both or none
    assert all(len(line.splitlines()) == 1 for _, line in orthanc.lines)


# --- REST ----------------------------------------------------------------------------------


def respond(request: Request) -> Response:
    """A route for each kind of end."""

    def handler(request: Request, name: str) -> Response:
        ends: dict[str, Exception] = {
            "NotFound": NotFound("no ចាន់"),
            "HttpError": HttpError(409, "no", "why", Retry_After="5"),
            "OpenMRSError": OpenMRSError("timeout", "no answer"),
            "StoreError": StoreError("disk full"),
            "Odd": RuntimeError("odd"),
            "KeyError": KeyError("x"),
        }
        if name in ends:
            raise ends[name]
        return answer({"name": name, "query": dict(request.query), "body": request.body.decode()})

    any_query = (KEYWORDS,)
    return Router(
        [Route(method, "/r/{name}", handler, "", "", query=any_query) for method in ("GET", "POST")]
    ).respond(request)


@pytest.mark.parametrize("output_type", [Output, Output4])
@pytest.mark.parametrize(
    ("uri", "details", "status", "words", "header"),
    [
        ("/r/x", {"method": "GET"}, 200, '"name": "x"', None),
        ("/r/x", {"method": "GET", "get": {"a": "b"}}, 200, '"a": "b"', None),
        ("/r/x", {"method": "GET", "get": {"a+b": "x%20%C3%BF"}}, 200, '"a b": "x ÿ"', None),
        ("/r/x", {"method": "POST", "body": b"text"}, 200, '"body": "text"', None),
        ("/r/x", {"method": "POST", "body": None}, 200, '"body": ""', None),
        ("/r/NotFound", {"method": "GET"}, 404, "no ចាន់", None),
        ("/r/HttpError", {"method": "GET"}, 409, "why", ("Retry-After", "5")),
        ("/r/OpenMRSError", {"method": "GET"}, 503, "in time", ("Retry-After", "10")),
        ("/r/StoreError", {"method": "GET"}, 503, "disk full", ("Retry-After", "10")),
        ("/r/Odd", {"method": "GET"}, 500, "log", None),
        ("/r/KeyError", {"method": "GET"}, 500, "log", None),
        ("/elsewhere", {"method": "GET"}, 404, "no such route", None),
        ("/r/x", {"method": "DELETE"}, 405, "", ("Allow", "GET,POST")),
        (
            "/r/x",
            {"method": "POST", "headers": {"sec-fetch-site": "cross-site"}},
            403,
            "another site",
            None,
        ),
    ],
)
def test_every_request_gets_one_answer_whichever_plugin_it_is(
    orthanc: OrthancModule,
    output_type: type[Output],
    uri: str,
    details: dict[str, Any],
    status: int,
    words: str,
    header: tuple[str, str] | None,
) -> None:
    output = output_type()
    guards.rest_callback(respond)(output, uri, **details)
    assert (output.answers, output.status) == (1, status)
    assert words in output.body.decode()
    assert status == 405 or output.headers["Content-Type"] == "application/json"
    assert header is None or output.headers[header[0]] == header[1]
    assert status in (200, 405) or json.loads(output.body)["HttpStatus"] == status
    failed = [level for level, line in orthanc.lines if "failed" in line]
    assert failed == ["error"] * (status == 500)


@pytest.mark.parametrize(
    ("decoded", "given", "meant"),
    [
        (False, {"a": "CT%2BCT", "b": "x+y"}, {"a": "CT+CT", "b": "x y"}),
        (
            False,
            {"%61": "%E1%9E%85", "b": "%FF", "c": "100%"},
            {"a": "ច", "b": "\ufffd", "c": "100%"},
        ),
        (True, {"a": "CT+CT", "b": "%41"}, {"a": "CT+CT", "b": "%41"}),
    ],
)
def test_arguments_are_decoded_once_whichever_orthanc_it_is(
    decoded: bool, given: dict[str, str], meant: dict[str, str]
) -> None:
    asked: list[Request] = []

    def ask(request: Request) -> Response:
        asked.append(request)
        return Response(200)

    guards.rest_callback(ask, decoded=decoded)(Output(), "/x", method="GET", get=given, headers={})
    assert asked[0].query == meant


def test_queries_are_noted_with_their_answers_or_as_failed() -> None:
    noted: list[int] = []
    find = Find(b"")
    callback = guards.worklist_callback(
        lambda identifier, ae_title: Answers([b"1", b"2"]), lambda _, answers: noted.append(answers)
    )
    callback(find, find, "CT1", "O")
    failing = guards.worklist_callback(
        raising(ValueError("no dataset")), lambda _, answers: noted.append(answers)
    )
    with pytest.raises(ValueError, match="no dataset"):
        failing(find, find, "CT1", "O")
    assert noted == [2, FAILED]


def test_a_response_isnt_made_on_the_small_stack_of_orthancs_thread() -> None:
    makers: list[threading.Thread] = []

    def respond(request: Request) -> Response:
        makers.append(threading.current_thread())
        return Response(200)

    output = Output()
    guards.rest_callback(respond)(output, "/x", method="GET", get={}, headers={})
    (maker,) = makers
    assert maker is not threading.current_thread()
    assert (output.status, maker.is_alive(), maker.daemon) == (200, False, True)


def test_a_request_is_answered_though_no_thread_can_be_started(
    orthanc: OrthancModule, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    output = Output()
    guards.rest_callback(lambda request: Response(200))(
        output, "/x", method="GET", get={}, headers={}
    )
    assert output.status == 500
    assert orthanc.lines == [("error", "OpenMRS: GET /x failed: can't start new thread")]


def test_an_error_has_the_words_it_was_given(orthanc: OrthancModule) -> None:
    output = Output()
    refuse: Callable[[Request], Response] = lambda request: error(409, "no", request, "why")  # noqa: E731
    guards.rest_callback(refuse)(output, "/x", method="PUT", get={}, headers={})
    document = json.loads(output.body)
    assert (document["Message"], document["Details"], document["Method"]) == ("no", "why", "PUT")


# --- Orthanc's core ------------------------------------------------------------------------


@pytest.mark.parametrize("code", [7, 17])
def test_what_orthanc_doesnt_have_is_none(code: int) -> None:
    module = OrthancModule({"/studies/s": OrthancException(code, "Inexistent item")})
    assert guards.core_rest(module)("/studies/s") is None


def test_other_errors_of_orthanc_are_errors() -> None:
    module = OrthancModule({"/studies/s": OrthancException(3, "Bad parameter")})
    module.routes["/bare"] = OrthancException()
    for route in ("/studies/s", "/bare"):
        with pytest.raises(OrthancException):
            guards.core_rest(module)(route)


ID = "0123abcd-0123abcd-0123abcd-0123abcd-0123abcd"


@pytest.mark.parametrize(
    ("name", "found"),
    [
        (ID, ID),
        (ID.replace("0123", "9999"), None),
        ("1.2.3", ID),
        ("1.2.4", None),
        ("4711", None),
        (f"{ID}\n", None),
        ("../system", None),
        ("ចាន់", None),
        ("", None),
    ],
)
def test_a_study_is_found_by_either_name(name: str, found: str | None) -> None:
    module = OrthancModule({f"/studies/{ID}": {"ID": ID}})
    series = {"ID": "series", "Path": "", "Type": "Series"}
    module.routes |= {
        "/tools/lookup 1.2.3": [series, {"ID": ID, "Path": "", "Type": "Study"}],
        "/tools/lookup 4711": [{"ID": "p", "Path": "", "Type": "Patient"}],
    }
    for other in ("1.2.4", f"{ID}\n", "../system", "ចាន់", ""):
        module.routes[f"/tools/lookup {other}"] = []
    assert guards.look_up_study(module)(name) == found


def test_texts_that_no_database_takes_are_mended_where_they_come_in() -> None:
    module = OrthancModule()
    module.routes |= {
        "/studies/s": b'{"MainDicomTags": {"StudyDescription": "half \xed\xa0\xbd"}}',
        "/studies/s/series": [],
    }
    study = read_study(guards.core_rest(module), "s")
    assert study is not None
    assert study.study_description.encode().startswith(b"half ")


# --- the log -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("level", "name"),
    [
        (logging.CRITICAL, "error"),
        (logging.ERROR, "error"),
        (logging.WARNING, "warning"),
        (logging.INFO, "info"),
        (logging.DEBUG, None),
    ],
)
def test_each_record_is_one_line_of_orthancs_log(
    orthanc: OrthancModule, level: int, name: str | None
) -> None:
    logging.getLogger(f"{logs.LOGGER}.part").log(level, "two\nlines of %s", "text")
    assert orthanc.lines == ([(name, "OpenMRS: two lines of text")] if name else [])


SECRET = "Zanahoria Marker"


def test_an_unexpected_error_is_told_by_type_and_place_without_its_words(
    orthanc: OrthancModule,
) -> None:
    try:
        try:
            raising(ValueError(SECRET))()
        except ValueError as inner:
            raise RuntimeError(f"about {SECRET}") from inner
    except RuntimeError:
        logging.getLogger(f"{logs.LOGGER}.part").exception("study %s", "abc")
    ((level, line),) = orthanc.lines
    assert level == "error"
    assert line.startswith("OpenMRS: study abc: Traceback of RuntimeError: test_guards.py:")
    assert SECRET not in line


def test_what_a_terminal_would_obey_stays_out_of_the_log(orthanc: OrthancModule) -> None:
    logging.getLogger(logs.LOGGER).error("the query of %s fails", "\x1b[2J\x9b\u202e\r\nCT1 ចាន់")
    ((_, line),) = orthanc.lines
    assert line == "OpenMRS: the query of \ufffd[2J\ufffd\ufffd CT1 ចាន់ fails"


def test_the_log_is_installed_once_and_reaches_nobody_else(
    orthanc: OrthancModule, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        logs.install(orthanc)
    logging.getLogger(logs.LOGGER).error("once")
    assert orthanc.lines == [("error", "OpenMRS: once")]
    assert caplog.messages == []
