"""A request of OpenMRS → one `WorklistItem` per scheduled step.

Decides: what every key of an answer holds, which steps are offered, and why not. The rules
are the tables below. Must not know: queries, encodings, the network.
"""

import uuid
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from sys import intern

from orthanc_openmrs.model import ImagingRequest, ProcedureStep, Source, StepStatus
from orthanc_openmrs.worklist import values
from orthanc_openmrs.worklist.attributes import KNOWN, POSITION
from orthanc_openmrs.worklist.charset import is_legible
from orthanc_openmrs.worklist.modalities import modality
from orthanc_openmrs.worklist.name_parts import split_name
from orthanc_openmrs.worklist.uids import GivenUids
from orthanc_openmrs.worklist.values import Normaliser, Value

UID_NAMESPACE = uuid.UUID("8f2b7a52-6a3c-5d0e-9f43-0d6c5b1f7e21")
"""Never to change: the StudyInstanceUIDs of requests that have none are made from it."""

NO_TIME = "000000"


@dataclass(frozen=True, slots=True, eq=False)
class WorklistItem:
    """One scheduled step as scanners see it.

    `values` are in the order of `attributes.KNOWN`. `reason` says why the step isn't offered,
    "" where it is. `warnings` are what a person should act on, `adjusted` what was repaired as a
    matter of routine. `undated`: offered as of today, so its date moves with the day. `untimed`:
    offered at any time.
    """

    request: ImagingRequest
    step: ProcedureStep
    values: tuple[str, ...]
    reason: str = ""
    warnings: tuple[str, ...] = ()
    adjusted: tuple[str, ...] = ()
    undated: bool = False
    untimed: bool = False
    encoded: Mapping[object, bytes] | None = field(default=None, repr=False)
    """Encoded answers, a cache that belongs to `datasets`; None until the first."""

    @property
    def offered(self) -> bool:
        """Whether any scanner can get the step."""
        return not self.reason

    def __getitem__(self, keyword: str) -> str:
        return self.values[POSITION[keyword]]

    def remember(self, key: object, answer: bytes, most: int) -> None:
        """Keep an encoded answer, at most `most` of them."""
        kept = self.encoded or {}
        if len(kept) >= most:
            kept = {}
        object.__setattr__(self, "encoded", {**kept, key: answer})


@dataclass(frozen=True, slots=True)
class _Rule:
    """How one key is made: from which text, by which normaliser."""

    keyword: str
    of: str  # "request" or "step"
    field: str
    normalise: Normaliser


_RULES: tuple[_Rule, ...] = (
    _Rule("PatientID", "request", "patient_id", lambda text: values.identifier(text, 64)),
    _Rule("PatientBirthDate", "request", "patient_birth_date", values.dicom_date),
    _Rule("PatientSex", "request", "patient_sex", values.sex),
    _Rule("AccessionNumber", "request", "accession_number", values.accession_number),
    _Rule("RequestingPhysician", "request", "requesting_physician", values.verbatim_name),
    _Rule(
        "RequestedProcedureID",
        "request",
        "requested_procedure_id",
        lambda text: values.identifier(text, 16),
    ),
    _Rule("RequestedProcedureDescription", "request", "description", values.long_string),
    _Rule("RequestedProcedurePriority", "request", "priority", values.priority),
    _Rule("Modality", "step", "modality", modality),
    _Rule("ScheduledStationAETitle", "step", "scheduled_station_ae_title", values.ae_title),
    _Rule("ScheduledProcedureStepStartDate", "step", "start_date", values.dicom_date),
    _Rule("ScheduledProcedureStepStartTime", "step", "start_time", values.dicom_time),
    _Rule(
        "ScheduledPerformingPhysicianName",
        "step",
        "scheduled_performing_physician_name",
        values.verbatim_name,
    ),
    _Rule("ScheduledProcedureStepDescription", "step", "description", values.long_string),
    _Rule(
        "ScheduledProcedureStepID",
        "step",
        "scheduled_procedure_step_id",
        lambda text: values.identifier(text, 16),
    ),
    _Rule("ScheduledStationName", "step", "scheduled_station_name", values.short_string),
    _Rule("ScheduledProcedureStepLocation", "step", "location", values.short_string),
)

_REQUIRED = (
    "PatientName",
    "PatientID",
    "RequestedProcedureID",
    "ScheduledProcedureStepID",
    "Modality",
)
"""Type-1 keys for which nothing can be put in OpenMRS's place."""

