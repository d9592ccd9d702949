"""Which steps answer a query: tables by clause of PS3.4, and the index held to brute force."""

from dataclasses import replace
from datetime import date, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orthanc_openmrs.model import ImagingRequest, RequestList, StepStatus
from orthanc_openmrs.worklist.host_matcher import HostMatcher, orthanc_test
from orthanc_openmrs.worklist.matching import (
    Caller,
    Rule,
    StartTimes,
    Station,
    StationTitles,
    attribute_test,
    holds,
    interval_rules,
    rules,
)
from orthanc_openmrs.worklist.query import parse_query
from orthanc_openmrs.worklist.snapshot import Snapshot
from tests.unit.builders import (
    ALICE,
    BOB,
    TODAY,
    Keys,
    identifier,
    item,
    items,
    request,
    step,
    within,
)

pytestmark = pytest.mark.filterwarnings("ignore:Invalid value for VR:UserWarning")


def day(offset: int) -> str:
    """The date so many days from a fixed today."""
    return (date(2025, 7, 3) + timedelta(offset)).strftime("%Y%m%d")


def asked(
    keys: Keys | None = None, step: Keys | None = None, caller: Caller | None = None
) -> tuple[Rule, ...]:
    """The rules of a query of CT1."""
    return rules(parse_query(identifier(keys, step or {})), caller or Caller("CT1"), day)


