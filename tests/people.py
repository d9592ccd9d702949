"""Made-up patients and their studies, with what goes wrong between a clinic and a scanner.

Decides: names of seven cultures with their usual spellings, what is mistyped, left out or
written in another script, who is whose twin. The same seed gives the same people. Must not
know: how candidates are found.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

from orthanc_openmrs.mapping.candidates import Patient, Traits, patient_of, traits_of
from orthanc_openmrs.mapping.studies import StudyHead
from orthanc_openmrs.model import Demographics


@dataclass(frozen=True, slots=True)
class Culture:
    """Given names of women and men, and family names: each as OpenMRS has it, then as a scanner's
    keyboard may spell it."""

    women: Sequence[str]
    men: Sequence[str]
    families: Sequence[str]
    middle: Sequence[str] = ()


CULTURES: Mapping[str, Culture] = {
    "English": Culture(
        ("Alice", "Catherine|Katherine", "Elizabeth", "Margaret", "Sarah|Sara", "Grace", "Ruth"),
        ("John|Jon", "Stephen|Steven", "William", "James", "Peter", "Geoffrey|Jeffrey", "Daniel"),
        (
            "Smith|Smyth",
            "Jones",
            "Mwangi",
            "Okafor",
            "Wilson",
            "Clarke|Clark",
            "MacDonald|McDonald",
        ),
        ("Mary", "Ann|Anne", "Joseph", "Lee"),
    ),
    "Portuguese": Culture(
        ("Maria", "Conceição|Conceicao", "Inês|Ines", "Luísa|Luisa", "Joana", "Mariana"),
        ("João|Joao", "António|Antonio", "Luís|Luis", "Carlos", "Mário|Mario", "Simão|Simao"),
        (
            "da Silva|Silva|da Silva",
            "dos Santos|Dos Santos",
            "Gonçalves|Goncalves",
            "Araújo|Araujo",
        ),
        ("José|Jose", "de Fátima|de Fatima"),
    ),
    "Vietnamese": Culture(
        ("Ánh|Anh", "Hoa", "Hương|Huong", "Lan", "Ngọc|Ngoc", "Phương|Phuong", "Thảo|Thao"),
        ("Dũng|Dung", "Đức|Duc", "Hùng|Hung", "Minh", "Quân|Quan", "Tuấn|Tuan", "Việt|Viet"),
        ("Nguyễn|Nguyen", "Nguyễn|Nguyen", "Trần|Tran", "Lê|Le", "Phạm|Pham", "Đặng|Dang"),
        ("Thị|Thi", "Văn|Van", "Quốc|Quoc"),
    ),
    "Russian": Culture(
        ("Ольга|Olga", "Екатерина|Ekaterina|Yekaterina", "Наталья|Natalya|Natalia", "Юлия|Yulia"),
        ("Алексей|Alexey|Aleksei", "Дмитрий|Dmitry|Dmitri", "Сергей|Sergey|Sergei", "Юрий|Yuri"),
        ("Смирнов|Smirnov", "Щербаков|Shcherbakov", "Хрущёв|Khrushchev", "Цветков|Tsvetkov"),
    ),
    "Arabic": Culture(
        ("فاطمة|Fatima|Fatma", "عائشة|Aisha|Aysha", "زينب|Zeinab|Zaynab", "مريم|Maryam|Mariam"),
        ("محمد|Mohammed|Muhammad", "أحمد|Ahmed|Ahmad", "حسين|Hussein|Husain", "حسن|Hassan|Hasan"),
        (
            "الحسن|Alhassan|Al-Hassan",
            "منصور|Mansour|Mansur",
            "سليمان|Suleiman|Sulayman",
            "قاسم|Qasim|Kassem",
            "خليل|Khalil|Khaleel",
        ),
        ("علي|Ali|Aly", "إبراهيم|Ibrahim|Ebrahim", "عبد الرحمن|Abdulrahman|Abdul Rahman"),
    ),
    "Chinese": Culture(
        ("小红|Xiaohong|Xiao Hong", "丽娜|Lina", "秀英|Xiuying", "芳|Fang", "美玲|Meiling"),
        ("小明|Xiaoming|Xiao Ming", "伟|Wei", "建国|Jianguo", "志强|Zhiqiang", "军|Jun"),
        ("王|Wang", "李|Li", "张|Zhang", "刘|Liu", "陈|Chen", "欧阳|Ouyang"),
    ),
    "Amharic": Culture(
        ("ትግስት|Tigist|Tegest", "አበበች|Abebech", "ሰላም|Selam", "ሂሩት|Hirut", "ማርታ|Marta|Martha"),
        ("አበበ|Abebe", "ተስፋዬ|Tesfaye", "ኃይለ|Haile", "ዳዊት|Dawit", "ገብሬ|Gebre"),
        ("ቢቂላ|Bikila", "ገብረማርያም|Gebremariam", "ተክለ|Tekle", "ወልደ|Wolde", "አለሙ|Alemu"),
    ),
}


@dataclass(frozen=True, slots=True)
class Person:
    """What is true of somebody. Names have their spellings, the clinic's first."""

    culture: str
    given: str
    middle: str
    family: str
    born: date
    sex: str
    number: str


