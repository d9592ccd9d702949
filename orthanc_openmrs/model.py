"""The values that pass between the packages: frozen data, no behaviour that needs a clock,
a network or a database.

`ImagingRequest` and `ProcedureStep` hold OpenMRS's own text, stripped of blanks at both ends;
what DICOM needs is made of them in `worklist`. Attributes are named by the DICOM keyword
that they feed.
"""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple


class StepStatus(StrEnum):
    """The status of a scheduled step in OpenMRS (`PerformedProcedureStepStatus`)."""

    SCHEDULED = "scheduled"
    IN_PROGRESS = "in progress"
    COMPLETED = "completed"
    REJECTED = "rejected"
    OTHER = "other"

    @property
    def is_open(self) -> bool:
        """Whether the step still waits for images."""
        return self not in (StepStatus.COMPLETED, StepStatus.REJECTED)


class Source(StrEnum):
    """Where a request comes from: OpenMRS's Imaging module, or OpenMRS's own orders."""

    IMAGING = "imaging"
    ORDERS = "orders"


@dataclass(frozen=True, slots=True)
class ProcedureStep:
    """One item of `ScheduledProcedureStepSequence`, as OpenMRS wrote it.

    Of an open step, `withheld` says why it isn't to be offered, `unusable` what is lacking to offer
    it; else they are "".
    """

    scheduled_procedure_step_id: str
    status: StepStatus
    modality: str = ""
    scheduled_station_ae_title: str = ""
    start_date: str = ""
    start_time: str = ""
    scheduled_performing_physician_name: str = ""
    description: str = ""
    scheduled_station_name: str = ""
    location: str = ""
    withheld: str = ""
    unusable: str = ""


@dataclass(frozen=True, slots=True)
class ImagingRequest:
    """One element of OpenMRS's list: a requested procedure with its steps.

    Of one of OpenMRS's own orders there are, too: the order's `order_uuid`, the patient's
    `structured_name` ("Family^Given^…"), the orders whose place it took (`predecessors`, the
    nearest first), and `instead`, the RequestedProcedureID of the request that is the same exam:
    images are never linked to an order that has one.
    """

    requested_procedure_id: str
    accession_number: str = ""
    patient_id: str = ""
    patient_name: str = ""
    patient_birth_date: str = ""
    patient_sex: str = ""
    study_instance_uid: str = ""
    requesting_physician: str = ""
    description: str = ""
    priority: str = ""
    steps: tuple[ProcedureStep, ...] = ()
    source: Source = Source.IMAGING
    order_uuid: str = ""
    structured_name: str = ""
    predecessors: tuple["Predecessor", ...] = ()
    instead: str = ""


class Predecessor(NamedTuple):
    """What named a request before it was revised: images may name it still."""

    requested_procedure_id: str
    accession_number: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """An element of the list that could not be read: its position and why."""

    position: int
    reason: str


@dataclass(frozen=True, slots=True)
class RequestList:
    """OpenMRS's list as read: the good requests, and the elements that were not.

    `generation` is that of the Imaging module where the list tells it ("v3", "v0.9"), else "".
    """

    requests: tuple[ImagingRequest, ...] = ()
    rejected: tuple[Rejected, ...] = ()
    generation: str = ""

    @property
    def lacks_steps(self) -> bool:
        """Whether there are requests, but not one step: the modules before 1.1.5 leave a request
        out as soon as it has a step."""
        return (
            bool(self.requests)
            and not self.rejected
            and not any(request.steps for request in self.requests)
        )


@dataclass(frozen=True, slots=True)
class PreviousOrder:
    """An order that another one revises or renews."""

    uuid: str
    number: str
    fulfiller_status: str = ""


@dataclass(frozen=True, slots=True)
class Order:
    """One of OpenMRS's own orders, as core REST has it. `fulfiller_status` is "" where nobody took
    it. `concept_uuid` is "" where the account may not see concepts; `concept_codes` are its
    mappings, as "LOINC:24627-2". `previous` are the orders that it revises or renews, the one
    before it first; moments have the zone that OpenMRS wrote."""

    uuid: str
    number: str
    action: str = "NEW"
    urgency: str = ""
    fulfiller_status: str = ""
    activated: datetime | None = None
    scheduled: datetime | None = None
    stopped: datetime | None = None
    expires: datetime | None = None
    voided: bool = False
    concept_uuid: str = ""
    concept_name: str = ""
    concept_codes: tuple[str, ...] = ()
    orderer: str = ""
    patient_id: str = ""
    patient_name: str = field(default="", repr=False)
    structured_name: str = field(default="", repr=False)
    patient_birth_date: str = field(default="", repr=False)
    patient_sex: str = field(default="", repr=False)
    previous: tuple[PreviousOrder, ...] = ()


