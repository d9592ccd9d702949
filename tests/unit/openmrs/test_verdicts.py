"""The status update and its answers: an update is exact, a verdict is a table."""

import json
from typing import Any

import pytest

from orthanc_openmrs.model import ImagingRequest
from orthanc_openmrs.openmrs.imaging_list import read_list
from orthanc_openmrs.openmrs.verdicts import (
    StatusUpdate,
    Verdict,
    judge,
    judge_empty_update,
    status_update,
)
from tests.unit.builders import ALICE, request, series, study


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
        [("15", series("MR")), ("14", images)],
    )
    assert update.parameters == {"studyInstanceUID": "2.25.1", "performedProcedureStepID": "15"}
    assert update.body["studyInfo"] == {
        "accessionNumber": "1234567890123456789",
        "studyInstanceUID": "2.25.1",
        "referringPhysicianName": None,
        "studyDescription": None,
    }
    assert [entry["scheduledProcedureStepID"] for entry in update.body["seriesList"]] == [
        "15",
        "14",
    ]
    assert set(update.body) == {"studyInfo", "seriesList"}
    assert update.body["seriesList"][1] == {
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

    update = status_update(study(), request(), [("14", series())])
    assert all(leaf is None or isinstance(leaf, str) for leaf in leaves(update.body))


@pytest.mark.parametrize("number", ["AB  12", "A\\B", "é-1", " 12 ", "x" * 255])
def test_the_accession_number_goes_back_exactly_as_it_came(number: str) -> None:
    # v3 answers 409 to any other text.
    (found,) = read_list(listing(AccessionNumber=number)).requests
    update = status_update(study(), found, [("14", series())])
    assert update.body["studyInfo"]["accessionNumber"] == number


@pytest.mark.parametrize("key", ["AccessionNumber", "PatientID"])
def test_an_update_can_be_stored_and_sent_whatever_openmrs_wrote(key: str) -> None:
    found: ImagingRequest = read_list(listing(**{key: "a\ud800b"})).requests[0]
    assert status_update(study(), found, [("14", series())]).to_json().encode()


# --- the verdict ---------------------------------------------------------------------------

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
        (503, PAGE, Verdict.RETRY, "a proxy"),
    ],
)
def test_the_verdict_on_an_answer(status: int, body: bytes, verdict: Verdict, why: str) -> None:
    judgement = judge(status, body)
    assert judgement.verdict is verdict, why
    assert len(judgement.reason.splitlines()) <= 1
    assert len(judgement.reason) <= 300
    assert "Jones" not in judgement.reason
    if status != 200:
        assert str(status) in judgement.reason


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
    assert judge(status, body).reason == reason


@pytest.mark.parametrize(
    ("status", "kind"),
    [(200, ""), (400, ""), (302, "credentials"), (403, "privilege"), (503, "server-error")],
)
def test_the_answer_to_an_update_of_no_step_is_understood(status: int, kind: str) -> None:
    assert judge_empty_update(status, b"") == kind
