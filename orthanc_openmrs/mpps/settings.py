"""The section `OpenMRS.MPPS` and Orthanc's keys that count for its port, as one value.

Decides: the keys, their defaults, what of Orthanc's DICOM server holds here too. Must not know:
sockets, Orthanc's module.
"""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orthanc_openmrs.errors import ConfigurationError

OFFER, LEAVE = "offer", "leave"


def section_schema(ae_title: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON Schema of the section."""
    return {
        "type": "object",
        "default": {},
        "additionalProperties": False,
        "properties": {
            "Port": {"type": "integer", "minimum": 1, "maximum": 65535},
            "AET": dict(ae_title),
            "Address": {"type": "string", "minLength": 1},
            "CallingAETs": {"type": "array", "items": dict(ae_title), "minItems": 1},
            "MaxAssociations": {"type": "integer", "minimum": 1, "maximum": 1000, "default": 64},
            "Timeout": {"type": "number", "minimum": 1, "maximum": 3600, "default": 30},
            "ImagesWithin": {"type": "number", "minimum": 0, "maximum": 10080, "default": 15},
            "OnDiscontinued": {"enum": [OFFER, LEAVE], "default": OFFER},
        },
    }


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Orthanc's keys for DICOM over TLS."""

    certificate: str
    key: str = field(repr=False)
    trusted: str | None
    requires_certificate: bool


@dataclass(frozen=True, slots=True)
class ProcedureSettings:
    """How performed procedure steps come in, and how long their images are awaited (seconds).

    `port` is None where the server is off. `calling_ae_titles` is None where those that Orthanc
    knows may call, empty where anybody may."""

    port: int | None = None
    address: str = ""
    ae_title: str = "ORTHANC"
    checks_called: bool = False
    calling_ae_titles: frozenset[str] | None = frozenset()
    checks_host: bool = False
    is_strict: bool = False
    max_associations: int = 64
    timeout: float = 30.0
    images_within: float = 900.0
    offers_discontinued: bool = True
    tls: TlsFiles | None = None


def procedure_settings(
    configuration: Mapping[str, Any], section: Mapping[str, Any], folder: Path
) -> ProcedureSettings:
    """From Orthanc's configuration and the checked section. Raises ConfigurationError."""
    defaults = {
        key: schema["default"]
        for key, schema in section_schema({})["properties"].items()
        if "default" in schema
    }
    keys = defaults | dict(section)
    port = keys.get("Port")
    if port is not None and int(port) == configuration.get("DicomPort", 4242):
        raise ConfigurationError(
            "OpenMRS.MPPS.Port", f"is {int(port)}, which is Orthanc's DicomPort: choose another"
        )
    is_strict = configuration.get("StrictAetComparison") is True
    calling = keys.get("CallingAETs")
    anybody = configuration.get("DicomAlwaysAllowFindWorklist") is True
    return ProcedureSettings(
        port=None if port is None else int(port),
        address=keys.get("Address", ""),
        ae_title=str(keys.get("AET", configuration.get("DicomAet", "ORTHANC"))),
        checks_called=configuration.get("DicomCheckCalledAet") is True,
        calling_ae_titles=(
            frozenset(folded(title, is_strict=is_strict) for title in calling)
            if calling
            else (frozenset() if anybody else None)
        ),
        checks_host=configuration.get("DicomCheckModalityHost") is True,
        is_strict=is_strict,
        max_associations=int(keys["MaxAssociations"]),
        timeout=keys["Timeout"],
        images_within=keys["ImagesWithin"] * 60,
        offers_discontinued=keys["OnDiscontinued"] == OFFER,
        tls=_tls(configuration, folder) if port is not None else None,
    )


def folded(title: str, *, is_strict: bool) -> str:
    """An AE title as Orthanc compares it."""
    return title.strip() if is_strict else title.strip().upper()


def _tls(configuration: Mapping[str, Any], folder: Path) -> TlsFiles | None:
    if configuration.get("DicomTlsEnabled") is not True:
        return None
    certificate = _file(configuration, "DicomTlsCertificate", folder)
    key = _file(configuration, "DicomTlsPrivateKey", folder)
    if certificate is None or key is None:
        missing = "DicomTlsCertificate" if certificate is None else "DicomTlsPrivateKey"
        raise ConfigurationError(missing, "is missing: DicomTlsEnabled needs it")
    required = configuration.get("DicomTlsRemoteCertificateRequired", True) is not False
    trusted = _file(configuration, "DicomTlsTrustedCertificates", folder)
    if required and trusted is None:
        raise ConfigurationError(
            "DicomTlsTrustedCertificates",
            "is missing: DicomTlsRemoteCertificateRequired asks scanners for a certificate",
        )
    return TlsFiles(certificate, key, trusted, required)


def _file(configuration: Mapping[str, Any], key: str, folder: Path) -> str | None:
    name = configuration.get(key)
    if not isinstance(name, str) or not name:
        return None
    path = folder / name
    if not path.is_file():
        raise ConfigurationError(key, f"there is no such file: {path}")
    return str(path)


def tls_context(files: TlsFiles) -> ssl.SSLContext:
    """The server's side of TLS. Raises ConfigurationError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(files.certificate, files.key)
    except (OSError, ssl.SSLError) as problem:
        reason = getattr(problem, "reason", None) or problem.strerror or "unreadable"
        raise ConfigurationError(
            "DicomTlsCertificate", f"can't be used with DicomTlsPrivateKey ({reason})"
        ) from None
    if files.trusted:
        try:
            context.load_verify_locations(files.trusted)
        except (OSError, ssl.SSLError):
            raise ConfigurationError(
                "DicomTlsTrustedCertificates", "is no file of certificates (PEM)"
            ) from None
        context.verify_mode = ssl.CERT_REQUIRED if files.requires_certificate else ssl.CERT_OPTIONAL
        # A file of scanners' own certificates, as Orthanc's documents make it, is trust enough.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context
