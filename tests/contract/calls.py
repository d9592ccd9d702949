"""Real HTTP against a started stand-in: requests, bodies and what an answer can be."""

import base64
import http.client
import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from standin import GENERATIONS, WITH_WORKLIST, ImagingRequest, Standin, StepFields

ROOT = Path(__file__).parents[2]
REST = "/openmrs/ws/rest/v1/"
STEP_STATUS = REST + "worklist/updateprocedurestepstatus"
IMAGING = ("imaging", "Imaging123")
UID = "1.2.826.0.1.3680043.8.498.1"
NO_ANSWER = (http.client.HTTPException, OSError)


@dataclass(frozen=True)
class Reply:
    status: int
    body: bytes
    headers: Mapping[str, str]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def call(
    standin: Standin,
    method: str,
    path: str,
    body: object = None,
    *,
    account: tuple[str, str] | None = IMAGING,
    timeout: float = 10,
    headers: Mapping[str, str] | None = None,
) -> Reply:
    headers = dict(headers or {})
    if body is not None:
        headers.setdefault("Content-Type", "application/json")
    if account:
        headers["Authorization"] = "Basic " + base64.b64encode(":".join(account).encode()).decode()
    content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    connection = http.client.HTTPConnection("127.0.0.1", standin.port, timeout=timeout)
    try:
        connection.request(method, path, content, headers)
        response = connection.getresponse()
        return Reply(response.status, response.read(), dict(response.headers))
    finally:
        connection.close()


def get_list(standin: Standin, query: str = "", **options: Any) -> Reply:
    return call(standin, "GET", standin.dialect.list_path + query, **options)


def elements(standin: Standin) -> list[dict[str, Any]]:
    reply = get_list(standin)
    assert reply.status == 200
    listed = reply.json
    assert isinstance(listed, list)
    return listed


def post(standin: Standin, body: object = None, query: str = "", **options: Any) -> Reply:
    return call(standin, "POST", standin.dialect.update_path + query, body, **options)


def update(request: ImagingRequest, *step_ids: object, uid: str | None = UID) -> dict[str, Any]:
    """The body that the contract describes, right for `request` in every part."""
    patient = request.patient
    return {
        "studyInfo": {
            "accessionNumber": request.accession,
            "studyInstanceUID": uid,
            "referringPhysicianName": request.physician,
            "studyDescription": None,
        },
        "seriesList": [
            {
                "seriesInfo": {"modality": "CT", "stationName": "CT1", "seriesID": None},
                "instanceInfo": {
                    "patientBirthDate": "19900101",
                    "patientID": patient.uuid,
                    "patientName": f"{patient.family}^{patient.given}",
                    "scheduledProcedureStepID": step_id,
                    "studyInstanceUID": uid,
                    "scheduledPerformingPhysician": "Dr. P",
                    "performedProcedureStepDescription": "Head",
                    "performedProcedureStepStartDate": "20250703",
                },
                "scheduledProcedureStepID": step_id,
            }
            for step_id in (None if i is None else str(i) for i in step_ids)
        ],
    }


def query(step_id: object, uid: str = UID) -> str:
    return "?" + urlencode({"studyInstanceUID": uid, "performedProcedureStepID": step_id})


FULL_STEP = StepFields(description="Head", physician="Dr. P", station_name="CT1")


def add(standin: Standin, steps: int = 1, **fields: Any) -> ImagingRequest:
    records = standin.records
    patient = records.add_patient("Ánh", "Nguyễn")
    fields.setdefault("physician", "Dr. R")
    return records.add_request(patient, steps=[FULL_STEP] * steps, **fields)


def until(condition: Callable[[], object], seconds: float = 5) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        threading.Event().wait(0.005)


STEPPED = WITH_WORKLIST
JSON_READERS = ("1.1.6", "v2", "v3", "v4")


def generations(*names: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("standin", names or GENERATIONS, indirect=True)


def is_exception(reply: Reply) -> bool:
    """An exception of OpenMRS 2.5 and later, told whole."""
    told = reply.json
    return reply.status == 200 and isinstance(told, dict) and {"stackTrace", "message"} <= set(told)


def is_cut_exception(reply: Reply) -> bool:
    """As is_exception, but 500 and cut off in the middle."""
    with pytest.raises(ValueError, match=r"Expecting|Unterminated"):
        json.loads(reply.body)
    return reply.status == 500 and b'"stackTrace":[{' in reply.body


def first(standin: Standin) -> dict[str, Any]:
    element = elements(standin)[0]
    return {**element, **element["ScheduledProcedureStepSequence"][0]}
