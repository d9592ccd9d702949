"""What a scanner can be sent: a table of scripts, in every encoding."""

import unicodedata

import pytest
from hypothesis import given

from orthanc_openmrs.worklist.charset import (
    CODECS,
    STATION_CHARSETS,
    UNICODE,
    codec_of,
    is_legible,
    sent,
    transliterate,
)
from orthanc_openmrs.worklist.values import long_string
from tests.unit.builders import any_text

SCRIPTS = (
    "Nguyễn^Ánh",
    "Müller^Jörg",
    "Łukasz^Žiga",
    "Иванов^Пётр",
    "Παπαδόπουλος^Γιώργος",
    "كريم^محمد",
    "רוזן^דוד",
    "ចាន់^សុខា",
    "ใจดี^สมชาย",
    "शर्मा^राहुल",
    "山田^太郎",
    "김^철수",
    "王^小明",
    "አበበ^ሰላም",
    "မောင်^အောင်",
    "Աբրահամյան^Անի",
    "გელაშვილი^ნინო",
    "Adébáyọ̀^Ọlá",
    "😀^Bob",
    "𠮷野^家",
)


@pytest.mark.parametrize("codec", sorted(set(CODECS.values())))
@pytest.mark.parametrize("name", SCRIPTS)
def test_no_letter_of_a_name_is_ever_dropped(name: str, codec: str) -> None:
    sent = transliterate(name, (codec,))
    letters = sum(unicodedata.category(mark).startswith("L") for mark in name)
    sent.encode(codec)
    assert len(sent) >= letters
    assert sent.count("^") == name.count("^")
    assert all(sent.split("^"))
    try:
        name.encode(codec)
    except UnicodeEncodeError:
        return
    assert sent == name


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("शर्मा^राहुल", "a virama is no letter"),
        ("Adébáyọ̀^Ọlá", "an accent that no letter is composed with"),
        ("မောင်^အောင်", "a Burmese mark"),
        ("מֹשֶׁה^דָּוִד", "Hebrew points"),
        ("مُحَمَّد^عَلِي", "Arabic vowel marks"),
        ("محمد\u200cرضا^علی", "a Persian zero-width non-joiner, and a final alef"),
        ("សុខ\u200bា^ចាន់", "a Khmer zero-width blank"),
    ],
)
def test_a_name_in_latin_letters_holds_no_question_mark(name: str, why: str) -> None:
    # "?" isn't read by anybody, and is a wildcard where a scanner asks for the name again.
    assert "?" not in transliterate(name, ("ascii",))


@pytest.mark.parametrize("codec", sorted(set(CODECS.values())))
@given(text=any_text)
def test_what_is_legible_is_never_sent_empty(text: str, codec: str) -> None:
    cleaned = long_string(text).text
    assert not is_legible(cleaned) or sent("LO", cleaned, (codec,))
    assert not is_legible(cleaned) or sent("LO", cleaned, (codec, "ascii"))
    assert sent("LO", cleaned, UNICODE) == cleaned


@pytest.mark.parametrize(
    ("text", "legible"),
    [("Anna", True), ("7", True), ("王", True), ("ا", True), ("؟ ؟", False), ("\u0301", False)],
)
def test_a_text_is_legible_where_a_letter_or_a_digit_is_left(text: str, legible: bool) -> None:
    assert is_legible(text) is legible


def test_every_encoding_of_a_configuration_is_one_for_a_station_too() -> None:
    assert {codec_of(name) for name in CODECS} <= set(STATION_CHARSETS.values())
    assert codec_of("windows1251") is None
