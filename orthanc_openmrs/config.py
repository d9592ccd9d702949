"""Orthanc's configuration → `Settings`.

Decides: which keys there are, their types, bounds and defaults, and the words of a refusal.
The schema is JSON Schema (draft 2020-12). Must not know: Orthanc's module, the network; the
configuration comes in as the object that Orthanc's JSON holds.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from orthanc_openmrs.alerts.settings import SCHEMA as WEBHOOK_SCHEMA
from orthanc_openmrs.alerts.settings import WebhookSettings, webhook_settings
from orthanc_openmrs.completion.evidence import DEFAULT, EVIDENCE
from orthanc_openmrs.errors import ConfigurationError
from orthanc_openmrs.mapping.viewers import ViewerSettings, viewer_settings
from orthanc_openmrs.mpps.settings import ProcedureSettings, procedure_settings, section_schema
from orthanc_openmrs.openmrs.sign_in import TokenClient
from orthanc_openmrs.worklist.charset import CODECS, STATION_CHARSETS, codec_of
from orthanc_openmrs.worklist.matching import Station
from orthanc_openmrs.worklist.order_settings import UUID, UUID_WORDS, OrderSettings, order_settings
from orthanc_openmrs.worklist.order_settings import section_schema as orders_schema

_AE_TITLE = {"type": "string", "pattern": r"^(?=.*[^ ])[ -\[\]-~]{1,16}\Z"}
_DAYS = {"type": "integer", "minimum": 0, "maximum": 36500}
_URL = {"type": "string", "pattern": r"^https?://[^/\s]+\S*\Z"}
_FILE = {"type": "string", "minLength": 1}
_TEXT = {"type": "string", "minLength": 1}

_FIRST_USER_METADATA = 1024

SECTION: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "RefreshInterval": {"type": "number", "minimum": 1, "maximum": 3600, "default": 10},
        "MaxStaleness": {"type": "number", "minimum": 1, "maximum": 31536000, "default": 86400},
        "Timeout": {"type": "number", "minimum": 0.1, "maximum": 600, "default": 10},
        "UpdateTimeout": {"type": "number", "minimum": 0.1, "maximum": 3600, "default": 120},
        "MaxResponseSize": {"type": "integer", "minimum": 1, "maximum": 1024, "default": 64},
        "CACertificates": _FILE,
        "VerifyCertificates": {"type": "boolean", "default": True},
        "ClientCertificate": _FILE,
        "ClientKey": _FILE,
        "RestURL": _URL,
        "PersonNames": {"enum": ["split", "verbatim", "lookup"], "default": "lookup"},
        "StationFilter": {"enum": ["query", "caller"], "default": "query"},
        "Stations": {
            "type": "object",
            "default": {},
            "propertyNames": _AE_TITLE,
            "additionalProperties": {
                "type": "object",
                "additionalProperties": False,
                "properties": {
                    "Charset": {"enum": list(STATION_CHARSETS)},
                    "AETitles": {"type": "array", "items": _AE_TITLE, "minItems": 1},
                    "DaysBack": _DAYS,
                    "DaysAhead": _DAYS,
                },
            },
        },
        "LinkBy": {
            "type": "array",
            "items": {"enum": list(EVIDENCE)},
            "uniqueItems": True,
            "minItems": 1,
            "default": list(DEFAULT),
        },
        "HoldPatientMismatch": {"type": "boolean", "default": True},
        "ReportInProgress": {"type": "boolean", "default": True},
        "PatientMetadata": {"type": "integer", "minimum": 0, "maximum": 65535, "default": 4026},
        "Database": {"type": "string", "pattern": r"^(sqlite|postgresql\+psycopg)://"},
        "KeepDelivered": {"type": "number", "minimum": 0, "maximum": 36500, "default": 90},
        "ExplorerButtons": {"type": "boolean", "default": True},
        "Debug": {"type": "boolean", "default": False},
        "BearerToken": {
            "type": "object",
            "additionalProperties": False,
            "default": {},
            "properties": {
                "TokenURL": _URL,
                "ClientID": _TEXT,
                "ClientSecret": _TEXT,
                "Scope": {"type": "string"},
            },
        },
        "MPPS": section_schema(_AE_TITLE),
        "Orders": orders_schema(_AE_TITLE),
        "Webhook": WEBHOOK_SCHEMA,
    },
}

SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "required": ["ImagingWorklistURL", "ImagingUpdateRequestStatus"],
    "properties": {
        "ImagingWorklistURL": _URL,
        "ImagingUpdateRequestStatus": _URL,
        "ImagingWorklistUsername": {"type": "string", "default": ""},
        "ImagingWorklistPassword": {"type": "string", "default": ""},
        "OpenMRS": SECTION,
    },
}


LIKENESS = 0.8
"""Of two keys' letters, from which one may be the other misspelt."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The plugin's configuration, complete and checked. Durations are seconds, sizes bytes."""

    worklist_url: str
    update_url: str
    username: str
    password: str = field(repr=False)
    token_client: TokenClient | None
    orders: OrderSettings | None
    rest_url: str
    refresh_interval: float
    max_staleness: float
    timeout: float
    update_timeout: float
    max_response_size: int
    verify: bool | str
    client_certificate: tuple[str, str] | str | None
    person_names: str
    own_steps_only: bool
    stations: Mapping[str, Station]
    codec: str
    case_sensitive_names: bool
    stable_age: float
    link_by: tuple[str, ...]
    hold_patient_mismatch: bool
    report_in_progress: bool
    patient_metadata: int
    viewers: ViewerSettings
    database: str = field(repr=False)
    own_database: bool
    keep_delivered: float
    explorer_buttons: bool
    debug: bool
    procedures: ProcedureSettings
    webhook: WebhookSettings
    warnings: tuple[str, ...]
    """What works but isn't what a hospital wants, to be logged at the start."""


