"""A status POST, and the call back to Orthanc, as each generation has them."""

import http.client
import itertools
from collections.abc import Callable
from typing import Any

import pytest

from standin import ImagingRequest, Standin, StepFields
from tests.contract.calls import (
    JSON_READERS,
    STEP_STATUS,
    STEPPED,
    UID,
    add,
    call,
    elements,
    generations,
    is_cut_exception,
    is_exception,
    post,
    query,
    update,
)

# what is sent, how it is answered (✔ all but v0), the status on a core before 2.5
QUERY_VERDICTS: list[tuple[str, str, int, str]] = [
    (query(1), "done", 200, "completed"),
    (query(999), "done", 200, "scheduled"),
    (query(1, uid="2.25.9"), "cut", 500, "scheduled"),  # another request's
    (query(1, uid="1" * 256), "cut", 500, "scheduled"),
    (query("x"), "exception", 500, "scheduled"),
    (query(" 1"), "exception", 500, "scheduled"),
    (query(2**40), "exception", 500, "scheduled"),
    ("?performedProcedureStepID=1", "exception", 400, "scheduled"),
    (f"?studyInstanceUID={UID}", "exception", 400, "scheduled"),
    ("", "exception", 400, "scheduled"),
]


@generations("v0", "v1")
@pytest.mark.parametrize(("sent", "kind", "old_status", "stored"), QUERY_VERDICTS)
def test_v1_reads_the_query_and_answers_nothing(
    standin: Standin, sent: str, kind: str, old_status: int, stored: str
) -> None:
    request = add(standin)
    add(standin, study_instance_uid="2.25.9")
    reply = post(standin, update(request, "2"), sent)
    assert standin.records.statuses() == {1: stored, 2: "scheduled"}
    if kind == "done":
        assert (reply.status, reply.body) == (200, b"")
        return
    assert {"exception": is_exception, "cut": is_cut_exception}[kind](reply)
    standin.set_behaviour(old_core=True)
    page = post(standin, update(request, "2"), sent)
    assert (page.status, page.headers["Content-Type"][:9]) == (old_status, "text/html")


V2_SEQUENCES: list[tuple[tuple[object, ...], bytes | None, set[int]]] = [
    ((1,), None, {1}),
    ((2, 1), None, {2}),  # one step per POST
    ((None, "x", "", 3, 1), None, {1}),  # 3 is rejected
    ((999, 1), b"No valid procedure step IDs found in payload", set()),
    ((None, "x", 3), b"No series data found in payload", set()),
    ((), b"No series data found in payload", set()),
]


@pytest.mark.parametrize(("ids", "text", "completed"), V2_SEQUENCES)
def test_v2_returns_at_the_first_id_it_finds_or_does_not_know(
    standin: Standin, ids: tuple[object, ...], text: bytes | None, completed: set[int]
) -> None:
    request = add(standin, steps=3)
    standin.records.set_step_status(3, "rejected")
    reply = post(standin, update(request, *ids), query(1))
    assert reply.status == 200
    assert reply.json["score"] > 0 if text is None else reply.body == text
    assert {i for i, s in standin.records.statuses().items() if s == "completed"} == completed
    uid = standin.records.request(1).study_instance_uid
    assert uid == (UID if completed else None)


def without(body: dict[str, Any], key: str) -> dict[str, Any]:
    return {k: v for k, v in body.items() if k != key}


def in_first(body: dict[str, Any], part: str, **changes: object) -> dict[str, Any]:
    entry = dict(body["seriesList"][0])
    entry[part] = {**(entry[part] or {}), **changes}
    return {**body, "seriesList": [entry, *body["seriesList"][1:]]}


def in_study(body: dict[str, Any], **changes: object) -> dict[str, Any]:
    return {**body, "studyInfo": {**body["studyInfo"], **changes}}


# ✔: unknown keys are ignored, numbers are taken as texts, the rest is an exception
BODIES: dict[str, tuple[str, Callable[[dict[str, Any]], object]]] = {
    "studyID in studyInfo": ("done", lambda body: in_study(body, studyID=None)),
    "unknown key at the top": ("done", lambda body: {**body, "x": {"y": []}}),
    "unknown key in instanceInfo": ("done", lambda body: in_first(body, "instanceInfo", x=[])),
    "unknown key in seriesInfo": ("done", lambda body: in_first(body, "seriesInfo", x=1)),
    "a number for a text": (
        "done",
        lambda body: in_first(body, "instanceInfo", numberOfSlices=3),
    ),
    "an object for a text": ("cut", lambda body: in_study(body, accessionNumber={})),
    "an array": ("cut", lambda body: [body]),
    "no JSON": ("cut", lambda body: b"{"),
    "null": ("cut", lambda body: b"null"),
    "no studyInfo": ("invalid", lambda body: without(body, "studyInfo")),
    "no seriesList": ("invalid", lambda body: without(body, "seriesList")),
}


