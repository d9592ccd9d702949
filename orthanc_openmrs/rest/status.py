"""The route of the status.

Decides: what is told of OpenMRS, the list and the notifications, without waiting for anything but
the doctor where it is asked for. Must not know: Orthanc's module, SQL.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from orthanc_openmrs import __version__
from orthanc_openmrs.completion.backlog import Known
from orthanc_openmrs.doctor.findings import Finding, State, worst
from orthanc_openmrs.errors import PROBLEMS
from orthanc_openmrs.model import NotificationState, Source
from orthanc_openmrs.rest.messages import HttpError, Request, Response, answer, etag, moment
from orthanc_openmrs.rest.router import Route
from orthanc_openmrs.rest.schemas import (
    COUNT,
    FLAG,
    MOMENT,
    NAME,
    TEXT,
    TEXTS,
    Named,
    Parameter,
    Schema,
    choice,
    record,
)
from orthanc_openmrs.rest.worklist import COUNTS
from orthanc_openmrs.worklist.refresh import SourceStatus
from orthanc_openmrs.worklist.service import Worklist
from orthanc_openmrs.worklist.snapshot import Snapshot

_STATES: dict[str, Schema] = {state.value.capitalize(): COUNT for state in NotificationState}
_DOCTOR: Schema = {
    **record(
        State=choice(*State),
        Findings={
            "type": "array",
            "items": record(State=choice(*State), Subject=NAME, Meaning=NAME, Advice=TEXT),
        },
    ),
    "description": "with ?full: what the doctor finds, the most fundamental first",
}

_ANSWERS: dict[str, Schema] = {
    "Reachable": FLAG,
    "LastSuccess": MOMENT,
    "LastError": {"type": ["string", "null"]},
    "Problem": {"enum": [*PROBLEMS, None], "description": "the kind of LastError"},
    "Since": MOMENT,
    "NextRead": MOMENT,
}
_ORDERS: Schema = {
    **record(
        **_ANSWERS,
        Steps=COUNT,
        Offered=COUNT,
        AgeSeconds={"type": ["number", "null"], "minimum": 0},
        Stale=FLAG,
    ),
    "description": "of OpenMRS's own orders, where they are a source",
}

STATUS = Named(
    "Status",
    record(
        {"Doctor": _DOCTOR, "Orders": _ORDERS},
        Version=TEXT,
        OpenMRS=record(Generation={"type": ["string", "null"]}, **_ANSWERS),
        Worklist=record(
            **COUNTS.schemas,
            AgeSeconds={"type": ["number", "null"], "minimum": 0},
            Stale=FLAG,
            Revision=TEXT,
            Stations=TEXTS,
        ),
        Notifications={
            **record({**_STATES, "Waiting": COUNT, "Error": NAME}),
            "anyOf": [{"required": list(_STATES)}, {"required": ["Error"]}],
            "description": "the last known counts; Waiting are studies whose link waits; Error "
            "says why they aren't those of now",
        },
    ),
)

FULL = Parameter(
    "full",
    "examine the installation too, as the doctor does",
    {"type": "string", "enum": ["", "true", "false"]},
)


class OrderReading(NamedTuple):
    """How reading OpenMRS's own orders goes, and the moment of the next read."""

    status: Callable[[], SourceStatus]
    next_read: Callable[[], float]


