"""The route of those who asked for a worklist.

Decides: what is told of each. Must not know: Orthanc's module, what they asked.
"""

from orthanc_openmrs.rest.messages import Request, Response, answer, moment
from orthanc_openmrs.rest.router import Route
from orthanc_openmrs.rest.schemas import COUNT, MOMENT, TEXT, Keys, Named, array, record
from orthanc_openmrs.worklist.callers import CallingAE, CallingAEs

CALLER = Keys[CallingAE](
    {
        "AETitle": (TEXT, lambda caller: caller.ae_title),
        "Address": (TEXT, lambda caller: caller.address),
        "At": (MOMENT, lambda caller: moment(caller.at)),
        "Answers": (
            {"type": ["integer", "null"], "minimum": 0, "description": "null: the query failed"},
            lambda caller: None if caller.answers < 0 else caller.answers,
        ),
        "Queries": (COUNT, lambda caller: caller.queries),
    }
)


class CallerRoutes:
    """The handler, over those who asked."""

    def __init__(self, callers: CallingAEs) -> None:
        self._callers = callers

    def table(self) -> list[Route]:
        """Every route."""
        return [
            Route(
                "GET",
                "/openmrs/callers",
                self.callers,
                "getCallers",
                "Who asked for a worklist since Orthanc's start",
                answer=array(Named("Caller", record(**CALLER.schemas))),
            ),
        ]

    def callers(self, request: Request) -> Response:
        """GET /openmrs/callers"""
        return answer([CALLER.describe(one) for one in self._callers.newest_first()])
