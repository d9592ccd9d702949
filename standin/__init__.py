"""A stand-in for OpenMRS with its Imaging module: a real HTTP server, standard library only.

    with Standin("v2") as openmrs:
        patient = openmrs.records.add_patient("Ánh", "Nguyễn", middle="Thị")
        openmrs.records.add_request(patient, steps=[StepFields(modality="CT")])
        ...  # GET openmrs.worklist_url, POST openmrs.update_url

records: the module's rows. dialects and values: what a generation writes. updates: what it takes.
orders: the rows of core's orders. core, order_routes and core_routes: OpenMRS's own REST, in the
representations of webservices.rest. tokens: an identity provider. answers: JSON, pages,
exceptions. behaviour: settings of one site. faults: how it can fail. orthanc: the Orthanc that it
asks. server: sign-in and routes. wire: HTTP. control: its own routes. samples: believable content.
"""

from .behaviour import Behaviour
from .core_routes import PATIENTS
from .dialects import DIALECTS, EDIT, RECEIVE
from .faults import Fault
from .orders import RADIOLOGY, Concept, Order, Orders
from .orthanc import Callback
from .records import ImagingRequest, Patient, Records, Step, StepFields
from .server import DEFAULT_ACCOUNTS, Account, Standin
from .tokens import Client, Tokens
from .wire import LoggedRequest

GENERATIONS = tuple(DIALECTS)
WITH_WORKLIST = tuple(name for name, dialect in DIALECTS.items() if dialect.judge is not None)
"""The generations whose list has steps, and which can be told of them: not v0.9's two."""

__all__ = [
    "DEFAULT_ACCOUNTS",
    "EDIT",
    "GENERATIONS",
    "PATIENTS",
    "RADIOLOGY",
    "RECEIVE",
    "WITH_WORKLIST",
    "Account",
    "Behaviour",
    "Callback",
    "Client",
    "Concept",
    "Fault",
    "ImagingRequest",
    "LoggedRequest",
    "Order",
    "Orders",
    "Patient",
    "Records",
    "Standin",
    "Step",
    "StepFields",
    "Tokens",
]