class StatusRoutes:
    """The handler, over the parts that it shows. `next_read` is the moment of the next one,
    `generation` that of OpenMRS's module, "" where nothing told it yet, `examine` asks the doctor,
    None where it isn't done in time."""

    def __init__(
        self,
        *,
        worklist: Worklist,
        source_status: Callable[[], SourceStatus],
        next_read: Callable[[], float],
        orders: "OrderReading | None" = None,
        generation: Callable[[], str],
        backlog: Callable[[], Known],
        examine: Callable[[], list[Finding] | None],
    ) -> None:
        self._worklist = worklist
        self._source_status = source_status
        self._next_read = next_read
        self._orders = orders
        self._generation = generation
        self._backlog = backlog
        self._examine = examine

    def table(self) -> list[Route]:
        """Every route."""
        return [
            Route(
                "GET",
                "/openmrs/status",
                self.status,
                "getStatus",
                "How the plugin and OpenMRS are",
                query=(FULL,),
                answer=STATUS,
                validated=True,
                errors=(400, 503),
            ),
        ]

    def status(self, request: Request) -> Response:
        """GET /openmrs/status"""
        full = request.query.get("full", "false")
        if full not in ("", "true", "false"):
            raise HttpError(400, "full must be true or false, or stand alone")
        told = {**self.current(), **(self._examined() if full != "false" else {})}
        return answer(told, {"ETag": etag(_lasting(told)), "Cache-Control": "no-cache"})

    def current(self) -> dict[str, Any]:
        """What is known without waiting for anything."""
        snapshot = self._worklist.snapshot
        age = self._worklist.age()
        return {
            "Version": __version__,
            "OpenMRS": {
                "Generation": self._generation() or None,
                **_answers(self._source_status(), self._next_read()),
            },
            **self._of_orders(snapshot),
            "Worklist": {
                **COUNTS.describe(snapshot),
                "AgeSeconds": None if age is None else round(age, 1),
                "Stale": self._worklist.stale,
                "Revision": self._worklist.revision,
                "Stations": self._worklist.stations,
            },
            "Notifications": self._notifications(),
        }

    def _of_orders(self, snapshot: Snapshot | None) -> dict[str, Any]:
        if self._orders is None:
            return {}
        read = snapshot.part(Source.ORDERS) if snapshot else None
        items = [
            item
            for item in (snapshot.items if snapshot else ())
            if item.request.source is Source.ORDERS
        ]
        age = self._worklist.age(Source.ORDERS)
        return {
            "Orders": {
                **_answers(self._orders.status(), self._orders.next_read()),
                "Steps": len(items),
                "Offered": sum(item.offered for item in items),
                "AgeSeconds": None if age is None else round(age, 1),
                "Stale": read is None or not read.served,
            }
        }

    def _examined(self) -> dict[str, Any]:
        found = self._examine()
        if found is None:
            raise HttpError(
                503, "another examination takes its time", code="busy", Retry_After="10"
            )
        findings = [finding.describe() for finding in found]
        return {"Doctor": {"State": worst(found).value, "Findings": findings}}

    def _notifications(self) -> dict[str, Any]:
        known = self._backlog()
        counts = known.backlog.counts if known.backlog else None
        problem = known.problem or ("" if counts else "the notifications were not counted yet")
        return {
            **(
                {state.value.capitalize(): counts[state] for state in NotificationState}
                if counts
                else {}
            ),
            **({"Waiting": known.backlog.waiting} if known.backlog and counts else {}),
            **({"Error": problem} if problem else {}),
        }


def _answers(source: SourceStatus, next_read: float) -> dict[str, Any]:
    """How a source answers."""
    return {
        "Reachable": source.reachable,
        "LastSuccess": moment(source.last_success),
        "LastError": _last_error(source),
        "Problem": source.error_kind or None,
        "Since": moment(source.failing_since or source.answering_since),
        "NextRead": moment(next_read),
    }


def _lasting(told: Mapping[str, Any]) -> bytes:
    """The status without what is another one each second: the list's age, and the times of the
    last read and the next."""
    passing = ("LastSuccess", "NextRead", "AgeSeconds")
    parts = {
        name: {key: value for key, value in part.items() if key not in passing}
        for name, part in told.items()
        if isinstance(part, Mapping)
    }
    return json.dumps({**told, **parts}).encode()


def _last_error(source: SourceStatus) -> str | None:
    if not source.last_error:
        return None
    return f"{PROBLEMS.get(source.error_kind, source.error_kind)} ({source.last_error})"
