"""HTTPS to OpenMRS: a certificate is looked at, whatever it is that is wrong with it."""

import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from orthanc_openmrs.openmrs.client import OpenMRSClient
from orthanc_openmrs.openmrs.transport import Transport
from tests.contract import certificates
from tests.contract.certificates import tls_of
from tests.unit.doubles import Server, serving
from tests.unit.openmrs.clients import client_of, refused


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate that localhost signed itself, with its key."""
    return certificates.certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def server() -> Iterator[Server]:
    """A server without TLS."""
    with serving() as found:
        yield found


@pytest.mark.parametrize(
    ("verify", "words"),
    [("system", "certificate refused"), ("ours", ""), ("no", "")],
)
@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_a_certificate_is_accepted_only_where_it_is_trusted(
    certificate: Path, verify: str, words: str
) -> None:
    trust: dict[str, bool | str] = {
        "system": True,
        "ours": str(certificate.with_suffix(".crt")),
        "no": False,
    }
    with serving(tls_of(certificate)) as server:
        client = client_of(server, verify=trust[verify])
        if words:
            found = refused(client.get_list)
            assert found.kind == "tls"
            assert words in str(found)
            assert server.asked == []
        else:
            assert client.get_list() == b"[]"


def test_a_certificate_of_another_name_is_refused(certificate: Path) -> None:
    with serving(tls_of(certificate)) as server:
        trust = str(certificate.with_suffix(".crt"))
        url = server.url.replace("localhost", "127.0.0.1")
        found = refused(client_of(server, worklist_url=url, verify=trust).get_list)
        assert found.kind == "tls"


def expired(certificate: Path) -> Path:
    """The same key with a certificate that was good until yesterday."""
    folder = certificate.parent
    (folder / "index.txt").touch()
    (folder / "ca.conf").write_text(
        "[ca]\ndefault_ca = own\n[own]\n"
        f"database = {folder}/index.txt\nnew_certs_dir = {folder}\nrand_serial = yes\n"
        "default_md = sha256\npolicy = any\nx509_extensions = names\n"
        "[any]\ncommonName = supplied\n[names]\nsubjectAltName = DNS:localhost\n"
    )
    request, path = folder / "request.pem", folder / "expired.pem"
    key, subject = ["-key", str(certificate)], ["-subj", "/CN=localhost"]
    dates = ["-startdate", "20200101000000Z", "-enddate", "20210101000000Z"]
    sign = ["-config", str(folder / "ca.conf"), "-selfsign", "-keyfile", str(certificate)]
    for command in (
        ["req", "-new", *key, *subject, "-out", str(request)],
        ["ca", "-batch", "-notext", *sign, *dates, "-in", str(request), "-out", str(path)],
    ):
        subprocess.run(["openssl", *command], check=True, capture_output=True)
    path.with_suffix(".crt").write_text(path.read_text())
    path.write_text(path.read_text() + certificate.read_text().partition("-----BEGIN CERT")[0])
    return path


def test_an_expired_certificate_is_refused_though_it_is_trusted(certificate: Path) -> None:
    old = expired(certificate)
    with serving(tls_of(old)) as server:
        found = refused(client_of(server, verify=str(old.with_suffix(".crt"))).get_list)
        assert (found.kind, "expired" in str(found)) == ("tls", True), found
        assert server.asked == []


def test_http_where_tls_is_spoken_and_the_other_way_round_is_told(
    server: Server, certificate: Path
) -> None:
    url = server.url.replace("http:", "https:")
    assert refused(client_of(server, worklist_url=url).get_list).kind == "http-port"
    with serving(tls_of(certificate)) as secure:
        url = secure.url.replace("https:", "http:")
        # Python's server closes without a word; others say what they think.
        kinds = ("tls-port", "unreachable")
        assert refused(client_of(secure, worklist_url=url).get_list).kind in kinds


def test_a_client_shows_its_certificate(certificate: Path) -> None:
    tls = tls_of(certificate)
    tls.verify_mode = ssl.CERT_REQUIRED
    trust = str(certificate.with_suffix(".crt"))
    tls.load_verify_locations(trust)
    with serving(tls) as server:
        shown = client_of(server, verify=trust, client_certificate=(trust, str(certificate)))
        assert shown.get_list() == b"[]"
        assert refused(client_of(server, verify=trust).get_list).kind in ("tls", "unreachable")


def test_a_port_that_takes_but_never_speaks_tls_is_a_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as dumb:
        url = f"https://127.0.0.1:{dumb.getsockname()[1]}/"
        client = OpenMRSClient(Transport(), worklist_url=url, update_url=url, timeout=0.3)
        assert refused(client.get_list).kind == "timeout"
