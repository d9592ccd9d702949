"""The routes of performed procedure steps, as people and programs look at them.

Decides: what is told of each. Must not know: Orthanc's module, SQL.
"""

from typing import Protocol

from orthanc_openmrs.errors import NotFound
from orthanc_openmrs.model import Images, ProcedureRecord, ProcedureState, SeriesArrival
from orthanc_openmrs.mpps.meaning import reason_of
from orthanc_openmrs.rest.arguments import number, one_of
from orthanc_openmrs.rest.messages import Request, Response, answer, moment, page
from orthanc_openmrs.rest.router import Route
from orthanc_openmrs.rest.schemas import (
    COUNT,
    LARGEST_PAGE,
    LARGEST_SINCE,
    LIMIT,
    MOMENT,
    TEXT,
    TEXTS,
    Keys,
    Named,
    Parameter,
    array,
    choice,
    record,
)

NOT_LISTED = "not listed"
"""Where the images stand of a step that lists none."""

_SERIES = Keys[SeriesArrival](
    {
        "SeriesInstanceUID": (TEXT, lambda series: series.series_instance_uid),
        "Expected": (COUNT, lambda series: series.expected),
        "Come": (COUNT, lambda series: series.come),
    }
)

_STEP = record(
    ScheduledProcedureStepID=TEXT,
    RequestedProcedureID=TEXT,
    AccessionNumber=TEXT,
    StudyInstanceUID=TEXT,
)

PROCEDURE = Keys[ProcedureRecord](
    {
        "SOPInstanceUID": (TEXT, lambda told: told.procedure.uid),
        "State": (choice(*ProcedureState), lambda told: told.procedure.state.value),
        "Reason": (
            TEXT,
            lambda told: (
                reason_of(told.procedure.discontinuation)
                if told.procedure.state is ProcedureState.DISCONTINUED
                else ""
            ),
        ),
        "CallingAETitle": (TEXT, lambda told: told.calling_ae_title),
        "PerformedStationAETitle": (TEXT, lambda told: told.procedure.station_ae_title),
        "PerformedProcedureStepID": (TEXT, lambda told: told.procedure.performed_procedure_step_id),
        "PerformedProcedureStepDescription": (TEXT, lambda told: told.procedure.description),
        "Modality": (TEXT, lambda told: told.procedure.modality),
        "PatientID": (TEXT, lambda told: told.procedure.patient_id),
        "Start": (TEXT, lambda told: told.procedure.start),
        "End": (TEXT, lambda told: told.procedure.end),
        "Steps": (
            {"type": "array", "items": _STEP},
            lambda told: [
                {
                    "ScheduledProcedureStepID": one.scheduled_procedure_step_id,
                    "RequestedProcedureID": one.requested_procedure_id,
                    "AccessionNumber": one.accession_number,
                    "StudyInstanceUID": one.study_instance_uid,
                }
                for one in told.procedure.references
            ],
        ),
        "Images": (
            choice(NOT_LISTED, *(one for one in Images if one)),
            lambda told: told.images.value or NOT_LISTED,
        ),
        "Expected": (COUNT, lambda told: told.expected),
        "Come": (COUNT, lambda told: told.come),
        "Series": (
            {"type": "array", "items": record(**_SERIES.schemas)},
            lambda told: [_SERIES.describe(one) for one in told.arrivals],
        ),
        "Study": (TEXT, lambda told: told.study),
        "Remarks": (TEXTS, lambda told: list(told.remarks)),
        "Created": (MOMENT, lambda told: moment(told.created)),
        "Changed": (MOMENT, lambda told: moment(told.changed)),
    }
)

_PROCEDURE = Named("Procedure", record(**PROCEDURE.schemas))

STATE = Parameter("state", "only those in this state", choice(*ProcedureState))
SINCE_ID = Parameter(
    "since",
    "the cursor that Link gives",
    {"type": "integer", "minimum": 0, "maximum": LARGEST_SINCE},
)
UID_IN_PATH = {"uid": "the SOPInstanceUID of a performed procedure step"}


class Procedures(Protocol):
    """The database, as far as it is needed here; each method may raise StoreError."""

    def find_procedure(self, uid: str) -> ProcedureRecord | None: ...
    def procedure_counts(self) -> dict[str, int]: ...
    def list_procedures(
        self, state: ProcedureState | None = None, *, limit: int = 100, before: int | None = None
    ) -> list[ProcedureRecord]: ...


class ProcedureRoutes:
    """The handlers, over the steps that are kept."""

    def __init__(self, procedures: Procedures) -> None:
        self._procedures = procedures

    def table(self) -> list[Route]:
        """Every route."""
        return [
            Route(
                "GET",
                "/openmrs/procedures",
                self.procedures,
                "getProcedures",
                "Performed procedure steps (MPPS), the newest first",
                query=(STATE, LIMIT, SINCE_ID),
                answer=array(_PROCEDURE),
                errors=(503,),
            ),
            Route(
                "GET",
                "/openmrs/procedures/{uid}",
                self.procedure,
                "getProcedure",
                "One performed procedure step",
                UID_IN_PATH,
                answer=_PROCEDURE,
                errors=(503,),
            ),
        ]

    def procedures(self, request: Request) -> Response:
        """GET /openmrs/procedures"""
        limit = number(request, "limit", LARGEST_PAGE, 1, LARGEST_PAGE)
        since = number(request, "since", 0, 0, LARGEST_SINCE)
        state = one_of(ProcedureState, request, "state")
        counts = self._procedures.procedure_counts()
        wanted = [state] if state else list(ProcedureState)
        found = self._procedures.list_procedures(state, limit=limit + 1, before=since or None)
        shown = found[:limit]
        following = {"since": str(shown[-1].id)} if len(found) > limit else None
        total = sum(counts.get(one, 0) for one in wanted)
        return page([PROCEDURE.describe(one) for one in shown], request, total, following)

    def procedure(self, request: Request, uid: str) -> Response:
        """GET /openmrs/procedures/{uid}"""
        found = self._procedures.find_procedure(uid) if len(uid) <= 64 else None
        if found is None:
            raise NotFound("there is no such performed procedure step")
        return answer(PROCEDURE.describe(found))
