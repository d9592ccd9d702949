"""The routes under /openmrs, as a table and its handlers.

Decides: what each route answers, in Orthanc's habits (PascalCase keys, DICOM keywords).
Must not know: Orthanc's module, SQL.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from pydicom.datadict import dictionary_VR, tag_for_keyword

from orthanc_openmrs import __version__
from orthanc_openmrs.completion.decisions import Decisions
from orthanc_openmrs.doctor.findings import Finding, worst
from orthanc_openmrs.errors import PROBLEMS, NotFound, WorklistUnavailable
from orthanc_openmrs.metrics import Known
from orthanc_openmrs.model import Kind, Notification, NotificationState, StudySummary
from orthanc_openmrs.rest.arguments import json_body, number, one_of, yes_or_no
from orthanc_openmrs.rest.messages import HttpError, Request, Response, answer, user_of
from orthanc_openmrs.rest.openapi import document
from orthanc_openmrs.rest.page import PageRoutes
from orthanc_openmrs.rest.router import Route
from orthanc_openmrs.rest.schemas import (
    AET,
    ANYTHING,
    FULL,
    KEYWORDS,
    KIND,
    LARGEST_PAGE,
    LARGEST_SINCE,
    LIMIT,
    NEWEST,
    OPEN,
    OWN,
    SEARCH,
    SINCE,
    SINCE_ID,
    STATE,
    Schema,
    array,
    equals,
    ref,
)
from orthanc_openmrs.worklist.attributes import ATTRIBUTES, KNOWN, Level
from orthanc_openmrs.worklist.datasets import worklist_file
from orthanc_openmrs.worklist.items import WorklistItem
from orthanc_openmrs.worklist.matching import holds
from orthanc_openmrs.worklist.query import Key, Query
from orthanc_openmrs.worklist.refresh import SourceStatus
from orthanc_openmrs.worklist.service import Worklist
from orthanc_openmrs.worklist.snapshot import Snapshot

ANY_STATION = "ANY"
"""The AE title in the `.wl` file of a step that belongs to every station."""

DICOM_FILE: Schema = {"type": "string", "format": "binary"}

FILTERS = (
    "Modality",
    "PatientID",
    "ScheduledStationAETitle",
    "ScheduledProcedureStepStartDate",
)


STEP_KEYWORDS = frozenset(row.keyword for row in ATTRIBUTES if row.level is Level.STEP)


class Routes:
    """The handlers, over the parts that they show. `page` has the files of the administrator's
    page by their names; `further` are the routes of other tables."""

    def __init__(
        self,
        *,
        worklist: Worklist,
        source_status: Callable[[], SourceStatus],
        generation: Callable[[], str],
        read_now: Callable[[], Snapshot],
        decisions: Decisions,
        look_up_study: Callable[[str], str | None],
        backlog: Callable[[], Known],
        page: Mapping[str, bytes],
        examine: Callable[[], list[Finding] | None],
        further: Iterable[Route] = (),
    ) -> None:
        self._worklist = worklist
        self._read_now = read_now
        self._decisions = decisions
        self._look_up_study = look_up_study
        self._source_status = source_status
        self._generation = generation
        self._backlog = backlog
        self._examine = examine
        self._page = PageRoutes(page)
        self._further = tuple(further)

    def table(self) -> list[Route]:
        """Every route, with what OpenAPI tells of it."""
        step, notification = ref("Step"), ref("Notification")
        return [
            Route(
                "GET",
                "/openmrs/status",
                self.status,
                "How the plugin and OpenMRS are",
                query=(FULL,),
                answer=ref("Status"),
                errors=(400, 503),
            ),
            Route(
                "GET",
                "/openmrs/worklist",
                self.worklist,
                "Every step of OpenMRS's list",
                query=(AET, OWN, OPEN, SEARCH, *map(equals, FILTERS), LIMIT, SINCE),
                answer=array(step),
                errors=(503,),
            ),
            Route(
                "POST",
                "/openmrs/worklist/refresh",
                self.refresh,
                "Read the list now",
                answer=ref("Counts"),
                errors=(503,),
            ),
            Route(
                "GET",
                "/openmrs/worklist/{step}",
                self.step,
                "One step, and why a station gets it or not",
                query=(AET, KEYWORDS),
                answer=ref("ExplainedStep"),
                errors=(503,),
            ),
            Route(
                "GET",
                "/openmrs/worklist/{step}/file",
                self.step_file,
                "One step as a .wl file",
                answer=DICOM_FILE,
                media="application/dicom",
                errors=(409, 503),
            ),
            Route(
                "GET",
                "/openmrs/notifications",
                self.notifications,
                "What is told OpenMRS",
                query=(STATE, KIND, NEWEST, LIMIT, SINCE_ID),
                answer=array(notification),
                errors=(503,),
            ),
            Route(
                "GET",
                "/openmrs/notifications/{id}",
                self.notification,
                "One notification",
                answer=ref("NotificationAndDecisions"),
                errors=(503,),
            ),
            Route(
                "POST",
                "/openmrs/notifications/{id}/retry",
                self.retry,
                "Send it again, link again",
                answer=notification,
                errors=(409, 503),
            ),
            Route(
                "DELETE",
                "/openmrs/notifications/{id}",
                self.discard,
                "Never send it",
                answer=notification,
                errors=(409, 503),
            ),
            Route(
                "POST",
                "/openmrs/studies/{study}/report",
                self.report,
                "A study completes a step",
                body=ref("Report"),
                answer=notification,
                errors=(409, 503),
            ),
            *self._further,
            *self._page.table(),
            Route(
                "GET",
                "/openmrs/openapi.json",
                self.openapi,
                "This document (OpenAPI 3.1)",
                answer=ANYTHING,
            ),
        ]

    def openapi(self, request: Request) -> Response:
        """GET /openmrs/openapi.json"""
        return answer(document(self.table()))

    def status(self, request: Request) -> Response:
        """GET /openmrs/status"""
        full = request.query.get("full", "false")
        if full not in ("", "true", "false"):
            raise HttpError(400, "full must be true or false, or stand alone")
        return answer({**self.known(), **(self._examined() if full != "false" else {})})

    def known(self) -> dict[str, Any]:
        """What is known without waiting for anything."""
        source = self._source_status()
        snapshot = self._worklist.snapshot
        age = self._worklist.age()
        return {
            "Version": __version__,
            "OpenMRS": {
                "Reachable": bool(source.last_success) and not source.last_error,
                "Generation": (snapshot.generation if snapshot else "")
                or self._generation()
                or None,
                "LastSuccess": moment(source.last_success),
                "LastError": _last_error(source),
                "Problem": source.error_kind or None,
                "Since": moment(source.failing_since or source.answering_since),
            },
            "Worklist": {
                **_counts(snapshot),
                "AgeSeconds": None if age is None else round(age, 1),
                "Stale": self._worklist.stale,
                "Revision": self._worklist.revision,
                "Stations": self._worklist.stations,
            },
            "Notifications": self._notifications(),
        }

    def _examined(self) -> dict[str, Any]:
        found = self._examine()
        if found is None:
            raise HttpError(503, "another examination takes its time", **{"Retry_After": "10"})
        findings = [finding.describe() for finding in found]
        return {"Doctor": {"State": worst(found).value, "Findings": findings}}

    def _notifications(self) -> dict[str, Any]:
        known = self._backlog()
        counts = known.backlog.counts if known.backlog else None
        problem = known.problem or ("" if counts else "the notifications were not counted yet")
        return {
            **(
                {state.value.capitalize(): counts[state] for state in NotificationState}
                if counts
                else {}
            ),
            **({"Error": problem} if problem else {}),
        }

    def worklist(self, request: Request) -> Response:
        """GET /openmrs/worklist"""
        limit = number(request, "limit", LARGEST_PAGE, 1, LARGEST_PAGE)
        since = number(request, "since", 0, 0, LARGEST_SINCE)
        wanted = {
            keyword: request.query[keyword] for keyword in FILTERS if keyword in request.query
        }
        waiting = yes_or_no(request, "open")
        station = request.query.get("aet", "")
        own = yes_or_no(request, "own")
        if own and not station:
            raise HttpError(400, "own needs the AE title that asks: ?aet=")
        if station:
            asks = {"ScheduledStationAETitle": station} if own else {}
            items = self._worklist.seen_by(station, _query(asks))
        else:
            items = list(self._snapshot().items)
        searched = holds(request.query.get("search", ""))
        found = [
            item
            for item in items
            if all(item[keyword] == text for keyword, text in wanted.items())
            and waiting in (None, item.step.status.is_open)
            and searched(item)
        ]
        return answer([describe(item) for item in found[since : since + limit]])

    def step(self, request: Request, step: str) -> Response:
        """GET /openmrs/worklist/{step}"""
        item = self._item(step)
        described = describe(item)
        keys = {key: text for key, text in request.query.items() if key != "aet"}
        if "aet" in request.query:
            described["Explanation"] = self._explain(item, request.query["aet"], _query(keys))
        elif keys:
            raise HttpError(400, "the keys of a query need the AE title that asks: ?aet=")
        return answer(described)

    def _explain(self, item: WorklistItem, ae_title: str, query: Query) -> list[dict[str, Any]]:
        """Each rule that decides whether a station gets a step for a query."""
        try:
            self._worklist.fresh()
            unavailable = ""
        except WorklistUnavailable as problem:
            unavailable = str(problem)
        rules = [
            ("Worklist", "a list that is fresh enough", not unavailable, unavailable),
            ("Step", "an open step that can be made valid", item.offered, item.reason),
        ]
        for rule in self._worklist.rules(ae_title, query):
            passes = rule.passes(item)
            found = item[rule.index] if rule.index else ""
            asks = rule.asks or "anything"
            rules.append((rule.name, asks, passes, "" if passes else f"the step has: {found}"))
        return [
            {"Rule": name, "Asks": asks, "Passes": passes, "Reason": reason}
            for name, asks, passes, reason in rules
        ]

    def refresh(self, request: Request) -> Response:
        """POST /openmrs/worklist/refresh"""
        return answer(_counts(self._read_now()))

    def step_file(self, request: Request, step: str) -> Response:
        """GET /openmrs/worklist/{step}/file"""
        item = self._item(step)
        if not item["StudyInstanceUID"] or not item["ScheduledProcedureStepID"]:
            raise HttpError(409, "this step can't be written as DICOM", item.reason)
        title = item["ScheduledStationAETitle"] or ANY_STATION
        disposition = f'attachment; filename="{_file_name(step)}.wl"'
        return Response(
            200,
            worklist_file(item, title),
            "application/dicom",
            {"Content-Disposition": disposition},
        )

    def notifications(self, request: Request) -> Response:
        """GET /openmrs/notifications"""
        limit = number(request, "limit", LARGEST_PAGE, 1, LARGEST_PAGE)
        since = number(request, "since", 0, 0, LARGEST_SINCE)
        state = one_of(NotificationState, request, "state")
        kind = one_of(Kind, request, "kind") or Kind.COMPLETED
        newest = yes_or_no(request, "newest") or False
        found = self._decisions.notifications(
            state, kind=kind, limit=limit, since=since, newest_first=newest
        )
        return answer([describe_notification(one) for one in found])

    def notification(self, request: Request, id: str) -> Response:  # noqa: A002 - its name in the path
        """GET /openmrs/notifications/{id}"""
        found, decisions = self._decisions.notification(_id(id))
        return answer(
            {
                **describe_notification(found),
                "Decisions": [
                    {"At": moment(one.at), "User": one.user, "Action": one.action}
                    for one in decisions
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
            "Study": _compared(study),
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
        return answer(describe_notification(self._decisions.retry(_id(id), user_of(request))))

    def discard(self, request: Request, id: str) -> Response:  # noqa: A002 - its name in the path
        """DELETE /openmrs/notifications/{id}"""
        return answer(describe_notification(self._decisions.discard(_id(id), user_of(request))))

    def report(self, request: Request, study: str) -> Response:
        """POST /openmrs/studies/{study}/report"""
        body = json_body(request)
        step = body.get("ScheduledProcedureStepID")
        if not isinstance(step, str) or not step or set(body) != {"ScheduledProcedureStepID"}:
            raise HttpError(400, 'the body must be {"ScheduledProcedureStepID": "…"}')
        found = self._look_up_study(study)
        if found is None:
            raise NotFound(f"Orthanc has no study {study}")
        return answer(describe_notification(self._decisions.report(found, step, user_of(request))))

    def _snapshot(self) -> Snapshot:
        snapshot = self._worklist.snapshot
        if snapshot is None:
            raise WorklistUnavailable("no worklist was read from OpenMRS yet; see /openmrs/status")
        return snapshot

    def _item(self, step: str) -> WorklistItem:
        item = self._snapshot().step(step)
        if item is None:
            raise HttpError(404, "OpenMRS's list has no such step", "see /openmrs/worklist")
        return item


def describe(item: WorklistItem) -> dict[str, Any]:
    """A step as JSON: DICOM keywords, flat, and what becomes of it."""
    return {
        **{row.keyword: item[row.keyword] for row in KNOWN},
        "Status": item.step.status.value,
        "Offered": item.offered,
        "Reason": item.reason,
        "Warnings": list(item.warnings),
    }


def _counts(snapshot: Snapshot | None) -> dict[str, int]:
    """Steps of the list, those that scanners can get, and those that they should but can't."""
    if snapshot is None:
        return {"Steps": 0, "Offered": 0, "Skipped": 0}
    return {
        "Steps": len(snapshot.items),
        "Offered": len(snapshot.offered),
        "Skipped": snapshot.skipped,
    }