# --- one attribute -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("vr", "text", "value", "matches", "clause"),
    [
        ("LO", "Head", "Head", True, "single value"),
        ("LO", "head", "Head", False, "single value: case counts"),
        ("LO", "Head", "", False, "single value: an unknown one is another"),
        ("CS", "CT", "CT", True, "single value"),
        ("AE", "ct1", "CT1", False, "single value: case counts in AE too"),
        ("SH", "14", "140", False, "single value: whole"),
        ("DA", "20250703", "20250703", True, "single value"),
        ("DA", "20250703", "20250704", False, "single value"),
        ("DA", "20250703", "", False, "single value: unknown"),
        ("TM", "081500", "081500", True, "single value"),
        ("TM", "08", "081500", True, "TM with fewer digits"),
        ("TM", "0815", "081559", True, "TM with fewer digits"),
        ("TM", "0816", "081559", False, "TM with fewer digits"),
        ("TM", "081500.000", "081500", True, "TM with a fraction"),
        ("TM", "08", "", False, "TM: unknown"),
        ("PN", "JONES^alice", "Jones^Alice", True, "PN without regard to case"),
        ("PN", "Nguyen^Anh", "Nguyễn^Ánh", True, "PN without regard to accents"),
        ("PN", "Nguyễn^Ánh", "Nguyen^Anh", True, "PN: either way round"),
        ("PN", "STRASSE^Uwe", "Straße^Uwe", True, "PN: casefold"),
        ("PN", "иванов^петр", "Иванов^Пётр", True, "PN in Cyrillic"),
        ("PN", "Ivanov^*", "Иванов^Пётр", True, "PN across scripts, as a station shows it"),
        ("PN", "Jones^Alice^^^", "Jones^Alice", True, "PN: trailing delimiters say nothing"),
        ("PN", "Jones^Alice=山田", "Jones^Alice", True, "PN: the alphabetic group"),
        ("PN", "Jones", "Jones^Alice", False, "PN: whole"),
        ("PN", "Alice^Jones", "Jones^Alice", False, "PN: in order"),
        ("PN", "jon*", "Jones^Alice", True, "PN wildcard"),
        ("PN", "*ALICE", "Jones^Alice", True, "PN wildcard"),
        ("PN", "j?nes^*", "Jones^Alice", True, "PN wildcard"),
        ("PN", "nguy*^ÁNH", "Nguyễn^Ánh", True, "PN wildcard with accents"),
        ("PN", "MADONNA^*", "Madonna", True, "PN: a component that is missing is empty"),
        ("PN", "Madonna^^", "Madonna", True, "PN: a component that is missing is empty"),
        ("PN", "Madonna^^*^", "Madonna", True, "PN: a component that is missing is empty"),
        ("PN", "Madonna^?", "Madonna", False, "PN: ? is one character"),
        ("PN", "Williams^Betty^*", "Williams^Betty", True, "PN: no middle name"),
        ("PN", "Williams^Betty^*", "Williams^Betty^Ann", True, "PN: a middle name"),
        ("PN", "Williams^*^Dr*", "Williams^Betty", False, "PN: no middle name"),
        ("PN", "*^*", "Madonna", True, "PN: everybody"),
        ("PN", "^^^^", "Madonna", True, "PN: everybody"),
        ("PN", "*^*^*", "", True, "PN: everybody"),
        ("PN", "=", "Madonna", True, "PN: everybody"),
        ("PN", "^Madonna", "Madonna", True, "PN: one name, asked for as the given name"),
        ("PN", "*^mad*", "Madonna", True, "PN: one name, asked for as the given name"),
        ("PN", "^Alice", "Jones^Alice", False, "PN: order matters for two"),
        ("PN", "Alice^Jones", "Jones^Alice", False, "PN: order matters for two"),
        ("PN", "=王*", "王^伟", True, "PN: the ideographic group"),
        ("PN", "Wang^*=王*", "王^伟", True, "PN: a name in either script"),
        ("PN", "Zhang^*=王*", "王^伟", True, "PN: a name in either script"),
        ("PN", "Zhang^*=张*", "王^伟", False, "PN: neither script"),
        ("PN", "Yamada^Tarou=山田^太郎=やまだ^たろう", "山田^太郎", True, "PN: three groups"),
        ("PN", "==やまだ*", "山田^太郎", False, "PN: nobody knows how it is read"),
        ("PN", "Jones^Alice=", "Jones^Alice", True, "PN: an empty group says nothing"),
        ("PN", "Jones ^ Alice", "Jones^Alice", True, "PN: blanks at the ends of a component"),
        ("PN", "Jones^Alice\\Brown^Bob", "Brown^Bob", True, "PN: a list"),
        ("LO", "H*d", "Head", True, "wildcard"),
        ("LO", "He?d", "Head", True, "wildcard"),
        ("LO", "He?d", "Hed", False, "wildcard: ? is one character"),
        ("LO", "*", "", True, "wildcard: any, none too"),
        ("LO", "H**d", "Head", True, "wildcard: two are one"),
        ("LO", "a.*", "axb", False, "wildcard: a dot is a dot"),
        ("LO", "[H]*", "Head", False, "wildcard: a bracket is a bracket"),
        ("LO", "(a+)+$*", "(a+)+$", True, "wildcard: no regular expression"),
        ("AE", "CT?", "CT1", True, "wildcard in AE"),
        ("CS", "C*", "CT", True, "wildcard in CS"),
        ("UI", "1.2*", "1.2.3", False, "wildcard: not in UI"),
        ("DA", "2025*", "20250703", False, "wildcard: not in DA"),
        ("UI", "1.2\\1.3", "1.3", True, "list of UIDs"),
        ("UI", "1.2\\1.3", "1.4", False, "list of UIDs"),
        ("UI", "1.2\\", "1.2", True, "list of UIDs: an empty one says nothing"),
        ("UI", "1.2\\", "", False, "list of UIDs: nor does it match none"),
        ("CS", "CT\\ MR", "MR", True, "list of other values, blanks aside"),
        ("CS", "CT \\MR", "CT", True, "list of other values, blanks aside"),
        ("CS", " CT ", "CT", True, "blanks at the ends say nothing"),
        ("AE", " CT1", "CT1", True, "blanks at the ends say nothing"),
        ("SH", " A2 ", "A2", True, "blanks at the ends say nothing"),
        ("DA", "*", "", True, "DA: a lone * is universal"),
        ("DA", "2025.07.03", "20250703", True, "DA as ACR-NEMA had it"),
        ("DA", "2025.07.01-2025.07.03", "20250702", True, "DA as ACR-NEMA had it"),
        ("TM", "1030", "103015", True, "TM with fewer digits"),
        ("TM", "10:30:00", "103000", True, "TM with colons"),
        ("TM", "000000.000-235959.999", "235959", True, "range with fractions"),
        ("TM", "0000-2359", "235930", True, "range: to the end of the minute"),
        ("TM", "0800-0900", "090000", True, "range: inclusive"),
        ("DA", "20250701-20250703", "20250701", True, "range: inclusive"),
        ("DA", "20250701-20250703", "20250703", True, "range: inclusive"),
        ("DA", "20250701-20250703", "20250704", False, "range"),
        ("DA", "20250701 - 20250703", "20250702", True, "range with blanks"),
        ("DA", "20250701-", "20991231", True, "range: open end"),
        ("DA", "20250701-", "20250630", False, "range: open end"),
        ("DA", "-20250703", "19000101", True, "range: open start"),
        ("DA", "-20250703", "20250704", False, "range: open start"),
        ("DA", "20250703-20250701", "20250702", False, "range: turned round"),
        ("DA", "-20251231", "", False, "range: unknown lies in none"),
        ("DA", "20250701-", "", False, "range: unknown lies in none"),
        ("DA", "20250701-20250703", "", False, "range: unknown lies in none"),
        ("TM", "0800-0900", "083000", True, "range with fewer digits"),
        ("TM", "08-09", "095959", True, "range: to the end of the hour"),
        ("TM", "0800-0815", "081530", True, "range: to the end of the minute"),
        ("TM", "0900-", "083000", False, "range: open end"),
        ("TM", "-0900", "083000", True, "range: open start"),
        ("TM", "-0900", "", False, "range: unknown lies in none"),
    ],
)
def test_an_attribute_matches_as_the_standard_says(
    vr: str, text: str, value: str, matches: bool, clause: str
) -> None:
    assert attribute_test(vr, text)(value) is matches, clause


