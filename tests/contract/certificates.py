"""Certificates that signed themselves, and servers that show them."""

import ssl
import subprocess
from pathlib import Path


def certificate(folder: Path, name: str = "localhost", days: int = 2) -> Path:
    """A certificate of a host with its key in the same file; beside it, as `.crt`, without."""
    path = folder / f"{name}-{days}.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
    names = ["-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}"]
    files = ["-days", str(days), "-keyout", str(path), "-out", str(path.with_suffix(".crt"))]
    subprocess.run([*command.split(), *names, *files], check=True, capture_output=True)
    path.write_text(path.read_text() + path.with_suffix(".crt").read_text())
    return path


def tls_of(certificate: Path, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2) -> ssl.SSLContext:
    """A server's TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.minimum_version = version
    return context
