"""The doctor and certificates, against real TLS servers."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from orthanc_openmrs.doctor import openmrs
from orthanc_openmrs.doctor.orthanc import OverHttp, Unanswered
from tests.contract.certificates import certificate, tls_of
from tests.unit.doctor.cases import case, of, told
from tests.unit.doubles import Server, answer, serving


@pytest.fixture
def server() -> Iterator[Server]:
    """An OpenMRS that does as it is told."""
    with serving() as served:
        yield served


def test_orthancs_own_certificate_is_trusted_and_no_other(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    own_pem = certificate(tmp_path, "orthanc")
    other = certificate(tmp_path / "other", "orthanc")
    with serving(tls_of(own_pem)) as server:
        keys = {"HttpPort": int(server.url.rpartition(":")[2]), "SslEnabled": True}
        server.play = lambda handler: answer(handler, b"{}")
        own = OverHttp({**keys, "SslCertificate": own_pem.name}, tmp_path)
        assert own.get("/system") == {}
        with pytest.raises(Unanswered, match="TLS fails"):
            OverHttp({**keys, "SslCertificate": str(other)}, tmp_path).get("/system")


@pytest.mark.parametrize(
    ("name", "days", "trusted", "line"),
    [
        ("localhost", 90, True, "ok TLS: OpenMRS's certificate is trusted, for 89 more days"),
        ("localhost", 5, True, "warning TLS: OpenMRS's certificate ends in 4 days"),
        ("localhost", 90, False, "error TLS: OpenMRS's certificate is signed by itself"),
        ("other.example", 90, True, "error TLS: OpenMRS's certificate is for another host name"),
    ],
)
def test_a_certificate_is_judged_in_plain_words(
    tmp_path: Path, name: str, days: int, trusted: bool, line: str
) -> None:
    shown = certificate(tmp_path, name, days)
    section = {"CACertificates": str(shown.with_suffix(".crt"))} if trusted else {}
    with serving(tls_of(shown)) as server:
        made = of(server, tmp_path, **section)
        reached, found = told(openmrs.connection(made))
        assert reached.startswith("ok OpenMRS: ")
        assert found == line
        assert server.asked == []  # no account went out


def test_certificates_that_nobody_looks_at_and_no_tls_at_all_are_told(
    tmp_path: Path, server: Server
) -> None:
    with serving(tls_of(certificate(tmp_path))) as encrypted:
        made = of(encrypted, tmp_path, VerifyCertificates=False)
        assert told(openmrs.connection(made))[1].startswith(
            "warning OpenMRS.VerifyCertificates: is false"
        )
        empty = tmp_path / "empty.pem"
        empty.write_text("")
        made = of(encrypted, tmp_path, CACertificates=str(empty))
        assert told(openmrs.connection(made))[1].startswith("error OpenMRS.CACertificates: ")
    plain = case(tmp_path, ImagingWorklistURL=server.url.replace("http:", "https:"))
    assert told(openmrs.connection(plain))[1].startswith("error TLS: the server on this port")