@pytest.mark.parametrize("vr", ["LO", "PN"])
def test_no_query_of_a_scanner_takes_long(vr: str) -> None:
    # One lock for all scanners: whoever asks this must not stop the others.
    text = "*a" * 24 + "*b"
    with within(2, f"{vr} {text}"):
        assert not attribute_test(vr, text)("a" * 64)


# --- queries -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "inside", "passes", "why"),
    [
        ({}, {}, True, "nothing is asked"),
        ({"PatientName": "", "PatientID": "*"}, {"Modality": "**"}, True, "universal"),
        ({"PatientID": ALICE}, {}, True, "single value"),
        ({"PatientID": ALICE.upper()}, {}, True, "without regard to case, as images are linked"),
        ({"PatientID": ALICE.upper()[:8] + "*"}, {}, True, "in a pattern too"),
        ({"PatientID": BOB.upper()}, {}, False, "another's"),
        ({"PatientID": ALICE[:8] + "*"}, {}, True, "wildcard"),
        ({"PatientID": f"{BOB}\\{ALICE}"}, {}, True, "list"),
        ({"PatientName": "jones*"}, {"Modality": "CT"}, True, "both"),
        ({"PatientName": "jones*"}, {"Modality": "MR"}, False, "one of both"),
        ({"PatientBirthDate": "19900101"}, {}, True, "the birth date"),
        ({"PatientBirthDate": "19800101-19891231"}, {}, False, "the birth date"),
        ({"AccessionNumber": "ACC-7", "PatientSex": "F"}, {}, True, "known keys"),
        ({"AccessionNumber": "ACC-8"}, {}, False, "a known key"),
        ({"RequestedProcedureDescription": "Head"}, {}, True, "at its level"),
        ({}, {"RequestedProcedureDescription": "Head"}, True, "in the step (README)"),
        ({}, {"RequestedProcedureDescription": "Neck"}, False, "in the step (README)"),
        ({"PregnancyStatus": "0"}, {}, True, "dcmjs-dimse's default query"),
        ({"PatientWeight": "70", "MedicalAlerts": "no*"}, {}, True, "unknown to OpenMRS"),
        ({"AdmissionID": "1", "InstitutionName": "A"}, {}, True, "unknown to OpenMRS"),
        ({"4320,1234": "x", "0009,1001": "y"}, {}, True, "known to nobody"),
        ({"RequestedProcedureCodeSequence": "P5"}, {}, True, "a sequence with an item"),
        ({}, {"ScheduledProtocolCodeSequence": "P5"}, True, "in the step too: it is left away"),
        ({}, {"PreMedication": "*"}, True, "universal in the step"),
        ({}, {"PreMedication": "x"}, False, "Orthanc would drop the step"),
        ({}, {"ScheduledPerformingPhysicianName": "Who"}, False, "an unknown value is another"),
        ({}, {"ScheduledProcedureStepStartDate": TODAY}, True, "today"),
        ({}, {"ScheduledProcedureStepStartDate": "20250701-20250707"}, True, "a week"),
        ({}, {"ScheduledProcedureStepStartDate": "-20250702"}, False, "before"),
        ({}, {"ScheduledProcedureStepStartTime": "080000-100000"}, True, "a time"),
        ({}, {"ScheduledProcedureStepStartTime": "100000-"}, False, "later"),
        ({}, {"ScheduledStationAETitle": "CT1"}, True, "its station"),
        ({}, {"ScheduledStationAETitle": "MR1"}, False, "another station"),
        ({}, {"ScheduledStationAETitle": "CT?"}, True, "some stations"),
        ({}, {"ScheduledProcedureStepID": "14"}, True, "its id"),
        ({"StudyInstanceUID": "1.2\\1.3"}, {}, False, "other studies"),
    ],
)
def test_a_query_is_answered(keys: Keys, inside: Keys, passes: bool, why: str) -> None:
    assert all(rule.passes(item()) for rule in asked(keys, inside)) is passes, why


