"""Which route answers what, what is refused, and what every answer has."""

import json
import re
from urllib.parse import parse_qsl

import pytest

from orthanc_openmrs.errors import OpenMRSError
from orthanc_openmrs.model import RequestList
from orthanc_openmrs.rest.messages import HttpError, Request, Response, answer
from orthanc_openmrs.rest.router import Route, Router
from orthanc_openmrs.rest.schemas import LARGEST_PAGE
from orthanc_openmrs.worklist.snapshot import Snapshot
from tests.unit.builders import ALICE, BOB, TODAY
from tests.unit.rest.application import REPORT, Application


@pytest.mark.parametrize(
    ("method", "path", "query", "status", "words"),
    [
        ("GET", "/nothing", {}, 404, "no such route"),
        ("GET", "", {}, 404, "no such route"),
        ("GET", "/worklist/99", {}, 404, "no such step"),
        ("GET", "/worklist/99/file", {}, 404, "no such step"),
        ("GET", "/worklist/1/2/3", {}, 404, "no such route"),
        ("GET", f"/worklist/{'1' * 17}/file", {}, 409, "DICOM"),
        ("GET", "/worklist", {"limit": "0"}, 400, "limit"),
        ("GET", "/worklist", {"limit": "-1"}, 400, "limit"),
        ("GET", "/worklist", {"limit": "x"}, 400, "limit"),
        ("GET", "/worklist", {"limit": ""}, 400, "limit"),
        ("GET", "/worklist", {"limit": "1.5"}, 400, "limit"),
        ("GET", "/worklist", {"limit": "٣"}, 400, "limit"),
        ("GET", "/worklist", {"limit": str(LARGEST_PAGE + 1)}, 400, "limit"),
        ("GET", "/worklist", {"limit": "9" * 5000}, 400, "limit"),
        ("GET", "/worklist", {"since": "-1"}, 400, "since"),
        ("GET", "/worklist", {"since": "0" * 12 + "9" * 5000}, 400, "since"),
        ("GET", "/worklist", {"modality": "CT"}, 400, "Modality"),
        ("GET", "/worklist", {"PatientName": "x"}, 400, "unknown"),
        ("GET", "/worklist/1", {"Modality": "CT"}, 400, "aet"),
        ("GET", "/worklist/1", {"aet": "CT1", "Modalty": "CT"}, 400, "keyword"),
    ],
)
def test_a_bad_request_is_refused_in_orthancs_manner(
    app: Application, method: str, path: str, query: dict[str, str], status: int, words: str
) -> None:
    response = app.ask(path, method, **query)
    assert response.status == status
    document = json.loads(response.body)
    assert set(document) == {
        "HttpError",
        "HttpStatus",
        "Code",
        "Message",
        "Details",
        "Method",
        "Uri",
    }
    assert (document["HttpStatus"], document["Method"]) == (status, method)
    assert document["Uri"] == f"/openmrs{path}"
    assert words in document["Message"] + document["Details"]


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("POST", "/worklist", "GET"),
        ("DELETE", "/worklist/1", "GET"),
        ("PUT", "/status", "GET"),
        ("POST", "/worklist/1/file", "GET"),
        ("PUT", "/worklist/refresh", "POST"),
    ],
)
def test_another_method_is_405_with_the_methods_that_are_allowed(
    app: Application, method: str, path: str, allow: str
) -> None:
    response = app.ask(path, method)
    assert response.status == 405
    assert allow in response.allow.replace(" ", "").split(",")
    assert method not in response.allow


def test_a_route_is_found_by_method_and_whole_path() -> None:
    def handler(request: Request, name: str = "") -> Response:
        if name == "bad":
            raise HttpError(409, "no", "details", Retry_After="5")
        return answer({"name": name})

    router = Router(
        [
            Route("GET", "/a.b/{name}", handler, "", ""),
            Route("PUT", "/a.b/{name}", handler, "", ""),
            Route("GET", "/a.b", handler, "", ""),
        ]
    )
    for method, path, status in (
        ("GET", "/a.b/x", 200),
        ("PUT", "/a.b/x", 200),
        ("GET", "/a.b/x/", 200),
        ("GET", "/a.b", 200),
        ("GET", "/a.b/bad", 409),
        ("DELETE", "/a.b/x", 405),
        ("PUT", "/a.b", 405),
        ("GET", "/aXb/x", 404),
        ("GET", "/a.b/x/y", 404),
        ("GET", "/a.b/x\n/y", 404),
        ("GET", "/", 404),
    ):
        assert router.respond(Request(method, path)).status == status, (method, path)
    assert router.respond(Request("DELETE", "/a.b/x")).allow == "GET,PUT"
    assert router.respond(Request("GET", "/a.b/bad")).headers["Retry-After"] == "5"


