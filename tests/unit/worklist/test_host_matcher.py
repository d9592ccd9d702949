"""Orthanc's own matcher; tests/server/test_queries.py holds it to a running one."""

import pytest

from orthanc_openmrs.worklist.host_matcher import HostMatcher, orthanc_test
from orthanc_openmrs.worklist.query import Key
from tests.unit.builders import within


@pytest.mark.parametrize(
    ("vr", "text", "value", "matches", "why"),
    [
        ("LO", "Head", "Head", True, "exact"),
        ("LO", "head", "Head", False, "exact"),
        ("PN", "JONES^alice", "Jones^Alice", True, "PN ignores case"),
        ("PN", "jon*", "Jones^Alice", True, "PN ignores case in wildcards"),
        ("PN", "Nguyen^Anh", "Nguyễn^Ánh", False, "PN doesn't ignore accents"),
        ("CS", "C?", "CT", True, "wildcard"),
        ("LO", "?", "é", False, "? is one byte of UTF-8"),
        ("LO", "??", "é", True, "two bytes"),
        ("LO", "é?", "éa", True, "a letter of two bytes is itself"),
        ("LO", "ច*", "ចាន់", True, "a letter of three bytes"),
        ("PN", "NGUY???N*", "Nguyễn^Ánh", True, "three bytes, whatever the case"),
        ("AE", "*", "", True, "* matches a zero-length value"),
        ("AE", "CT1\\CT2", "CT2", True, "a list, whatever the VR"),
        ("AE", "CT1\\CT2", "CT3", False, "a list"),
        ("AE", "CT1", "CT1\\CT2", False, "no value of several"),
        ("DA", "20250701-20250703", "20250703", True, "range, inclusive"),
        ("DA", "20250701-", "", False, "range"),
        ("DA", "-20251231", "", True, "an empty date wrongly matches"),
        ("TM", "08", "080000", False, "no fewer digits"),
        ("TM", "0800-0900", "090000", False, "plain comparison of text"),
        ("TM", "0800-0900", "083000", True, "plain comparison of text"),
    ],
)
def test_orthancs_own_matching_inside_the_step_is_known(
    vr: str, text: str, value: str, matches: bool, why: str
) -> None:
    assert orthanc_test(vr, text)(value) is matches, why


@pytest.mark.parametrize("vr", ["LO", "PN"])
def test_no_pattern_takes_long(vr: str) -> None:
    with within(2, vr):
        assert not orthanc_test(vr, "*a" * 24 + "*b")("a" * 64)


@pytest.mark.parametrize(
    ("raw", "charset", "value", "matches", "why"),
    [
        (b"Head ", "", "Head", True, "blanks behind don't count"),
        (b" Head", "", "Head", False, "blanks in front do"),
        (b"  ", "", "Head", True, "blanks alone: universal"),
        (b"A \\B", "", "A", False, "nor are blanks in a list taken away"),
        (b"Gr\xf6\xdfe", "ISO_IR 100", "Größe", True, "the character set of the query"),
        ("Größe".encode(), "ISO_IR 192", "Größe", True, "UTF-8"),
        ("Größe".encode(), "", "Größe", True, "none named: DefaultEncoding"),
        (b"Gr\xf6\xdfe", "", "Größe", False, "none named, and it isn't DefaultEncoding"),
        (b"Gr\xf6\xdfe", "ISO-IR 100", "Größe", False, "no name of a character set"),
        (b"Head", "ISO-IR 100", "Head", True, "ASCII under any"),
        (b"A\\Head", "ISO_IR 13", "Head", False, "a yen there"),
        (b"\x1b$B;3\x1b(B", "\\ISO 2022 IR 87", "山", False, "code extensions: who knows"),
    ],
)
def test_a_query_is_read_as_orthanc_reads_it(
    raw: bytes, charset: str, value: str, matches: bool, why: str
) -> None:
    key = Key(0x00400007, "ScheduledProcedureStepDescription", "LO", "told", raw=raw)
    assert HostMatcher().test(key, charset)(value) is matches, why


@pytest.mark.parametrize(
    ("text", "value", "sensitive", "matches"),
    [
        ("müller", "MÜLLER", False, True),
        ("müller", "MÜLLER", True, False),
        ("müller", "müller", True, True),
        ("STRASSE", "Straße", False, False),  # a letter whose capital is two
        ("straße", "Straße", False, True),
        ("ΠΑΠΑΣ", "παπας", False, False),  # a letter that is the capital of two
        ("смирнов", "СМИРНОВ", False, True),
    ],
)
def test_capitals_of_names_count_where_orthanc_says_so(
    text: str, value: str, sensitive: bool, matches: bool
) -> None:
    assert orthanc_test("PN", text, sensitive)(value) is matches