@dataclass(frozen=True, slots=True)
class OrderList:
    """OpenMRS's own orders as read: the good ones, and those that were not."""

    orders: tuple[Order, ...] = ()
    rejected: tuple[Rejected, ...] = ()


@dataclass(frozen=True, slots=True)
class RequestAttributes:
    """One item of RequestAttributesSequence (0040,0275) in an image."""

    scheduled_procedure_step_id: str = ""
    requested_procedure_id: str = ""
    accession_number: str = ""
    study_instance_uid: str = ""


@dataclass(frozen=True, slots=True)
class SeriesSummary:
    """What linking and reporting need of one series in Orthanc.

    `accession_numbers` are those of its objects that were looked at, `performed_step_uids` the
    performed procedure steps (MPPS) that they point at, `performed_steps` what those say of
    their orders.
    """

    series_instance_uid: str
    modality: str = ""
    sop_class_uid: str = ""
    series_description: str = ""
    station_name: str = ""
    instances: int = 0
    accession_numbers: tuple[str, ...] = ()
    request_attributes: tuple[RequestAttributes, ...] = ()
    performed_step_uids: tuple[str, ...] = ()
    performed_steps: tuple[RequestAttributes, ...] = ()
    performed_procedure_step_id: str = ""
    performed_procedure_step_description: str = ""
    performed_procedure_step_start_date: str = ""
    performed_procedure_step_start_time: str = ""
    performing_physician_name: str = ""


@dataclass(frozen=True, slots=True)
class StudySummary:
    """What linking and reporting need of one study in Orthanc (`study` is its Orthanc ID).

    `unreadable` counts the objects that Orthanc couldn't give.
    """

    study: str
    study_instance_uid: str
    accession_number: str = ""
    patient_id: str = ""
    patient_name: str = field(default="", repr=False)
    patient_birth_date: str = field(default="", repr=False)
    referring_physician_name: str = field(default="", repr=False)
    study_description: str = ""
    requested_procedure_description: str = ""
    series: tuple[SeriesSummary, ...] = ()
    unreadable: int = 0

    @property
    def accession_numbers(self) -> tuple[str, ...]:
        """All that were seen, without blanks around: Orthanc's own is that of the first object
        which came."""
        of_series = (number for series in self.series for number in series.accession_numbers)
        found = dict.fromkeys(number.strip() for number in (self.accession_number, *of_series))
        return tuple(number for number in found if number)


class StepIdentity(NamedTuple):
    """An order of OpenMRS that lasts: its numbers begin anew where it is installed anew, so that
    only all four together name it. `patient_id` is the uuid of the request's patient, "" where
    it is none. All are "" where a study is held and no step is named."""

    requested_procedure_id: str = ""
    scheduled_procedure_step_id: str = ""
    patient_id: str = ""
    accession_number: str = ""


NO_STEP = StepIdentity()
"""What a study is held without."""


class NamedBy(StrEnum):
    """What kind of identifier a study names."""

    STUDY_INSTANCE_UID = "uid"
    ACCESSION_NUMBER = "accession"
    SCHEDULED_PROCEDURE_STEP_ID = "step"
    REQUESTED_PROCEDURE_ID = "request"
    PATIENT_ID = "patient"


class Named(NamedTuple):
    """An identifier that an undecided study names: a list that brings it may decide the study."""

    kind: NamedBy
    value: str


class GivenUid(NamedTuple):
    """A StudyInstanceUID that was given out to scanners, and the request it was given for."""

    study_instance_uid: str
    requested_procedure_id: str
    patient_id: str
    accession_number: str


@dataclass(frozen=True, slots=True)
class DueStudy:
    """A study whose link is to be decided; `noted` is the count that the decision answers.

    `arriving`: only its first images are here, and at most "in progress" can be told. `life`
    counts how often it came: one that was deleted and scanned again has the same Orthanc ID.
    """

    study: str
    noted: int
    attempts: int
    arriving: bool = False
    life: int = 1
    noted_at: float = field(default=0.0, compare=False)