def _query(keys: Mapping[str, str]) -> Query:
    """A query as a scanner would ask it, from keywords and their texts."""
    step: list[Key] = []
    request: list[Key] = []
    for keyword, text in keys.items():
        tag = tag_for_keyword(keyword)
        if tag is None:
            raise HttpError(400, "an argument is no DICOM keyword", f"arguments: {', '.join(keys)}")
        key = Key(tag, keyword, dictionary_VR(tag)[:2], text)
        (step if keyword in STEP_KEYWORDS else request).append(key)
    return Query(tuple(request), tuple(step))


def describe_notification(notification: Notification) -> dict[str, Any]:
    """A notification as JSON."""
    return {
        "ID": notification.id,
        "State": notification.state.value,
        "Kind": notification.kind.value,
        "Study": notification.study,
        "StudyInstanceUID": notification.study_instance_uid,
        "RequestedProcedureID": notification.requested_procedure_id,
        "ScheduledProcedureStepID": notification.scheduled_procedure_step_id,
        "Evidence": notification.evidence,
        "Reason": notification.reason,
        "Attempts": notification.attempts,
        "NextAttempt": moment(notification.next_attempt)
        if notification.state is NotificationState.PENDING
        else None,
        "LastError": notification.last_error,
        "Created": moment(notification.created),
        "Delivered": moment(notification.delivered),
    }