def read_settings(configuration: Mapping[str, Any], folder: Path) -> Settings:
    """Check Orthanc's configuration and fill in the defaults.

    `folder` is that of Orthanc's configuration, from which its relative paths count. Raises
    ConfigurationError with the first key that is wrong, never with its value.
    """
    _validate(configuration)
    _refuse_native_worklists(configuration)
    section: dict[str, Any] = {
        key: schema["default"]
        for key, schema in SECTION["properties"].items()
        if "default" in schema
    } | dict(configuration.get("OpenMRS", {}))
    for key in ("ImagingWorklistURL", "ImagingUpdateRequestStatus"):
        _check_url(key, configuration[key])
    if "RestURL" in section:
        _check_url("OpenMRS.RestURL", section["RestURL"])
    worklist_url = configuration["ImagingWorklistURL"]
    codec, warnings = _codec(configuration)
    _check_database(section.get("Database", ""))
    warnings += _exposures(configuration, section)
    rest_url = section.get("RestURL") or _rest_url(worklist_url)
    return Settings(
        worklist_url=worklist_url,
        update_url=configuration["ImagingUpdateRequestStatus"],
        username=configuration.get("ImagingWorklistUsername", ""),
        password=configuration.get("ImagingWorklistPassword", ""),
        token_client=_token_client(section["BearerToken"]),
        orders=order_settings(section["Orders"], rest_url),
        rest_url=rest_url,
        refresh_interval=section["RefreshInterval"],
        max_staleness=section["MaxStaleness"],
        timeout=section["Timeout"],
        update_timeout=section["UpdateTimeout"],
        max_response_size=int(section["MaxResponseSize"]) * 1024 * 1024,
        verify=section["VerifyCertificates"]
        and (_existing_file(section, "CACertificates", folder) or True),
        client_certificate=_client_certificate(section, folder),
        person_names=section["PersonNames"],
        own_steps_only=section["StationFilter"] == "caller",
        stations={title: _station(rules) for title, rules in section["Stations"].items()},
        codec=codec,
        case_sensitive_names=configuration.get("CaseSensitivePN") is True,
        stable_age=_stable_age(configuration),
        link_by=tuple(section["LinkBy"]),
        hold_patient_mismatch=section["HoldPatientMismatch"],
        report_in_progress=section["ReportInProgress"],
        patient_metadata=_user_metadata(int(section["PatientMetadata"])),
        viewers=viewer_settings(configuration),
        database=section.get("Database") or _default_database(configuration, folder),
        own_database=not section.get("Database"),
        keep_delivered=section["KeepDelivered"] * 86400,
        explorer_buttons=section["ExplorerButtons"],
        debug=section["Debug"],
        procedures=procedure_settings(configuration, section["MPPS"], folder),
        webhook=webhook_settings(configuration, section["Webhook"]),
        warnings=tuple(warnings),
    )


def _validate(configuration: Mapping[str, Any]) -> None:
    problems = sorted(
        Draft202012Validator(SCHEMA).iter_errors(dict(configuration)),
        key=lambda problem: (list(map(str, problem.absolute_path)), str(problem.validator)),
    )
    if problems:
        raise _refusal(problems[0])


