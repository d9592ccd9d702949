"""The status update and its answers: an update is exact, a verdict is a table."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orthanc_openmrs.model import Answer, ImagingRequest
from orthanc_openmrs.openmrs.answers import problem_of, read_exception
from orthanc_openmrs.openmrs.imaging_list import read_list
from orthanc_openmrs.openmrs.verdicts import (
    StatusUpdate,
    Verdict,
    judge,
    judge_empty_update,
    judge_step_status,
    status_update,
)
from tests.unit.builders import ALICE, request, series, step, study


def listing(**keys: object) -> bytes:
    """A list of one request, as OpenMRS sends it."""
    return json.dumps([{"RequestedProcedureID": "7", **keys}]).encode()


def test_an_update_is_exactly_what_the_contract_says() -> None:
    images = series(
        "CT",
        series_description="Axial",
        instances=120,
        performed_procedure_step_start_date="20250703",
        performing_physician_name="Roe^Jane",
    )
    update = status_update(
        study(
            images,
            series("MR"),
            study_instance_uid="2.25.1",
            patient_name="Jones^Alice",
            patient_birth_date="19900101",
        ),
        request("7", accession_number="1234567890123456789"),
        step("14"),
        images,
    )
    assert update.parameters == {"studyInstanceUID": "2.25.1", "performedProcedureStepID": "14"}
    assert update.body == {
        "studyInfo": {
            "accessionNumber": "1234567890123456789",
            "studyInstanceUID": "2.25.1",
            "referringPhysicianName": None,
            "studyDescription": None,
        },
        "seriesList": [
            {
                "seriesInfo": {
                    "seriesID": "9.9.CT",
                    "modality": "CT",
                    "seriesDescription": "Axial",
                    "seriesInstanceUID": "9.9.CT",
                    "stationName": None,
                    "parentStudy": "orthanc-study",
                },
                "instanceInfo": {
                    "patientBirthDate": "19900101",
                    "patientID": ALICE,
                    "patientName": "Jones^Alice",
                    "scheduledProcedureStepID": "14",
                    "studyInstanceUID": "2.25.1",
                    "numberOfSlices": "120",
                    "scheduledPerformingPhysician": "Roe^Jane",
                    "performedProcedureStepDescription": None,
                    "performedProcedureStepStartDate": "20250703",
                    "performedProcedureStepStartTime": None,
                    "requestedProcedureDescription": None,
                },
                "scheduledProcedureStepID": "14",
                "performedProcedureStepID": "14",
            }
        ],
    }
    assert StatusUpdate.from_json(update.to_json()) == update


def test_every_value_of_an_update_is_a_text_or_none() -> None:
    def leaves(value: Any) -> list[Any]:
        if isinstance(value, dict):
            value = list(value.values())
        return (
            [leaf for part in value for leaf in leaves(part)]
            if isinstance(value, list)
            else [value]
        )

    update = status_update(study(), request(), step("14"), series())
    assert all(leaf is None or isinstance(leaf, str) for leaf in leaves(update.body))


@pytest.mark.parametrize("number", ["AB  12", "A\\B", "é-1", " 12 ", "x" * 255])
def test_the_accession_number_goes_back_exactly_as_it_came(number: str) -> None:
    # v3 answers 409 to any other text.
    (found,) = read_list(listing(AccessionNumber=number)).requests
    update = status_update(study(), found, step("14"), series())
    assert update.body["studyInfo"]["accessionNumber"] == number


@pytest.mark.parametrize("key", ["AccessionNumber", "PatientID"])
def test_an_update_can_be_stored_and_sent_whatever_openmrs_wrote(key: str) -> None:
    found: ImagingRequest = read_list(listing(**{key: "a\ud800b"})).requests[0]
    assert status_update(study(), found, step("14"), series()).to_json().encode()


def answered(status: int, body: bytes, location: str = "") -> Answer:
    """An answer as the transport gives it."""
    asked = "http://openmrs/openmrs/ws/rest/v1/worklist/updaterequeststatus"
    kind = problem_of(status, asked=asked, location=location, body=body)
    return Answer(status, body, problem=kind)


# --- the verdict ---------------------------------------------------------------------------

FAILED = b'{"cause": null, "stackTrace": [], "message": "Data too long for column"}'
MISSING = FAILED.replace(b"Data too long for column", b"Required String parameter is not present")
PAGE = b"\r\n<!DOCTYPE html><html><body>Please wait, 42 <b>Jones</b></body></html>"


@pytest.mark.parametrize(
    ("status", "body", "verdict", "why"),
    [
        (200, b'{"score": 0.9}', Verdict.DELIVERED, "v2, v3: done"),
        (200, b' {"id": 1, "score": null} ', Verdict.DELIVERED, "an object with score"),
        (200, b"", Verdict.CONFIRM, "v1: done or unknown"),
        (200, b" \r\n", Verdict.CONFIRM, "v1"),
        (200, b"No valid procedure step IDs found in payload", Verdict.CONFIRM_REFUSED, "v2"),
        (200, b'"No series data found in payload"', Verdict.CONFIRM_REFUSED, "v2, quoted"),
        (200, b"{}", Verdict.RETRY, "an object without score"),
        (200, b"[" * 100_000, Verdict.RETRY, "too deep to be read"),
        (200, b"\xff\xfe", Verdict.CONFIRM_REFUSED, "no text"),
        (200, PAGE, Verdict.RETRY, "a sign-in page"),
        (200, b"\xef\xbb\xbf<html>", Verdict.RETRY, "a page with a byte order mark"),
        (204, b"", Verdict.RETRY, "no word of the contract"),
        (302, b"", Verdict.RETRY, "to the sign-in"),
        (400, b"Invalid Orthanc update payload", Verdict.REFUSED, "v2"),
        (400, b'{"error": {"message": "no id"}}', Verdict.REFUSED, "v3"),
        (400, b"", Verdict.REFUSED, "v1: a parameter is missing"),
        (401, b"", Verdict.RETRY, "an administrator can mend it"),
        (401, b'{"error": {"message": "denied"}}', Verdict.RETRY, "the same"),
        (403, b"Forbidden", Verdict.RETRY, "the same"),
        (404, b'{"error": {"message": "Unknown step"}}', Verdict.CONFIRM_UNKNOWN, "v3"),
        (404, b"", Verdict.CONFIRM_UNKNOWN, "the module isn't loaded, or v3"),
        (404, PAGE, Verdict.RETRY, "Tomcat while OpenMRS restarts"),
        (400, PAGE, Verdict.RETRY, "Tomcat, not OpenMRS"),
        (409, b'{"error": {"message": "patient"}}', Verdict.REFUSED, "v3"),
        (408, b"", Verdict.RETRY, "a proxy"),
        (413, b"", Verdict.RETRY, "a proxy"),
        (429, b"", Verdict.RETRY, "a proxy"),
        (500, PAGE, Verdict.RETRY, "it may be saved"),
        (500, b'{"error": {"message": "boom"}}', Verdict.RETRY, "it may be saved"),
        (502, b"", Verdict.RETRY, "a proxy"),
        (200, FAILED, Verdict.EXCEPTION, "an exception, whole"),
        (500, FAILED[:-9], Verdict.EXCEPTION, "the same, cut: it may be saved"),
        (500, FAILED, Verdict.EXCEPTION, "the same, whole"),
        (400, FAILED, Verdict.EXCEPTION, "an exception is never a refusal"),
        (400, b"plain HTTP request was sent to HTTPS port", Verdict.RETRY, "a TLS port"),
        (503, PAGE, Verdict.RETRY, "a proxy"),
    ],
)
def test_the_verdict_on_an_answer(status: int, body: bytes, verdict: Verdict, why: str) -> None:
    judgement = judge(answered(status, body))
    assert judgement.verdict is verdict, why
    assert len(judgement.reason.splitlines()) <= 1
    assert len(judgement.reason) <= 300
    assert "Jones" not in judgement.reason
    if verdict is Verdict.EXCEPTION:
        assert judgement.words
        assert judgement.words in judgement.reason
    elif status != 200:
        assert str(status) in judgement.reason
        assert judgement.words == ""


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (400, b"Invalid Orthanc\n update payload", "HTTP 400: Invalid Orthanc update payload"),
        (409, b'{"error": {"message": "other patient"}}', "HTTP 409: other patient"),
        (409, b'{"message": "other patient"}', "HTTP 409: other patient"),
        (409, b'{"error": "other patient"}', "HTTP 409: other patient"),
        (409, b'{"error": {"message": null}}', "HTTP 409"),
        (409, b"", "HTTP 409"),
        (200, b'"No series data found in payload"', "No series data found in payload"),
    ],
)
def test_the_reason_is_the_servers_own_words(status: int, body: bytes, reason: str) -> None:
    assert judge(answered(status, body)).reason == reason


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (200, b"No series data found in payload", ""),
        (200, MISSING, ""),
        (200, FAILED, "server-error"),
        (500, FAILED[:-9], "server-error"),
        (200, PAGE, "credentials"),
        (400, b"", ""),
        (302, b"", "credentials"),
        (403, b"", "privilege"),
        (404, PAGE, "not-found"),
        (405, b"", "not-found"),
        (500, PAGE, "server-error"),
        (503, b"", "proxy"),
        (400, b"plain HTTP request was sent to HTTPS port", "tls-port"),
    ],
)
def test_the_answer_to_an_update_of_no_step_is_understood(
    status: int, body: bytes, kind: str
) -> None:
    assert judge_empty_update(answered(status, body)) == kind


def test_the_same_exception_has_the_same_words() -> None:
    first = b'{"stackTrace": [], "message": "could not execute com.mysql.Statement@1f2e3d4c"}'
    again = first.replace(b"1f2e3d4c", b"77aabb01")
    other = first.replace(b"could", b"should")
    words = [judge(Answer(500, body)).words for body in (first, again, other)]
    assert words[0] == words[1] != words[2]


@pytest.mark.parametrize(
    ("status", "location", "words"),
    [
        (302, "/openmrs/login.htm", "OpenMRS refuses the sign-in"),
        (302, "/openmrs/oauth2login", "single sign-on"),
        (301, "https://openmrs/openmrs/ws/rest/v1/worklist/updaterequeststatus", "wants https"),
        (503, "", "proxy"),
    ],
)
def test_a_problem_has_the_same_words_as_everywhere(status: int, location: str, words: str) -> None:
    answer = answered(status, PAGE, location)
    for judgement in (judge(answer), judge_step_status(answer)):
        assert judgement.verdict is Verdict.RETRY
        assert words in judgement.reason


@pytest.mark.parametrize(
    ("status", "body", "verdict"),
    [
        (200, b"", Verdict.DELIVERED),
        (200, b'"in progress"', Verdict.DELIVERED),
        (200, PAGE, Verdict.RETRY),
        (200, FAILED, Verdict.EXCEPTION),
        (500, FAILED[:-9], Verdict.EXCEPTION),
        (404, PAGE, Verdict.REFUSED),
        (404, b'{"error": {"message": "Unknown step"}}', Verdict.REFUSED),
        (400, b"", Verdict.REFUSED),
        (405, b"", Verdict.REFUSED),
        (401, b"", Verdict.RETRY),
        (500, PAGE, Verdict.RETRY),
    ],
)
def test_the_verdict_on_the_status_of_a_step(status: int, body: bytes, verdict: Verdict) -> None:
    assert judge_step_status(answered(status, body)).verdict is verdict


# --- laws ----------------------------------------------------------------------------------

STATUSES = st.sampled_from((200, 204, 301, 302, 400, 401, 403, 404, 405, 409, 500, 502, 503))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(("score", "stackTrace", "cause", "message", "error", "other")), inner
        )
    ),
    max_leaves=8,
)
BODIES = (
    st.binary(max_size=40)
    | JSON.map(lambda value: json.dumps(value).encode())
    | st.builds(lambda value, end: json.dumps(value).encode()[:end], JSON, st.integers(min_value=0))
)


@given(status=STATUSES, body=BODIES)
def test_nothing_but_a_score_is_a_delivery_and_nothing_but_silence_may_be_one(
    status: int, body: bytes
) -> None:
    judgement = judge(answered(status, body))
    if judgement.verdict is Verdict.DELIVERED:
        assert status == 200
        assert "score" in json.loads(body.decode("utf-8-sig", "replace"))
    if judgement.verdict is Verdict.CONFIRM:
        assert (status, body.decode("utf-8-sig", "replace").strip()) == (200, "")
    assert bool(judgement.words) is (judgement.verdict is Verdict.EXCEPTION)
    assert len(judgement.reason.splitlines()) <= 1


@given(status=STATUSES, body=BODIES)
def test_the_status_of_a_step_is_never_delivered_by_a_page_or_an_exception(
    status: int, body: bytes
) -> None:
    told = judge_step_status(answered(status, body))
    if told.verdict is Verdict.DELIVERED:
        assert status == 200
        assert read_exception(body) is None
        assert body.decode("utf-8-sig", "replace").strip()[:1] != "<"


@given(
    message=st.none() | st.text(max_size=30),
    causes=st.lists(st.none() | st.text(max_size=30), max_size=3),
    frames=st.integers(min_value=0, max_value=3),
    cut=st.integers(min_value=0),
)
def test_an_exception_is_one_however_deep_and_wherever_it_is_cut(
    message: str | None, causes: list[str | None], frames: int, cut: int
) -> None:
    trace = [{"methodName": "m", "className": "org.openmrs.A", "lineNumber": 1}] * frames
    thrown: dict[str, Any] | None = None
    for words in [*causes, message]:
        thrown = {"cause": thrown, "stackTrace": trace, "message": words}
    text = json.dumps(thrown).encode()
    end = max(cut % (len(text) + 1), len(b'{"cause": '))
    for status in (200, 500):
        assert judge(Answer(status, text[:end])).verdict is Verdict.EXCEPTION
