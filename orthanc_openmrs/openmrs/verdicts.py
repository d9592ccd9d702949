"""The status update, and what OpenMRS's answer to one means, for all generations.

Decides: how an update is written, and the verdict on what is answered. The names of its fields
stand here and nowhere else. Must not know: HTTP, DICOM rules, the database.
"""

import json
from dataclasses import dataclass
from enum import Enum
from typing import Any

from orthanc_openmrs.errors import PROBLEMS
from orthanc_openmrs.model import (
    Answer,
    ImagingRequest,
    ProcedureStep,
    SeriesSummary,
    StudySummary,
)
from orthanc_openmrs.openmrs.answers import read_exception, server_text
from orthanc_openmrs.openmrs.generations import of_update


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
    study: StudySummary, request: ImagingRequest, step: ProcedureStep, series: SeriesSummary
) -> StatusUpdate:
    """The one form that suits every generation: one step, and the series that stands for it.

    One step, because v2 keeps what it compared in a column of 2,000 characters, of which an entry
    takes up to 500. The accession number and the patient are OpenMRS's own, for v3 compares them
    exactly; what comes from the images are texts or None.
    """
    step_id = step.scheduled_procedure_step_id
    return StatusUpdate(
        parameters={
            "studyInstanceUID": study.study_instance_uid,
            "performedProcedureStepID": step_id,
        },
        body={
            "studyInfo": {
                "accessionNumber": request.accession_number,
                "studyInstanceUID": study.study_instance_uid,
                "referringPhysicianName": study.referring_physician_name or None,
                "studyDescription": study.study_description or None,
            },
            "seriesList": [_series_entry(study, request, step_id, series)],
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
        # The key of one week's module (2025-11-23 to 28); the others ignore what they don't know.
        "performedProcedureStepID": step_id,
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
    EXCEPTION = "exception"  # as RETRY; but the same words again and again are a data error


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict and its reason: the server's own short text, else the status.

    `words` are an exception's, the same where OpenMRS said the same again. Both may name a patient
    and are never logged. `generation` is the module's, where the answer tells it.
    """

    verdict: Verdict
    reason: str = ""
    words: str = ""
    generation: str = ""


def judge(answer: Answer) -> Judgement:
    """The verdict on the answer to a status update (a connection that failed is RETRY)."""
    text = answer.body.decode("utf-8-sig", "replace").strip()
    failed = _judge_exception(answer)
    if failed is not None:
        return failed
    if answer.status != 200:
        return _judge_refusal(answer, text)
    if not text:
        return Judgement(Verdict.CONFIRM, generation=of_update(answer))
    if text[0] == "<":
        return Judgement(Verdict.RETRY, "OpenMRS answered with a page: sign-in refused?")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        document = None
    if isinstance(document, dict) and "score" in document:
        return Judgement(Verdict.DELIVERED, generation=of_update(answer))
    if text[0] in "[{":
        # The module answers with a score or a sentence: this is of something else, or broken.
        return Judgement(Verdict.RETRY, "HTTP 200: the answer is no verdict")
    # An early v2 says so of a request with other open steps, though it saved this one.
    return Judgement(Verdict.CONFIRM_REFUSED, server_text(text))


def judge_step_status(answer: Answer) -> Judgement:
    """The verdict on the answer to the status of a single step, which the list knows."""
    failed = _judge_exception(answer)
    if failed is not None:
        return failed
    text = answer.body.decode("utf-8-sig", "replace").strip()
    if answer.status == 200 and text[:1] != "<":
        return Judgement(Verdict.DELIVERED)
    reason = _reason(answer, text)
    # A module without the route answers with a page of the servlet container or with JSON.
    refused = answer.status in (400, 404, 405) and answer.problem != "tls-port"
    return Judgement(Verdict.REFUSED if refused else Verdict.RETRY, reason)


def _judge_exception(answer: Answer) -> Judgement | None:
    """OpenMRS says 200 or 500 with an exception; with 500 the step may be saved all the same."""
    found = read_exception(answer.body)
    if found is None:
        return None
    words = found.words or found.place or f"HTTP {answer.status}, an exception without words"
    return Judgement(Verdict.EXCEPTION, f"OpenMRS failed: {words}", words)


def _judge_refusal(answer: Answer, text: str) -> Judgement:
    reason = _reason(answer, text)
    if text[:1] == "<":
        # A servlet container answers with pages of its own, 404 too, while OpenMRS restarts.
        return Judgement(Verdict.RETRY, reason)
    if answer.status == 404:
        # An unknown step (v3), or a module that isn't loaded yet: the list tells.
        return Judgement(Verdict.CONFIRM_UNKNOWN, reason)
    if answer.status in (400, 409) and answer.problem != "tls-port":
        return Judgement(Verdict.REFUSED, reason)
    return Judgement(Verdict.RETRY, reason)


_OWN_WORDS = ("", "not-found", "server-error")
"""Problems of which OpenMRS's own words tell more than ours: these are about the step."""


def _reason(answer: Answer, text: str) -> str:
    status = f"HTTP {answer.status}"
    if answer.problem not in _OWN_WORDS:
        return f"{PROBLEMS[answer.problem]} ({status})"
    said = "" if text[:1] == "<" else server_text(text)
    return f"{status}: {said}" if said else status


def judge_empty_update(answer: Answer) -> str:
    """What the answer to a status update of no step tells of the account and the address: one of
    PROBLEMS, "" where updates are taken."""
    failed = read_exception(answer.body)
    if failed is not None:
        return "" if failed.misses_parameter else failed.problem  # v1 got as far as that
    if answer.status == 200:
        return "credentials" if answer.body.strip()[:1] == b"<" else ""
    if answer.status in (400, 409) and answer.problem != "tls-port":
        return ""  # the route is there, and may be used: it only finds nothing to do
    return answer.problem