def _refusal(problem: ValidationError) -> ConfigurationError:
    """One line that names the key, its value's type and what is expected."""
    path = ".".join(str(part) for part in problem.absolute_path)
    found = f"is {_type_name(problem.instance)}"
    expected: Any = problem.validator_value
    schema: Any = problem.schema
    instance: Any = problem.instance
    match problem.validator:
        case "required":
            missing = next(key for key in expected if key not in instance)
            other = likely(missing, set(instance) - set(schema["properties"]))
            return ConfigurationError(
                f"{path}.{missing}" if path else missing,
                "is missing: Orthanc's configuration must have it"
                + (f"; it has {other}: did you mean {missing}?" if other else ""),
            )
        case "additionalProperties":
            allowed = schema["properties"]
            unknown = " ".join(sorted(key for key in instance if key not in allowed)[0].split())
            other = likely(unknown, allowed)
            return ConfigurationError(
                f"{path}.{unknown}",
                "is not a key of this plugin; keys are "
                + ", ".join(allowed)
                + (f"; did you mean {other}?" if other else ""),
            )
        case "type":
            words = f"{found}, expected {_ARTICLES.get(str(expected), str(expected))}"
        case "enum":
            words = f"{found}, expected one of " + ", ".join(
                "null" if value is None else str(value) for value in expected
            )
        case "pattern" if path.endswith("Stations"):
            words = f"has a key that is no calling AE title, expected {_AE_WORDS}"
        case "pattern":
            words = f"{found}, expected {_EXPECTED_PATTERNS[expected]}"
        case "minimum" | "maximum":
            words = f"{found} out of range, expected {schema['minimum']} to {schema['maximum']}"
        case _:
            words = f"{found} that can't be used ({problem.validator}: {expected})"
    return ConfigurationError(path, words)


def likely(key: str, others: Iterable[str]) -> str:
    """The one of other keys that was probably meant, "" where none is like it."""
    spelt = {other.casefold(): other for other in others}
    found = get_close_matches(key.casefold(), spelt, 1, LIKENESS)
    return " ".join(spelt[found[0]].split()) if found else ""


_ARTICLES = {
    "string": "text",
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
    "array": "an array",
    "object": "an object",
}

_AE_WORDS = "an AE title (1 to 16 ASCII characters)"

_EXPECTED_PATTERNS = {
    _URL["pattern"]: "a URL that begins with http:// or https://",
    _AE_TITLE["pattern"]: _AE_WORDS,
    UUID["pattern"]: UUID_WORDS,
    SECTION["properties"]["Database"]["pattern"]: "a URL: sqlite:///… or postgresql+psycopg://…",
}


def _type_name(value: object) -> str:
    if value is None:
        return "null"
    names = {bool: "a boolean", int: "a number", float: "a number", str: "text", list: "an array"}
    return names.get(type(value), "an object")


def _refuse_native_worklists(configuration: Mapping[str, Any]) -> None:
    native = configuration.get("Worklists")
    if isinstance(native, Mapping) and native.get("Enable") is True:
        raise ConfigurationError(
            "Worklists.Enable",
            "is true: Orthanc takes one worklist plugin only; set it to false to let this "
            "plugin answer the scanners",
        )


def _check_url(key: str, url: str) -> None:
    try:
        parts = urlsplit(url)
        complete = bool(parts.hostname) and parts.port != 0
    except ValueError:
        complete = False
    if not complete:
        raise ConfigurationError(key, "is text, expected a URL with a host and a valid port")
    if parts.username or parts.password:
        raise ConfigurationError(
            key,
            "has credentials in it: use ImagingWorklistUsername and ImagingWorklistPassword",
        )


def _check_database(url: str) -> None:
    """Errors of a URL that can't be read hold parts of it: here they are told without."""
    try:
        parts = make_url(url) if url else None
    except (ArgumentError, ValueError):
        parts = None
    if url and (parts is None or "@" in (parts.host or "")):
        raise ConfigurationError(
            "OpenMRS.Database",
            "is text that is no URL of a database: in a password, characters other than letters "
            "and digits are written as %XX",
        )


