"""The Orthanc that runs, asked by its REST API on this machine.

Decides: where it is asked, as whom, and in which words it is told that it doesn't answer. The
account is the first of RegisteredUsers, and is sent to the loopback interface only.
"""

import base64
import http.client
import json
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

TIMEOUT = 5
"""Seconds."""

HTTP_PORT = 8042
LARGEST_ANSWER = 4 * 1024 * 1024


class Unanswered(Exception):
    """Orthanc gives no answer; `status` is the HTTP status, 0 where there is none."""

    def __init__(self, reason: str, status: int = 0) -> None:
        super().__init__(reason)
        self.status = status


def http_port(configuration: Mapping[str, Any]) -> int:
    """Orthanc's own default included."""
    port = configuration.get("HttpPort", HTTP_PORT)
    return port if isinstance(port, int) else HTTP_PORT


class OverHttp:
    """Asks as an administrator on this machine would."""

    def __init__(self, configuration: Mapping[str, Any], folder: Path) -> None:
        self._port = http_port(configuration)
        self._certificate: Path | None = None
        if configuration.get("SslEnabled") is True:
            self._certificate = folder / str(configuration.get("SslCertificate", ""))
        users = configuration.get("RegisteredUsers")
        self._headers = {}
        if isinstance(users, Mapping) and users:
            name, password = next(iter(users.items()))
            token = base64.b64encode(f"{name}:{password}".encode()).decode()
            self._headers = {"Authorization": f"Basic {token}"}

    def get(self, path: str) -> Any:
        """The JSON of a route. Raises Unanswered."""
        connection: http.client.HTTPConnection | None = None
        try:
            connection = self._connection()
            connection.request("GET", path, headers=self._headers)
            response = connection.getresponse()
            body = response.read(LARGEST_ANSWER)
        except ssl.SSLError:
            raise Unanswered("TLS fails") from None
        except (OSError, http.client.HTTPException) as problem:
            reason = getattr(problem, "strerror", None) or str(problem) or type(problem).__name__
            raise Unanswered(reason.lower()) from None
        finally:
            if connection is not None:
                connection.close()
        if response.status != 200:
            raise Unanswered(f"HTTP {response.status}", response.status)
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            raise Unanswered("the answer is no JSON", 200) from None

    def _connection(self) -> http.client.HTTPConnection:
        if self._certificate is None:
            return http.client.HTTPConnection("127.0.0.1", self._port, timeout=TIMEOUT)
        # Orthanc's own certificate is the only one that is trusted here, whatever its host.
        context = ssl.create_default_context(cafile=str(self._certificate))
        context.check_hostname = False
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        return http.client.HTTPSConnection(
            "127.0.0.1", self._port, timeout=TIMEOUT, context=context
        )
