"""One alert by HTTP: a signed POST, whose answer nobody reads.

Decides: the headers, the time it may take, what counts as taken. Must not know: what is alerted
of, or when.
"""

import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any

import requests

from orthanc_openmrs import __version__
from orthanc_openmrs.alerts.conditions import NotTaken

TIMEOUT = (5.0, 10.0)
"""Seconds for a connection, and for the answer to begin."""

SIGNATURE = "X-OpenMRS-Signature"
"""As GitHub's: "sha256=" and the HMAC of the body, in hexadecimal digits."""


class Webhook:
    """Where alerts go."""

    def __init__(self, url: str, secret: str) -> None:
        self._url = url
        self._secret = secret.encode()

    def send(self, document: Mapping[str, Any]) -> None:
        """Raises NotTaken."""
        body = json.dumps(document, ensure_ascii=False).encode()
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"orthanc-openmrs/{__version__}",
        }
        if self._secret:
            made = hmac.new(self._secret, body, hashlib.sha256).hexdigest()
            headers[SIGNATURE] = f"sha256={made}"
        try:
            with requests.Session() as session:
                session.trust_env = False
                with session.post(
                    self._url,
                    data=body,
                    headers=headers,
                    timeout=TIMEOUT,
                    allow_redirects=False,
                    stream=True,
                ) as answer:
                    status = answer.status_code
        except (requests.RequestException, ValueError) as problem:
            raise NotTaken(type(problem).__name__) from None
        if not 200 <= status < 300:
            raise NotTaken(f"HTTP {status}")