@generations(*JSON_READERS)
@pytest.mark.parametrize("change", BODIES)
def test_a_body_is_read_as_jackson_does(standin: Standin, change: str) -> None:
    kind, changed = BODIES[change]
    reply = post(standin, changed(update(add(standin), 1)), query(1))
    assert standin.records.statuses() == {1: "completed" if kind == "done" else "scheduled"}
    match kind:
        case "done":
            assert reply.json["score"] > 0
        case "cut":
            assert is_cut_exception(reply)
        case "invalid":
            assert (reply.status, reply.body) == (400, b"Invalid Orthanc update payload")


@generations(*JSON_READERS)  # ✔
def test_a_body_that_is_not_announced_as_json_is_an_exception(standin: Standin) -> None:
    add(standin)
    assert is_exception(post(standin, None, query(1)))
    standin.set_behaviour(old_core=True)
    assert post(standin, None, query(1)).status == 415


@generations(*STEPPED)
def test_one_form_suits_all(standin: Standin) -> None:
    body = update(add(standin), 1)
    for entry in body["seriesList"]:
        entry["performedProcedureStepID"] = "1"  # v1.9's name of it
    reply = post(standin, body, query(1))
    assert (reply.status, standin.records.statuses()) == (200, {1: "completed"})
    assert elements(standin)[0]["StudyInstanceUID"] == UID
    assert standin.records.request(1).status == "completed"
    assert post(standin, body, query(1)).status == 200  # again


@generations("v1.9")
def test_v1_9_names_the_step_otherwise(standin: Standin) -> None:
    reply = post(standin, update(add(standin), 1), query(1))
    assert reply.body == b"No series data found in payload"
    assert standin.records.statuses() == {1: "scheduled"}


@generations(*JSON_READERS)  # ✔
def test_another_requests_study_is_a_data_error(standin: Standin) -> None:
    request = add(standin)
    standin.records.add_request(request.patient, study_instance_uid=UID)
    assert is_cut_exception(post(standin, update(request, 1)))
    assert standin.records.step(1).status == "scheduled"


def body_of(request: ImagingRequest, entries: int, *, poor: bool) -> dict[str, Any]:
    """Entries for one step each, from images that say much or little."""
    body = update(request, *range(1, entries + 1))
    for entry in body["seriesList"] if poor else ():
        instance = entry["instanceInfo"]
        instance |= dict.fromkeys(("patientBirthDate", "scheduledPerformingPhysician"))
        instance["performedProcedureStepDescription"] = None
        instance["performedProcedureStepStartDate"] = None
        entry["seriesInfo"]["stationName"] = None
    return body


@generations("1.1.6", "v2", "v4")  # ✔
@pytest.mark.parametrize(
    ("poor", "fits", "least", "most"), [(False, 6, 280, 350), (True, 3, 400, 500)]
)
def test_the_result_column_holds_so_many_entries_only(
    standin: Standin, poor: bool, fits: int, least: int, most: int
) -> None:
    request = add(standin, steps=8)
    sizes = []
    for entries in range(1, fits + 1):
        reply = post(standin, body_of(request, entries, poor=poor))
        sizes.append(len(reply.body.decode()))
        standin.records.set_step_status(1, "scheduled")
    assert {least <= b - a <= most for a, b in itertools.pairwise(sizes)} == {True}
    assert is_cut_exception(post(standin, body_of(request, fits + 1, poor=poor)))
    assert set(standin.records.statuses().values()) == {"scheduled"}

    standin.set_behaviour(strict_sql=False)  # a MySQL that cuts silently
    assert post(standin, body_of(request, fits + 1, poor=poor)).json["score"] >= 0
    assert standin.records.statuses()[1] == "completed"


def test_v3_stores_results_of_any_length() -> None:
    with Standin("v3") as standin:
        request = add(standin, steps=12)
        assert post(standin, body_of(request, 12, poor=True)).status == 200
        assert set(standin.records.statuses().values()) == {"completed"}


@generations("1.1.6", "v2", "v3", "v4")
def test_the_score_tells_the_differences(standin: Standin) -> None:
    request = add(standin)
    good, bad = update(request, 1), in_study(update(request, 1), referringPhysicianName="X")
    best = 100 if standin.generation == "v3" else 76
    assert post(standin, good).json["score"] == best
    told = post(standin, bad).json
    assert told["score"] == best - 10
    assert told["differences"][0] == (
        {"tag": "RequestingPhysician", "fromOpenmrs": "Dr. R", "fromPacs": "X"} | {"stepId": None}
    )


