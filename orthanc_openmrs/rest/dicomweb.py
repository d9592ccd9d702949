"""The routes of DICOMweb: the worklist (PS3.18 chapter 14) and performed procedure steps
(chapter 15).

Decides: parameters, forms and statuses of those chapters. The steps that match are those that a
C-FIND with the same keys would get; a performed step is kept as one that came by DIMSE. Must not
know: Orthanc's module, SQL.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

import pydicom
from pydicom.datadict import dictionary_VR, keyword_for_tag, tag_for_keyword

from orthanc_openmrs.errors import Conflict, NotFound
from orthanc_openmrs.model import ProcedureState
from orthanc_openmrs.mpps import procedure
from orthanc_openmrs.mpps.datasets import EXPLICIT, Unreadable, parse, serialize, tag_of
from orthanc_openmrs.mpps.procedure import Refused
from orthanc_openmrs.mpps.provider import Provider
from orthanc_openmrs.rest.arguments import number, yes_or_no
from orthanc_openmrs.rest.dicom_model import DICOM_JSON, Dataset, attribute, body_of, respond
from orthanc_openmrs.rest.messages import HttpError, Request, Response
from orthanc_openmrs.rest.router import Route
from orthanc_openmrs.rest.schemas import (
    ANYTHING,
    FLAG,
    LARGEST_PAGE,
    LARGEST_SINCE,
    TEXT,
    Parameter,
)
from orthanc_openmrs.rest.worklist import ANY_STATION
from orthanc_openmrs.worklist.attributes import ATTRIBUTES, POSITION, STEP_SEQUENCE, Level
from orthanc_openmrs.worklist.query import Key, Query
from orthanc_openmrs.worklist.service import Found, Worklist

ROOT = "/openmrs/dicom-web"
SCHEDULED = f"{ROOT}/modality-scheduled-procedure-steps"
PERFORMED = f"{ROOT}/modality-performed-procedure-steps/{{uid}}"

LARGEST_DATASET = 8 * 1024 * 1024
"""Bytes of a performed step's body: one that lists 30,000 images."""

NOT_FUZZY = (
    '299 orthanc-openmrs "The fuzzymatching parameter is not supported. '
    'Only literal matching has been performed."'
)
MORE = '299 orthanc-openmrs "There are {} additional results that can be requested"'

UID_IN_PATH = {"uid": "the SOPInstanceUID of a performed procedure step"}

KEYS = Parameter(
    "keys",
    "attributes to match and those to add, as PS3.18 8.3.4 has it",
    {
        "type": "object",
        "properties": {
            "PatientID": TEXT,
            "ScheduledProcedureStepSequence.Modality": TEXT,
            "includefield": TEXT,
            "fuzzymatching": FLAG,
            "limit": {"type": "integer", "minimum": 1, "maximum": LARGEST_PAGE},
            "offset": {"type": "integer", "minimum": 0, "maximum": LARGEST_SINCE},
        },
        "additionalProperties": TEXT,
    },
)
UPDATE = Parameter("update", "changes the step instead of creating it", TEXT)

_STATE = f"{tag_of('PerformedProcedureStepStatus'):08X}"

_CREATION = tuple(
    f"{tag_of(keyword):08X}"
    for keyword in (
        "ScheduledStepAttributesSequence",
        "PerformedProcedureStepID",
        "PerformedStationAETitle",
        "Modality",
    )
)
"""Attributes that a creation must have and an update mustn't (PS3.4 F.7.2-1)."""

_STEP_KEYWORDS = frozenset(row.keyword for row in ATTRIBUTES if row.level is Level.STEP)
_DEFAULT = tuple(row for row in ATTRIBUTES if row.type in ("1", "2", "1C") and row.vr != "SQ")


class DicomWebRoutes:
    """The handlers."""

    def __init__(self, *, worklist: Worklist, provider: Provider) -> None:
        self._worklist = worklist
        self._provider = provider

    def table(self) -> list[Route]:
        """Every route."""
        return [
            Route(
                "GET",
                SCHEDULED,
                self.search,
                "searchScheduledProcedureSteps",
                "The worklist by DICOMweb",
                query=(KEYS,),
                answer={"type": "array", "items": ANYTHING},
                media=DICOM_JSON,
                errors=(406, 503),
            ),
            Route(
                "GET",
                PERFORMED,
                self.retrieve,
                "retrievePerformedProcedureStep",
                "A performed procedure step",
                UID_IN_PATH,
                answer={"type": "array", "items": ANYTHING},
                media=DICOM_JSON,
                errors=(406, 503),
            ),
            Route(
                "POST",
                PERFORMED,
                self.report,
                "reportPerformedProcedureStep",
                "Create or change a performed procedure step",
                UID_IN_PATH,
                query=(UPDATE,),
                body=ANYTHING,
                answer=TEXT,
                media="text/plain",
                creates=True,
                errors=(409, 415, 503),
                largest_body=LARGEST_DATASET,
            ),
        ]

    # --- chapter 14 ---

    def search(self, request: Request) -> Response:
        """GET /openmrs/dicom-web/modality-scheduled-procedure-steps"""
        limit = number(request, "limit", LARGEST_PAGE, 1, LARGEST_PAGE)
        offset = number(request, "offset", 0, 0, LARGEST_SINCE)
        fuzzy = yes_or_no(request, "fuzzymatching")
        others = ("limit", "offset", "fuzzymatching", "includefield")
        asked = {
            name: text.replace(",", "\\") if _is_uid_list(name) else text
            for name, text in request.query.items()
            if name not in others
        }
        query = _query(asked, request.query.get("includefield", ""))
        found = self._worklist.find(query)
        warnings = [NOT_FUZZY] if fuzzy else []
        left = len(found) - offset - limit
        if left > 0:
            warnings.append(MORE.format(left))
        headers = {"X-Total-Count": str(len(found))}
        if warnings:
            headers["Warning"] = ", ".join(warnings)
        shown = found[offset : offset + limit]
        return respond([_described(one, query) for one in shown], request, headers)

    # --- chapter 15 ---

    def report(self, request: Request, uid: str) -> Response:
        """POST /openmrs/dicom-web/modality-performed-procedure-steps/{uid}"""
        model = body_of(request)
        content = _bytes(model)
        try:
            if "update" in request.query or self._is_update(uid, model):
                self._provider.update(uid, content, EXPLICIT)
                return Response(200, content_type="text/plain")
            self._provider.create(uid, content, EXPLICIT)
        except Refused as refusal:
            _raise(refusal)
        return Response(201, content_type="text/plain", headers={"Content-Location": request.path})

    def _is_update(self, uid: str, model: Dataset) -> bool:
        """What `?update` would say, of which Orthanc tells plugins nothing where the method is
        POST: whether the body has nothing that a creation alone may have, or ends a step that is
        there."""
        if not any(tag in model for tag in _CREATION):
            return True
        state = model.get(_STATE, {}).get("Value") or [""]
        return state[0] != ProcedureState.IN_PROGRESS and self._provider.has(uid)

    def retrieve(self, request: Request, uid: str) -> Response:
        """GET /openmrs/dicom-web/modality-performed-procedure-steps/{uid}"""
        try:
            content = self._provider.retrieve(uid)
        except Refused as refusal:
            _raise(refusal)
        dataset = parse(content, EXPLICIT)
        return respond([dataset.to_json_dict(suppress_invalid_tags=True)], request)


