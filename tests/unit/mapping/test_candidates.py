"""Which studies may be a patient's: names in every form, the policy, what holds of the ranking."""

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orthanc_openmrs.errors import OpenMRSError
from orthanc_openmrs.mapping.candidates import (
    Evidence,
    Patient,
    Traits,
    identifier,
    patient_of,
    rank,
    traits_of,
)
from orthanc_openmrs.mapping.likeness import Likeness, NameComparison, read_names
from orthanc_openmrs.mapping.studies import StudyHead
from orthanc_openmrs.model import Demographics
from orthanc_openmrs.openmrs.persons import read_patient

E = Evidence
NOTHING, ONE, ALIKE, FEWER, SAME = list(Likeness)[1:]


# --- names ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        ("Jones^Alice^Mary", "JONES^ALICE^MARY", SAME),
        ("Jones^Alice", "Alice^Jones", SAME),
        ("Alice Mary Jones", "Jones^Alice^Mary", SAME),
        ("Jones^Alice^Mary", "Jones^Alice", FEWER),
        ("Jones^Alice", "Jones^Alice^^Mrs^MD", SAME),
        ("Jones^Alice", "Mrs Alice Jones", SAME),
        ("Jones^Alice", "Jones^Alise", ALIKE),
        ("Jones^Alice", "Joness^Alice", ALIKE),
        ("Jones^Alice", "Jnoes^Alice", ALIKE),
        ("Jones^Alice", "Jones^A", ALIKE),
        ("Jones^Alice", "Jones^Ruth", ONE),
        ("Jones^Alice", "Mwangi^Ruth", NOTHING),
        ("Jones^Alice", "J^R", NOTHING),
        ("Konstantinopoulos^Ann", "Konstantinopoulos^Amy", ONE),
        ("Suharto", "Suharto", SAME),
        ("Suharto", "Suharto^Agus", ONE),
        ("Li^Na", "Lu^Na", ONE),  # in short words each letter counts
        ("Hassan^Ali", "Hussein^Ali", ONE),
        ("Müller^Jürgen", "MULLER^JURGEN", SAME),
        ("Müller^Jürgen", "Mueller^Juergen", ALIKE),
        ("Nguyễn^Ánh^Thị", "NGUYEN^THI ANH", SAME),
        ("Nguyễn^Ánh^Thị", "Nguyen^Hoa^Thi", ONE),
        ("Đặng^Đức", "Dang^Duc", SAME),
        ("O'Brien^Mary-Jane", "OBrien^Mary Jane", SAME),
        ("van der Berg^Jan", "Vanderberg^Jan", SAME),
        ("Смирнов^Алексей", "Smirnov^Alexey", ALIKE),
        ("Щербаков^Юрий", "Shcherbakov^Yuri", ALIKE),
        ("Смирнов^Алексей", "Smirnov^Sergey", ONE),
        ("الحسن^فاطمة^علي", "Alhassan^Fatima^Ali", ALIKE),
        ("منصور^محمد", "Mansour^Mohammed", ALIKE),
        ("منصور^محمد", "Mansour^Ahmed", ONE),
        ("عبد الرحمن^حسين", "Abdul Rahman^Hussein", ALIKE),
        ("王^小明", "Wang^Xiaoming", SAME),
        ("王^小明", "Wang^Xiao Ming", SAME),
        ("王小明", "Wang^Xiaoming", SAME),
        ("王^小明", "Wang^XiaoMing=王^小明=", SAME),
        ("王^小明", "=王^小明", SAME),
        ("王^小明", "Wang^Wei", ONE),
        ("ቢቂላ^አበበ", "Bikila^Abebe", SAME),
        ("ገብረማርያም^ትግስት", "Gebremariam^Tigist", ALIKE),
        ("김^민준", "Kim^Minjun", ALIKE),
        ("ចាន់^សុខា", "Chan^Sokha", ALIKE),
        ("Wang^Wei=王^伟", "王^伟", SAME),
    ],
)
def test_names_in_any_order_script_and_spelling(ours: str, theirs: str, expected: Likeness) -> None:
    for one, other in ((ours, theirs), (theirs, ours)):
        here, there = read_names(one), read_names(other)
        words = [word for name in there for word in name.words]
        assert NameComparison(here, words).best(there)[0] is expected


@pytest.mark.parametrize("text", ["", "^^^", "=", "==", "123", "\x00", "!!!", "\ud800"])
def test_what_is_no_name_is_unknown(text: str) -> None:
    assert read_names(text) == ()
    assert NameComparison(read_names(text), ()).best(read_names("Jones^Alice"))[0] == 0


# --- the policy ----------------------------------------------------------------------------


def patient(**changes: Any) -> Patient:
    """Alice, as OpenMRS knows her."""
    fields: dict[str, Any] = {
        "names": ("Jones^Alice^Mary",),
        "birth_date": "1984-02-29",
        "sex": "F",
        "identifiers": ("100-001 GEJ",),
    }
    orders = {key: changes.pop(key, ()) for key in ("accession_numbers", "open_steps")}
    return patient_of(Demographics(**(fields | changes)), **orders)


