"""The status update, and what OpenMRS's answer to one means, for all generations.

Decides: how an update is written, and the verdict on what is answered. The names of its fields
stand here and nowhere else. Must not know: HTTP, DICOM rules, the database.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from orthanc_openmrs.model import ImagingRequest, SeriesSummary, StudySummary


@dataclass(frozen=True, slots=True)
class StatusUpdate:
    """One status POST: v1 reads the query `parameters`, v2 and v3 read the JSON `body`."""

    parameters: dict[str, str]
    body: dict[str, Any]

    def to_json(self) -> str:
        """For the database; contains personal data."""
        return json.dumps({"parameters": self.parameters, "body": self.body}, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> "StatusUpdate":
        """What `to_json` wrote."""
        document = json.loads(text)
        return cls(document["parameters"], document["body"])


def status_update(
    study: StudySummary,
    request: ImagingRequest,
    steps: Iterable[tuple[str, SeriesSummary]],
) -> StatusUpdate:
    """The one form that suits every generation.

    `steps` are pairs of a ScheduledProcedureStepID and its representative series, the step
    that this POST is for first. The accession number and the patient are OpenMRS's own, for
    v3 compares them exactly; what comes from the images are texts or None.
    """
    pairs = list(steps)
    return StatusUpdate(
        parameters={
            "studyInstanceUID": study.study_instance_uid,
            "performedProcedureStepID": pairs[0][0],
        },
        body={
            "studyInfo": {
                "accessionNumber": request.accession_number,
                "studyInstanceUID": study.study_instance_uid,
                "referringPhysicianName": study.referring_physician_name or None,
                "studyDescription": study.study_description or None,
            },
            "seriesList": [_series_entry(study, request, *pair) for pair in pairs],
        },
    )


def _series_entry(
    study: StudySummary, request: ImagingRequest, step_id: str, series: SeriesSummary
) -> dict[str, Any]:
    return {
        "seriesInfo": {
            "seriesID": series.series_instance_uid,
            "modality": series.modality or None,
            "seriesDescription": series.series_description or None,
            "seriesInstanceUID": series.series_instance_uid,
            "stationName": series.station_name or None,
            "parentStudy": study.study,
        },
        "instanceInfo": {
            "patientBirthDate": study.patient_birth_date or None,
            "patientID": request.patient_id,
            "patientName": study.patient_name or None,
            "scheduledProcedureStepID": step_id,
            "studyInstanceUID": study.study_instance_uid,
            "numberOfSlices": str(series.instances),
            "scheduledPerformingPhysician": series.performing_physician_name or None,
            "performedProcedureStepDescription": series.performed_procedure_step_description
            or None,
            "performedProcedureStepStartDate": series.performed_procedure_step_start_date or None,
            "performedProcedureStepStartTime": series.performed_procedure_step_start_time or None,
            "requestedProcedureDescription": study.requested_procedure_description or None,
        },
        "scheduledProcedureStepID": step_id,
    }


def empty_update() -> dict[str, Any]:
    """The body of a status update of no step."""
    keys = ("accessionNumber", "studyInstanceUID", "referringPhysicianName", "studyDescription")
    return {"studyInfo": dict.fromkeys(keys), "seriesList": []}


# --- the verdict ---------------------------------------------------------------------------


class Verdict(Enum):
    """What OpenMRS's answer to a status POST means for the notification."""

    DELIVERED = "delivered"
    CONFIRM = "confirm"  # done, or the step is unknown: the list tells (v1)
    CONFIRM_UNKNOWN = "confirm-unknown"  # refused, unless the list has the step
    CONFIRM_REFUSED = "confirm-refused"  # refused, unless the list has the step as completed
    REFUSED = "refused"
    RETRY = "retry"


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict and its reason: the server's own short text, else the status."""

    verdict: Verdict
    reason: str = ""


def judge(status: int, body: bytes) -> Judgement:
    """The verdict on an HTTP answer to a status POST (a connection that failed is RETRY)."""
    text = body.decode("utf-8-sig", "replace").strip()
    is_page = text[:1] == "<"
    if status == 200:
        if not text:
            return Judgement(Verdict.CONFIRM)
        if is_page:
            return Judgement(Verdict.RETRY, "OpenMRS answered with a page: sign-in refused?")
        try:
            document = json.loads(text)
        except (ValueError, RecursionError):
            document = None
        if isinstance(document, dict) and "score" in document:
            return Judgement(Verdict.DELIVERED)
        if text[0] in "[{":
            # The module answers with a score or a sentence: this is of something else, or broken.
            return Judgement(Verdict.RETRY, "HTTP 200: the answer is no verdict")
        # An early v2 says so of a request with other open steps, though it saved this one.
        return Judgement(Verdict.CONFIRM_REFUSED, _server_text(text))
    said = "" if is_page else _server_text(text)
    reason = f"HTTP {status}: {said}" if said else f"HTTP {status}"
    if is_page:
        # A servlet container answers with pages of its own, 404 too, while OpenMRS restarts.
        return Judgement(Verdict.RETRY, reason)
    if status == 404:
        # An unknown step (v3), or a module that isn't loaded yet: the list tells.
        return Judgement(Verdict.CONFIRM_UNKNOWN, reason)
    if status in (400, 409):
        return Judgement(Verdict.REFUSED, reason)
    return Judgement(Verdict.RETRY, reason)


def judge_empty_update(status: int, body: bytes) -> str:
    """What the answer to a status update of no step tells of the account and the address: one of
    the kinds of OpenMRSError, "" where updates are taken."""
    if status == 200:
        return "credentials" if body.strip()[:1] == b"<" else ""
    if status in (400, 409):
        return ""  # the route is there, and may be used: it only finds nothing to do
    kinds = {401: "credentials", 403: "privilege", 404: "not-found", 405: "not-found"}
    return kinds.get(status, "credentials" if 300 <= status < 400 else "server-error")


def judge_step_status(status: int, body: bytes) -> Verdict:
    """The verdict on an HTTP answer to the status of a single step, which the list knows."""
    is_page = body.strip()[:1] == b"<"
    if status == 200 and not is_page:
        return Verdict.DELIVERED
    # A module without the route answers with a page of the servlet container or with JSON.
    return Verdict.REFUSED if status in (400, 404, 405) else Verdict.RETRY


def _server_text(text: str) -> str:
    """The server's own message, short and on one line."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        document = text
    if isinstance(document, dict):
        error = document.get("error", document.get("message", ""))
        document = error.get("message") if isinstance(error, dict) else error
    return " ".join(str(document or "").split())[:200]
