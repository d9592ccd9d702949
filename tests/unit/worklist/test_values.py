"""OpenMRS's text → DICOM values: a table for each kind."""

from collections.abc import Callable

import pytest
from hypothesis import given

from orthanc_openmrs.worklist import values
from orthanc_openmrs.worklist.values import Value
from tests.unit.builders import any_text, vr_problem

Row = tuple[str, str, bool, str]
"""A text, its value, whether there is a warning, and why."""

DATES: list[Row] = [
    ("1990-01-01 00:00:00.0", "19900101", False, "Timestamp"),
    ("1990-01-01", "19900101", False, "ISO"),
    ("1990-1-9", "19900109", False, "short ISO"),
    ("1990-01-01T00:00:00.000+0000", "19900101", False, "ISO with a time"),
    ("Mon Jan 01 00:00:00 UTC 1990", "19900101", False, "java.util.Date"),
    ("Sun Dec 31 00:00:00 GMT+07:00 1989", "19891231", False, "java.util.Date, another zone"),
    ("19900101", "19900101", False, "DA"),
    ("20250703081500", "20250703", False, "the frontend's 14 digits"),
    (" 20250703 ", "20250703", False, "blanks"),
    ("2024-02-29", "20240229", False, "a leap year"),
    ("2025-02-29", "", True, "no leap year"),
    ("19000229", "", True, "no leap year either"),
    ("2025-13-01", "", True, "month 13"),
    ("20250431", "", True, "30 days has April"),
    ("00000000", "", True, "zeros"),
    ("0000-01-01", "", True, "year zero"),
    ("Mon Foo 01 00:00:00 UTC 1990", "", True, "no month"),
    ("٢٠٢٥٠٧٠٣", "", True, "Arabic-Indic digits"),
    ("2025-٠٧-03", "", True, "Arabic-Indic digits among others"),
    ("36", "", True, "a bare age"),
    ("2025070", "", True, "seven digits"),
    ("03/07/2025", "", True, "which is the month?"),
    ("2025-07-03\n20250704", "", True, "two"),
    ("tomorrow", "", True, "words"),
    ("2018-10-26 (E.C.)", "", True, "another calendar, and it says so"),
    ("2025-07-03 approx.", "", True, "words behind it"),
    ("2025-07-03 08:15", "20250703", False, "with a time"),
    ("2025-07-03T08:15:00Z", "20250703", False, "with a zone"),
    ("2569-07-03", "", True, "the Buddhist calendar"),
    ("25690703", "", True, "the Buddhist calendar"),
    ("0001-01-01", "", True, "a computer's no date"),
    ("9999-12-31", "", True, "a computer's no date"),
    ("1850-01-01", "18500101", False, "the first year"),
    ("1849-12-31", "", True, "before it"),
    ("", "", False, "none"),
    ("  ", "", False, "blank"),
]
TIMES: list[Row] = [
    ("081500", "081500", False, "HHmmss"),
    ("08:15", "081500", False, "HH:mm"),
    ("08:15:30", "081530", False, "HH:mm:ss"),
    ("8:15", "081500", False, "a short hour"),
    ("0815", "081500", False, "HHmm"),
    ("08:15:30.5", "081530", False, "with a fraction: six digits all the same"),
    ("081530.123456", "081530", False, "TM with a fraction"),
    (" 23:59:59 ", "235959", False, "blanks"),
    ("00:00", "000000", False, "midnight"),
    ("NaNNaN00", "", True, "what the frontend makes of no time"),
    ("24:00", "", True, "no hour of the day"),
    ("12:60", "", True, "no minute"),
    ("235960", "", True, "no second"),
    ("9:5", "", True, "five or fifty?"),
    ("٠٨١٥٠٠", "", True, "Arabic-Indic digits"),
    ("08:15 AM", "081500", False, "before noon"),
    ("7:30 PM", "193000", False, "after noon"),
    ("7:30pm", "193000", False, "after noon, without a blank"),
    ("12:05 a.m.", "000500", False, "after midnight"),
    ("12:05 p.m.", "120500", False, "at noon"),
    ("7 PM", "190000", False, "an hour"),
    ("13:00 PM", "", True, "no hour of a half"),
    ("10h30", "103000", False, "as in French"),
    ("10 h", "100000", False, "as in French, the hour"),
    ("19:30Z", "193000", False, "a zone doesn't count"),
    ("19:30:00+03:00", "193000", False, "a zone doesn't count"),
    ("930", "093000", False, "three digits"),
    ("2025-07-03T19:30:00.000+0000", "193000", False, "a timestamp"),
    ("2025-07-03 08:15:00.0", "081500", False, "a timestamp"),
    ("20250703081500", "081500", False, "14 digits"),
    ("Thu Jul 03 08:15:00 UTC 2025", "081500", False, "java.util.Date"),
    ("1970-01-01", "", True, "a date"),
    ("in the morning", "", True, "words"),
    ("0", "", True, "a digit"),
    ("", "", False, "none"),
]
VERBATIM: list[Row] = [
    ("Dr. John Who", "Dr. John Who", False, "as it stands"),
    ("Who^John", "Who^John", False, "PN already"),
    ("a=b\\c", "a b/c", False, "delimiters"),
    ("w" * 50 + " " + "v" * 50, "w" * 50, True, "at a word"),
]
AE_TITLES: list[Row] = [
    ("CT1", "CT1", False, "plain"),
    (" ct room 1 ", "ct room 1", False, "blanks inside and small letters are allowed"),
    ("A" * 16, "A" * 16, False, "as long as may be"),
    ("A" * 17, "", True, "too long"),
    ("CT\\1", "", True, "a backslash"),
    ("CT\n1", "", True, "a control character"),
    ("ÉCHO", "", True, "not ASCII"),
    ("*", "*", False, "ASCII all the same"),
    ("", "", False, "none"),
    ("   ", "", False, "blank"),
]
CODES: list[Row] = [
    ("CT", "CT", False, "plain"),
    (" ct ", "CT", False, "raised"),
    ("X_RAY 2", "X_RAY 2", False, "all that is allowed"),
    ("X-RAY", "", True, "a hyphen"),
    ("CT\\MR", "", True, "two values"),
    ("РФ", "", True, "Cyrillic"),
    ("A" * 17, "", True, "too long"),
    ("", "", False, "none"),
]
SEXES: list[Row] = [
    *[(text, text.strip().upper(), False, "a DICOM value") for text in ("M", "F", "O", " f ")],
    ("Female", "F", False, "a word"),
    ("U", "", False, "OpenMRS's unknown"),
    ("", "", False, "none"),
    ("X", "", True, "no DICOM value"),
    ("MF", "", True, "no DICOM value"),
]
PRIORITIES: list[Row] = [
    *[(text, text.upper(), False, "a DICOM value") for text in ("low", "Medium", "HIGH", "stat")],
    (" routine ", "ROUTINE", False, "blanks"),
    ("urgent", "", True, "no DICOM value"),
    ("", "", False, "none"),
]
ACCESSIONS: list[Row] = [
    ("ACC-1", "ACC-1", False, "short"),
    ("1234567890123456", "1234567890123456", False, "16"),
    ("1234567890123456789", "1234567890123456", True, "the frontend's 19 digits"),
    ("A  B", "A B", False, "blanks"),
    ("A\\B", "A/B", False, "a backslash"),
    ("123456789012345 78", "123456789012345", True, "a blank at the cut"),
    ("", "", False, "none"),
]
SHORT: list[Row] = [
    ("Room 1", "Room 1", False, "short"),
    ("Radiology building", "Radiology buildi", True, "no word ends in the last third"),
    ("Radiology rm 1 B2", "Radiology rm 1", True, "at a word"),
    ("x" * 17, "x" * 16, True, "one word"),
    ("line\r\nbreak", "line break", False, "a line break"),
    ("", "", False, "none"),
]
LONG: list[Row] = [
    ("Head\r\n\tneck", "Head neck", False, "line breaks"),
    ("a\\b", "a/b", False, "a backslash"),
    ("x" * 64, "x" * 64, False, "as long as may be"),
    ("x" * 60 + " " + "y" * 10, "x" * 60, True, "at a word"),
    ("x" * 64 + " y", "x" * 64, True, "at the very word"),
    ("x" * 255, "x" * 64, True, "one word"),
    ("e\u0301" * 64, "é" * 64, False, "counted when composed"),
]


