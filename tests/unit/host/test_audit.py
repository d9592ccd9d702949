"""A person's decision is in Orthanc's audit log, where there is one, and a refused one isn't."""

import base64
import json
from typing import Any

import pytest

from orthanc_openmrs.errors import Conflict
from orthanc_openmrs.host.audit import audit_log
from orthanc_openmrs.rest.messages import Request, Response, answer
from orthanc_openmrs.rest.router import Route, Router
from tests.unit.doubles import OrthancException, OrthancModule7, ResourceTypes

STUDY = "0000000a-00000000-00000000-00000000-0000000b"
SIGNED_IN = {"authorization": "Basic " + base64.b64encode(b"admin:secret").decode()}


class Levels(ResourceTypes):
    """As Orthanc 1.13 has them."""

    NONE = 4


class Audited(OrthancModule7):
    """The Python plugin 7.1, which has an audit log."""

    ResourceType = Levels

    def __init__(self) -> None:
        super().__init__()
        self.entries: list[tuple[Any, ...]] = []
        self.broken = False

    def EmitAuditLog(
        self, source: str, user: str, level: int, resource: str, action: str, data: bytes, /
    ) -> None:
        if self.broken:
            raise OrthancException(1, "Not supported")
        self.entries.append((source, user, level, resource, action, json.loads(data)))


def router(host: OrthancModule7) -> Router:
    """A route that decides, and one that doesn't."""

    def decide(request: Request, study: str) -> Response:
        if study == "refused":
            raise Conflict("no")
        return answer({})

    return Router(
        [
            Route("POST", "/studies/{study}/report", decide, "report", "", decides=True),
            Route("GET", "/studies/{study}/report", decide, "look", ""),
        ],
        audit_log(host),
    )


@pytest.mark.parametrize(
    ("method", "study", "entry"),
    [
        ("POST", STUDY, (1, STUDY)),
        ("POST", "1.2.3", (4, "")),
        ("POST", "refused", None),
        ("GET", STUDY, None),
    ],
)
def test_a_decision_is_noted(method: str, study: str, entry: tuple[int, str] | None) -> None:
    host = Audited()
    router(host).respond(Request(method, f"/studies/{study}/report", headers=SIGNED_IN))
    assert host.entries == (
        [("orthanc-openmrs", "admin", *entry, "openmrs-report", {"study": study})] if entry else []
    )


def test_an_orthanc_that_keeps_no_audit_log_decides_all_the_same() -> None:
    broken = Audited()
    broken.broken = True
    for host in (OrthancModule7(), broken):
        request = Request("POST", f"/studies/{STUDY}/report", headers=SIGNED_IN)
        assert router(host).respond(request).status == 200