@pytest.mark.parametrize("route", Application().router.routes, ids=lambda one: one.summary)
def test_every_route_refuses_an_argument_that_it_doesnt_have(route: Route) -> None:
    app = Application()
    names = {"step": "1", "id": "1", "study": "s", "uuid": ALICE, "file": "page.js", "uid": "1.2"}
    path = route.path.format(**names)
    response = app.router.respond(Request(route.method, path, {"Nonsense": "1"}, {}, REPORT))
    assert response.status == 400, response.body


def test_a_list_says_how_long_it_is_and_leads_through_all_of_it(app: Application) -> None:
    whole = json.loads(app.ask("/worklist").body)
    for begin in ({}, {"after": ""}):
        query: dict[str, str] | None = {"limit": "2", "open": "true", **begin}
        told: list[str] = []
        while query is not None:
            response = app.ask("/worklist", **query)
            assert response.headers["X-Total-Count"] == str(len(whole) - 1)
            told += [one["ScheduledProcedureStepID"] for one in json.loads(response.body)]
            found = re.fullmatch(r'<\?(.*)>; rel="next"', response.headers.get("Link", ""))
            query = dict(parse_qsl(found[1], keep_blank_values=True)) if found else None
        ids = [one["ScheduledProcedureStepID"] for one in whole if one["Status"] != "completed"]
        assert sorted(told) == sorted(ids)
        assert begin == {} or told == sorted(told)


@pytest.mark.parametrize("path", ["/status", "/worklist"])
def test_who_has_it_already_gets_304_until_something_changes(app: Application, path: str) -> None:
    def ask(etag: str) -> Response:
        headers = {"if-none-match": etag}
        return app.router.respond(Request("GET", f"/openmrs{path}", {}, headers))

    etag = app.ask(path).headers["ETag"]
    app.clock.now += 5  # the list is older, and that's all
    for known in (etag, f'"x", W/{etag}', "*"):
        again = ask(known)
        assert (again.status, again.body, again.headers["ETag"]) == (304, b"", etag)
    assert ask('"x"').status == ask("").status == 200
    app.worklist.replace(Snapshot.build(RequestList(), read_at=app.clock.now, day=TODAY))
    assert ask(etag).status == 200
    assert ask(etag).headers["ETag"] != etag


@pytest.mark.parametrize(
    ("path", "kept"),
    [
        ("/worklist", "no-store"),
        ("/worklist/1", "no-store"),
        ("/worklist/1/file", "no-store"),
        ("/worklist/nothing", "no-store"),
        ("/notifications", "no-store"),
        ("/studies", "no-store"),
        ("/status", "no-cache"),
        ("/ui", "no-cache"),
    ],
)
def test_what_may_have_patients_data_is_kept_by_no_cache(
    app: Application, path: str, kept: str
) -> None:
    assert app.ask(path).headers["Cache-Control"] == kept


def test_head_is_get_without_its_body(app: Application) -> None:
    whole, head = app.ask("/worklist"), app.ask("/worklist", "HEAD")
    assert (head.status, head.headers, head.body) == (200, whole.headers, b"")
    assert app.ask("/worklist/nothing", "HEAD").status == 404
    assert app.ask("/notifications/1/retry", "HEAD").status == 405


@pytest.mark.parametrize(
    ("path", "query", "code"),
    [
        ("/nothing", {}, "unknown-route"),
        ("/worklist/nothing", {}, "not-found"),
        ("/worklist", {"limit": "0"}, "bad-request"),
        (f"/worklist/{'1' * 17}/file", {}, "conflict"),
        (f"/patients/{BOB.replace('c', 'd')}/candidates", {}, "openmrs-timeout"),
        ("/status", {"full": ""}, "busy"),
    ],
)
def test_an_error_has_a_code_that_programs_can_rely_on(
    app: Application, path: str, query: dict[str, str], code: str
) -> None:
    app.away, app.findings = OpenMRSError("timeout", "no answer within 10 s"), None
    assert json.loads(app.ask(path, **query).body)["Code"] == code


def test_no_list_is_a_code_of_its_own() -> None:
    assert json.loads(Application(None).ask("/worklist").body)["Code"] == "no-worklist"
