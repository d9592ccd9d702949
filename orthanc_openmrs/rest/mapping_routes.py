"""The routes of patients and their studies.

Decides: what each answers. Must not know: Orthanc's module, SQL.
"""

from collections.abc import Callable, Collection
from typing import Any

from orthanc_openmrs.mapping.mapping import MappedStudy, PatientMapping
from orthanc_openmrs.mapping.ownership import is_uuid
from orthanc_openmrs.mapping.patients import Patients
from orthanc_openmrs.mapping.viewers import ViewerSettings, prefix_of, viewer_links
from orthanc_openmrs.model import Notification
from orthanc_openmrs.rest.arguments import json_body, number, yes_or_no
from orthanc_openmrs.rest.messages import HttpError, Request, Response, answer, user_of
from orthanc_openmrs.rest.router import Route
from orthanc_openmrs.rest.routes import describe_notification
from orthanc_openmrs.rest.schemas import (
    ASSIGNED,
    CANDIDATES,
    LARGEST_PAGE,
    LARGEST_SINCE,
    LIMIT,
    MOST_CANDIDATES,
    SINCE,
    array,
    ref,
)

USUAL_PAGE = 100
"""Studies of one answer, where no `limit` is asked for: each costs calls to Orthanc."""


USUAL_CANDIDATES = 20
"""Candidates, where no `limit` is asked for."""


class MappingRoutes:
    """The handlers, over the mapping and OpenMRS's patients."""

    def __init__(
        self,
        *,
        mapping: PatientMapping,
        patients: Patients,
        notifications: Callable[[str], list[Notification]],
        plugins: Callable[[], Collection[str]],
        viewers: ViewerSettings,
    ) -> None:
        self._mapping = mapping
        self._patients = patients
        self._notifications = notifications
        self._plugins = plugins
        self._viewers = viewers

    def table(self) -> list[Route]:
        """Every route."""
        of_patient = "/openmrs/patients/{uuid}/studies"
        mapped = ref("Study")
        return [
            Route(
                "GET",
                of_patient,
                self.patient,
                "A patient's studies",
                query=(LIMIT, SINCE),
                answer=array(mapped),
                errors=(503,),
            ),
            Route(
                "PUT",
                of_patient + "/{study}",
                self.assign,
                "A study is this patient's",
                body=ref("Assignment"),
                body_required=False,
                answer=mapped,
                errors=(409, 503),
            ),
            Route(
                "DELETE",
                of_patient + "/{study}",
                self.unassign,
                "A study is nobody's",
                answer=mapped,
                errors=(409, 503),
            ),
            Route(
                "GET",
                "/openmrs/patients/{uuid}/candidates",
                self.candidates,
                "Studies that are nobody's and may be a patient's",
                query=(CANDIDATES,),
                answer={**array(ref("Candidate")), "maxItems": MOST_CANDIDATES},
                errors=(503,),
            ),
            Route(
                "GET",
                "/openmrs/studies",
                self.studies,
                "Studies, somebody's and nobody's",
                query=(ASSIGNED, LIMIT, SINCE),
                answer=array(mapped),
                errors=(503,),
            ),
            Route(
                "GET",
                "/openmrs/studies/{study}",
                self.study,
                "Whose a study is",
                answer=ref("StudyAndNotifications"),
                errors=(409, 503),
            ),
        ]

    def patient(self, request: Request, uuid: str) -> Response:
        """GET /openmrs/patients/{uuid}/studies"""
        limit, since = _page(request)
        found = self._mapping.studies_of(_patient(uuid), limit=limit, since=since)
        return answer([self._describe(one, request) for one in found])

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
                }
                for one in found
            ]
        )

    def studies(self, request: Request) -> Response:
        """GET /openmrs/studies"""
        limit, since = _page(request)
        found = self._mapping.studies(yes_or_no(request, "assigned"), limit=limit, since=since)
        return answer([self._describe(one, request) for one in found])

    def study(self, request: Request, study: str) -> Response:
        """GET /openmrs/studies/{study}"""
        found = self._mapping.study(study)
        told = self._notifications(found.head.study)
        return answer(
            {
                **self._describe(found, request),
                "Notifications": [describe_notification(one) for one in told],
            }
        )

    def _describe(self, found: MappedStudy, request: Request) -> dict[str, Any]:
        head, owner = found.head, found.owner
        return {
            "ID": head.study,
            "StudyInstanceUID": head.study_instance_uid,
            "PatientID": head.patient_id,
            "PatientName": head.patient_name,
            "StudyDate": head.study_date,
            "StudyDescription": head.study_description,
            "ModalitiesInStudy": sorted({one.modality for one in found.series} - {""}),
            "Series": len(found.series),
            "Instances": sum(one.instances for one in found.series),
            "Patient": owner.patient or None,
            "Source": owner.source.value if owner.source else None,
            "Steps": list(owner.steps),
            "Viewers": viewer_links(
                head,
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


def _page(request: Request) -> tuple[int, int]:
    limit = number(request, "limit", USUAL_PAGE, 1, LARGEST_PAGE)
    return limit, number(request, "since", 0, 0, LARGEST_SINCE)