def study(**changes: str) -> Traits:
    """A study that says the same of her, by another number."""
    fields: dict[str, Any] = {
        "patient_id": "SCAN-1",
        "patient_name": "Jones^Alice^Mary",
        "patient_birth_date": "19840229",
        "patient_sex": "F",
        "study_date": "20250703",
    }
    return traits_of(StudyHead("s", "1.2", **(fields | changes)))


WHO = (E.NAME_SAME, E.BIRTH_DATE_SAME, E.SEX_SAME)
NAMESAKE = (E.NAME_SAME, E.SEX_SAME)


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        ({}, {}, WHO),
        ({}, {"patient_sex": ""}, WHO[:2]),
        ({}, {"patient_sex": "O"}, WHO[:2]),
        ({"sex": "U"}, {}, WHO[:2]),
        ({}, {"patient_sex": "M"}, (*WHO[:2], E.SEX_DIFFERS)),
        ({}, {"patient_birth_date": ""}, NAMESAKE),
        ({"birth_date": ""}, {}, NAMESAKE),
        ({}, {"patient_birth_date": "0229"}, NAMESAKE),
        ({}, {"patient_name": ""}, WHO[1:]),
        ({"names": ()}, {}, WHO[1:]),
        ({}, {"patient_name": "Jones^Ruth"}, (E.NAME_ONE_WORD, *WHO[1:])),  # a twin
        ({}, {"patient_name": "Mwangi^Ruth"}, ()),  # nothing is left
        (
            {},
            {"patient_name": "Mwangi^Ruth", "patient_id": "100001gej"},
            (E.NAME_DIFFERS, *WHO[1:], E.IDENTIFIER_SAME),
        ),
        ({}, {"patient_birth_date": "19840228"}, (WHO[0], E.BIRTH_DATE_SLIP, WHO[2])),
        ({}, {"patient_birth_date": "19480229"}, (WHO[0], E.BIRTH_DATE_SLIP, WHO[2])),
        ({}, {"patient_birth_date": "19700301"}, (WHO[0], E.BIRTH_DATE_DIFFERS, WHO[2])),
        (
            {"birth_date": "1984-03-05"},
            {"patient_birth_date": "19840503"},
            (WHO[0], E.BIRTH_DATE_TURNED, WHO[2]),
        ),
        ({}, {"patient_birth_date": "19840101"}, (WHO[0], E.BIRTH_YEAR_SAME, WHO[2])),
        ({}, {"patient_birth_date": "19830101"}, (WHO[0], E.BIRTH_YEAR_NEAR, WHO[2])),
        ({}, {"patient_birth_date": "19810101"}, (WHO[0], E.BIRTH_DATE_DIFFERS, WHO[2])),
        (
            {"birth_date": "1984-01-01"},
            {"patient_birth_date": "19840101"},
            (WHO[0], E.BIRTH_DATE_SAME_MADE_UP, WHO[2]),
        ),
        (
            {"birth_date_estimated": True},
            {"patient_birth_date": "19850712"},
            (WHO[0], E.BIRTH_YEAR_NEAR, WHO[2]),
        ),
        ({}, {"patient_id": "100001gej"}, (*WHO, E.IDENTIFIER_SAME)),
        ({"identifiers": ("7",)}, {"patient_id": "7"}, WHO),
        ({}, {"other_patient_ids": "X\\100001-GEJ"}, (*WHO, E.IDENTIFIER_SAME)),
        (
            {"accession_numbers": ("ACC-77",)},
            {"accession_number": "ACC-77"},
            (*WHO, E.ACCESSION_SAME),
        ),
        ({"accession_numbers": ("",)}, {}, WHO),
        ({"open_steps": ("20250701", "20250704")}, {}, (*WHO, E.STEP_OF_THAT_DAY)),
        ({"open_steps": ("20250710",)}, {}, (*WHO, E.STEP_OF_THAT_WEEK)),
        ({"open_steps": ("20250711", "")}, {}, WHO),
        ({"open_steps": ("20250703",)}, {"study_date": ""}, WHO),
        ({}, {"study_date": "19831231"}, (*WHO, E.OLDER_THAN_PATIENT)),
        ({"birth_date_estimated": True}, {"study_date": "19831231"}, WHO),
    ],
)
def test_what_is_found_of_a_study(
    ours: dict[str, Any], theirs: dict[str, str], expected: tuple[Evidence, ...]
) -> None:
    found = rank(patient(**ours), {"s": study(**theirs)}, 10)
    assert [one.found for one in found] == ([expected] if expected else [])
    for one in found:
        assert one.score == min(100, sum(evidence.points for evidence in expected))
        assert one.reasons == [evidence.words for evidence in expected]