def _raise(refusal: Refused) -> NoReturn:
    if refusal.status == procedure.NO_SUCH_SOP_INSTANCE:
        raise NotFound(str(refusal)) from None
    if refusal.status == procedure.DUPLICATE_SOP_INSTANCE or refusal.error_id is not None:
        raise Conflict(str(refusal)) from None
    raise HttpError(400, str(refusal)) from None


def _bytes(model: Dataset) -> bytes:
    """A dataset of the JSON Model as DICOM writes it; JSON and XML are Unicode."""
    text = {"vr": "CS", "Value": ["ISO_IR 192"]}
    try:
        dataset = pydicom.Dataset.from_json({**model, "00080005": text})
        return serialize(dataset, EXPLICIT)
    except (Unreadable, Exception) as problem:
        raise HttpError(400, "the body is no dataset", type(problem).__name__) from None


# --- keys of a search ------------------------------------------------------------------------


def _is_uid_list(name: str) -> bool:
    tag = _tag(name.rpartition(".")[2])
    return tag is not None and dictionary_VR(tag) == "UI"


def _tag(name: str) -> int | None:
    """The tag of an attribute's name: its keyword, or its eight hexadecimal digits."""
    if re.fullmatch(r"[0-9A-Fa-f]{8}", name):
        number = int(name, 16)
        return number if keyword_for_tag(number) else None
    return tag_for_keyword(name)


def _path(name: str) -> tuple[bool, int]:
    """Whether an attribute stands in the step's item, and its tag. Raises HttpError."""
    *outer, inner = name.split(".")
    tag = _tag(inner)
    sequences = [_tag(one) for one in outer]
    if tag is None or sequences not in ([], [STEP_SEQUENCE]):
        raise HttpError(
            400,
            f"{name[:80]} is no attribute of the worklist",
            "a keyword, or eight hexadecimal digits; those of a step after "
            "ScheduledProcedureStepSequence and a dot",
        )
    return bool(outer), tag


def _query(asked: dict[str, str], include: str) -> Query:
    """The query that a C-FIND with the same keys would be."""
    step: dict[int, Key] = {}
    request: dict[int, Key] = {}
    for row in _DEFAULT:
        (step if row.level is Level.STEP else request)[row.tag] = Key(row.tag, row.keyword, row.vr)
    included = [one for one in include.split(",") if one]
    for name, text in [*((one, "") for one in included if one != "all"), *asked.items()]:
        inside, tag = _path(name)
        if tag == STEP_SEQUENCE:
            continue
        keyword = keyword_for_tag(tag)
        inside = inside or keyword in _STEP_KEYWORDS
        (step if inside else request)[tag] = Key(tag, keyword, dictionary_VR(tag)[:2], text)
    if "all" in included:
        for row in ATTRIBUTES:
            keys = step if row.level is Level.STEP else request
            keys.setdefault(row.tag, Key(row.tag, row.keyword, row.vr))
    return Query(
        tuple(request[tag] for tag in sorted(request)),
        tuple(step[tag] for tag in sorted(step)),
        "ISO_IR 192",
        open_step=True,
    )


def _described(found: Found, query: Query) -> dict[str, Any]:
    """An answer in the JSON Model."""
    described = dict(_attributes(found, query.keys))
    described[f"{STEP_SEQUENCE:08X}"] = {
        "vr": "SQ",
        "Value": [dict(_attributes(found, query.step_keys or ()))],
    }
    described["00080005"] = attribute("CS", "ISO_IR 192")
    return dict(sorted(described.items()))


def _attributes(found: Found, keys: Sequence[Key]) -> Iterator[tuple[str, dict[str, Any]]]:
    own = {
        "ScheduledStationAETitle": found.ae_title or ANY_STATION,
        "ScheduledProcedureStepStartTime": found.start_time,
    }
    for key in keys:
        text = own.get(key.keyword) or (found.item[key.keyword] if key.keyword in POSITION else "")
        yield f"{key.tag:08X}", attribute(key.vr, text)