class StudyChange(NamedTuple):
    """A change of Orthanc, as far as it matters: images came, or the study is stable. `sequence`
    is its number; `new`: it is the first of a study that wasn't there before."""

    study: str
    stable: bool
    sequence: int = 0
    new: bool = False

    @property
    def of_study(self) -> bool:
        """Whether Orthanc's change is about the study itself, and not about a series of it."""
        return self.sequence > 0 and (self.stable or self.new)


@dataclass(frozen=True, slots=True)
class ArrivingStudy:
    """A study of which images came since it was stable last."""

    study: str
    last_update: str
    last_update_seen: float


class WaitingStudy(NamedTuple):
    """A study whose decision was put off: since when, how often, and why."""

    study: str
    since: float
    attempts: int
    next_attempt: float
    reason: str


class NotificationState(StrEnum):
    """Where a notification stands; only `PENDING` ones are sent."""

    PENDING = "pending"
    DELIVERED = "delivered"
    HELD = "held"
    FAILED = "failed"
    DISCARDED = "discarded"


class Kind(StrEnum):
    """What a notification tells of its step."""

    COMPLETED = "completed"
    IN_PROGRESS = "in progress"
    SCHEDULED = "scheduled"


@dataclass(frozen=True, slots=True)
class NewNotification:
    """A notification to be stored; `step` is empty where a study is held and no step is named."""

    study: str
    study_instance_uid: str
    state: NotificationState
    kind: Kind = Kind.COMPLETED
    step: StepIdentity = NO_STEP
    evidence: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Notification:
    """A stored notification. Times are seconds since the epoch; `delivered` 0 where it isn't.

    `revision` grows with each change of the state, `changed` is when and `by_person` whether a
    person did it. `attempts` counts tries, `repeats` those that ended with the same words.
    """

    id: int
    kind: Kind
    study: str
    study_instance_uid: str
    life: int
    step: StepIdentity
    state: NotificationState
    revision: int
    by_person: bool
    evidence: str
    reason: str
    attempts: int
    repeats: int
    next_attempt: float
    last_error: str
    created: float
    changed: float
    delivered: float

    @property
    def requested_procedure_id(self) -> str:
        """The request's."""
        return self.step.requested_procedure_id

    @property
    def scheduled_procedure_step_id(self) -> str:
        """The step's, "" where none is named."""
        return self.step.scheduled_procedure_step_id

    @property
    def patient_id(self) -> str:
        """The uuid of the request's patient, "" where it is none."""
        return self.step.patient_id


@dataclass(frozen=True, slots=True)
class Demographics:
    """Who a patient is, in OpenMRS's own words. A name is one text, in any order, or
    "Family^Given^Middle"."""

    names: tuple[str, ...] = field(default=(), repr=False)
    birth_date: str = field(default="", repr=False)
    birth_date_estimated: bool = False
    sex: str = field(default="", repr=False)
    identifiers: tuple[str, ...] = field(default=(), repr=False)


class LinkedStep(NamedTuple):
    """A step that a notification links a study to; `patient_id` is the uuid of its request's
    patient, "" where that is none."""

    study: str
    patient_id: str
    scheduled_procedure_step_id: str


@dataclass(frozen=True, slots=True)
class NotificationFilter:
    """Which notifications are asked for: of a step, a request, a patient's uuid, some studies or
    some numbers of a step, a request or an order (None: any); made from one moment to another, or
    whose state changed at a moment or later."""

    step: str = ""
    request: str = ""
    patient: str = ""
    studies: frozenset[str] | None = None
    numbers: frozenset[str] = frozenset()
    made: tuple[float, float] = (0.0, 0.0)
    changed_since: float = 0.0


@dataclass(frozen=True, slots=True)
class PersonsDecision:
    """What a person decided about a notification; `user` is Orthanc's, "" where it has none.
    `named` is what the study named then, as who decided put it."""

    at: float
    user: str
    action: str
    scheduled_procedure_step_id: str
    notification: int = 0
    named: str = ""


