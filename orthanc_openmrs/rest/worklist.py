"""The routes of the worklist.

Decides: what is told of each step, in DICOM keywords, and why a station gets it or not. Must not
know: Orthanc's module, SQL.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from operator import itemgetter
from typing import Any

from pydicom.datadict import dictionary_VR, tag_for_keyword

from orthanc_openmrs.errors import WorklistUnavailable
from orthanc_openmrs.model import Source, StepStatus
from orthanc_openmrs.rest.arguments import number, yes_or_no
from orthanc_openmrs.rest.messages import HttpError, Request, Response, answer, etag, page
from orthanc_openmrs.rest.router import Route
from orthanc_openmrs.rest.schemas import (
    AFTER,
    COUNT,
    FLAG,
    LARGEST_PAGE,
    LARGEST_SINCE,
    LIMIT,
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
from orthanc_openmrs.rest.step_search import StepSearch
from orthanc_openmrs.worklist.attributes import ATTRIBUTES, KNOWN, Level
from orthanc_openmrs.worklist.datasets import worklist_file
from orthanc_openmrs.worklist.items import WorklistItem
from orthanc_openmrs.worklist.matching import indexed
from orthanc_openmrs.worklist.query import Key, Query
from orthanc_openmrs.worklist.service import Worklist
from orthanc_openmrs.worklist.snapshot import Snapshot

ANY_STATION = "ANY"
"""The AE title in the `.wl` file of a step that belongs to every station."""

DICOM_FILE: Schema = {"type": "string", "format": "binary"}

FILTERS = (
    "Modality",
    "PatientID",
    "RequestedProcedureID",
    "ScheduledStationAETitle",
    "ScheduledProcedureStepStartDate",
)

STEP_KEYWORDS = frozenset(row.keyword for row in ATTRIBUTES if row.level is Level.STEP)

COUNTS = Keys[Snapshot | None](
    {
        "Steps": (COUNT, lambda snapshot: len(snapshot.items) if snapshot else 0),
        "Offered": (COUNT, lambda snapshot: len(snapshot.offered) if snapshot else 0),
        "Skipped": (COUNT, lambda snapshot: snapshot.skipped if snapshot else 0),
    }
)
"""Steps of the list, those that scanners can get, and those that they should but can't."""

STEP = Keys[WorklistItem](
    {
        **{row.keyword: (TEXT, itemgetter(row.keyword)) for row in KNOWN},
        "Status": (choice(*StepStatus), lambda item: item.step.status.value),
        "Offered": (FLAG, lambda item: item.offered),
        "Reason": (TEXT, lambda item: item.reason),
        "Warnings": (TEXTS, lambda item: list(item.warnings)),
        "Adjusted": (TEXTS, lambda item: list(item.adjusted)),
        "Source": (choice(*Source), lambda item: item.request.source.value),
    }
)
"""A step: DICOM keywords, flat, and what becomes of it."""

_STEP = Named("Step", record(**STEP.schemas))
_EXPLAINED_STEP = Named(
    "ExplainedStep",
    record(
        {
            "Explanation": {
                "type": "array",
                "items": record(Rule=TEXT, Asks=TEXT, Has=TEXT, Passes=FLAG, Reason=TEXT),
            }
        },
        **STEP.schemas,
    ),
)

STEP_IN_PATH = {"step": "a ScheduledProcedureStepID of OpenMRS's list"}

AET = Parameter("aet", "an AE title: what this station would get", TEXT)
OWN = Parameter("own", "with aet, as it sees a query that names its own AE title", FLAG)
SEARCH = Parameter(
    "search", "words of a name in any script and spelling, a number, a description, a date", TEXT
)
OPEN = Parameter("open", "only steps that wait for images, or that don't", FLAG)
KEYWORDS = Parameter(
    "keys",
    "with aet, what else the station asks: DICOM keywords and their texts, as Modality=CT",
    {
        "type": "object",
        "properties": {"Modality": TEXT, "PatientID": TEXT, "PatientName": TEXT},
        "additionalProperties": TEXT,
    },
)


SOURCE = Parameter(
    "source", "only steps of the Imaging module, or of OpenMRS's own orders", choice(*Source)
)


def _equals(keyword: str) -> Parameter:
    """An argument that is compared as it stands."""
    return Parameter(keyword, f"only steps with this {keyword}", TEXT)