@pytest.mark.parametrize(
    ("dates", "times", "moment", "inside", "answered", "why"),
    [
        ("20250701-20250703", "080000-120000", "20250701 080000", True, True, "first moment"),
        ("20250701-20250703", "080000-120000", "20250701 075959", False, False, "just before"),
        ("20250701-20250703", "080000-120000", "20250703 120000", True, True, "last moment"),
        ("20250701-20250703", "080000-120000", "20250703 120001", False, False, "just after"),
        ("20250701-20250703", "080000-120000", "20250702 100000", True, True, "between"),
        ("20250701-20250703", "080000-", "20250703 235959", True, True, "no last time"),
        ("20250701-20250703", "-120000", "20250701 000000", True, True, "no first time"),
        ("20250701-", "080000-120000", "20260101 100000", True, True, "no last date"),
        ("-20250703", "080000-120000", "20200101 100000", True, True, "no first date"),
        ("-20250703", "080000-120000", "20250703 130000", False, False, "no first date"),
        ("20250701-20250703", "080000-120000", "20250702 180000", True, False, "Orthanc's drop"),
        ("20250701-20250703", "180000-060000", "20250702 030000", True, False, "over midnight"),
        ("20250701-20250703", "080000", "20250702 080000", None, True, "one time: no interval"),
        ("20250701-20250703", "080000", "20250702 090000", None, False, "one time: no interval"),
        ("20250702", "080000-120000", "20250702 090000", None, True, "one date: no interval"),
    ],
)
def test_date_and_time_ranges_are_one_interval_as_far_as_orthanc_lets_them(
    dates: str, times: str, moment: str, inside: bool | None, answered: bool, why: str
) -> None:
    start_date, start_time = moment.split()
    found = item(start_date=start_date, start_time=start_time)
    query = parse_query(
        identifier(
            {},
            {
                "Modality": "CT",
                "ScheduledProcedureStepStartDate": dates,
                "ScheduledProcedureStepStartTime": times,
            },
        )
    )
    caller = Caller("CT1", Station(days_back=0, days_ahead=0))
    interval = interval_rules(query, caller, day)
    assert (interval is None) is (inside is None)
    assert interval is None or all(rule.passes(found) for rule in interval) is inside, why
    assert all(rule.passes(found) for rule in rules(query, caller, day)) is answered, why