def _exposures(configuration: Mapping[str, Any], section: Mapping[str, Any]) -> Iterator[str]:
    """What a hospital should not let stay, though it works."""
    token_url = section["BearerToken"].get("TokenURL", "")
    if not token_url and ":" in configuration.get("ImagingWorklistUsername", "") + str(
        configuration.get("ImagingWorklistPassword", "")
    ):
        yield (
            "ImagingWorklistUsername or ImagingWorklistPassword has a colon: OpenMRS splits a "
            "sign-in at every one, and never takes it"
        )
    for key, url in (
        ("OpenMRS.BearerToken.TokenURL", token_url),
        ("ImagingWorklistURL", configuration["ImagingWorklistURL"]),
        ("ImagingUpdateRequestStatus", configuration["ImagingUpdateRequestStatus"]),
        ("OpenMRS.RestURL", section.get("RestURL", "")),
    ):
        parts = urlsplit(url)
        if parts.scheme == "http" and not _is_this_machine(parts.hostname or ""):
            yield (
                f"{key} is http: the password and the patients' data can be read on their way; "
                "use https"
            )
    if not section["VerifyCertificates"]:
        yield (
            "OpenMRS.VerifyCertificates is false: anybody on the way can be OpenMRS; set "
            "OpenMRS.CACertificates instead"
        )
    if section["Debug"]:
        yield "OpenMRS.Debug is true: this log holds patients' data"


def _is_this_machine(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _rest_url(worklist_url: str) -> str:
    root, mark, _ = worklist_url.partition("/ws/rest/v1")
    return root + mark if mark else ""


def _codec(configuration: Mapping[str, Any]) -> tuple[str, list[str]]:
    encoding = configuration.get("DefaultEncoding", "Latin1")
    codec = codec_of(encoding) if isinstance(encoding, str) else None
    if codec is None:
        raise ConfigurationError(
            "DefaultEncoding",
            f"is {_type_name(encoding)} that DICOM answers can't be in, expected one of "
            + ", ".join(CODECS),
        )
    if codec == "utf-8":
        return codec, []
    return codec, [
        f"DefaultEncoding is {encoding}: names that it can't hold are sent in Latin letters; set "
        '"DefaultEncoding": "Utf8" for scanners that can read Unicode'
    ]


def _token_client(section: Mapping[str, str]) -> TokenClient | None:
    if not section:
        return None
    for key in ("TokenURL", "ClientID", "ClientSecret"):
        if key not in section:
            raise ConfigurationError(
                f"OpenMRS.BearerToken.{key}", "is missing: a bearer token can't be had without it"
            )
    _check_url("OpenMRS.BearerToken.TokenURL", section["TokenURL"])
    return TokenClient(
        section["TokenURL"], section["ClientID"], section["ClientSecret"], section.get("Scope", "")
    )


def _stable_age(configuration: Mapping[str, Any]) -> float:
    """Orthanc's own key, with Orthanc's default."""
    seconds = configuration.get("StableAge", 60)
    return float(seconds) if isinstance(seconds, int | float) else 60.0


def _station(rules: Mapping[str, Any]) -> Station:
    return Station(
        ae_titles=tuple(rules.get("AETitles", ())),
        charset=rules.get("Charset", ""),
        days_back=_whole(rules.get("DaysBack")),
        days_ahead=_whole(rules.get("DaysAhead")),
    )


def _whole(days: float | None) -> int | None:
    """JSON's 7.0 is a whole number too."""
    return None if days is None else int(days)


def _user_metadata(number: int) -> int:
    """Orthanc keeps the numbers below for itself."""
    if 0 < number < _FIRST_USER_METADATA:
        raise ConfigurationError(
            "OpenMRS.PatientMetadata",
            f"is a number out of range, expected 0 (none) or {_FIRST_USER_METADATA} to 65535",
        )
    return number


def _existing_file(section: Mapping[str, Any], key: str, folder: Path) -> str | None:
    name = section.get(key)
    if name is None:
        return None
    path = folder / name
    if not path.exists():
        raise ConfigurationError(f"OpenMRS.{key}", f"there is no such file: {path}")
    return str(path)


def _client_certificate(section: Mapping[str, Any], folder: Path) -> tuple[str, str] | str | None:
    certificate = _existing_file(section, "ClientCertificate", folder)
    key = _existing_file(section, "ClientKey", folder)
    if key and not certificate:
        raise ConfigurationError("OpenMRS.ClientKey", "needs OpenMRS.ClientCertificate beside it")
    return (certificate, key) if certificate and key else certificate


def _default_database(configuration: Mapping[str, Any], folder: Path) -> str:
    storage = configuration.get("StorageDirectory") or "OrthancStorage"
    index = configuration.get("IndexDirectory") or storage
    path = folder / str(index) / "openmrs.db"
    return URL.create("sqlite", database=str(path)).render_as_string(hide_password=False)