_DESCRIPTIONS = ("RequestedProcedureDescription", "ScheduledProcedureStepDescription")
"""Type 1C, of which one must say what is to be done."""

_STEP_STATUS = {
    # ScheduledProcedureStepStatus, PS3.3 C.4.10
    StepStatus.SCHEDULED: "SCHEDULED",
    StepStatus.IN_PROGRESS: "STARTED",
    StepStatus.OTHER: "SCHEDULED",
    StepStatus.COMPLETED: "COMPLETED",
    StepStatus.REJECTED: "DISCONTINUED",
}


def study_instance_uid(request: ImagingRequest) -> str:
    """The UID of a request that has none: "2.25." and a version-5 UUID (PS3.5 B.2).

    Made of what identifies the request, so that it is the same on every query, on every
    Orthanc and after every restart.
    """
    name = "\n".join((request.patient_id, request.requested_procedure_id, request.accession_number))
    whole = name.encode("utf-8", "replace").decode()
    return f"2.25.{uuid.uuid5(UID_NAMESPACE, whole).int}"


@dataclass(frozen=True, slots=True)
class PersonNames:
    """How PatientName is made (`OpenMRS.PersonNames`).

    `structured` has the names that OpenMRS's core gave, by the patient's uuid and the name as
    one text; all others are made by `normalise`.
    """

    normalise: Normaliser = split_name
    structured: Mapping[tuple[str, str], str] = field(default_factory=dict)

    def known(self, request: ImagingRequest) -> str:
        """The structured name of a request's patient, "" where it isn't known."""
        return request.structured_name or self.structured.get(
            (request.patient_id, request.patient_name), ""
        )

    def of(self, request: ImagingRequest) -> Value:
        """The PatientName of a request."""
        known = self.known(request)
        return values.verbatim_name(known) if known else self.normalise(request.patient_name)


@dataclass(frozen=True, slots=True)
class Shared:
    """What an item needs to know beside its request: the other requests of the list, and how
    names are made."""

    names: PersonNames
    uids: frozenset[str]  # StudyInstanceUIDs that several requests claim
    accessions: frozenset[str]  # cut accession numbers that several requests share
    steps: frozenset[str]  # step ids that stand more than once
    given: GivenUids = field(default=GivenUids(), repr=False)

    @classmethod
    def of(
        cls,
        requests: Sequence[ImagingRequest],
        names: PersonNames | None = None,
        given: GivenUids | None = None,
    ) -> "Shared":
        """Look the list over once."""
        return cls(
            names or PersonNames(),
            _repeated(request.study_instance_uid for request in requests),
            _repeated(
                values.accession_number(request.accession_number).text for request in requests
            ),
            _repeated(
                step.scheduled_procedure_step_id for request in requests for step in request.steps
            ),
            given or GivenUids(),
        )

    def concerning(self, request: ImagingRequest) -> tuple[object, ...]:
        """What of it bears on this request: while it is equal, the request's items are valid."""
        return (
            self.names.known(request),
            self.uid_is_anothers(request),
            values.accession_number(request.accession_number).text in self.accessions,
            tuple(step.scheduled_procedure_step_id in self.steps for step in request.steps),
        )

    def keeps_uid(self, items: Sequence[WorklistItem]) -> bool:
        """Whether the items of a request have the UID that was given out for it last, if any."""
        return all(
            self.given.uid_of(item.request) in ("", item["StudyInstanceUID"]) for item in items[:1]
        )

    def uid_is_anothers(self, request: ImagingRequest) -> bool:
        """Whether OpenMRS's UID of a request stands in another one too, or was given out for
        another one."""
        uid = request.study_instance_uid
        return uid in self.uids or (
            uid != ""
            and bool(self.given.requests_of(uid))
            and all(one.study_instance_uid != uid for one in self.given.to(request))
        )


def _repeated(texts: Iterable[str]) -> frozenset[str]:
    return frozenset(text for text, count in Counter(texts).items() if count > 1 and text)


def build_items(request: ImagingRequest, shared: Shared, today: str) -> list[WorklistItem]:
    """The items of one request, one a step. `today` (DA) dates the steps without a date."""
    return [_build_item(request, step, shared, today) for step in request.steps]


