"""What tells the generation of OpenMRS's Imaging module."""

import json

import pytest

from orthanc_openmrs.model import Answer
from orthanc_openmrs.openmrs.generations import (
    of_empty_update,
    of_request,
    of_update,
    recognise,
)

MISSING = json.dumps(
    {
        "cause": None,
        "stackTrace": [],
        "message": "Required String parameter 'studyInstanceUID' is not present",
    }
).encode()
FAILED = b'{"cause": null, "stackTrace": [], "message": "boom"}'
PAGE = b"<!doctype html>"


@pytest.mark.parametrize(
    ("element", "generation"),
    [
        ({"SpecificCharacterSet": "ISO_IR 192", "ScheduledProcedureStepSequence": []}, "v3"),
        ({"SpecificCharacterSet": "ISO_IR 100", "ScheduledProcedureStepSequence": []}, ""),
        ({"id": 7, "status": "scheduled", "mrsPatientUuid": "x", "accessionNumber": "1"}, "v0.9"),
        ({"mrsPatientUuid": "x", "ScheduledProcedureStepSequence": []}, ""),
        ({}, ""),
    ],
)
def test_a_request_may_tell_its_generation(element: dict[str, object], generation: str) -> None:
    assert of_request(element) == generation


@pytest.mark.parametrize(
    ("status", "body", "generation"),
    [
        (200, b'{"score": 76}', "v2"),
        (200, b"", "v1"),
        (200, b" \n", "v1"),
        (200, b"No valid procedure step IDs found in payload", ""),
        (200, FAILED, ""),
        (200, PAGE, ""),
        (404, b"", ""),
        (500, b"", ""),
    ],
)
def test_the_answer_to_an_update_may_tell_it(status: int, body: bytes, generation: str) -> None:
    assert of_update(Answer(status, body)) == generation


@pytest.mark.parametrize(
    ("status", "body", "generation"),
    [
        (200, MISSING, "v1"),
        (400, PAGE, "v1"),
        (400, b"", "v1"),
        (200, b"No series data found in payload", "v2"),
        (400, b'{"error": {"message": "seriesList is empty"}}', "v3"),
        (200, FAILED, ""),
        (200, PAGE, ""),
        (403, b"", ""),
        (500, PAGE, ""),
    ],
)
def test_the_answer_to_an_update_of_no_step_may_tell_it(
    status: int, body: bytes, generation: str
) -> None:
    assert of_empty_update(Answer(status, body)) == generation


@pytest.mark.parametrize(
    ("told", "url", "generation"),
    [
        (("v3", "v2"), "", "v3"),
        (("", "v2"), "", "v2"),
        (("", ""), "", ""),
        (("", "v1"), "/openmrs/ws/rest/v1/imaging/updatestatus", "v0"),
        (("", ""), "/openmrs/ws/rest/v1/imaging/updatestatus", "v0"),
        (("", "v1"), "/openmrs/ws/rest/v1/worklist/updaterequeststatus", "v1"),
        (("v3", ""), "/openmrs/ws/rest/v1/imaging/updatestatus", "v3"),
    ],
)
def test_the_list_counts_most_and_the_oldest_has_an_address_of_its_own(
    told: tuple[str, ...], url: str, generation: str
) -> None:
    assert recognise(*told, update_url=url) == generation
