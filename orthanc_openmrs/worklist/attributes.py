"""The attributes of a worklist answer, as a table (PS3.4 Table K.6-1).

Decides: which keys are answered, at which level, with which return type, and from which text
of OpenMRS. VR and tag come from pydicom's dictionary. Knows no values.
"""

from dataclasses import dataclass, field
from enum import Enum

from pydicom.datadict import dictionary_VR, tag_for_keyword


class Level(Enum):
    """Where a key stands: in the item of ScheduledProcedureStepSequence, or beside it."""

    STEP = "step"
    REQUEST = "request"


@dataclass(frozen=True, slots=True)
class Attribute:
    """One row: `type` is the return key type; `known` whether OpenMRS has a value for it.

    An attribute that isn't known is answered with zero length and never restricts a query.
    """

    keyword: str
    level: Level
    type: str
    known: bool = False
    tag: int = field(init=False)
    vr: str = field(init=False)

    def __post_init__(self) -> None:
        tag = tag_for_keyword(self.keyword)
        assert tag is not None, self.keyword
        object.__setattr__(self, "tag", tag)
        object.__setattr__(self, "vr", dictionary_VR(tag))


_STEP = Level.STEP
_REQUEST = Level.REQUEST

ATTRIBUTES: tuple[Attribute, ...] = (
    # Scheduled Procedure Step
    Attribute("ScheduledStationAETitle", _STEP, "1", known=True),
    Attribute("ScheduledProcedureStepStartDate", _STEP, "1", known=True),
    Attribute("ScheduledProcedureStepStartTime", _STEP, "1", known=True),
    Attribute("Modality", _STEP, "1", known=True),
    Attribute("ScheduledPerformingPhysicianName", _STEP, "2", known=True),
    Attribute("ScheduledProcedureStepDescription", _STEP, "1C", known=True),
    Attribute("ScheduledProcedureStepID", _STEP, "1", known=True),
    Attribute("ScheduledStationName", _STEP, "2", known=True),
    Attribute("ScheduledProcedureStepLocation", _STEP, "2", known=True),
    Attribute("ScheduledProcedureStepStatus", _STEP, "3", known=True),
    Attribute("ScheduledProcedureStepEndDate", _STEP, "3"),
    Attribute("ScheduledProcedureStepEndTime", _STEP, "3"),
    Attribute("CommentsOnTheScheduledProcedureStep", _STEP, "3"),
    Attribute("ScheduledProtocolCodeSequence", _STEP, "1C"),
    Attribute("PreMedication", _STEP, "2C"),
    Attribute("RequestedContrastAgent", _STEP, "2C"),
    # Requested Procedure
    Attribute("RequestedProcedureID", _REQUEST, "1", known=True),
    Attribute("RequestedProcedureDescription", _REQUEST, "1C", known=True),
    Attribute("RequestedProcedureCodeSequence", _REQUEST, "1C"),
    Attribute("StudyInstanceUID", _REQUEST, "1", known=True),
    Attribute("ReferencedStudySequence", _REQUEST, "2"),
    Attribute("RequestedProcedurePriority", _REQUEST, "2", known=True),
    Attribute("PatientTransportArrangements", _REQUEST, "2"),
    # Imaging Service Request
    Attribute("AccessionNumber", _REQUEST, "2", known=True),
    Attribute("RequestingPhysician", _REQUEST, "2", known=True),
    Attribute("ReferringPhysicianName", _REQUEST, "2", known=True),
    # Visit
    Attribute("AdmissionID", _REQUEST, "2"),
    Attribute("CurrentPatientLocation", _REQUEST, "2"),
    Attribute("ReferencedPatientSequence", _REQUEST, "2"),
    # Patient
    Attribute("PatientName", _REQUEST, "1", known=True),
    Attribute("PatientID", _REQUEST, "1", known=True),
    Attribute("PatientBirthDate", _REQUEST, "2", known=True),
    Attribute("PatientSex", _REQUEST, "2", known=True),
    Attribute("PatientWeight", _REQUEST, "2"),
    Attribute("ConfidentialityConstraintOnPatientDataDescription", _REQUEST, "2"),
    Attribute("PatientState", _REQUEST, "2"),
    Attribute("PregnancyStatus", _REQUEST, "2"),
    Attribute("MedicalAlerts", _REQUEST, "2"),
    Attribute("Allergies", _REQUEST, "2"),
    Attribute("SpecialNeeds", _REQUEST, "2"),
)

KNOWN: tuple[Attribute, ...] = tuple(row for row in ATTRIBUTES if row.known)
"""The attributes that have values, in the order of `WorklistItem.values`."""

POSITION: dict[str, int] = {row.keyword: position for position, row in enumerate(KNOWN)}
"""Keyword → position in `WorklistItem.values`."""

STEP_SEQUENCE = 0x00400100
"""ScheduledProcedureStepSequence: exactly one item in every answer."""

SPECIFIC_CHARACTER_SET = 0x00080005
