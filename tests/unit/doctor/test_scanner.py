"""What the tools say of a C-FIND."""

import pytest

from orthanc_openmrs.doctor.scanner import Asked, read_output


@pytest.mark.parametrize(
    ("output", "asked"),
    [
        (
            "I: Find Response: 1 (Pending)\nI: Received Final Find Response (Success)\n",
            Asked("Success", 1),
        ),
        ("I: Received Final Find Response (Success)\n", Asked("Success")),
        (
            "W: Received Final Find Response (Failed: UnableToProcess)\n",
            Asked("Failed: UnableToProcess"),
        ),
        (
            "E: Association Rejected:\nE: Result: x\nE: Reason: Called AE Title Not Recognized\n",
            Asked("the association is refused: Called AE Title Not Recognized"),
        ),
        (
            "E: 0006:0317 Peer aborted Association (or never connected)\n",
            Asked("Orthanc breaks off: it doesn't let this scanner ask"),
        ),
        (
            "E: No Acceptable Presentation Contexts\n",
            Asked("Orthanc serves no worklist: no plugin for it is loaded"),
        ),
        (
            "E: Association Request Failed: 0006:031c TCP Initialization Error\n",
            Asked("no answer"),
        ),
    ],
)
def test_what_findscu_says_is_understood(output: str, asked: Asked) -> None:
    assert read_output(output) == asked
