"""The section `OpenMRS.Webhook`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

SCHEMA: dict[str, Any] = {
    "type": "object",
    "default": {},
    "additionalProperties": False,
    "properties": {
        "URL": {"type": "string", "pattern": r"^https?://[^/\s]+\S*\Z"},
        "Secret": {"type": "string", "minLength": 16},
        "Page": {"type": "string", "pattern": r"^https?://[^/\s]+\S*\Z"},
        "ListOlderThan": {"type": "number", "minimum": 0.1, "maximum": 10080, "default": 10},
    },
}


@dataclass(frozen=True, slots=True)
class WebhookSettings:
    """Where alerts go; `url` is "" where none do. It may hold a token, and is never logged.
    `list_older_than` is in seconds."""

    url: str = field(default="", repr=False)
    secret: str = field(default="", repr=False)
    page: str = ""
    name: str = ""
    list_older_than: float = 600.0


def webhook_settings(
    configuration: Mapping[str, Any], section: Mapping[str, Any]
) -> WebhookSettings:
    """From Orthanc's configuration and the checked section."""
    default = SCHEMA["properties"]["ListOlderThan"]["default"]
    return WebhookSettings(
        url=section.get("URL", ""),
        secret=section.get("Secret", ""),
        page=section.get("Page", "/openmrs/ui/"),
        name=str(configuration.get("Name", configuration.get("DicomAet", "ORTHANC"))),
        list_older_than=section.get("ListOlderThan", default) * 60,
    )
