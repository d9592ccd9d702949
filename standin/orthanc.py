"""The Orthanc that OpenMRS asks while it answers a status update.

Decides the calls and how their answers are read. Must not know why they are made.
"""

import base64
import http.client
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from .answers import ServerException, encode

CALLBACK_TIMEOUT = 10.0
CHANGES = 1000


@dataclass(frozen=True)
class Callback:
    """A call to Orthanc made while an update was being answered."""

    method: str
    path: str
    status: int | None
    error: str = ""


class Orthanc:
    """One Orthanc, and how far its changes were read."""

    def __init__(self, url: str, callbacks: list[Callback]) -> None:
        self._url = url
        self._callbacks = callbacks
        self._since = 0

    def look_for_changes(self) -> None:
        """All changes since the last time, and each study that came; a failure is noted only."""
        while True:
            answer = self._call("GET", f"/changes?limit={CHANGES}&since={self._since}")
            if answer is None:
                return
            for change in answer["Changes"]:
                if change["ChangeType"] in ("NewStudy", "StableStudy"):
                    self._call("GET", f"/studies/{change['ID']}")
            self._since = answer["Last"]
            if answer["Done"]:
                return

    def patient_id(self, study_instance_uid: str) -> str:
        """PatientID of a study's images. Raises ServerException where it can't be read."""
        for study in self._find(study_instance_uid):
            read = self._call("GET", f"/studies/{study}")
            if read:
                return str(read.get("PatientMainDicomTags", {}).get("PatientID", "")).strip()
        raise ServerException(f"Study {study_instance_uid} could not be read from Orthanc")

    def _find(self, study_instance_uid: str) -> list[str]:
        query = {"Level": "Study", "Query": {"StudyInstanceUID": study_instance_uid}}
        return self._call("POST", "/tools/find", query) or []

    def _call(self, method: str, path: str, body: object = None) -> Any:
        target = urlsplit(self._url)
        secure = target.scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        connection = kind(target.hostname or "", target.port, timeout=CALLBACK_TIMEOUT)
        headers = {"Content-Type": "application/json"} if body is not None else {}
        if target.username is not None:
            pair = f"{unquote(target.username)}:{unquote(target.password or '')}"
            headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
        try:
            content = None if body is None else encode(body)
            connection.request(method, target.path.rstrip("/") + path, content, headers)
            response = connection.getresponse()
            answer = json.loads(response.read()) if response.status == 200 else None
            self._callbacks.append(Callback(method, path, response.status))
            return answer
        except (OSError, http.client.HTTPException, ValueError) as error:
            self._callbacks.append(Callback(method, path, None, repr(error)))
            return None
        finally:
            connection.close()
