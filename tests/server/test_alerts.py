"""People who don't look at the page are alerted, and no alert names a patient."""

import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

from orthanc_openmrs.alerts.webhook import SIGNATURE
from standin import Fault, Standin, StepFields
from tests.server.conftest import Start
from tests.server.test_completion import answers, send
from tests.unit.doubles import Server, answer, serving
from trial.waiting import eventually

SECRET = "a secret of more than sixteen letters"


def alerts(server: Server) -> list[tuple[str, int]]:
    """What came so far."""
    documents: list[dict[str, Any]] = [json.loads(asked.body) for asked in server.asked]
    return [(one["Condition"], one["Count"]) for one in documents]


def test_a_held_study_is_alerted_by_a_signed_count_once_the_webhook_answers(
    openmrs: Standin, start_orthanc: Start, tmp_path: Path
) -> None:
    patient = openmrs.records.add_patient("Quokkasson", "Wobbegong", "", "1901-02-03", "F")
    openmrs.records.add_request(patient, steps=[StepFields()])
    with serving() as server:
        server.play = lambda handler: answer(handler, b"", 503)
        webhook = {
            "URL": f"{server.url}/hook?token=Narwhal",
            "Secret": SECRET,
            "Page": "https://pacs.example/openmrs/ui/",
            "ListOlderThan": 0.1,
        }
        orthanc = start_orthanc({"RefreshInterval": 1, "Webhook": webhook}, Name="Radiology")
        found = answers(orthanc, 1)
        send(orthanc, tmp_path, found[1], {"PatientID": "of another hospital"})
        eventually(lambda: server.asked, "nobody is alerted", 30)
        assert set(alerts(server)) == {("held", 1)}
        server.play = answer
        refused = len(server.asked)
        eventually(lambda: len(server.asked) > refused, "the alert isn't sent again", 60)
        taken = server.asked[-1]
        made = hmac.new(SECRET.encode(), taken.body, hashlib.sha256).hexdigest()
        assert taken.headers[SIGNATURE.lower()] == f"sha256={made}"
        assert json.loads(taken.body) == {
            "Condition": "held",
            "Count": 1,
            "Resolved": False,
            "Text": "studies wait for a person to say which step they complete",
            "Link": "https://pacs.example/openmrs/ui/#notifications?state=held",
            "Orthanc": "Radiology",
        }
        openmrs.set_fault(Fault("status"))
        eventually(lambda: ("list too old", 1) in alerts(server), "an old list isn't alerted", 120)
    assert "Narwhal" not in orthanc.log
    assert SECRET not in orthanc.log
    assert "the webhook doesn't take an alert (HTTP 503)" in orthanc.log
