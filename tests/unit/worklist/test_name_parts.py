"""Names as one text: which words are the family name, a title, a suffix; none is lost."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orthanc_openmrs.worklist.matching import attribute_test
from orthanc_openmrs.worklist.name_parts import split_name
from tests.unit.builders import any_text, vr_problem

NAMES: list[tuple[str, str, bool, str]] = [
    ("Alice", "Alice", False, "one word"),
    ("Alice Jones", "Jones^Alice", False, "two"),
    ("Alice Mary Jones", "Jones^Alice^Mary", False, "three"),
    ("Alice Mary Ann Jones", "Jones^Alice^Mary Ann", False, "four"),
    ("Alice M. A. B. Jones", "Jones^Alice^M. A. B.", False, "five"),
    ("  Alice \t Jones ", "Jones^Alice", False, "blanks"),
    ("Jones^Alice^Mary", "Jones^Alice^Mary", False, "PN already"),
    ("Jones ^ Alice ^^", "Jones^Alice", False, "PN with blanks and empty components"),
    ("Jones^Alice^Mary^Dr.^Jr.", "Jones^Alice^Mary^Dr.^Jr.", False, "all five components"),
    ("Jones^Alice^Mary^Dr.^Jr.^X", "Jones^Alice^Mary^Dr.^Jr.", True, "a sixth is told of"),
    ("^^^", "", False, "delimiters only"),
    ("Alice=Jones", "Jones^Alice", False, "no component groups by accident"),
    ("Alice\\Jones", "Alice/Jones", False, "no second value by accident"),
    ("Alice\r\nJones\x00", "Jones^Alice", False, "control characters"),
    ("Alice\u2028Jones\ufeff", "Jones^Alice", False, "Unicode's own line breaks"),
    ("Ánh Nguyễn Thị", "Thị^Ánh^Nguyễn", False, "composed"),
    ("A\u0301nh Nguye\u0302\u0303n", "Nguyễn^Ánh", False, "decomposed (NFD)"),
    ("Sokha\u3000ចាន់", "ចាន់^Sokha", False, "an ideographic blank"),
    ("😀 Jones", "Jones^😀", False, "an emoji"),
    ("Al\ud800ice Jones", "Jones^Al\ufffdice", False, "a lone surrogate"),
    ("x" * 80, "x" * 64, True, "over-long, one word"),
    ("Given " + "m" * 30 + " " + "n" * 30 + " Family", f"Family^Given^{'m' * 30}", True, "a word"),
    ("", "", False, "none"),
    ("Jones, Alice Mary", "Jones^Alice^Mary", False, "a comma: family first"),
    ("van der Berg, Jan", "van der Berg^Jan", False, "a comma: all before it"),
    ("Khan, Abdul Rahman Ali", "Khan^Abdul Rahman^Ali", False, "a comma, and one given name"),
    ("Nguyễn，Ánh Thị", "Nguyễn^Ánh^Thị", False, "a full-width comma"),
    ("الحسن، فاطمة", "الحسن^فاطمة", False, "an Arabic comma"),
    ("Jones, Alice, Jr.", "Jones^Alice^^^Jr.", False, "a suffix behind the second"),
    ("Jones, Jr., Alice", "Jones^Alice^^^Jr.", False, "a suffix behind the first"),
    ("Alice Jones, MD", "Jones^Alice^^^MD", False, "no family name: a suffix"),
    ("Jones, Dr. Alice", "Jones^Alice^^Dr.", False, "a title behind a comma"),
    ("Jones,", "Jones", False, "nothing behind it"),
    (", Alice", "Alice", False, "nothing before it"),
    (" , ", "", False, "a comma alone"),
    ("Dr. Alice Mary Jones", "Jones^Alice^Mary^Dr.", False, "a title"),
    ("dr alice jones", "jones^alice^^dr", False, "a title in small letters, without its stop"),
    ("Prof. Dr. Alice Jones PhD", "Jones^Alice^^Prof. Dr.^PhD", False, "two titles, a degree"),
    ("Dr. Jones", "Jones^^^Dr.", False, "a title and one name"),
    ("Dr.", "Dr.", False, "a title alone is a name"),
    ("Alice Jones Jr.", "Jones^Alice^^^Jr.", False, "a suffix"),
    ("Alice Jones III", "Jones^Alice^^^III", False, "a number"),
    ("Sr. Alice Jones", "Jones^Alice^^Sr.", False, "before: Señor, Sister"),
    ("Alan Jones Sr.", "Jones^Alan^^^Sr.", False, "behind: senior"),
    ("III", "III", False, "a suffix alone is a name"),
    ("Jan van der Berg", "van der Berg^Jan", False, "particles"),
    ("JAN VAN DER BERG", "VAN DER BERG^JAN", False, "particles in capitals"),
    ("Ludwig van Beethoven", "van Beethoven^Ludwig", False, "a particle"),
    ("Van Ludwig Beethoven", "Beethoven^Van^Ludwig", False, "no name begins with its family's"),
    ("Otto von Bismarck Schönhausen", "von Bismarck Schönhausen^Otto", False, "to the end"),
    ("Anna de", "de^Anna", False, "nothing behind the particle"),
    ("Abdul Rahman", "Abdul Rahman", False, "one name of two words"),
]


@pytest.mark.parametrize(
    ("text", "expected", "warns", "why"), [pytest.param(*row, id=row[3]) for row in NAMES]
)
def test_a_name_is_split_by_its_words(text: str, expected: str, warns: bool, why: str) -> None:
    made = split_name(text)
    assert made.text == expected
    told = made.warning + made.adjusted
    assert bool(told) is warns
    assert not text.strip() or text not in told or len(text) < 4


COUNTRIES: list[tuple[str, str, str, str]] = [
    # country, the text of OpenMRS's list, the split name, what a scanner's user types
    ("Ethiopia", "Ato Abebe Bikila", "Bikila^Abebe^^Ato", "BIKILA^*"),
    ("Ethiopia", "W/ro ጥሩነሽ ዲባባ", "ዲባባ^ጥሩነሽ^^W/ro", "dibaba*"),
    ("Kenya", "Wangari Muta Maathai", "Maathai^Wangari^Muta", "maathai^wangari*"),
    ("Kenya", "Hon. Raila Amolo Odinga", "Odinga^Raila^Amolo^Hon.", "Odinga*"),
    ("Uganda", "Dr. Specioza Wandira Kazibwe", "Kazibwe^Specioza^Wandira^Dr.", "kazibwe^s*"),
    ("Rwanda", "Jean de Dieu Habimana", "Habimana^Jean^de Dieu", "HABIMANA^JEAN*"),
    ("Rwanda", "Uwase", "Uwase", "UWASE^*"),
    ("Haiti", "Jean Baptiste St. Louis", "St. Louis^Jean^Baptiste", "st. louis*"),
    ("Haiti", "Marie-Ange Pierre", "Pierre^Marie-Ange", "PIERRE^MARIE-ANGE"),
    ("Mozambique", "Maria da Conceição dos Santos", "dos Santos^Maria^da Conceição", "dos santos*"),
    ("Mozambique", "José da Silva Filho", "da Silva^José^^^Filho", "DA SILVA^JOSE*"),
    ("India", "Smt. Lakshmi D/O Ramasamy", "Ramasamy^Lakshmi^^Smt.^D/O", "ramasamy^lakshmi*"),
    ("India", "B/O Anita Sharma", "Sharma^Anita^^B/O", "SHARMA*"),
    ("India", "राहुल शर्मा", "शर्मा^राहुल", "शर्मा*"),
    ("Bangladesh", "Md. Rahim Uddin", "Uddin^Md.^Rahim", "UDDIN^*"),
    ("Bangladesh", "Abdul Karim Chowdhury", "Chowdhury^Abdul Karim", "chowdhury^abdul*"),
    ("Nepal", "Sita Kumari Shrestha", "Shrestha^Sita^Kumari", "SHRESTHA^SITA*"),
    ("Cambodia", "សុខា ចាន់", "ចាន់^សុខា", "ចាន់^*"),
    ("Vietnam", "Ánh Thị Nguyễn", "Nguyễn^Ánh^Thị", "nguyen^anh*"),
    ("Vietnam", "Anh Van Do", "Do^Anh^Van", "DO^*"),
    ("Philippines", "Juan dela Cruz Jr.", "dela Cruz^Juan^^^Jr.", "DELA CRUZ^JUAN*"),
    ("Philippines", "Ma. Teresa de los Santos", "de los Santos^Ma.^Teresa", "de los santos*"),
    ("Indonesia", "Sukarno", "Sukarno", "SUKARNO^*"),
    ("Indonesia", "Siti Nurhaliza binti Tarudin", "binti Tarudin^Siti^Nurhaliza", "*tarudin*"),
    ("Arab countries", "محمد عبد الله", "عبد الله^محمد", "عبد الله*"),
    ("Arab countries", "أحمد بن سالم الحسن", "بن سالم الحسن^أحمد", "*الحسن*"),
    ("Arab countries", "Mohamed Ould Abdel Aziz", "Ould Abdel Aziz^Mohamed", "ould abdel aziz*"),
    ("Arab countries", "Ahmed al Rashid", "al Rashid^Ahmed", "AL RASHID^*"),
    ("Peru", "María de la Cruz", "de la Cruz^María", "DE LA CRUZ^MARIA"),
    ("Peru", "María del Carmen Quispe", "Quispe^María^del Carmen", "quispe^maria*"),
    # Two surnames as one text: nobody knows that the first is one too. "lookup" does.
    ("Peru", "María García López", "López^María^García", "*garcia*"),
]


@pytest.mark.parametrize(("country", "text", "expected", "typed"), COUNTRIES)
def test_names_of_the_countries_that_openmrs_serves(
    country: str, text: str, expected: str, typed: str
) -> None:
    made = split_name(text).text
    assert made == expected
    assert attribute_test("PN", typed)(made)


WORDS = "Dr. Jr. MD de la Cruz van der Berg Abdul Rahman bin dos Santos D/O Baby of Anna , al III"
words = st.sampled_from(tuple(WORDS.split()))


@given(st.lists(words, max_size=12))
def test_no_word_is_lost(found: list[str]) -> None:
    made = split_name(" ".join(found))
    parts = made.text.replace("^", " ").split()
    assert made.adjusted or Counter(parts) == Counter(word for word in found if word != ",")


@given(any_text)
def test_any_text_gives_a_valid_name(text: str) -> None:
    made = split_name(text)
    assert vr_problem("PN", made.text) == ""