V3_REFUSALS: dict[str, tuple[int, Callable[[dict[str, Any]], object]]] = {
    "an entry without id": (400, lambda body: body_with_id(body, None)),
    "an id that is no integer": (400, lambda body: body_with_id(body, "1a")),
    "no series": (400, lambda body: {**body, "seriesList": []}),
    "no study": (400, lambda body: in_study(body, studyInstanceUID=" ")),
    "an unknown step": (404, lambda body: body_with_id(body, "999")),
    "another patient": (409, lambda body: in_first(body, "instanceInfo", patientID="1")),
    "no patient": (409, lambda body: in_first(body, "instanceInfo", patientID=None)),
    "two step ids": (
        409,
        lambda body: in_first(body, "instanceInfo", scheduledProcedureStepID="2"),
    ),
    "another study": (409, lambda body: in_first(body, "instanceInfo", studyInstanceUID="1.2")),
    "a cut accession": (409, lambda body: in_study(body, accessionNumber="1234567890123456")),
    "another request's step": (409, lambda body: body_with_id(body, "4")),
    "a rejected step alone": (409, lambda body: only_step(body, "3")),
}


def body_with_id(body: dict[str, Any], step_id: str | None) -> dict[str, Any]:
    """The second entry gets another id; the first one stays right."""
    entry = in_first(
        {"seriesList": [body["seriesList"][1]]}, "instanceInfo", scheduledProcedureStepID=step_id
    )["seriesList"][0]
    return {
        **body,
        "seriesList": [body["seriesList"][0], {**entry, "scheduledProcedureStepID": step_id}],
    }


def only_step(body: dict[str, Any], step_id: str) -> dict[str, Any]:
    changed = body_with_id(body, step_id)
    return {**changed, "seriesList": changed["seriesList"][1:]}


@generations("v3")
@pytest.mark.parametrize("reason", V3_REFUSALS)
def test_v3_checks_everything_before_it_saves_anything(standin: Standin, reason: str) -> None:
    request = add(standin, steps=3, accession="1234567890123456789")
    standin.records.add_request(request.patient, steps=[StepFields()])
    standin.records.set_step_status(3, "rejected")
    before = standin.records.requests()
    status, change = V3_REFUSALS[reason]
    assert post(standin, change(update(request, 1, 2))).status == status
    assert standin.records.requests() == before


@pytest.mark.parametrize("standin", ["v3"], indirect=True)
def test_v3_refuses_a_study_that_is_another_patients(standin: Standin) -> None:
    request = add(standin)
    add(standin, study_instance_uid=UID)
    reply = post(standin, update(request, 1))
    assert (reply.status, b"already linked to another patient" in reply.body) == (409, True)


@pytest.mark.parametrize("standin", ["v3"], indirect=True)
def test_v3_completes_all_the_steps_listed_but_the_rejected(standin: Standin) -> None:
    request = add(standin, steps=4)
    standin.records.set_step_status(3, "rejected")
    assert post(standin, update(request, 1, 2, 3)).json["score"] > 0
    expected = {1: "completed", 2: "completed", 3: "rejected", 4: "scheduled"}
    assert standin.records.statuses() == expected
    assert standin.records.request(1).status == "progress"


STEP_STATUS_ROWS: list[tuple[str, int, str]] = [
    ("?stepId=1&status=in+progress", 200, "in progress"),
    ("?stepId=1&status=In%20Progress", 200, "In Progress"),
    ("?stepId=1&status=rejected", 200, "rejected"),
    ("?stepId=999&status=completed", 404, "scheduled"),
    ("?stepId=1&status=done", 400, "scheduled"),
    ("?stepId=1", 400, "scheduled"),
    ("?stepId=0&status=completed", 400, "scheduled"),
]


@generations("1.1.6", "v2", "v3", "v4")
@pytest.mark.parametrize(("sent", "status", "stored"), STEP_STATUS_ROWS)
def test_a_steps_status_can_be_set_from_1_1_6_on(
    standin: Standin, sent: str, status: int, stored: str
) -> None:
    add(standin)
    reply = call(standin, "POST", STEP_STATUS + sent)
    assert standin.records.step(1).status == stored
    if standin.generation == "1.1.6" and status != 200:  # ✔ it checks nothing by itself
        assert is_exception(reply)
    else:
        assert reply.status == status


@generations("1.1.6", "v2", "v3", "v4")  # ✔
def test_a_step_id_that_is_no_number_breaks_the_answer_off(standin: Standin) -> None:
    add(standin)
    with pytest.raises(http.client.IncompleteRead):
        call(standin, "POST", STEP_STATUS + "?stepId=abc&status=completed")
    assert standin.requests_log[-1].status == 200
    standin.set_behaviour(old_core=True)
    assert call(standin, "POST", STEP_STATUS + "?stepId=abc&status=completed").status == 400


@generations("v0", "v0.9", "1.1.4", "v1", "v1.9")
def test_older_ones_have_no_route_for_a_steps_status(standin: Standin) -> None:
    add(standin)
    assert call(standin, "POST", STEP_STATUS + "?stepId=1&status=completed").status == 404
