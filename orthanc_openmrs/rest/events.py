"""The route of what changed, for programs that poll.

Decides: how long one may wait, what is told of a change. Must not know: Orthanc's module, SQL.
"""

from orthanc_openmrs.events import KEPT, Event, EventKind, Events
from orthanc_openmrs.rest.arguments import number
from orthanc_openmrs.rest.messages import HttpError, Request, Response, answer, moment
from orthanc_openmrs.rest.router import Route
from orthanc_openmrs.rest.schemas import (
    FLAG,
    LARGEST_PAGE,
    LIMIT,
    MOMENT,
    NAME,
    TEXT,
    Keys,
    Named,
    Parameter,
    array,
    choice,
    record,
)

LONGEST_WAIT = 25
"""Seconds: proxies end an exchange that says nothing for longer than 30."""

EVENT = Keys[Event](
    {
        "At": (MOMENT, lambda event: moment(event.at)),
        "Kind": (choice(*EventKind), lambda event: event.change.kind.value),
        "ID": (TEXT, lambda event: event.change.id),
        "State": (NAME, lambda event: event.change.state),
        "Study": (TEXT, lambda event: event.change.study),
    }
)

_EVENTS = Named(
    "EventPage",
    record(
        Events=array(Named("Event", record(**EVENT.schemas))),
        Cursor={**NAME, "description": "the since of the next request"},
        Reset={**FLAG, "description": "what came between isn't known: read the lists anew"},
    ),
)

SINCE_CURSOR = Parameter("since", f"a Cursor; the last {KEPT} events are kept", TEXT)
WAIT = Parameter(
    "wait",
    "seconds to wait for an event where there is none yet",
    {"type": "integer", "minimum": 0, "maximum": LONGEST_WAIT},
)


class EventRoutes:
    """The handler, over what changed."""

    def __init__(self, events: Events) -> None:
        self._events = events

    def table(self) -> list[Route]:
        """Every route."""
        return [
            Route(
                "GET",
                "/openmrs/events",
                self.events,
                "getEvents",
                "What changed since a cursor",
                query=(SINCE_CURSOR, WAIT, LIMIT),
                answer=_EVENTS,
                errors=(503,),
            ),
        ]

    def events(self, request: Request) -> Response:
        """GET /openmrs/events"""
        cursor = request.query.get("since", "")
        if len(cursor) > 64:
            raise HttpError(400, "since must be a Cursor of an earlier answer")
        wait = number(request, "wait", 0, 0, LONGEST_WAIT)
        limit = number(request, "limit", LARGEST_PAGE, 1, LARGEST_PAGE)
        told = self._events.since(cursor, limit=limit, wait=wait)
        return answer(
            {
                "Events": [EVENT.describe(event) for event in told.events],
                "Cursor": told.cursor,
                "Reset": told.reset,
            }
        )
