"""What Orthanc has of an exam's images, by its core REST API.

Decides: which routes are asked. A series costs a look-up by its UID, `/series/{id}` and
`/studies/{id}`, all answered from Orthanc's index.
"""

import json
import logging

from orthanc_openmrs.host.api import Orthanc
from orthanc_openmrs.host.guards import core_rest
from orthanc_openmrs.mpps.meaning import SeriesInOrthanc

_log = logging.getLogger(__name__)


class OrthancExams:
    """The images in this Orthanc, by the UIDs that scanners list."""

    def __init__(self, host: Orthanc) -> None:
        self._host = host
        self._get = core_rest(host)

    def series(self, series_instance_uid: str) -> list[SeriesInOrthanc]:
        """The series of this UID: one, or one a patient where patients share it."""
        found = []
        for name in self._look_up(series_instance_uid, "Series"):
            series = self._get(f"/series/{name}")
            study = self._get(f"/studies/{series['ParentStudy']}") if series else None
            if not series or not study:
                continue  # deleted meanwhile
            found.append(
                SeriesInOrthanc(
                    study=study["ID"],
                    patient_id=study["PatientMainDicomTags"].get("PatientID", ""),
                    study_instance_uid=study["MainDicomTags"].get("StudyInstanceUID", ""),
                    series_instance_uid=series["MainDicomTags"].get("SeriesInstanceUID", ""),
                    instances=frozenset(series["Instances"]),
                )
            )
        return found

    def instance_uids(self, series_instance_uid: str) -> frozenset[str]:
        """The SOPInstanceUIDs of a series."""
        return frozenset(
            instance["MainDicomTags"].get("SOPInstanceUID", "")
            for name in self._look_up(series_instance_uid, "Series")
            for instance in self._get(f"/series/{name}/instances") or ()
        )

    def studies(self, study_instance_uid: str) -> list[str]:
        """The studies of this UID."""
        return self._look_up(study_instance_uid, "Study")

    def is_stable(self, study: str) -> bool:
        """Whether Orthanc awaits no more of it; False where it was deleted."""
        document = self._get(f"/studies/{study}")
        return bool(document and document.get("IsStable"))

    def set_stable(self, study: str) -> None:
        """Tell Orthanc that nothing more of a study comes, where its Python plugin has a way
        (7.0 on Orthanc 1.12.9); other plugins and scripts needn't wait either then."""
        change = getattr(self._host, "SetStableStatus", None)
        if change is None:
            return
        try:
            change(study, self._host.StableStatus.STABLE)  # type: ignore[attr-defined]
        except self._host.OrthancException as problem:
            _log.info("study %s can't be set stable: %s", study, problem)

    def _look_up(self, uid: str, level: str) -> list[str]:
        if not uid:
            return []
        found = json.loads(self._host.RestApiPost("/tools/lookup", uid.encode()))
        return [one["ID"] for one in found if one["Type"] == level]