def identifier(text: str) -> Value:
    """An SH identifier."""
    return values.identifier(text, 16)


IDENTIFIERS: list[Row] = [
    ("14", "14", False, "an id"),
    ("1" * 16, "1" * 16, False, "16"),
    ("1" * 17, "", True, "cut, it would be another id"),
    ("", "", False, "none"),
]

TABLES: list[tuple[Callable[[str], Value], list[Row]]] = [
    (values.dicom_date, DATES),
    (values.dicom_time, TIMES),
    (values.verbatim_name, VERBATIM),
    (values.ae_title, AE_TITLES),
    (values.code_string, CODES),
    (values.sex, SEXES),
    (values.priority, PRIORITIES),
    (values.accession_number, ACCESSIONS),
    (values.short_string, SHORT),
    (values.long_string, LONG),
    (identifier, IDENTIFIERS),
]


@pytest.mark.parametrize(
    ("make", "text", "expected", "warns", "why"),
    [
        pytest.param(make, *row, id=f"{make.__name__}-{row[3]}")
        for make, rows in TABLES
        for row in rows
    ],
)
def test_a_text_becomes_a_valid_value_or_none(
    make: Callable[[str], Value], text: str, expected: str, warns: bool, why: str
) -> None:
    made = make(text)
    told = made.warning + made.adjusted
    assert made.text == expected
    assert bool(told) is warns
    assert not text.strip() or text not in told or len(text) < 4