@pytest.mark.parametrize(
    ("dates", "times", "moment", "answered", "why"),
    [
        ("20250702-20250703", "220000-010000", "20250702 233000", "233000", "over midnight"),
        ("20250702-20250703", "220000-010000", "20250703 003000", "003000", "over midnight"),
        ("20250702-20250703", "220000-010000", "20250702 213000", None, "before"),
        ("20250702-20250703", "220000-010000", "20250703 020000", None, "after"),
        ("20250702-20250703", "22-01", "20250703 015959", "015959", "to the end of the hour"),
        ("2025.07.02-", "220000-", "20250702 213000", None, "no last moment"),
        ("-20250703", "-010000", "20250701 230000", "230000", "no first moment"),
        ("20250703", "0800-0900", "20250703 090000", "090000", "one day"),
        ("", "0800", "20250703 080000", "080000", "no date"),
        ("20250703", "070000-190000", "20250703 ", "070000", "no time: one that was asked for"),
        ("20250703", "0000-1900", "20250703 ", "000000", "no time: midnight where that fits"),
        ("20250703", "-1900", "20250703 ", "000000", "no time: midnight where that fits"),
        ("20250703", "0930", "20250703 ", "093000", "no time: the one that was asked for"),
        ("20250703", "10:30:00\\11", "20250703 ", "103000", "no time: the first of several"),
        ("20250703", "1900-0700", "20250703 ", None, "no time is in a range turned round"),
        ("20250702-20250703", "220000-010000", "20250702 ", "220000", "no time: the first day"),
        ("20250702-20250703", "220000-010000", "20250703 ", "000000", "no time: the last day"),
        ("20250702-20250703", "220000-010000", "20250704 ", None, "no time: another day"),
    ],
)
def test_dates_and_times_are_the_standards_where_the_step_is_open(
    dates: str, times: str, moment: str, answered: str | None, why: str
) -> None:
    start_date, _, start_time = moment.partition(" ")
    found = item(start_date=start_date, start_time=start_time)
    inside = {
        "ScheduledProcedureStepStartDate": dates,
        "ScheduledProcedureStepStartTime": times,
    }
    query = replace(parse_query(identifier({}, inside)), open_step=True)
    passes = all(rule.passes(found) for rule in rules(query, Caller("CT1"), day))
    assert passes is (answered is not None), why
    assert interval_rules(query, Caller("CT1"), day) is None
    if passes:
        assert StartTimes(query).answered(found) == answered, why


@pytest.mark.parametrize(
    ("times", "answered"),
    [("0700-1900", "070000"), ("070000", "070000"), ("07", None), ("1900-0700", None)],
)
def test_a_step_without_a_time_is_found_where_orthanc_has_its_say(
    times: str, answered: str | None
) -> None:
    found = item(start_time="")
    query = parse_query(identifier({}, {"ScheduledProcedureStepStartTime": times}))
    passes = all(rule.passes(found) for rule in rules(query, Caller("CT1"), day))
    assert passes is (answered is not None)
    assert StartTimes(query).answered(found) == answered