class WorklistRoutes:
    """The handlers, over the list that is served. `read_now` reads OpenMRS's."""

    def __init__(self, *, worklist: Worklist, read_now: Callable[[], Snapshot]) -> None:
        self._worklist = worklist
        self._read_now = read_now
        self._search = StepSearch()

    def table(self) -> list[Route]:
        """Every route."""
        return [
            Route(
                "GET",
                "/openmrs/worklist",
                self.worklist,
                "getWorklist",
                "Every step of OpenMRS's list",
                query=(
                    *(AET, OWN, OPEN, SEARCH, SOURCE),
                    *map(_equals, FILTERS),
                    *(LIMIT, SINCE, AFTER),
                ),
                answer=array(_STEP),
                errors=(503,),
                validated=True,
            ),
            Route(
                "POST",
                "/openmrs/worklist/refresh",
                self.refresh,
                "refreshWorklist",
                "Read the list now",
                answer=Named("Counts", record(**COUNTS.schemas)),
                errors=(503,),
            ),
            Route(
                "GET",
                "/openmrs/worklist/{step}",
                self.step,
                "getWorklistStep",
                "One step, and why a station gets it or not",
                STEP_IN_PATH,
                query=(AET, KEYWORDS),
                answer=_EXPLAINED_STEP,
                errors=(503,),
            ),
            Route(
                "GET",
                "/openmrs/worklist/{step}/file",
                self.step_file,
                "getWorklistStepFile",
                "One step as a .wl file",
                STEP_IN_PATH,
                answer=DICOM_FILE,
                media="application/dicom",
                errors=(409, 503),
            ),
        ]

    def worklist(self, request: Request) -> Response:
        """GET /openmrs/worklist"""
        limit = number(request, "limit", LARGEST_PAGE, 1, LARGEST_PAGE)
        since = number(request, "since", 0, 0, LARGEST_SINCE)
        wanted = {
            keyword: request.query[keyword] for keyword in FILTERS if keyword in request.query
        }
        waiting = yes_or_no(request, "open")
        source = request.query.get("source", "")
        if source and source not in list(Source):
            raise HttpError(400, f"source must be one of {', '.join(Source)}")
        station = request.query.get("aet", "")
        own = yes_or_no(request, "own")
        if own and not station:
            raise HttpError(400, "own needs the AE title that asks: ?aet=")
        if station:
            asks = {"ScheduledStationAETitle": station} if own else {}
            items = self._worklist.seen_by(station, _query(asks))
        else:
            items = list(self._snapshot().items)
        searched = self._search.matching(request.query.get("search", ""), self._snapshot().items)
        found = [
            item
            for item in items
            if all(indexed(key, item[key]) == indexed(key, text) for key, text in wanted.items())
            and waiting in (None, item.step.status.is_open)
            and source in ("", item.request.source)
            and id(item) in searched
        ]
        total = len(found)
        after = request.query.get("after")
        if after is not None:
            found = sorted((item for item in found if _place(item) > after), key=_place)
        shown = found[since : since + limit]
        following = None
        if len(found) > since + limit:
            following = (
                {"since": str(since + limit)} if after is None else {"after": _place(shown[-1])}
            )
        response = page([STEP.describe(item) for item in shown], request, total, following)
        return replace(response, headers={**response.headers, "ETag": etag(response.body)})

    def step(self, request: Request, step: str) -> Response:
        """GET /openmrs/worklist/{step}"""
        item = self._item(step)
        described = STEP.describe(item)
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
            ("Worklist", "a list that is fresh enough", "", not unavailable, unavailable),
            ("Step", "an open step that can be made valid", "", item.offered, item.reason),
        ]
        for rule in self._worklist.rules(ae_title, query):
            passes = rule.passes(item)
            found = item[rule.index] if rule.index else ""
            asks = rule.asks or "anything"
            reason = "" if passes else f"the step has: {found}"
            rules.append((rule.name, asks, found, passes, reason))
        return [
            {"Rule": name, "Asks": asks, "Has": has, "Passes": passes, "Reason": reason}
            for name, asks, has, passes, reason in rules
        ]

    def refresh(self, request: Request) -> Response:
        """POST /openmrs/worklist/refresh"""
        return answer(COUNTS.describe(self._read_now()))

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
            raise WorklistUnavailable("no worklist was read from OpenMRS yet; see /openmrs/status")
        return snapshot

    def _item(self, step: str) -> WorklistItem:
        item = self._snapshot().step(step)
        if item is None:
            raise HttpError(404, "OpenMRS's list has no such step", "see /openmrs/worklist")
        return item


def _place(item: WorklistItem) -> str:
    """Where a step stands in a walk through the list, whatever else comes or goes."""
    return f"{item['ScheduledProcedureStepID']} {item['RequestedProcedureID']}"


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


def _file_name(step: str) -> str:
    return "".join(mark if mark.isalnum() and mark.isascii() else "_" for mark in step) or "step"