@pytest.mark.parametrize(
    ("date", "time"),
    [
        ("20250703081500", "081500"),
        ("202507030815", "081500"),
        ("2025-07-03 08:15:00.0", "081500"),
        ("20250703000000", ""),
        ("2025-07-03 00:00:00.0", ""),
        ("20250703", ""),
        ("20250703256000", ""),
        ("soon", ""),
    ],
)
def test_a_date_may_have_the_time(date: str, time: str) -> None:
    assert values.time_of_date(date) == time


@pytest.mark.parametrize(
    "made",
    [
        values.long_string("x" * 65),
        values.short_string("x" * 17),
        values.accession_number("x" * 17),
        values.verbatim_name("x" * 65),
    ],
)
def test_what_is_cut_is_a_matter_of_routine(made: Value) -> None:
    assert made.adjusted.startswith("cut from ")
    assert not made.warning


@pytest.mark.parametrize(
    ("text", "good", "why"),
    [
        ("1.2.840.10008.5.1.4.31", True, "a UID"),
        ("2.25.0", True, "a component 0"),
        ("0.0", True, "short"),
        ("2.25." + "9" * 59, True, "64 characters"),
        ("2.25." + "9" * 60, False, "65 characters"),
        ("1.02.3", False, "a leading zero"),
        ("1.2.00", False, "zeros"),
        ("1..2", False, "an empty component"),
        ("1.2.", False, "a dot at the end"),
        (".1.2", False, "a dot at the start"),
        ("1", False, "one component"),
        ("3.1.2", False, "no root arc"),
        ("12.3", False, "no root arc either"),
        ("1.2.a", False, "a letter"),
        ("1.2 ", False, "a blank"),
        ("1.2\n", False, "a line break"),
        ("1.٢", False, "Arabic-Indic digits"),
        ("", False, "none"),
    ],
)
def test_a_uid_is_what_the_standard_says(text: str, good: bool, why: str) -> None:
    assert values.is_uid(text) is good


@pytest.mark.parametrize(
    ("make", "vr"),
    [
        (values.dicom_date, "DA"),
        (values.dicom_time, "TM"),
        (values.verbatim_name, "PN"),
        (values.ae_title, "AE"),
        (values.code_string, "CS"),
        (values.sex, "CS"),
        (values.priority, "CS"),
        (values.accession_number, "SH"),
        (values.short_string, "SH"),
        (values.long_string, "LO"),
        (identifier, "SH"),
    ],
)
@given(text=any_text)
def test_any_text_gives_a_value_that_is_valid_for_its_vr_and_stays(
    make: Callable[[str], Value], vr: str, text: str
) -> None:
    made = make(text).text
    assert vr_problem(vr, made) == ""
    assert make(made) == Value(made)
