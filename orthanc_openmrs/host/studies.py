"""Orthanc's studies, by its core REST API.

Decides: which routes are asked. A study costs two short calls, `/studies/{id}` and
`/studies/{id}/series`, whose size is that of the list of its instances' IDs; both answer from
Orthanc's index, on every version. (`/tools/find` goes through all studies to find one by an
identifier, and Orthanc's `LimitFindResults` cuts its answers.)
"""

import json
from typing import Any

from orthanc_openmrs.errors import Conflict
from orthanc_openmrs.host.api import Orthanc
from orthanc_openmrs.host.guards import NOT_FOUND, core_rest
from orthanc_openmrs.mapping.studies import (
    SeriesHead,
    StudyHead,
    read_series_head,
    read_study_head,
)

MOST_OF_A_UID = 10
"""Studies with one StudyInstanceUID that are told."""


class OrthancStudies:
    """The studies in this Orthanc."""

    def __init__(self, host: Orthanc) -> None:
        self._host = host
        self._get = core_rest(host)
        self._plugins: frozenset[str] | None = None

    def plugins(self) -> frozenset[str]:
        """The identifiers of Orthanc's plugins, asked once: they don't change while it runs."""
        if self._plugins is None:
            self._plugins = frozenset(self._get("/plugins") or ())
        return self._plugins

    def study(self, study: str) -> StudyHead | None:
        """A study, None where there is none."""
        document = self._get(f"/studies/{study}")
        return None if document is None else read_study_head(document)

    def series(self, study: str) -> list[SeriesHead]:
        """The series of a study."""
        documents = self._get(f"/studies/{study}/series") or ()
        return [read_series_head(document) for document in documents]

    def ids(self, since: int, limit: int) -> list[str]:
        """Orthanc IDs of studies, in Orthanc's order."""
        found: list[str] = self._get(f"/studies?since={since}&limit={limit}") or []
        return found

    def heads(self, since: int, limit: int) -> list[StudyHead]:
        """Studies in the same order, with all that a list shows. 50 take 2 ms, in which the
        interpreter does nothing else."""
        documents = self._get(f"/studies?since={since}&limit={limit}&expand") or ()
        return [read_study_head(document) for document in documents]

    def with_uid(self, study_instance_uid: str) -> list[StudyHead]:
        """The studies with a StudyInstanceUID, which must hold no wildcard."""
        return self._find("StudyInstanceUID", study_instance_uid, MOST_OF_A_UID)

    def of_patient_id(self, patient_id: str, limit: int) -> list[StudyHead]:
        """The studies with a PatientID, in any case, which must hold no wildcard. Orthanc keeps a
        blank before it, which means nothing in DICOM, and finds it only where it is asked for."""
        return self._find("PatientID", f"{patient_id}\\ {patient_id}", limit)

    def with_modality(self, modality: str) -> set[str]:
        """The studies that have a series of a modality, which must hold no wildcard. Raises
        Conflict where Orthanc's `LimitFindResults` cuts what it finds."""
        question = {"Level": "Study", "Query": {"ModalitiesInStudy": modality}}
        found = json.loads(self._host.RestApiPost("/tools/find", json.dumps(question).encode()))
        limit = json.loads(self._host.GetConfiguration()).get("LimitFindResults") or 0
        if 0 < limit <= len(found):
            raise Conflict(f"Orthanc's LimitFindResults ({limit}) cuts a search for a modality")
        return set(found)

    def _find(self, keyword: str, value: str, limit: int) -> list[StudyHead]:
        question: dict[str, Any] = {
            "Level": "Study",
            "Query": {keyword: value},
            "Expand": True,
            "Limit": limit,
        }
        body = json.dumps(question).encode()
        return [
            read_study_head(document)
            for document in json.loads(self._host.RestApiPost("/tools/find", body))
        ]

    def metadata(self, study: str, number: int) -> str:
        """A study's metadata, "" where it has none of this number."""
        try:
            return self._host.RestApiGet(f"/studies/{study}/metadata/{number}").decode()
        except self._host.OrthancException as problem:
            if problem.args and problem.args[0] in NOT_FOUND:
                return ""
            raise

    def set_metadata(self, study: str, number: int, text: str) -> None:
        """Write a study's metadata; "" deletes it."""
        uri = f"/studies/{study}/metadata/{number}"
        if text:
            self._host.RestApiPut(uri, text.encode())
        else:
            self._host.RestApiDelete(uri)
