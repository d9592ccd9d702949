"""The routes under /openmrs, as a table and its handlers.

Decides: what each route answers, in Orthanc's habits (PascalCase keys, DICOM keywords).
Must not know: Orthanc's module, SQL.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from pydicom.datadict import dictionary_VR, tag_for_keyword

from orthanc_openmrs import __version__
from orthanc_openmrs.errors import OpenMRSError, StoreError, WorklistUnavailable
from orthanc_openmrs.model import NotificationState
from orthanc_openmrs.openmrs.client import PROBLEMS
from orthanc_openmrs.rest.messages import HttpError, Request, Response, answer
from orthanc_openmrs.rest.router import Route
from orthanc_openmrs.worklist.attributes import ATTRIBUTES, KNOWN, Level
from orthanc_openmrs.worklist.datasets import worklist_file
from orthanc_openmrs.worklist.items import WorklistItem
from orthanc_openmrs.worklist.query import Key, Query
from orthanc_openmrs.worklist.refresh import SourceStatus
from orthanc_openmrs.worklist.service import Worklist
from orthanc_openmrs.worklist.snapshot import Snapshot

LARGEST_PAGE = 1000
"""Elements of one answer, where no `limit` asks for fewer."""

ANY_STATION = "ANY"
"""The AE title in the `.wl` file of a step that belongs to every station."""

FILTERS = (
    "Modality",
    "PatientID",
    "ScheduledStationAETitle",
    "ScheduledProcedureStepStartDate",
)


STEP_KEYWORDS = frozenset(row.keyword for row in ATTRIBUTES if row.level is Level.STEP)


class Routes:
    """The handlers, over the parts that they show."""

    def __init__(
        self,
        *,
        worklist: Worklist,
        source_status: Callable[[], SourceStatus],
        read_now: Callable[[], Snapshot],
        notification_counts: Callable[[], Mapping[NotificationState, int]],
    ) -> None:
        self._worklist = worklist
        self._read_now = read_now
        self._source_status = source_status
        self._notification_counts = notification_counts

    def table(self) -> list[Route]:
        """Every route."""
        return [
            Route("GET", "/openmrs/status", self.status, "How the plugin and OpenMRS are"),
            Route("GET", "/openmrs/worklist", self.worklist, "Every step of OpenMRS's list"),
            Route("POST", "/openmrs/worklist/refresh", self.refresh, "Read the list now"),
            Route("GET", "/openmrs/worklist/{step}", self.step, "One step"),
            Route("GET", "/openmrs/worklist/{step}/file", self.step_file, "One step as a .wl file"),
        ]

    def status(self, request: Request) -> Response:
        """GET /openmrs/status"""
        source = self._source_status()
        snapshot = self._worklist.snapshot
        age = self._worklist.age()
        return answer(
            {
                "Version": __version__,
                "OpenMRS": {
                    "Reachable": bool(source.last_success) and not source.last_error,
                    "Generation": snapshot.generation or None if snapshot else None,
                    "LastSuccess": moment(source.last_success),
                    "LastError": _last_error(source),
                },
                "Worklist": {
                    **_counts(snapshot),
                    "AgeSeconds": None if age is None else round(age, 1),
                    "Stale": self._worklist.stale,
                },
                "Notifications": self._notifications(),
            }
        )

    def _notifications(self) -> dict[str, Any]:
        try:
            counts = self._notification_counts()
        except StoreError as problem:
            return {"Error": str(problem)}
        return {state.value.capitalize(): counts[state] for state in NotificationState}

    def worklist(self, request: Request) -> Response:
        """GET /openmrs/worklist"""
        limit = _number(request, "limit", LARGEST_PAGE, 1, LARGEST_PAGE)
        since = _number(request, "since", 0, 0, 10**9)
        wanted = {
            keyword: request.query[keyword] for keyword in FILTERS if keyword in request.query
        }
        _refuse_unknown(request, ("aet", "limit", "since", *FILTERS))
        station = request.query.get("aet", "")
        if station:
            try:
                items = self._worklist.seen_by(station)
            except WorklistUnavailable as problem:
                raise HttpError(503, str(problem), Retry_After="10") from None
        else:
            items = list(self._snapshot().items)
        found = [
            item for item in items if all(item[keyword] == text for keyword, text in wanted.items())
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
        try:
            snapshot = self._read_now()
        except OpenMRSError as problem:
            message = PROBLEMS.get(problem.kind, problem.kind)
            raise HttpError(503, message, str(problem), Retry_After="10") from None
        return answer(_counts(snapshot))

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

    def _snapshot(self) -> Snapshot:
        snapshot = self._worklist.snapshot
        if snapshot is None:
            raise HttpError(
                503, "no worklist was read from OpenMRS yet; see /openmrs/status", Retry_After="10"
            )
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
    """Steps of the list, those that scanners can get, and what is left out of it."""
    if snapshot is None:
        return {"Steps": 0, "Offered": 0, "Skipped": 0}
    steps, offered = len(snapshot.items), len(snapshot.offered)
    return {
        "Steps": steps,
        "Offered": offered,
        "Skipped": steps - offered + len(snapshot.rejected),
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


def moment(seconds: float) -> str | None:
    """A time in Orthanc's form, in UTC; None for never."""
    if not seconds:
        return None
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y%m%dT%H%M%SZ")


def _last_error(source: SourceStatus) -> str | None:
    if not source.last_error:
        return None
    return f"{PROBLEMS.get(source.error_kind, source.error_kind)} ({source.last_error})"


def _number(request: Request, key: str, default: int, least: int, most: int) -> int:
    text = request.query.get(key)
    if text is None:
        return default
    digits = text.isascii() and text.isdigit() and len(text) <= 12
    if not digits or not least <= int(text) <= most:
        raise HttpError(400, f"{key} must be a whole number from {least} to {most}")
    return int(text)


def _refuse_unknown(request: Request, allowed: tuple[str, ...]) -> None:
    unknown = sorted(set(request.query) - set(allowed))
    if unknown:
        raise HttpError(
            400,
            "an argument of this request is unknown",
            "arguments are: " + (", ".join(allowed) or "none"),
        )


def _file_name(step: str) -> str:
    return "".join(mark if mark.isalnum() and mark.isascii() else "_" for mark in step) or "step"