@pytest.mark.parametrize(
    ("key", "text", "value", "passes", "why"),
    [
        ("Modality", " CT ", "CT", True, "blanks at the ends"),
        ("Modality", "MR \\ CT", "CT", True, "blanks in a list"),
        ("ScheduledStationAETitle", " CT1", "CT1", True, "blanks at the ends"),
        ("ScheduledPerformingPhysicianName", "dr. l?a", "Dr. Léa", True, "? for any letter"),
        ("ScheduledPerformingPhysicianName", "dr. lea", "Dr. Léa", True, "accents"),
        ("ScheduledPerformingPhysicianName", "STRASSE", "Straße", True, "a capital of two letters"),
        ("ScheduledPerformingPhysicianName", "Lin=", "Lin", True, "an empty group"),
        ("ScheduledProcedureStepDescription", "head", "Head", False, "case counts"),
    ],
)
def test_a_key_inside_the_step_is_the_standards_where_the_step_is_open(
    key: str, text: str, value: str, passes: bool, why: str
) -> None:
    fields = {
        "Modality": "modality",
        "ScheduledStationAETitle": "scheduled_station_ae_title",
        "ScheduledPerformingPhysicianName": "scheduled_performing_physician_name",
        "ScheduledProcedureStepDescription": "description",
    }
    found = item(**{fields[key]: value})
    query = replace(parse_query(identifier({}, {key: text})), open_step=True)
    assert all(rule.passes(found) for rule in rules(query, Caller("WS1"), day)) is passes, why
    unknown = replace(parse_query(identifier({}, {"PreMedication": "x"})), open_step=True)
    assert all(rule.passes(found) for rule in rules(unknown, Caller("WS1"), day))


@pytest.mark.parametrize(
    ("asked_for", "passes"),
    [
        ("1234567890123456789", True),  # as OpenMRS shows it
        ("1234567890123456", True),  # as a scanner keeps it
        ("123456789012345*", True),
        ("1234567890123456780", False),
        ("12345678901234567", False),
    ],
)
def test_an_accession_number_is_found_in_full_and_as_scanners_have_it(
    asked_for: str, passes: bool
) -> None:
    (found,) = items(request("7", accession_number="1234567890123456789"))
    query = asked({"AccessionNumber": asked_for})
    assert all(rule.passes(found) for rule in query) is passes
    assert holds(asked_for.rstrip("*"))(found) is (passes or asked_for == "12345678901234567")


@pytest.mark.parametrize(
    ("name", "came_as", "passes", "why"),
    [
        ("Müller", "Mller", True, "a letter is gone"),
        ("Hélène", "He", True, "a letter takes the next with it"),
        ("Hélène", "H*", True, "as a pattern"),
        ("Muller", "Mller", False, "nothing to lose"),
        ("Мария", "", True, "nothing asked"),
    ],
)
def test_letters_that_were_lost_on_the_way_dont_hide_a_patient(
    name: str, came_as: str, passes: bool, why: str
) -> None:
    (found,) = items(request("7", patient_name=name))
    query = replace(parse_query(identifier({"PatientName": came_as})), letters_lost=True)
    answered = rules(query, Caller("CT1"), day)
    assert all(rule.passes(found) for rule in answered) is passes, why
    other = rules(query, Caller("CT1"), day, HostMatcher("iso8859-1"))
    assert all(rule.passes(found) for rule in other) is (passes and came_as in ("", "H*"))


ROOMS = Station(ae_titles=("CT1", "CTROOM"))


