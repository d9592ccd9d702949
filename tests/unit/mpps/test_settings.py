"""The section MPPS, and Orthanc's own keys that count for it."""

from pathlib import Path
from typing import Any

import pytest

from orthanc_openmrs.errors import ConfigurationError
from orthanc_openmrs.mpps.settings import (
    ProcedureSettings,
    TlsFiles,
    procedure_settings,
    tls_context,
)


def settings(section: dict[str, Any] | None = None, **orthanc: Any) -> ProcedureSettings:
    return procedure_settings(orthanc, section or {}, Path())


def test_it_is_off_by_default() -> None:
    assert settings().port is None


@pytest.mark.parametrize(
    ("section", "orthanc", "expected"),
    [
        ({}, {}, {"ae_title": "ORTHANC", "calling_ae_titles": None, "timeout": 30}),
        ({}, {"DicomAet": "PACS"}, {"ae_title": "PACS"}),
        ({"AET": "RIS"}, {"DicomAet": "PACS"}, {"ae_title": "RIS"}),
        ({}, {"DicomAlwaysAllowFindWorklist": True}, {"calling_ae_titles": frozenset()}),
        (
            {"CallingAETs": ["ct1 "]},
            {"DicomAlwaysAllowFindWorklist": True},
            {"calling_ae_titles": frozenset({"CT1"})},
        ),
        (
            {"CallingAETs": ["ct1"]},
            {"StrictAetComparison": True},
            {"calling_ae_titles": frozenset({"ct1"}), "is_strict": True},
        ),
        ({}, {"DicomCheckModalityHost": True}, {"checks_host": True}),
        ({}, {"DicomCheckCalledAet": True}, {"checks_called": True}),
        ({"ImagesWithin": 2}, {}, {"images_within": 120}),
        ({"OnDiscontinued": "leave"}, {}, {"offers_discontinued": False}),
    ],
)
def test_what_the_keys_mean(
    section: dict[str, Any], orthanc: dict[str, Any], expected: dict[str, Any]
) -> None:
    found = settings({"Port": 4243, **section}, **orthanc)
    assert {key: getattr(found, key) for key in expected} == expected


def test_orthancs_own_port_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"OpenMRS\.MPPS\.Port: is 104"):
        settings({"Port": 104}, DicomPort=104)


@pytest.mark.parametrize(
    ("keys", "wrong"),
    [
        ({}, "DicomTlsCertificate"),
        ({"DicomTlsCertificate": "here"}, "DicomTlsPrivateKey"),
        ({"DicomTlsCertificate": "nowhere"}, "DicomTlsCertificate"),
        (
            {"DicomTlsCertificate": "here", "DicomTlsPrivateKey": "here"},
            "DicomTlsTrustedCertificates",
        ),
    ],
)
def test_tls_needs_orthancs_files(keys: dict[str, str], wrong: str, tmp_path: Path) -> None:
    (tmp_path / "here").write_text("")
    with pytest.raises(ConfigurationError) as problem:
        procedure_settings({"DicomTlsEnabled": True, **keys}, {"Port": 4243}, tmp_path)
    assert problem.value.key == wrong


def test_a_file_that_is_no_certificate_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "none").write_text("none")
    name = str(tmp_path / "none")
    with pytest.raises(ConfigurationError, match="DicomTlsCertificate"):
        tls_context(TlsFiles(name, name, None, False))
