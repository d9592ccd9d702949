"""What people write for a modality, and which code a scanner asks for."""

import pytest
from hypothesis import given

from orthanc_openmrs.worklist.modalities import CODES, modality
from tests.unit.builders import any_text, vr_problem


@pytest.mark.parametrize(
    ("text", "code", "warns", "adjusts"),
    [
        ("CT", "CT", False, False),
        (" ct ", "CT", False, False),
        ("", "", False, False),
        ("Ultrasound", "US", False, True),
        ("ULTRASOUND", "US", False, True),
        ("Échographie", "US", False, True),
        ("E\u0301chographie", "US", False, True),
        ("X-Ray", "DX", False, True),
        ("x  ray", "DX", False, True),
        ("X_RAY", "DX", False, True),
        ("Radiographie", "DX", False, True),
        ("IRM", "MR", False, True),
        ("ＣＴ", "CT", False, True),  # full-width
        ("СТ", "CT", False, True),  # Cyrillic letters that look like Latin ones
        ("МРТ", "MR", False, True),
        ("CT/MR", "CT", True, False),
        ("X-Ray and CT", "DX", True, False),
        ("walk-in", "OT", True, False),
        ("ABC", "OT", True, False),
        ("؟", "OT", True, False),
        ("CT\\MR", "CT", True, False),
    ],
)
def test_words_become_the_code_that_scanners_ask_for(
    text: str, code: str, warns: bool, adjusts: bool
) -> None:
    made = modality(text)
    assert made.text == code
    assert (bool(made.warning), bool(made.adjusted)) == (warns, adjusts)


@given(any_text)
def test_any_text_gives_a_code_or_none(text: str) -> None:
    made = modality(text).text
    assert made == "" or made in CODES
    assert vr_problem("CS", made) == ""
    assert modality(made).text == made