@pytest.mark.parametrize(
    ("title", "text", "caller", "answered", "why"),
    [
        ("CT1", "", Caller("CT1"), "CT1", "a query that names no station"),
        ("MR1", "", Caller("CT1"), "MR1", "gets every station's steps"),
        ("", "", Caller("CT1"), "CT1", "and anybody's, under the caller's title"),
        ("MR1", "", Caller("CT1", own_steps_only=True), None, "its own only"),
        ("CT1", "", Caller("CT1", own_steps_only=True), "CT1", "its own only"),
        ("", "", Caller("CT1", own_steps_only=True), "CT1", "anybody's are its own"),
        ("CTROOM", "", Caller("CT1", ROOMS, own_steps_only=True), "CTROOM", "an alias is its own"),
        ("CT1", "CT1", Caller("CT1"), "CT1", "single value"),
        ("MR1", "CT1", Caller("CT1"), None, "single value"),
        ("ct1", "CT1", Caller("CT1"), None, "case counts"),
        ("MR1", "MR1", Caller("CT1"), "MR1", "a workstation asks for a scanner"),
        ("MR1", "MR1", Caller("CT1", own_steps_only=True), "MR1", "names a station: not filtered"),
        ("", "CT1", Caller("CT1"), "CT1", "anybody's"),
        ("", "MR1", Caller("CT1"), "MR1", "anybody's, as Orthanc must find what is asked"),
        ("CTROOM", "CT1", Caller("CT1", ROOMS), "CT1", "under its other title"),
        ("CT1", "CTROOM", Caller("CT1", ROOMS), "CTROOM", "the other way round"),
        ("CTROOM", "MR1", Caller("CT1", ROOMS), None, "another's steps aren't its own"),
        ("CTROOM", "CT1", Caller("WS1", ROOMS), "CT1", "a workstation with these titles"),
        ("CT1", "CT?", Caller("CT1"), "CT1", "wildcard"),
        ("MR1", "CT?", Caller("CT1"), None, "wildcard"),
        ("", "CT?", Caller("CT1"), "CT1", "wildcard: anybody's"),
        ("MR1", "CT1\\MR1", Caller("CT1"), "MR1", "list"),
        ("", "CT1\\MR1", Caller("CT1"), "CT1", "list: anybody's"),
        ("", "CT1\\MR1", Caller("WS1"), "CT1", "list: anybody's, also for a workstation"),
    ],
)
def test_a_station_gets_its_steps(
    title: str, text: str, caller: Caller, answered: str | None, why: str
) -> None:
    found = item(scheduled_station_ae_title=title)
    inside = {"ScheduledStationAETitle": text}
    titles = StationTitles(parse_query(identifier({}, inside)), caller)
    assert titles.answered(title) == answered, why
    passes = all(rule.passes(found) for rule in asked({}, inside, caller))
    assert passes is (answered is not None), why
    if answered is not None and text:
        assert orthanc_test("AE", text)(answered), "Orthanc would drop the step"


@pytest.mark.parametrize("text", ["", "*"])
def test_an_open_station_key_is_answered_for_all(text: str) -> None:
    for title in ("CT1", "MR1", ""):
        found = item(scheduled_station_ae_title=title)
        assert all(r.passes(found) for r in asked({}, {"ScheduledStationAETitle": text}))


@pytest.mark.parametrize(
    ("back", "ahead", "dates", "offset", "passes", "why"),
    [
        (None, None, "", -4000, True, "no window"),
        (7, 30, "", -7, True, "the first day"),
        (7, 30, "", -8, False, "the day before"),
        (7, 30, "", 30, True, "the last day"),
        (7, 30, "", 31, False, "the day after"),
        (0, 0, "", 0, True, "today only"),
        (0, 0, "", 1, False, "today only"),
        (0, None, "", 4000, True, "open ahead"),
        (None, 0, "", -4000, True, "open back"),
        (None, 0, "", 1, False, "open back"),
        (0, 0, "20250601-20250731", 9, True, "a query with dates of its own"),
        (0, 0, "*", 9, False, "a universal key is none"),
    ],
)
def test_the_window_of_a_station_bounds_queries_without_dates(
    back: int | None, ahead: int | None, dates: str, offset: int, passes: bool, why: str
) -> None:
    caller = Caller("CT1", Station(days_back=back, days_ahead=ahead))
    found = item(start_date=day(offset))
    inside = {"ScheduledProcedureStepStartDate": dates}
    assert all(rule.passes(found) for rule in asked({}, inside, caller)) is passes, why


def test_the_rules_say_which_of_them_fails() -> None:
    found = asked({"PatientID": BOB}, {"Modality": "CT", "ScheduledStationAETitle": "CT1"})
    verdicts = {rule.name: (rule.asks, rule.passes(item())) for rule in found}
    assert verdicts == {
        "ScheduledStationAETitle": ("CT1", True),
        "PatientID": (BOB, False),
        "Modality": ("CT", True),
    }


# --- the index -----------------------------------------------------------------------------