def _build_item(
    request: ImagingRequest, step: ProcedureStep, shared: Shared, today: str
) -> WorklistItem:
    found = {"PatientName": shared.names.of(request)}
    for rule in _RULES:
        source = request if rule.of == "request" else step
        found[rule.keyword] = rule.normalise(getattr(source, rule.field))
    made = {keyword: value.text for keyword, value in found.items()}
    problems = {keyword: value.warning for keyword, value in found.items() if value.warning}
    adjusted = {keyword: value.adjusted for keyword, value in found.items() if value.adjusted}
    for keyword in (*_REQUIRED, *_DESCRIPTIONS):
        if made[keyword] and not is_legible(made[keyword]):
            made[keyword], problems[keyword] = "", "has no letter and no digit"

    # OpenMRS compares the images' referring physician with the request's requesting one.
    made["ReferringPhysicianName"] = made["RequestingPhysician"]
    made["ScheduledProcedureStepStatus"] = _STEP_STATUS[step.status]
    uid = _uid_of_openmrs(request, shared)
    # Images that were made under the UID that was given out must stay the request's.
    made["StudyInstanceUID"] = (
        uid.text or shared.given.uid_of(request) or study_instance_uid(request)
    )
    if uid.warning:
        problems["StudyInstanceUID"] = uid.warning
    if made["AccessionNumber"] in shared.accessions:
        problems["AccessionNumber"] = "is, in 16 characters, that of another request too"

    # An order has a date by exception, and a machine where the configuration says so.
    lacking = adjusted if request.source is Source.ORDERS else problems
    undated = not made["ScheduledProcedureStepStartDate"]
    if undated:
        made["ScheduledProcedureStepStartDate"] = today
        _substituted(problems, lacking, "ScheduledProcedureStepStartDate", "offered as of today")
    if not made["ScheduledProcedureStepStartTime"] and (
        time := values.time_of_date(step.start_date)
    ):
        made["ScheduledProcedureStepStartTime"] = time
        problems.pop("ScheduledProcedureStepStartTime", None)
        adjusted["ScheduledProcedureStepStartTime"] = "is taken from the date"
    untimed = not made["ScheduledProcedureStepStartTime"]
    if untimed:
        made["ScheduledProcedureStepStartTime"] = NO_TIME
        _substituted(problems, lacking, "ScheduledProcedureStepStartTime", "offered at 00:00:00")
    if not made["ScheduledStationAETitle"]:
        _substituted(problems, lacking, "ScheduledStationAETitle", "offered to every station")

    # Type 1C without code sequences: one of the descriptions must say what is to be done.
    described = made["RequestedProcedureDescription"] or made["ScheduledProcedureStepDescription"]
    for keyword in _DESCRIPTIONS:
        made[keyword] = made[keyword] or described or made["Modality"]

    return WorklistItem(
        request=request,
        step=step,
        values=tuple(intern(made[row.keyword]) for row in KNOWN),
        reason=_reason(step, made, problems, shared),
        warnings=_sentences(problems),
        adjusted=_sentences(adjusted),
        undated=undated,
        untimed=untimed,
    )


def _sentences(told: dict[str, str]) -> tuple[str, ...]:
    return tuple(intern(f"{keyword} {words}") for keyword, words in told.items())


def _uid_of_openmrs(request: ImagingRequest, shared: Shared) -> Value:
    uid = request.study_instance_uid
    if not uid:
        return Value("")
    if not values.is_uid(uid):
        return Value("", "is no UID; another is used")
    if shared.uid_is_anothers(request):
        return Value("", "stands in several requests; another is used")
    return Value(uid)


def _substituted(
    problems: dict[str, str], lacking: dict[str, str], keyword: str, remedy: str
) -> None:
    """What was wrong stays a problem; what is only missing is told as `lacking`."""
    told = problems if keyword in problems else lacking
    told[keyword] = f"{problems.get(keyword, 'is empty')}; {remedy}"


def _reason(
    step: ProcedureStep, made: dict[str, str], problems: dict[str, str], shared: Shared
) -> str:
    """Why the step isn't offered; the first reason that holds."""
    if not step.status.is_open:
        return f"the step is {step.status}"
    if step.withheld or step.unusable:
        return step.withheld or step.unusable
    for keyword in _REQUIRED:
        if not made[keyword]:
            return f"{keyword} {problems.get(keyword, 'is empty')}"
    if step.scheduled_procedure_step_id in shared.steps:
        return "ScheduledProcedureStepID stands in several steps of the list"
    return ""