def _compared(study: StudySummary) -> dict[str, Any]:
    """What a person compares with a step."""
    dates = [series.performed_procedure_step_start_date for series in study.series]
    return {
        "PatientID": study.patient_id,
        "PatientName": study.patient_name,
        "PatientBirthDate": study.patient_birth_date,
        "AccessionNumber": study.accession_number,
        "StudyInstanceUID": study.study_instance_uid,
        "StudyDescription": study.study_description,
        "RequestedProcedureDescription": study.requested_procedure_description,
        "ModalitiesInStudy": sorted({series.modality for series in study.series} - {""}),
        "PerformedProcedureStepStartDate": next(filter(None, dates), ""),
        "ScheduledProcedureStepIDs": sorted(
            {
                item.scheduled_procedure_step_id
                for series in study.series
                for item in series.request_attributes
            }
            - {""}
        ),
        "Series": len(study.series),
        "Instances": sum(series.instances for series in study.series),
    }


def _id(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise NotFound("there is no such notification")
    return int(text)


def moment(seconds: float) -> str | None:
    """A time in Orthanc's form, in UTC; None for never."""
    if not seconds:
        return None
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y%m%dT%H%M%SZ")


def _last_error(source: SourceStatus) -> str | None:
    if not source.last_error:
        return None
    return f"{PROBLEMS.get(source.error_kind, source.error_kind)} ({source.last_error})"


def _file_name(step: str) -> str:
    return "".join(mark if mark.isalnum() and mark.isascii() else "_" for mark in step) or "step"
