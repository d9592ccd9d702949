"""`OpenMRS.Orders`: its keys, and what is made of them.

Decides: their types and defaults, and which of their values can't be meant. Must not know: the
network, Orthanc's module.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from orthanc_openmrs.errors import ConfigurationError
from orthanc_openmrs.openmrs.orders import FULFILLER_STATUSES
from orthanc_openmrs.worklist.modalities import OTHER, modality
from orthanc_openmrs.worklist.orders import Machine, OrderRules

KEY = "OpenMRS.Orders"

UUID = {"type": "string", "pattern": r"^[0-9A-Za-z-]{1,64}\Z"}
"""OpenMRS's uuids are 36 characters, or 38 where a dictionary made them of a number."""

UUID_WORDS = "a uuid of OpenMRS"

DEFAULT_PASSING: tuple[str | None, ...] = (None, "RECEIVED", "IN_PROGRESS")


def section_schema(ae_title: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of the section; `ae_title` is that of an AE title."""
    machine = {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "Modality": {"type": "string"},
            "AETitle": ae_title,
            "Description": {"type": "string"},
        },
    }
    return {
        "type": "object",
        "default": {},
        "additionalProperties": False,
        "properties": {
            "OrderTypes": {"type": "array", "items": UUID, "minItems": 1},
            "Concepts": {"type": "object", "additionalProperties": machine, "default": {}},
            "Default": {**machine, "default": {}},
            "FulfillerStatus": {
                "type": "array",
                "items": {"enum": [None, *FULFILLER_STATUSES]},
                "minItems": 1,
                "default": list(DEFAULT_PASSING),
            },
            "DaysBack": {"type": "integer", "minimum": 0, "maximum": 36500, "default": 30},
        },
    }


@dataclass(frozen=True, slots=True)
class OrderSettings:
    """Which orders are read, and what is made of them."""

    order_types: tuple[str, ...]
    days_back: int = 30
    rules: OrderRules = field(default_factory=OrderRules)


def order_settings(section: Mapping[str, Any], rest_url: str) -> OrderSettings | None:
    """The settings of a section that fits the schema, None where there is none.

    Raises ConfigurationError.
    """
    if not section:
        return None
    if "OrderTypes" not in section:
        raise ConfigurationError(
            f"{KEY}.OrderTypes",
            "is missing: it names the order types of imaging, by their uuid in OpenMRS",
        )
    if not rest_url:
        raise ConfigurationError(
            "OpenMRS.RestURL", f"is missing: {KEY} needs it, for ImagingWorklistURL doesn't tell it"
        )
    rows = section.get("Concepts", {})
    concepts = {
        " ".join(name.split()).casefold(): _machine(row, f"{KEY}.Concepts.{name}")
        for name, row in rows.items()
    }
    return OrderSettings(
        order_types=tuple(section["OrderTypes"]),
        days_back=int(section.get("DaysBack", 30)),
        rules=OrderRules(
            concepts=concepts,
            default=_machine(section.get("Default", {}), f"{KEY}.Default"),
            passing=frozenset(
                status or "" for status in section.get("FulfillerStatus", DEFAULT_PASSING)
            ),
        ),
    )


def _machine(row: Mapping[str, Any], key: str) -> Machine:
    text = row.get("Modality", "").strip()
    found = modality(text).text
    if text and (not found or (found == OTHER and text.upper() != OTHER)):
        raise ConfigurationError(
            f"{key}.Modality", "is text that names no modality, expected one such as CT"
        )
    return Machine(text, row.get("AETitle", ""), row.get("Description", ""))