@dataclass(frozen=True, slots=True)
class Case:
    """A patient, and the name (as an Orthanc ID) of the study that is theirs, "" for none.
    `kinds`: what was done to it."""

    patient: Patient
    study: str
    culture: str
    kinds: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Clinic:
    """Patients, and all that is nobody's in the archive."""

    cases: Sequence[Case]
    studies: Mapping[str, Traits]


MADE = date(2025, 7, 3)


def clinic(seed: int, patients: int = 350, strangers: int = 1500) -> Clinic:
    """So many patients, seven of eight of them with one study, and the studies of strangers: a
    third of the patients have a twin among them, another third a namesake."""
    chance = random.Random(seed)
    cases: list[Case] = []
    studies: dict[str, Traits] = {}

    def add(head: StudyHead) -> str:
        name = f"{len(studies):08x}"
        studies[name] = traits_of(replace(head, study=name))
        return name

    for at in range(patients):
        person = _person(chance, at)
        study, kinds = "", tuple[str, ...]()
        if at % 8:
            head, kinds = _study(chance, person)
            study = add(head)
        if at % 3 == 0:
            add(_study(chance, _twin(chance, person), spoiled=False)[0])
        elif at % 3 == 1:
            namesake = replace(person, born=_born(chance), number=_number(chance))
            add(_study(chance, namesake, spoiled=False)[0])
        cases.append(Case(_known(chance, person), study, person.culture, kinds))
    for at in range(strangers):
        add(_study(chance, _person(chance, at))[0])
    return Clinic(cases, studies)


def strangers(seed: int, count: int) -> list[StudyHead]:
    """The studies of so many people, as Orthanc would show them."""
    chance = random.Random(seed)
    return [_study(chance, _person(chance, at))[0] for at in range(count)]


def _person(chance: random.Random, at: int) -> Person:
    name = list(CULTURES)[at % len(CULTURES)]
    culture = CULTURES[name]
    sex = chance.choice("FM")
    return Person(
        culture=name,
        given=chance.choice(culture.women if sex == "F" else culture.men),
        middle=chance.choice(culture.middle) if culture.middle and chance.random() < 0.5 else "",
        family=chance.choice(culture.families),
        born=_born(chance),
        sex=sex,
        number=_number(chance),
    )


def _born(chance: random.Random) -> date:
    born = date(1935, 1, 1) + timedelta(days=chance.randrange(85 * 365))
    return date(born.year, 1, 1) if chance.random() < 0.1 else born


def _number(chance: random.Random) -> str:
    return f"{chance.randrange(10**6):06}GEJ"


def _twin(chance: random.Random, person: Person) -> Person:
    culture = CULTURES[person.culture]
    sex = chance.choice("FM")
    others = [
        name for name in (culture.women if sex == "F" else culture.men) if name != person.given
    ]
    return replace(person, given=chance.choice(others), sex=sex, number=_number(chance))


def _known(chance: random.Random, person: Person) -> Patient:
    """What OpenMRS has."""
    parts = (_own(part) for part in (person.family, person.given, person.middle))
    estimated = (person.born.month, person.born.day) == (1, 1)
    record = Demographics(
        names=("^".join(parts).rstrip("^"),),
        birth_date="" if chance.random() < 0.03 else person.born.isoformat(),
        birth_date_estimated=estimated,
        sex="" if chance.random() < 0.03 else person.sex,
        identifiers=(person.number,),
    )
    ordered = chance.random() < 0.4
    steps = [(MADE + timedelta(days=chance.randint(-2, 2))).strftime("%Y%m%d")] if ordered else []
    return patient_of(record, open_steps=steps)


def _own(spellings: str) -> str:
    return spellings.split("|")[0]


# --- what a study shows of a person ---------------------------------------------------------


@dataclass(slots=True)
class _Shown:
    family: str
    given: str
    middle: str
    birth_date: str
    sex: str
    patient_id: str
    groups: str = ""

    def name(self) -> str:
        return f"{self.family}^{self.given}^{self.middle}".rstrip("^") + self.groups