def test_more_speaks_for_the_patient_than_for_a_twin_a_namesake_and_a_stranger() -> None:
    studies = {
        "stranger": study(patient_name="Mwangi^Ruth", patient_birth_date="19700301"),
        "twin": study(patient_name="Jones^Ruth"),
        "brother": study(patient_name="Jones^Peter", patient_sex="M"),
        "namesake": study(patient_birth_date="19700301"),
        "nobody": study(patient_name="", patient_birth_date="", patient_sex=""),
        "misspelt": study(patient_name="Jonse^Alise"),
        "right": study(patient_name="Alice^Jones"),
    }
    found = rank(patient(), studies, 10)
    assert [one.study for one in found][:3] == ["right", "misspelt", "twin"]
    assert {one.study for one in found} & {"stranger", "nobody"} == set()
    assert rank(patient(), studies, 1) == found[:1]


def test_of_equals_the_more_alike_and_then_the_newer_is_first() -> None:
    studies = {
        "old": study(study_date="20240101"),
        "new": study(),
        "less": study(patient_name="Jonesse^Alicia^Mary"),
        "more": study(patient_name="Jonesa^Alice^Mary"),
    }
    assert [one.study for one in rank(patient(), studies, 9)] == ["new", "old", "more", "less"]


def test_points_add_up_to_a_policy() -> None:
    for evidence in Evidence:
        assert evidence.words
        assert -50 <= evidence.points <= 50
        assert evidence.points
    # A name alone is no proof; name, birth date and sex are; a twin is below a slip of the pen.
    assert E.NAME_SAME.points < 50
    assert sum(one.points for one in WHO) == 85
    twin = E.NAME_ONE_WORD.points + E.BIRTH_DATE_SAME.points
    assert twin < E.NAME_ALIKE.points + E.BIRTH_DATE_TURNED.points


@pytest.mark.parametrize(
    ("text", "expected"),
    [("100-001 GEJ", "100001gej"), ("7", ""), ("", ""), ("\x00\x01", ""), ("é" * 999, "é" * 64)],
)
def test_an_identifier_is_its_letters_and_digits(text: str, expected: str) -> None:
    assert identifier(text) == expected


# --- hostile values ------------------------------------------------------------------------

ODD = st.one_of(
    st.text(),
    st.text(alphabet="^=\\ \x00\ud800ايabc王\u202e", max_size=40),
    st.sampled_from(["a" * 10_000, "^" * 10_000, "王" * 10_000, "a b " * 3000, "00000000", "0101"]),
)


@given(
    st.builds(
        StudyHead,
        st.just("odd"),
        st.just("1"),
        **{
            one.name: ODD
            for one in dataclasses.fields(StudyHead)
            if one.name not in ("study", "study_instance_uid", "series", "implied")
        },
    ),
    st.builds(
        Demographics,
        names=st.lists(ODD, max_size=3).map(tuple),
        birth_date=ODD,
        sex=ODD,
        identifiers=st.lists(ODD, max_size=3).map(tuple),
    ),
)
def test_no_value_breaks_the_ranking_of_the_others(head: StudyHead, person: Demographics) -> None:
    studies = {"right": study(), "odd": traits_of(head)}
    assert rank(patient(), studies, 10)[0].study in studies
    assert "right" in [one.study for one in rank(patient(), studies, 10)]
    for one in rank(patient_of(person, open_steps=["x"], accession_numbers=[""]), studies, 10):
        assert 1 <= one.score <= 100


def test_a_very_long_name_costs_little() -> None:
    names = read_names("a" * 10_000) + read_names("Ab " * 10_000)
    assert max(len(name.words) for name in names) <= 8
    assert max(len(word) for name in names for word in name.words) <= 194


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            '{"person": {"preferredName": {"givenName": "Ánh", "familyName": "Nguyễn"},'
            ' "names": [{"givenName": "Ann", "familyName": "Lee"}, {"display": "Old Name"},'
            ' {"display": "No More", "voided": true}, 7],'
            ' "birthdate": "1984-02-29T00:00:00.000+0000", "birthdateEstimated": true,'
            ' "gender": "F"}, "identifiers": [{"identifier": "100"}, {"identifier": 7}, null]}',
            Demographics(
                ("Nguyễn^Ánh", "Lee^Ann", "Old Name"),
                "1984-02-29T00:00:00.000+0000",
                True,
                "F",
                ("100",),
            ),
        ),
        ('{"person": {}}', Demographics()),
        ('{"person": {"preferredName": null, "birthdate": 7, "names": "x"}}', Demographics()),
        ('{"person": {"preferredName": {"familyName": "A^B=C"}}}', Demographics(("A B C",))),
        ('{"person": {"gender": "\\ud800"}, "identifiers": {}}', Demographics(sex="\ufffd")),
    ],
)
def test_a_patients_document_is_read_as_far_as_it_goes(body: str, expected: Demographics) -> None:
    assert read_patient(body.encode()) == expected


@pytest.mark.parametrize("body", ["", "<html>", "[]", "{}", '{"person": 1}', "[" * 100_000])
def test_what_is_no_patient_is_said_so(body: str) -> None:
    with pytest.raises(OpenMRSError) as caught:
        read_patient(body.encode())
    assert caught.value.kind == "not-a-patient"
