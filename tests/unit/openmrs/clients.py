"""Clients of OpenMRS for tests, and how one must fail: in time, and without a secret."""

import base64
from collections.abc import Callable
from typing import Any

import pytest

from orthanc_openmrs.errors import PROBLEMS, OpenMRSError
from orthanc_openmrs.openmrs.client import OpenMRSClient
from orthanc_openmrs.openmrs.sign_in import Password
from orthanc_openmrs.openmrs.transport import Transport
from orthanc_openmrs.openmrs.verdicts import StatusUpdate
from tests.unit.builders import within
from tests.unit.doubles import Server

SECRET = "pass:wörd-ចាន់"
UPDATE = StatusUpdate(
    {"studyInstanceUID": "1.2.3", "performedProcedureStepID": "14"},
    {"studyInfo": {"accessionNumber": "A 1", "studyDescription": None}, "seriesList": ["ចាន់"]},
)


def client_of(server: Server, **changes: Any) -> OpenMRSClient:
    """A client of a server."""
    fields: dict[str, Any] = {
        "worklist_url": f"{server.url}/ws/rest/v1/worklist/requests",
        "update_url": f"{server.url}/ws/rest/v1/worklist/updaterequeststatus",
        "rest_url": f"{server.url}/ws/rest/v1",
        "timeout": 5,
        "update_timeout": 5,
    }
    account = {"sign_in": Password("zoë", SECRET)}
    own = {key: changes.pop(key) for key in [*changes] if key in _ACCOUNT}
    return OpenMRSClient(Transport(**(account | own)), **(fields | changes))


_ACCOUNT = ("sign_in", "verify", "client_certificate", "debug")


def refused(ask: Callable[[], object], seconds: float = 4) -> OpenMRSError:
    """The error that a request ends with, in time and without a secret in it."""
    with within(seconds, "the exchange ends"), pytest.raises(OpenMRSError) as caught:
        ask()
    assert caught.value.kind in PROBLEMS
    texts = f"{caught.value}{caught.value.__cause__}{caught.value.args}"
    token = base64.b64encode(f"zoë:{SECRET}".encode()).decode()
    assert not any(secret in texts for secret in (SECRET, "wörd", token))
    assert len(str(caught.value).splitlines()) == 1
    return caught.value