class StudyRecord(NamedTuple):
    """What is known of a study from before: its life now, all that it was told for or held,
    by its Orthanc ID or its StudyInstanceUID and in every life, the newest last; what persons
    said of it in this life; the requests that its StudyInstanceUID was given out for."""

    life: int = 1
    rows: tuple[Notification, ...] = ()
    said: tuple[PersonsDecision, ...] = ()
    given: tuple[GivenUid, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer of OpenMRS. `date` is the header of this name, the time of OpenMRS's clock;
    `problem` the kind of `errors.PROBLEMS` that its status, redirect or page amounts to, "" where
    it is 200."""

    status: int
    body: bytes
    date: str = ""
    problem: str = ""


class ProcedureState(StrEnum):
    """`PerformedProcedureStepStatus` of a performed procedure step (MPPS)."""

    IN_PROGRESS = "IN PROGRESS"
    COMPLETED = "COMPLETED"
    DISCONTINUED = "DISCONTINUED"


@dataclass(frozen=True, slots=True)
class ScheduledReference:
    """An item of ScheduledStepAttributesSequence: what of the worklist a scanner performs. The
    step's id is empty where nobody scheduled it."""

    study_instance_uid: str = ""
    accession_number: str = ""
    requested_procedure_id: str = ""
    scheduled_procedure_step_id: str = ""


@dataclass(frozen=True, slots=True)
class PerformedSeries:
    """A series that a performed procedure step lists, and how many instances of it."""

    series_instance_uid: str
    instances: int


@dataclass(frozen=True, slots=True)
class DiscontinuationReason:
    """Why a scanner broke a step off, as a code."""

    value: str
    scheme: str
    meaning: str


@dataclass(frozen=True, slots=True)
class PerformedProcedure:
    """A performed procedure step as a scanner reports it. `start` and `end` are YYYYMMDDHHMMSS,
    as the scanner's clock has it, or shorter."""

    uid: str
    state: ProcedureState
    references: tuple[ScheduledReference, ...] = ()
    patient_id: str = ""
    station_ae_title: str = ""
    station_name: str = ""
    performed_procedure_step_id: str = ""
    description: str = ""
    modality: str = ""
    start: str = ""
    end: str = ""
    discontinuation: DiscontinuationReason | None = None
    series: tuple[PerformedSeries, ...] = ()


@dataclass(frozen=True, slots=True)
class KeptProcedure:
    """A performed procedure step as it is kept: what is read of it, its dataset's bytes as the
    scanner wrote them, and what they lack. `calling_ae_title` is "" where it came over HTTP."""

    procedure: PerformedProcedure
    content: bytes = field(repr=False)
    transfer_syntax: str
    remarks: tuple[str, ...] = ()
    calling_ae_title: str = ""


class Images(StrEnum):
    """Where the images stand that an ended performed procedure step lists."""

    NOT_LISTED = ""
    AWAITED = "awaited"
    COME = "come"
    MISSING = "missing"


class SeriesArrival(NamedTuple):
    """How many instances a step lists of a series, and how many of them Orthanc has."""

    series_instance_uid: str
    expected: int
    come: int


@dataclass(frozen=True, slots=True)
class ProcedureRecord:
    """A stored performed procedure step, without its dataset. Times are seconds since the epoch,
    `ended` 0 before it has; `study` is the Orthanc ID of its images' study, "" before they are
    here; `attempts` how often the worker has looked at it since it changed."""

    id: int
    revision: int
    procedure: PerformedProcedure
    remarks: tuple[str, ...]
    calling_ae_title: str
    created: float
    changed: float
    ended: float
    images: Images
    arrivals: tuple[SeriesArrival, ...]
    study: str
    attempts: int
    told: str
    """The state that was passed on to the notifications."""

    @property
    def expected(self) -> int:
        """Instances that it lists."""
        return sum(one.expected for one in self.arrivals)

    @property
    def come(self) -> int:
        """Those that Orthanc has."""
        return sum(one.come for one in self.arrivals)


@dataclass(frozen=True, slots=True)
class Exam:
    """What its performed procedure steps say of a study's link.

    `wait`: why nothing is decided yet, and for how many `seconds`; `hold`: why a person has to
    decide; `ruled_out`: scheduled steps that its images are not of, whatever else they say.
    """

    wait: str = ""
    seconds: float = 0.0
    hold: str = ""
    ruled_out: frozenset[str] = frozenset()


NO_EXAM = Exam()