titles = st.sampled_from(("CT1", "CTROOM", "MR1", "", "bad\\title"))
dates = st.sampled_from(("20250701", TODAY, "20250704", "", "20250810"))
steps = st.builds(
    step,
    id=st.integers(1, 200).map(str),
    modality=st.sampled_from(("CT", "MR", "ct", "")),
    scheduled_station_ae_title=titles,
    start_date=dates,
    start_time=st.sampled_from(("080000", "120000", "", "235959")),
    status=st.sampled_from((StepStatus.SCHEDULED, StepStatus.IN_PROGRESS, StepStatus.COMPLETED)),
)
requests = st.builds(
    lambda number, of, patient, name: request(number, *of, patient_id=patient, patient_name=name),
    st.integers(1, 9).map(str),
    st.lists(steps, min_size=1, max_size=3),
    st.sampled_from((ALICE, BOB, "")),
    st.sampled_from(("Alice Jones", "Bob Nguyễn")),
)
top_keys = st.fixed_dictionaries(
    {},
    optional={
        "PatientID": st.sampled_from(("", ALICE, BOB[:4] + "*", f"{ALICE}\\{BOB}", "?", "\\")),
        "PatientName": st.sampled_from(("", "jones*", "*nguyen*", "Jones^Alice")),
        "PregnancyStatus": st.just("0"),
        "Modality": st.sampled_from(("CT", "MR\\CT")),
    },
)
step_keys = st.fixed_dictionaries(
    {},
    optional={
        "ScheduledStationAETitle": st.sampled_from(
            ("", "*", "CT1", "CTROOM", "MR?", "CT1\\MR1", "WS", "?")
        ),
        "ScheduledProcedureStepStartDate": st.sampled_from(
            (
                *("", TODAY, "20250701-20250703", "-20250703", "20250704-", "-"),
                *("2025070", "20250704-20250701", "20250701\\20250704", "2025-07-03"),
            )
        ),
        "ScheduledProcedureStepStartTime": st.sampled_from(("", "08", "080000-120000", "-1200")),
        "Modality": st.sampled_from(("", "CT", "M*", "CT\\MR", "ct", "\\")),
        "ScheduledProcedureStepID": st.sampled_from(("", "1*", "7")),
        "PreMedication": st.sampled_from(("", "x")),
    },
)
callers = st.builds(
    Caller,
    ae_title=st.sampled_from(("CT1", "WS1")),
    station=st.sampled_from((Station(), ROOMS, Station(("MR1",), days_back=1, days_ahead=2))),
    own_steps_only=st.booleans(),
)


@settings(max_examples=300)
@given(st.lists(requests, max_size=6), top_keys, step_keys, callers)
def test_the_index_selects_exactly_what_the_rules_let_pass(
    listed: list[ImagingRequest], keys: Keys, inside: Keys, caller: Caller
) -> None:
    snapshot = Snapshot.build(RequestList(tuple(listed)), read_at=0, day=TODAY)
    query_rules = rules(parse_query(identifier(keys, inside)), caller, day)
    brute = [
        offered for offered in snapshot.offered if all(rule.passes(offered) for rule in query_rules)
    ]
    assert snapshot.select(query_rules) == brute


@pytest.mark.parametrize(
    ("name", "searched", "found"),
    [
        ("Hélène Lefèvre", "lefevre HELENE", True),
        ("Алексей Смирнов", "smirnov", True),
        ("Алексей Смирнов", "смир", True),
        ("Hélène Lefèvre", "ACC-7", True),
        ("Hélène Lefèvre", "lefevre acc-8", False),
        ("Hélène Lefèvre", "", True),
        ("Hélène Lefèvre", "*", False),
    ],
)
def test_a_person_finds_names_in_any_spelling_and_numbers(
    name: str, searched: str, found: bool
) -> None:
    (one,) = items(request("7", step("14"), patient_name=name, accession_number="ACC-7"))
    assert holds(searched)(one) is found
