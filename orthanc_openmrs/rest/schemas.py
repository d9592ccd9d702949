"""The vocabulary of the REST API: what arguments, bodies and answers look like, as JSON Schema.

Decides: names and types of every key, as OpenAPI tells them; a test holds the answers to it. A
route of the table refers to these by `ref`. Knows no values.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orthanc_openmrs.doctor.findings import State
from orthanc_openmrs.errors import PROBLEMS
from orthanc_openmrs.mapping.ownership import Source
from orthanc_openmrs.model import Kind, NotificationState, StepStatus
from orthanc_openmrs.worklist.attributes import KNOWN

LARGEST_PAGE = 1000
"""Elements of one answer, where no `limit` asks for fewer."""

LARGEST_SINCE = 10**9

MOST_CANDIDATES = 100
"""Candidates of one answer."""

Schema = Mapping[str, Any]

TEXT: Schema = {"type": "string"}
NAME: Schema = {"type": "string", "minLength": 1}
COUNT: Schema = {"type": "integer", "minimum": 0}
FLAG: Schema = {"type": "boolean"}
MOMENT: Schema = {
    "type": ["string", "null"],
    "pattern": "^[0-9]{8}T[0-9]{6}Z$",
    "description": "a time in UTC, null for never",
}
ANYTHING: Schema = {"type": "object"}


def ref(name: str) -> Schema:
    """One of SCHEMAS."""
    assert name in SCHEMAS, name
    return {"$ref": f"#/components/schemas/{name}"}


def array(of: Schema) -> Schema:
    """A page of things."""
    return {"type": "array", "items": of, "maxItems": LARGEST_PAGE}


def record(optional: Mapping[str, Schema] | None = None, /, **keys: Schema) -> Schema:
    """An object with these keys and no other."""
    return {
        "type": "object",
        "properties": {**keys, **(optional or {})},
        "required": list(keys),
        "additionalProperties": False,
    }


def choice(*values: str) -> Schema:
    """One of a few words."""
    return {"type": "string", "enum": list(values)}


_COUNTS = record(Steps=COUNT, Offered=COUNT, Skipped=COUNT)
_STATES = {state.value.capitalize(): COUNT for state in NotificationState}
_KEYWORDS = {row.keyword: TEXT for row in KNOWN}
_NOTIFICATION: Mapping[str, Schema] = {
    "ID": COUNT,
    "State": choice(*NotificationState),
    "Kind": choice(*Kind),
    "Study": TEXT,
    "StudyInstanceUID": TEXT,
    "RequestedProcedureID": TEXT,
    "ScheduledProcedureStepID": TEXT,
    "Evidence": TEXT,
    "Reason": TEXT,
    "Attempts": COUNT,
    "NextAttempt": MOMENT,
    "LastError": TEXT,
    "Created": MOMENT,
    "Delivered": MOMENT,
}
_COMPARED: Mapping[str, Schema] = {
    "PatientID": TEXT,
    "PatientName": TEXT,
    "PatientBirthDate": TEXT,
    "AccessionNumber": TEXT,
    "StudyInstanceUID": TEXT,
    "StudyDescription": TEXT,
    "RequestedProcedureDescription": TEXT,
    "ModalitiesInStudy": {"type": "array", "items": TEXT},
    "PerformedProcedureStepStartDate": TEXT,
    "ScheduledProcedureStepIDs": {"type": "array", "items": TEXT},
    "Series": COUNT,
    "Instances": COUNT,
}
_STEP: Mapping[str, Schema] = {
    **_KEYWORDS,
    "Status": choice(*StepStatus),
    "Offered": FLAG,
    "Reason": TEXT,
    "Warnings": {"type": "array", "items": TEXT},
}
_STUDY: Mapping[str, Schema] = {
    "ID": TEXT,
    "StudyInstanceUID": TEXT,
    "PatientID": TEXT,
    "PatientName": TEXT,
    "StudyDate": TEXT,
    "StudyDescription": TEXT,
    "ModalitiesInStudy": {"type": "array", "items": TEXT},
    "Series": COUNT,
    "Instances": COUNT,
    "Patient": {"type": ["string", "null"], "description": "its uuid, null for nobody"},
    "Source": {"enum": [*Source, None], "description": "what says whose it is"},
    "Steps": {"type": "array", "items": TEXT},
    "Viewers": {"type": "object", "additionalProperties": TEXT},
}
_DOCTOR: Schema = {
    **record(
        State=choice(*State),
        Findings={
            "type": "array",
            "items": record(State=choice(*State), Subject=NAME, Meaning=NAME, Advice=TEXT),
        },
    ),
    "description": "with ?full: what the doctor finds, the most fundamental first",
}

SCHEMAS: dict[str, Schema] = {
    "Error": record(
        HttpError=TEXT,
        HttpStatus={"type": "integer", "minimum": 400, "maximum": 599},
        Message=NAME,
        Details=TEXT,
        Method=TEXT,
        Uri=TEXT,
    ),
    "Status": record(
        {"Doctor": _DOCTOR},
        Version=TEXT,
        OpenMRS=record(
            Reachable=FLAG,
            Generation={"type": ["string", "null"]},
            LastSuccess=MOMENT,
            LastError={"type": ["string", "null"]},
            Problem={"enum": [*PROBLEMS, None], "description": "the kind of LastError"},
            Since=MOMENT,
        ),
        Worklist=record(
            Steps=COUNT,
            Offered=COUNT,
            Skipped=COUNT,
            AgeSeconds={"type": ["number", "null"], "minimum": 0},
            Stale=FLAG,
            Revision=TEXT,
            Stations={"type": "array", "items": TEXT},
        ),
        Notifications={
            **record({**_STATES, "Error": NAME}),
            "anyOf": [{"required": list(_STATES)}, {"required": ["Error"]}],
            "description": "the last known counts; Error says why they aren't those of now",
        },
    ),
    "Counts": _COUNTS,
    "Step": record(**_STEP),
    "ExplainedStep": record(
        {
            "Explanation": {
                "type": "array",
                "items": record(Rule=TEXT, Asks=TEXT, Passes=FLAG, Reason=TEXT),
            }
        },
        **_STEP,
    ),
    "Notification": record(**_NOTIFICATION),
    "Comparison": record(
        Study=record(**_COMPARED),
        Steps={
            "type": "array",
            "items": record(
                ScheduledProcedureStepID=TEXT,
                Evidence={"type": "array", "items": TEXT},
            ),
        },
    ),
    "NotificationAndDecisions": record(
        **_NOTIFICATION,
        Decisions={"type": "array", "items": record(At=MOMENT, User=TEXT, Action=TEXT)},
        Comparison={
            "anyOf": [{"type": "null"}, {"$ref": "#/components/schemas/Comparison"}],
            "description": "of a held one whose study Orthanc has",
        },
    ),
    "Report": record(ScheduledProcedureStepID=NAME),
    "Study": record(**_STUDY),
    "StudyAndNotifications": record(
        **_STUDY, Notifications={"type": "array", "items": record(**_NOTIFICATION)}
    ),
    "Candidate": record(
        **_STUDY,
        Score={"type": "integer", "minimum": 1, "maximum": 100},
        Reasons={"type": "array", "items": NAME, "minItems": 1},
    ),
    "Assignment": record({"Force": FLAG}),
}
"""Each object of the API that has a name."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """An argument of a query."""

    name: str
    summary: str
    schema: Schema


LIMIT = Parameter(
    "limit", "elements at most", {"type": "integer", "minimum": 1, "maximum": LARGEST_PAGE}
)
CANDIDATES = Parameter(
    "limit", "candidates at most", {"type": "integer", "minimum": 1, "maximum": MOST_CANDIDATES}
)
SINCE = Parameter(
    "since", "elements to leave out", {"type": "integer", "minimum": 0, "maximum": LARGEST_SINCE}
)
FULL = Parameter(
    "full",
    "examine the installation too, as the doctor does",
    {"type": "string", "enum": ["", "true", "false"]},
)
SINCE_ID = Parameter(
    "since", "the first ID", {"type": "integer", "minimum": 0, "maximum": LARGEST_SINCE}
)
AET = Parameter("aet", "an AE title: what this station would get", TEXT)
STATE = Parameter("state", "only those in this state", choice(*NotificationState))
NEWEST = Parameter("newest", "the newest first: since is the largest ID then, 0 for all", FLAG)
OWN = Parameter("own", "with aet, as it sees a query that names its own AE title", FLAG)
SEARCH = Parameter("search", "words that stand in the patient's name or in a number", TEXT)
OPEN = Parameter("open", "only steps that wait for images, or that don't", FLAG)
KIND = Parameter("kind", "what is told of the step; completed by default", choice(*Kind))
ASSIGNED = Parameter("assigned", "only those that are somebody's, or nobody's", FLAG)
KEYWORDS = Parameter(
    "keys",
    "with aet, what else the station asks: DICOM keywords and their texts, as Modality=CT",
    {
        "type": "object",
        "properties": {"Modality": TEXT, "PatientID": TEXT, "PatientName": TEXT},
        "additionalProperties": TEXT,
    },
)


def equals(keyword: str) -> Parameter:
    """An argument that is compared as it stands."""
    return Parameter(keyword, f"only steps with this {keyword}", TEXT)


PATH_PARAMETERS: dict[str, str] = {
    "file": "the name of a file of the page",
    "step": "a ScheduledProcedureStepID of OpenMRS's list",
    "id": "the ID of a notification",
    "study": "an Orthanc ID or a StudyInstanceUID",
    "uuid": "the uuid of a patient in OpenMRS",
}
"""Each name that a path may have, and what it stands for."""
