"""The routes of the notifications, and of what persons decide about them.

Decides: what is told of a notification, and of the study and the steps that a person compares
before a decision. Must not know: Orthanc's module, SQL.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from orthanc_openmrs.completion.decisions import Decisions
from orthanc_openmrs.errors import NotFound
from orthanc_openmrs.mapping.finder import Finder, Question
from orthanc_openmrs.model import (
    Kind,
    Notification,
    NotificationFilter,
    NotificationState,
    StudySummary,
)
from orthanc_openmrs.rest.arguments import (
    days,
    instant,
    json_body,
    number,
    one_of,
    some_of,
    yes_or_no,
)
from orthanc_openmrs.rest.messages import (
    HttpError,
    Request,
    Response,
    answer,
    moment,
    page,
    user_of,
)
from orthanc_openmrs.rest.router import Route
from orthanc_openmrs.rest.schemas import (
    COUNT,
    FLAG,
    LARGEST_PAGE,
    LARGEST_SINCE,
    LIMIT,
    MOMENT,
    NAME,
    TEXT,
    TEXTS,
    Keys,
    Named,
    Parameter,
    Schema,
    array,
    choice,
    record,
)

MOST_STEPS = 100
"""Steps that one decision may complete."""

REPORT: Schema = {
    "oneOf": [
        record(ScheduledProcedureStepID=NAME),
        record(
            ScheduledProcedureStepIDs={
                "type": "array",
                "items": NAME,
                "minItems": 1,
                "maxItems": MOST_STEPS,
            }
        ),
    ]
}

NOTIFICATION = Keys[Notification](
    {
        "ID": (COUNT, lambda told: told.id),
        "State": (choice(*NotificationState), lambda told: told.state.value),
        "Kind": (choice(*Kind), lambda told: told.kind.value),
        "Study": (TEXT, lambda told: told.study),
        "StudyInstanceUID": (TEXT, lambda told: told.study_instance_uid),
        "RequestedProcedureID": (TEXT, lambda told: told.requested_procedure_id),
        "ScheduledProcedureStepID": (TEXT, lambda told: told.scheduled_procedure_step_id),
        "Evidence": (TEXT, lambda told: told.evidence),
        "Reason": (TEXT, lambda told: told.reason),
        "Attempts": (COUNT, lambda told: told.attempts),
        "NextAttempt": (
            MOMENT,
            lambda told: (
                moment(told.next_attempt) if told.state is NotificationState.PENDING else None
            ),
        ),
        "LastError": (TEXT, lambda told: told.last_error),
        "Created": (MOMENT, lambda told: moment(told.created)),
        "Changed": (MOMENT, lambda told: moment(told.changed)),
        "Delivered": (MOMENT, lambda told: moment(told.delivered)),
    }
)

COMPARED = Keys[StudySummary](
    {
        "PatientID": (TEXT, lambda study: study.patient_id),
        "PatientName": (TEXT, lambda study: study.patient_name),
        "PatientBirthDate": (TEXT, lambda study: study.patient_birth_date),
        "AccessionNumber": (TEXT, lambda study: study.accession_number),
        "StudyInstanceUID": (TEXT, lambda study: study.study_instance_uid),
        "StudyDescription": (TEXT, lambda study: study.study_description),
        "RequestedProcedureDescription": (
            TEXT,
            lambda study: study.requested_procedure_description,
        ),
        "ModalitiesInStudy": (
            TEXTS,
            lambda study: sorted({series.modality for series in study.series} - {""}),
        ),
        "PerformedProcedureStepStartDate": (
            TEXT,
            lambda study: next(
                filter(None, (one.performed_procedure_step_start_date for one in study.series)), ""
            ),
        ),
        "ScheduledProcedureStepIDs": (
            TEXTS,
            lambda study: sorted(
                {
                    item.scheduled_procedure_step_id
                    for series in study.series
                    for item in series.request_attributes
                }
                - {""}
            ),
        ),
        "Series": (COUNT, lambda study: len(study.series)),
        "Instances": (COUNT, lambda study: sum(series.instances for series in study.series)),
    }
)
"""What a person compares with a step."""

_NOTIFICATION = Named("Notification", record(**NOTIFICATION.schemas))
_COMPARISON = Named(
    "Comparison",
    record(
        Study=record(**COMPARED.schemas),
        Steps={
            "type": "array",
            "items": record(ScheduledProcedureStepID=TEXT, Evidence=TEXTS),
        },
    ),
)
_NOTIFICATION_AND_DECISIONS = Named(
    "NotificationAndDecisions",
    record(
        **NOTIFICATION.schemas,
        Decisions={"type": "array", "items": record(At=MOMENT, User=TEXT, Action=TEXT)},
        Comparison={
            "anyOf": [{"type": "null"}, _COMPARISON],
            "description": "of a held one whose study Orthanc has",
        },
    ),
)

ID_IN_PATH = {"id": "the ID of a notification"}
STUDY_IN_PATH = {"study": "an Orthanc ID or a StudyInstanceUID"}

SINCE_ID = Parameter(
    "since", "the first ID", {"type": "integer", "minimum": 0, "maximum": LARGEST_SINCE}
)
STATE = Parameter("state", "only those in this state, or in these: held,failed", TEXT)
STEP = Parameter("step", "only those of this ScheduledProcedureStepID", TEXT)
REQUEST = Parameter("request", "only those of this RequestedProcedureID", TEXT)
STUDY = Parameter("study", "only those of this study: an Orthanc ID or a StudyInstanceUID", TEXT)
PATIENT = Parameter("patient", "only those of this patient: a uuid in OpenMRS", TEXT)
SEARCH = Parameter(
    "search",
    "words of the study's patient, numbers and description, or a number of the order",
    TEXT,
)
DATE = Parameter("date", "made on this day, or in a range of days: 20250701-20250703", TEXT)
CHANGED = Parameter("changed", "only those whose state changed since: 20250703T120000Z", TEXT)
NEWEST = Parameter("newest", "the newest first: since is the largest ID then, 0 for all", FLAG)
KIND = Parameter("kind", "what is told of the step; completed by default", choice(*Kind))


class NotificationRoutes:
    """The handlers, over what persons may decide."""

    def __init__(
        self,
        *,
        decisions: Decisions,
        finder: Finder,
        look_up_study: Callable[[str], str | None],
    ) -> None:
        self._decisions = decisions
        self._finder = finder
        self._look_up_study = look_up_study

    def table(self) -> list[Route]:
        """Every route."""
        return [
            Route(
                "GET",
                "/openmrs/notifications",
                self.notifications,
                "getNotifications",
                "What is told OpenMRS",
                query=(
                    STATE,
                    KIND,
                    SEARCH,
                    DATE,
                    STEP,
                    REQUEST,
                    STUDY,
                    PATIENT,
                    CHANGED,
                    NEWEST,
                    LIMIT,
                    SINCE_ID,
                ),
                answer=array(_NOTIFICATION),
                errors=(503,),
            ),
            Route(
                "GET",
                "/openmrs/notifications/{id}",
                self.notification,
                "getNotification",
                "One notification",
                ID_IN_PATH,
                answer=_NOTIFICATION_AND_DECISIONS,
                errors=(503,),
            ),
            Route(
                "POST",
                "/openmrs/notifications/{id}/retry",
                self.retry,
                "retryNotification",
                "Send it again, link again",
                ID_IN_PATH,
                answer=_NOTIFICATION,
                decides=True,
                errors=(409, 503),
            ),
            Route(
                "DELETE",
                "/openmrs/notifications/{id}",
                self.discard,
                "discardNotification",
                "Never send it",
                ID_IN_PATH,
                answer=_NOTIFICATION,
                decides=True,
                errors=(409, 503),
            ),
            Route(
                "POST",
                "/openmrs/studies/{study}/report",
                self.report,
                "reportStudy",
                "A study completes a step",
                STUDY_IN_PATH,
                body=Named("Report", REPORT),
                answer=_NOTIFICATION,
                decides=True,
                errors=(409, 503),
            ),
        ]

    def notifications(self, request: Request) -> Response:
        """GET /openmrs/notifications"""
        limit = number(request, "limit", LARGEST_PAGE, 1, LARGEST_PAGE)
        since = number(request, "since", 0, 0, LARGEST_SINCE)
        states = some_of(NotificationState, request, "state")
        kind = one_of(Kind, request, "kind") or Kind.COMPLETED
        newest = yes_or_no(request, "newest") or False
        named = self._named(request)
        found, total = self._decisions.notifications(
            *states, kind=kind, named=named, limit=limit, since=since, newest_first=newest
        )
        following = None
        if len(found) == limit and (not newest or found[-1].id > 1):
            following = {"since": str(found[-1].id + (-1 if newest else 1))}
        return page([NOTIFICATION.describe(one) for one in found], request, total, following)

    def _named(self, request: Request) -> NotificationFilter:
        """Of what the notifications are that are asked for; a study may be told of that is gone."""
        studies, numbers = None, frozenset[str]()
        if words := request.query.get("search", "").strip():
            like = self._finder.find(Question(words), limit=LARGEST_PAGE)
            if like.total > LARGEST_PAGE:
                raise HttpError(400, f"search finds more than {LARGEST_PAGE} studies: say more")
            studies, numbers = frozenset(like.studies), frozenset((words,))
        if study := request.query.get("study", ""):
            found = self._look_up_study(study)
            named = frozenset((study, found) if found else (study,))
            studies, numbers = named if studies is None else studies & named, frozenset()
        return NotificationFilter(
            step=request.query.get("step", ""),
            request=request.query.get("request", ""),
            patient=request.query.get("patient", ""),
            studies=studies,
            numbers=numbers,
            made=_moments(*days(request, "date")),
            changed_since=instant(request, "changed"),
        )

    def notification(self, request: Request, id: str) -> Response:  # noqa: A002 - its name in the path
        """GET /openmrs/notifications/{id}"""
        found, taken = self._decisions.notification(_id(id))
        return answer(
            {
                **NOTIFICATION.describe(found),
                "Decisions": [
                    {"At": moment(one.at), "User": one.user, "Action": one.action} for one in taken
                ],
                "Comparison": self._compare(found),
            }
        )

    def _compare(self, told: Notification) -> dict[str, Any] | None:
        if told.state is not NotificationState.HELD:
            return None
        study, steps = self._decisions.compare(told)
        if study is None:
            return None
        return {
            "Study": COMPARED.describe(study),
            "Steps": [
                {
                    "ScheduledProcedureStepID": one.step.scheduled_procedure_step_id,
                    "Evidence": list(one.evidence),
                }
                for one in steps
            ],
        }

    def retry(self, request: Request, id: str) -> Response:  # noqa: A002 - its name in the path
        """POST /openmrs/notifications/{id}/retry"""
        return answer(NOTIFICATION.describe(self._decisions.retry(_id(id), user_of(request))))

    def discard(self, request: Request, id: str) -> Response:  # noqa: A002 - its name in the path
        """DELETE /openmrs/notifications/{id}"""
        return answer(NOTIFICATION.describe(self._decisions.discard(_id(id), user_of(request))))

    def report(self, request: Request, study: str) -> Response:
        """POST /openmrs/studies/{study}/report"""
        body = json_body(request)
        steps = _steps(body)
        found = self._look_up_study(study)
        if found is None:
            raise NotFound(f"Orthanc has no study {study}")
        reported = self._decisions.report(found, steps, user_of(request))
        return answer(NOTIFICATION.describe(reported[0]))


def _steps(body: dict[str, Any]) -> list[str]:
    """Which steps a person says a study completes."""
    match body:
        case {"ScheduledProcedureStepID": str(step), **rest} if step and not rest:
            return [step]
        case {"ScheduledProcedureStepIDs": [*steps], **rest} if steps and not rest:
            if len(steps) <= MOST_STEPS and all(isinstance(one, str) and one for one in steps):
                return steps
    raise HttpError(
        400,
        'the body must be {"ScheduledProcedureStepID": "…"}, or '
        f'{{"ScheduledProcedureStepIDs": ["…", …]}} with at most {MOST_STEPS} steps',
    )


def _moments(first: str, last: str) -> tuple[float, float]:
    """When days begin and end on this machine, 0 where a range is open."""
    begin = datetime.strptime(first, "%Y%m%d").timestamp() if first else 0.0
    end = datetime.strptime(last, "%Y%m%d") + timedelta(days=1) if last else None
    return begin, end.timestamp() if end else 0.0


def _id(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise NotFound("there is no such notification")
    return int(text)
