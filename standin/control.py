"""The stand-in's own routes, /standin/…: what a demo or a container does in a browser's place.

Decides their JSON. No sign-in, no faults and no log here; must not know generations.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any, Protocol

from .answers import Answer, json_answer
from .faults import Fault
from .orders import RADIOLOGY, Concept, Order, Orders
from .records import ImagingRequest, Patient, Records, StepFields
from .wire import LoggedRequest, Received


class Controlled(Protocol):
    """What of the stand-in these routes use."""

    records: Records
    orders: Orders
    generation: str

    @property
    def worklist_url(self) -> str: ...
    @property
    def update_url(self) -> str: ...
    @property
    def requests_log(self) -> list[LoggedRequest]: ...
    def set_fault(
        self,
        fault: Fault,
        path: str | None = None,
        method: str | None = None,
        times: int | None = None,
    ) -> None: ...
    def clear_faults(self, path: str | None = None) -> None: ...
    def set_behaviour(self, **behaviour: object) -> None: ...


def control(standin: Controlled, received: Received) -> Answer:
    try:
        body = json.loads(received.body or b"{}")
        match received.method, received.path.strip("/").split("/")[1:]:
            case "GET", ["ping"]:
                urls = {"worklist": standin.worklist_url, "update": standin.update_url}
                return json_answer({"generation": standin.generation, **urls})
            case "POST", ["patients"]:
                return json_answer({"uuid": _add_patient(standin.records, body).uuid}, 201)
            case "POST", ["requests"]:
                return json_answer(_summary(_add_request(standin.records, body)), 201)
            case "GET", ["requests"]:
                return json_answer([_summary(request) for request in standin.records.requests()])
            case "POST", ["orders"]:
                return json_answer(_order_summary(_place_order(standin, body)), 201)
            case "GET", ["orders"]:
                return json_answer([_order_summary(order) for order in standin.orders.orders()])
            case "POST", ["orders", uuid]:
                return json_answer(_order_summary(_change_order(standin.orders, uuid, body)))
            case "GET", ["steps", number]:
                return json_answer(asdict(standin.records.step(int(number))))
            case "POST", ["steps", number]:
                standin.records.set_step_status(int(number), body["status"])
                return json_answer(asdict(standin.records.step(int(number))))
            case "PUT", ["fault"]:
                where = {key: body.pop(key, None) for key in ("path", "method", "times")}
                standin.set_fault(Fault(**body), **where)
            case "DELETE", ["fault"]:
                standin.clear_faults(received.query.get("path"))
            case "PUT", ["generation"]:
                standin.generation = body["generation"]
            case "PUT", ["behaviour"]:
                standin.set_behaviour(**body)
            case "GET", ["log"]:
                log = standin.requests_log
                texts = [{"body": entry.body.decode("utf-8", "replace")} for entry in log]
                return json_answer([asdict(e) | text for e, text in zip(log, texts, strict=True)])
            case _:
                return json_answer({"error": "no such route"}, 404)
    except KeyError as error:
        return json_answer({"error": f"unknown or missing: {error}"}, 404)
    except (ValueError, TypeError, AttributeError) as error:
        return json_answer({"error": str(error)}, 400)
    return json_answer({})


NAME_PARTS = {
    "prefix": "prefix",
    "familyNamePrefix": "family_prefix",
    "familyName2": "family2",
    "familyNameSuffix": "suffix",
    "degree": "degree",
}


def _add_patient(records: Records, body: Mapping[str, Any]) -> Patient:
    return records.add_patient(
        body.get("givenName"),
        body.get("familyName"),
        body.get("middleName", ""),
        body.get("birthdate"),
        body.get("gender"),
        **{name: body[key] for key, name in NAME_PARTS.items() if key in body},
    )


def _add_request(records: Records, body: Mapping[str, Any]) -> ImagingRequest:
    patient = records.patient(body["patient"])
    if patient is None:
        raise KeyError("patient")
    return records.add_request(
        patient,
        accession=body.get("accessionNumber"),
        description=body.get("requestedProcedureDescription", ""),
        priority=body.get("priority", "medium"),
        physician=body.get("requestingPhysician", ""),
        study_instance_uid=body.get("studyInstanceUID"),
        steps=[_step_fields(step) for step in body.get("steps", ())],
    )


def _place_order(standin: Controlled, body: Mapping[str, Any]) -> Order:
    """`concept`: uuid and display, and `mappings` as {"LOINC": "24627-2"}."""
    patient = standin.records.patient(body["patient"])
    if patient is None:
        raise KeyError("patient")
    given = body["concept"]
    concept = Concept(
        given["uuid"], given.get("display", ""), tuple(given.get("mappings", {}).items())
    )
    scheduled = body.get("scheduledDate")
    return standin.orders.place(
        patient,
        concept,
        body.get("orderType", RADIOLOGY),
        urgency=body.get("urgency", "ROUTINE"),
        scheduled_date=datetime.fromisoformat(scheduled) if scheduled else None,
        accession_number=body.get("accessionNumber"),
        instructions=body.get("instructions"),
        fulfiller_status=body.get("fulfillerStatus"),
    )


def _change_order(orders: Orders, uuid: str, body: Mapping[str, Any]) -> Order:
    """`action`: what the order basket does with it, or "fulfil" with the details."""
    order = orders.order(uuid)
    if order is None:
        raise KeyError(uuid)
    match body["action"]:
        case "revise":
            return orders.revise(order)
        case "renew":
            return orders.renew(order)
        case "discontinue":
            return orders.discontinue(order)
        case "void":
            return orders.void(order)
        case "fulfil":
            return orders.fulfil(uuid, body.get("fulfillerStatus"), body.get("fulfillerComment"))
    raise ValueError(f"no action {body['action']!r}")


def _order_summary(order: Order) -> dict[str, object]:
    stopped = order.date_stopped
    return {
        "uuid": order.uuid,
        "orderNumber": order.number,
        "patient": order.patient.uuid,
        "action": order.action,
        "previousOrder": order.previous,
        "dateStopped": stopped.isoformat() if stopped else None,
        "fulfillerStatus": order.fulfiller_status,
        "fulfillerComment": order.fulfiller_comment,
        "voided": order.voided,
    }


def _step_fields(body: Mapping[str, Any]) -> StepFields:
    now = datetime.now()
    return StepFields(
        modality=body.get("modality"),
        aet_title=body.get("aetTitle", body.get("scheduledStationAETitle")),
        start_date=body.get("stepStartDate", now.strftime("%Y%m%d%H%M%S")),
        start_time=body.get("stepStartTime", now.strftime("%H%M%S")),
        description=body.get("stepDescription", ""),
        physician=body.get("performingPhysician"),
        station_name=body.get("stationName", ""),
        location=body.get("location", ""),
    )


def _summary(request: ImagingRequest) -> dict[str, object]:
    return {
        "id": request.id,
        "accessionNumber": request.accession,
        "patient": request.patient.uuid,
        "studyInstanceUID": request.study_instance_uid,
        "status": request.status,
        "steps": [step.id for step in request.steps],
        "statuses": [step.status for step in request.steps],
    }
