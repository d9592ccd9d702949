"""The routes of studies and of the patients whose they are.

Decides: what each answers. Must not know: Orthanc's module, SQL.
"""

import re
from collections.abc import Callable, Collection
from typing import Any

from orthanc_openmrs.mapping.candidates import Evidence
from orthanc_openmrs.mapping.finder import Finder, Question
from orthanc_openmrs.mapping.mapping import MappedStudy, PatientMapping
from orthanc_openmrs.mapping.ownership import Source, is_uuid
from orthanc_openmrs.mapping.patients import Patients, Person, ToldBy
from orthanc_openmrs.mapping.search import LONGEST_SEARCH
from orthanc_openmrs.mapping.studies import is_orthanc_id
from orthanc_openmrs.mapping.viewers import ViewerSettings, prefix_of, viewer_links
from orthanc_openmrs.model import Notification, PersonsDecision, WaitingStudy
from orthanc_openmrs.rest.arguments import days, json_body, number, yes_or_no
from orthanc_openmrs.rest.messages import (
    HttpError,
    Request,
    Response,
    answer,
    moment,
    page,
    user_of,
)
from orthanc_openmrs.rest.notifications import NOTIFICATION, STUDY_IN_PATH
from orthanc_openmrs.rest.router import Route
from orthanc_openmrs.rest.schemas import (
    AFTER,
    COUNT,
    FLAG,
    LARGEST_PAGE,
    LARGEST_SINCE,
    LIMIT,
    MOMENT,
    NAME,
    SINCE,
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

USUAL_PAGE = 100
"""Studies of one answer, where no `limit` is asked for: each costs calls to Orthanc."""

USUAL_CANDIDATES = 20
"""Candidates, where no `limit` is asked for."""

MOST_PATIENTS = 50
"""Patients of one answer."""

SHORTEST_SEARCH = 2
"""Characters: OpenMRS finds nobody by fewer."""

MOST_CANDIDATES = 100
"""Candidates of one answer."""

STUDY = Keys[MappedStudy](
    {
        "ID": (TEXT, lambda found: found.head.study),
        "StudyInstanceUID": (TEXT, lambda found: found.head.study_instance_uid),
        "PatientID": (TEXT, lambda found: found.head.patient_id),
        "PatientName": (TEXT, lambda found: found.head.patient_name),
        "PatientBirthDate": (TEXT, lambda found: found.head.patient_birth_date),
        "PatientSex": (TEXT, lambda found: found.head.patient_sex),
        "AccessionNumber": (TEXT, lambda found: found.head.accession_number),
        "StudyDate": (TEXT, lambda found: found.head.study_date),
        "StudyTime": (TEXT, lambda found: found.head.study_time),
        "StudyDescription": (TEXT, lambda found: found.head.study_description),
        "ModalitiesInStudy": (
            TEXTS,
            lambda found: sorted({one.modality for one in found.series} - {""}),
        ),
        "Series": (COUNT, lambda found: len(found.series)),
        "Instances": (COUNT, lambda found: sum(one.instances for one in found.series)),
        "Patient": (
            {"type": ["string", "null"], "description": "its uuid, null for nobody"},
            lambda found: found.owner.patient or None,
        ),
        "Source": (
            {"enum": [*Source, None], "description": "what says whose it is"},
            lambda found: found.owner.source.value if found.owner.source else None,
        ),
        "Steps": (TEXTS, lambda found: list(found.owner.steps)),
    }
)
"""A study; the viewers that the answer adds depend on who asks."""

PATIENT = Keys[Person](
    {
        "Patient": (NAME, lambda found: found.patient),
        "PatientName": (TEXT, lambda found: found.name),
        "PatientBirthDate": (TEXT, lambda found: found.birth_date),
        "BirthDateEstimated": (FLAG, lambda found: found.birth_date_estimated),
        "PatientSex": (TEXT, lambda found: found.sex),
        "Identifiers": (TEXTS, lambda found: list(found.identifiers)),
        "Source": (choice(*ToldBy), lambda found: found.told_by.value),
    }
)
"""A patient of OpenMRS; Patient is its uuid, Source who says so."""

WAITING = Keys[WaitingStudy](
    {
        "Study": (TEXT, lambda one: one.study),
        "Since": (MOMENT, lambda one: moment(one.since)),
        "Attempts": (COUNT, lambda one: one.attempts),
        "NextAttempt": (MOMENT, lambda one: moment(one.next_attempt)),
        "Reason": (TEXT, lambda one: one.reason),
    }
)
"""A study whose link to a step was put off: for a list, or for a file."""

_PATIENT = Named("Patient", record(**PATIENT.schemas))

_KEYS: dict[str, Schema] = {
    **STUDY.schemas,
    "Viewers": {"type": "object", "additionalProperties": TEXT},
}
_STUDY = Named("Study", record(**_KEYS))
_STUDY_AND_NOTIFICATIONS = Named(
    "StudyAndNotifications",
    record(
        **_KEYS,
        Notifications={"type": "array", "items": record(**NOTIFICATION.schemas)},
        Decisions={
            "type": "array",
            "items": record(At=MOMENT, User=TEXT, Action=TEXT, Patient=TEXT),
            "description": "who said whose it is, the oldest first",
        },
    ),
)
FINDING = Keys[Evidence](
    {
        "Code": (choice(*(one.code for one in Evidence)), lambda one: one.code),
        "Points": ({"type": "integer"}, lambda one: one.points),
        "Words": (NAME, lambda one: one.words),
    }
)
"""What speaks for a study or, with less than no points, against it."""

_FINDINGS: Schema = {"type": "array", "items": Named("Finding", record(**FINDING.schemas))}
_CANDIDATE = Named(
    "Candidate",
    record(
        **_KEYS,
        Score={"type": "integer", "minimum": 1, "maximum": 100},
        Reasons={"type": "array", "items": NAME, "minItems": 1},
        Findings=_FINDINGS,
    ),
)
_FIT = Named(
    "Fit",
    record(
        Patient=_PATIENT,
        Study=_STUDY,
        Score={"type": "integer", "minimum": 0, "maximum": 100},
        Findings=_FINDINGS,
    ),
)

_CODE = re.compile(r"[A-Z0-9_ ]{1,16}")

PATIENT_IN_PATH = {"uuid": "the uuid of a patient in OpenMRS"}

SEARCH = Parameter(
    "search", "words of a name in any script and spelling, a number, a description, a date", TEXT
)
DATE = Parameter("date", "the StudyDate: 20250703, or from 20250701 to 20250703 with -", TEXT)
MODALITY = Parameter("modality", "only studies with a series of this modality", TEXT)
NEWEST = Parameter("newest", "the newest first, else in Orthanc's order", FLAG)
WAITING_SINCE = Parameter("since", "the first Orthanc ID", TEXT)
ASSIGNED = Parameter("assigned", "only those that are somebody's, or nobody's", FLAG)
WHO = Parameter(
    "search",
    "a name, an identifier or a uuid",
    {"type": "string", "minLength": SHORTEST_SEARCH, "maxLength": LONGEST_SEARCH},
)
PATIENTS = Parameter(
    "limit", "patients at most", {"type": "integer", "minimum": 1, "maximum": MOST_PATIENTS}
)
CANDIDATES = Parameter(
    "limit", "candidates at most", {"type": "integer", "minimum": 1, "maximum": MOST_CANDIDATES}
)


class StudyRoutes:
    """The handlers, over the mapping and OpenMRS's patients."""

    def __init__(
        self,
        *,
        finder: Finder,
        mapping: PatientMapping,
        patients: Patients,
        notifications: Callable[[str], list[Notification]],
        assignments: Callable[[str], list[PersonsDecision]],
        waiting: Callable[[int, str], list[WaitingStudy]],
        plugins: Callable[[], Collection[str]],
        viewers: ViewerSettings,
    ) -> None:
        self._finder = finder
        self._mapping = mapping
        self._patients = patients
        self._notifications = notifications
        self._assignments = assignments
        self._waiting = waiting
        self._plugins = plugins
        self._viewers = viewers

    def table(self) -> list[Route]:
        """Every route."""
        of_patient = "/openmrs/patients/{uuid}/studies"
        return [
            Route(
                "GET",
                "/openmrs/patients",
                self.find_patients,
                "findPatients",
                "Patients of OpenMRS by name, identifier or uuid",
                query=(WHO, PATIENTS),
                answer={**array(_PATIENT), "maxItems": MOST_PATIENTS},
                errors=(503,),
            ),
            Route(
                "GET",
                "/openmrs/patients/{uuid}",
                self.person,
                "getPatient",
                "Who a patient is",
                PATIENT_IN_PATH,
                answer=_PATIENT,
                errors=(503,),
            ),
            Route(
                "GET",
                of_patient,
                self.patient,
                "getPatientStudies",
                "A patient's studies",
                PATIENT_IN_PATH,
                query=(LIMIT, SINCE),
                answer=array(_STUDY),
                errors=(503,),
            ),
            Route(
                "GET",
                of_patient + "/{study}",
                self.fit,
                "getFit",
                "How a study fits a patient, whoever's it is",
                PATIENT_IN_PATH | STUDY_IN_PATH,
                answer=_FIT,
                errors=(409, 503),
            ),
            Route(
                "PUT",
                of_patient + "/{study}",
                self.assign,
                "assignStudy",
                "A study is this patient's",
                PATIENT_IN_PATH | STUDY_IN_PATH,
                body=Named("Assignment", record({"Force": FLAG})),
                body_required=False,
                answer=_STUDY,
                decides=True,
                errors=(409, 503),
            ),
            Route(
                "DELETE",
                of_patient + "/{study}",
                self.unassign,
                "unassignStudy",
                "A study is nobody's",
                PATIENT_IN_PATH | STUDY_IN_PATH,
                answer=_STUDY,
                decides=True,
                errors=(409, 503),
            ),
            Route(
                "GET",
                "/openmrs/patients/{uuid}/candidates",
                self.candidates,
                "getPatientCandidates",
                "Studies that are nobody's and may be a patient's",
                PATIENT_IN_PATH,
                query=(CANDIDATES,),
                answer={**array(_CANDIDATE), "maxItems": MOST_CANDIDATES},
                errors=(503,),
            ),
            Route(
                "GET",
                "/openmrs/studies",
                self.studies,
                "getStudies",
                "Studies, somebody's and nobody's",
                query=(SEARCH, DATE, MODALITY, ASSIGNED, NEWEST, LIMIT, SINCE, AFTER),
                answer=array(_STUDY),
                errors=(409, 503),
            ),
            Route(
                "GET",
                "/openmrs/waiting",
                self.waiting,
                "getWaitingStudies",
                "Studies whose link waits, and why",
                query=(LIMIT, WAITING_SINCE),
                answer=array(Named("WaitingStudy", record(**WAITING.schemas))),
                errors=(503,),
            ),
            Route(
                "GET",
                "/openmrs/studies/{study}",
                self.study,
                "getStudy",
                "Whose a study is",
                STUDY_IN_PATH,
                answer=_STUDY_AND_NOTIFICATIONS,
                errors=(409, 503),
            ),
        ]

    def find_patients(self, request: Request) -> Response:
        """GET /openmrs/patients"""
        limit = number(request, "limit", USUAL_CANDIDATES, 1, MOST_PATIENTS)
        words = request.query.get("search", "").strip()
        if not SHORTEST_SEARCH <= len(words) <= LONGEST_SEARCH:
            raise HttpError(
                400, f"search must have from {SHORTEST_SEARCH} to {LONGEST_SEARCH} characters"
            )
        return answer([PATIENT.describe(one) for one in self._patients.search(words, limit)])

    def person(self, request: Request, uuid: str) -> Response:
        """GET /openmrs/patients/{uuid}"""
        return answer(PATIENT.describe(self._patients.person(_patient(uuid))))

    def patient(self, request: Request, uuid: str) -> Response:
        """GET /openmrs/patients/{uuid}/studies"""
        limit, since = _page(request)
        found = self._mapping.studies_of(_patient(uuid), limit=limit, since=since)
        return answer([self._describe(one, request) for one in found])

    def fit(self, request: Request, uuid: str, study: str) -> Response:
        """GET /openmrs/patients/{uuid}/studies/{study}"""
        person, patient = self._patients.known(_patient(uuid))
        found = self._mapping.fit(patient, study)
        return answer(
            {
                "Patient": PATIENT.describe(person),
                "Study": self._describe(found.study, request),
                "Score": found.ranked.score,
                "Findings": [FINDING.describe(one) for one in found.ranked.found],
            }
        )

    def assign(self, request: Request, uuid: str, study: str) -> Response:
        """PUT /openmrs/patients/{uuid}/studies/{study}"""
        body = json_body(request) if request.body.strip() else {}
        force = body.get("Force", False)
        if not isinstance(force, bool) or set(body) - {"Force"}:
            raise HttpError(400, 'the body must be empty or {"Force": true}')
        found = self._mapping.assign(_patient(uuid), study, user_of(request), force=force)
        return answer(self._describe(found, request))

    def unassign(self, request: Request, uuid: str, study: str) -> Response:
        """DELETE /openmrs/patients/{uuid}/studies/{study}"""
        found = self._mapping.unassign(_patient(uuid), study, user_of(request))
        return answer(self._describe(found, request))

    def candidates(self, request: Request, uuid: str) -> Response:
        """GET /openmrs/patients/{uuid}/candidates"""
        limit = number(request, "limit", USUAL_CANDIDATES, 1, MOST_CANDIDATES)
        patient = self._patients.patient(_patient(uuid))
        found = self._mapping.candidates(patient, limit)
        return answer(
            [
                {
                    **self._describe(one.study, request),
                    "Score": one.ranked.score,
                    "Reasons": one.ranked.reasons,
                    "Findings": [FINDING.describe(what) for what in one.ranked.found],
                }
                for one in found
            ]
        )

    def studies(self, request: Request) -> Response:
        """GET /openmrs/studies"""
        limit, since = _page(request)
        after = request.query.get("after")
        question = Question(
            words=request.query.get("search", ""),
            dates=days(request, "date"),
            modality=_modality(request),
            assigned=yes_or_no(request, "assigned"),
            newest=yes_or_no(request, "newest") or False,
        )
        found = self._finder.find(question, limit=limit, since=since, after=after)
        if after is None:
            more = since + limit < found.total
            following = {"since": str(since + limit)} if more else None
        else:
            following = {"after": found.after} if found.after else None
        studies = self._mapping.described(found.studies)
        return page(
            [self._describe(one, request) for one in studies], request, found.total, following
        )

    def waiting(self, request: Request) -> Response:
        """GET /openmrs/waiting"""
        limit = number(request, "limit", USUAL_PAGE, 1, LARGEST_PAGE)
        since = request.query.get("since", "")
        if since and not is_orthanc_id(since):
            raise HttpError(400, "since must be an Orthanc ID")
        return answer([WAITING.describe(one) for one in self._waiting(limit, since)])

    def study(self, request: Request, study: str) -> Response:
        """GET /openmrs/studies/{study}"""
        found = self._mapping.study(study)
        told = self._notifications(found.head.study)
        return answer(
            {
                **self._describe(found, request),
                "Notifications": [NOTIFICATION.describe(one) for one in told],
                "Decisions": [
                    {
                        "At": moment(one.at),
                        "User": one.user,
                        "Action": one.action,
                        "Patient": one.named,
                    }
                    for one in self._assignments(found.head.study)
                ],
            }
        )

    def _describe(self, found: MappedStudy, request: Request) -> dict[str, Any]:
        return {
            **STUDY.describe(found),
            "Viewers": viewer_links(
                found.head,
                found.series,
                plugins=self._plugins(),
                settings=self._viewers,
                prefix=prefix_of(request.headers),
            ),
        }


def _patient(text: str) -> str:
    if not is_uuid(text):
        raise HttpError(400, "the path must name a patient by its uuid in OpenMRS")
    return text


def _modality(request: Request) -> str:
    text = request.query.get("modality", "")
    if text and not _CODE.fullmatch(text):
        raise HttpError(400, "modality must be a code as CT")
    return text


def _page(request: Request) -> tuple[int, int]:
    limit = number(request, "limit", USUAL_PAGE, 1, LARGEST_PAGE)
    return limit, number(request, "since", 0, 0, LARGEST_SINCE)
