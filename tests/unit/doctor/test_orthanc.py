"""The running Orthanc is asked as an administrator would."""

from pathlib import Path

import pytest

from orthanc_openmrs.doctor.orthanc import OverHttp, Unanswered
from tests.unit.doubles import answer, serving


def test_orthanc_is_asked_with_the_first_of_its_users(tmp_path: Path) -> None:
    with serving() as server:
        keys = {
            "HttpPort": int(server.url.rpartition(":")[2]),
            "RegisteredUsers": {"admin": "secret", "other": "x"},
        }
        server.play = lambda handler: answer(handler, b'{"Version": "1"}')
        over = OverHttp(keys, tmp_path)
        assert over.get("/system") == {"Version": "1"}
        assert server.asked[0].headers["authorization"] == "Basic YWRtaW46c2VjcmV0"
        server.play = lambda handler: answer(handler, b"<html>")
        with pytest.raises(Unanswered, match="is no JSON"):
            over.get("/system")
        server.play = lambda handler: answer(handler, b"", 401)
        with pytest.raises(Unanswered, match="HTTP 401") as caught:
            over.get("/system")
        assert caught.value.status == 401
    with pytest.raises(Unanswered, match="connection refused"):
        over.get("/system")
