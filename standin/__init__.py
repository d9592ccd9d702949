"""A stand-in for OpenMRS with its Imaging module: a real HTTP server, standard library only.

    with Standin("v2") as openmrs:
        patient = openmrs.records.add_patient("Ánh", "Nguyễn", middle="Thị")
        openmrs.records.add_request(patient, steps=[StepFields(modality="CT")])
        ...  # GET openmrs.worklist_url, POST openmrs.update_url

records: the rows. dialects and values: what a generation writes. updates: what it accepts.
core: OpenMRS's own REST. answers: JSON, pages, exceptions. faults: how it can fail. orthanc: the
Orthanc that it asks. server: sign-in and routes. wire: HTTP. control: its own routes. samples:
believable content.
"""

from .dialects import DIALECTS, EDIT, RECEIVE
from .faults import Fault
from .orthanc import Callback
from .records import ImagingRequest, Patient, Records, Step, StepFields
from .server import DEFAULT_ACCOUNTS, PATIENTS, Account, Behaviour, Standin
from .wire import LoggedRequest

GENERATIONS = tuple(DIALECTS)

__all__ = [
    "DEFAULT_ACCOUNTS",
    "EDIT",
    "GENERATIONS",
    "PATIENTS",
    "RECEIVE",
    "Account",
    "Behaviour",
    "Callback",
    "Fault",
    "ImagingRequest",
    "LoggedRequest",
    "Patient",
    "Records",
    "Standin",
    "Step",
    "StepFields",
]