def _study(
    chance: random.Random, person: Person, *, spoiled: bool = True
) -> tuple[StudyHead, tuple[str, ...]]:
    """A study of a person, and what went wrong with it."""
    family, given, middle = (
        chance.choice(part.split("|")[1:] or [part])
        for part in (person.family, person.given, person.middle)
    )
    shown = _Shown(
        family,
        given,
        middle if chance.random() < 0.6 else "",
        person.born.strftime("%Y%m%d"),
        person.sex,
        person.number if chance.random() < 0.1 else f"SCAN{chance.randrange(10**5)}",
    )
    kinds: list[str] = []
    if spoiled:
        number = chance.choices((0, 1, 2), (25, 50, 25))[0]
        for kind in chance.sample(list(_SPOILED), number):
            _SPOILED[kind](chance, shown, person)
            kinds.append(kind)
    made = MADE + timedelta(days=chance.choice((0, 0, 0, 1, -30, -400)))
    head = StudyHead(
        "",
        "1.2",
        patient_id=shown.patient_id,
        patient_name=shown.name(),
        study_date=made.strftime("%Y%m%d"),
        patient_birth_date=shown.birth_date,
        patient_sex=shown.sex,
    )
    return head, tuple(kinds)


def _typo(chance: random.Random, shown: _Shown, person: Person) -> None:
    part = chance.choice(("family", "given"))
    text = getattr(shown, part)
    if not text:
        return
    at = chance.randrange(len(text))
    letter = chance.choice("abcdefghijklmnopqrstuvwxyz")
    setattr(
        shown,
        part,
        chance.choice(
            (
                text[:at] + letter + text[at + 1 :],
                text[:at] + letter + text[at:],
                text[:at] + text[at + 1 :],
                text[:at] + text[at + 1 : at + 2] + text[at : at + 1] + text[at + 2 :],
            )
        ),
    )


def _swapped(chance: random.Random, shown: _Shown, person: Person) -> None:
    shown.family, shown.given = shown.given, shown.family


def _in_one(chance: random.Random, shown: _Shown, person: Person) -> None:
    shown.family = " ".join(filter(None, (shown.given, shown.middle, shown.family)))
    shown.given = shown.middle = ""


def _own_script(chance: random.Random, shown: _Shown, person: Person) -> None:
    shown.family, shown.given = _own(person.family), _own(person.given)
    shown.middle = ""


def _groups(chance: random.Random, shown: _Shown, person: Person) -> None:
    shown.groups = f"={_own(person.family)}^{_own(person.given)}"


def _initial(chance: random.Random, shown: _Shown, person: Person) -> None:
    shown.given = shown.given[:1]


def _title(chance: random.Random, shown: _Shown, person: Person) -> None:
    shown.middle = f"{shown.middle}^Mrs" if person.sex == "F" else f"{shown.middle}^Mr"


def _capitals(chance: random.Random, shown: _Shown, person: Person) -> None:
    shown.family, shown.given = shown.family.upper(), shown.given.upper()


def _no_birth_date(chance: random.Random, shown: _Shown, person: Person) -> None:
    shown.birth_date = ""


def _turned(chance: random.Random, shown: _Shown, person: Person) -> None:
    if person.born.day <= 12:
        shown.birth_date = person.born.strftime("%Y%d%m")


def _new_year(chance: random.Random, shown: _Shown, person: Person) -> None:
    shown.birth_date = f"{person.born.year}0101"


def _slip(chance: random.Random, shown: _Shown, person: Person) -> None:
    digits = list(person.born.strftime("%Y%m%d"))
    digits[7] = str((int(digits[7]) + chance.randrange(1, 9)) % 10)
    shown.birth_date = "".join(digits)


def _no_sex(chance: random.Random, shown: _Shown, person: Person) -> None:
    shown.sex = chance.choice(("", "O"))


def _wrong_sex(chance: random.Random, shown: _Shown, person: Person) -> None:
    shown.sex = "M" if person.sex == "F" else "F"


_SPOILED: Mapping[str, Callable[[random.Random, _Shown, Person], None]] = {
    "typo": _typo,
    "names swapped": _swapped,
    "all in one component": _in_one,
    "own script": _own_script,
    "component groups": _groups,
    "initial": _initial,
    "title": _title,
    "capitals": _capitals,
    "no birth date": _no_birth_date,
    "day and month turned": _turned,
    "1 January": _new_year,
    "slip in the birth date": _slip,
    "no sex": _no_sex,
    "wrong sex": _wrong_sex,
}
