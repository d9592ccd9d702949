"""Which studies a person's words find, in which order, and page by page."""

import pytest

from orthanc_openmrs.errors import Conflict
from orthanc_openmrs.mapping.finder import Finder, Question
from orthanc_openmrs.mapping.search import Index, entry_of, words_of
from orthanc_openmrs.mapping.studies import StudyHead

STUDIES = {
    "smirnov": ("Смирнов^Алексей", "A-1", "20250701", "Chest"),
    "nguyen": ("Nguyễn^Thị Mai", "A-2", "20250702", "Abdomen"),
    "ahmad": ("أحمد^محمد", "A-3", "20250703", ""),
    "odhiambo": ("ODHIAMBO^ACHIENG", "KE-0042", "20250704", "Knee"),
    "jose": ("José^Muñoz=", "A-5", "20250704", "Head"),
    "nobody": ("", "", "", ""),
}


def index(studies: dict[str, tuple[str, str, str, str]] = STUDIES) -> Index:
    """An index of these studies."""
    made = Index()
    for study, (name, number, day, words) in studies.items():
        made.put(
            entry_of(
                StudyHead(
                    study,
                    "1.2",
                    patient_id=number,
                    patient_name=name,
                    study_date=day,
                    study_description=words,
                    accession_number=f"ACC-{number}",
                )
            )
        )
    return made


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("Smirnov", {"smirnov"}),
        ("смирнов", {"smirnov"}),
        ("smirnof", {"smirnov"}),
        ("smir", {"smirnov"}),
        ("nguyen", {"nguyen"}),
        ("NGUYỄN mai", {"nguyen"}),
        ("mai nguyen", {"nguyen"}),
        ("nguyen alexei", set()),
        ("ahmed", {"ahmad"}),
        ("mohamed", {"ahmad"}),
        ("munoz, jose", {"jose"}),
        ("Achieng^Odhiambo", {"odhiambo"}),
        ("ke-0042", {"odhiambo"}),
        ("ACC-A-2", {"nguyen"}),
        ("2025-07-04", {"odhiambo", "jose"}),
        ("20250704 knee", {"odhiambo"}),
        ("zzz", set()),
        ("*", set()),
        ("", set(STUDIES)),
        (" ,^ ", set(STUDIES)),
    ],
)
def test_every_word_is_found_in_any_script_case_accent_and_near_spelling(
    typed: str, found: set[str]
) -> None:
    assert set(index().search(typed)) == found


def test_what_is_there_as_it_was_typed_is_told_from_what_is_only_alike() -> None:
    made = index({"a": ("Martin^Ann", "", "", ""), "b": ("Marten^Ann", "", "", "")})
    assert made.search("martin ann") == {"a": True, "b": False}


def test_a_search_of_any_length_is_a_few_short_words() -> None:
    assert len(words_of("a b " * 10_000)) == 2
    assert len(words_of(" ".join(map(str, range(1000))))) == 8
    assert index().search("x" * 100_000) == {}


def test_what_changed_or_went_isnt_found_by_what_it_was() -> None:
    made = index()
    made.put(entry_of(StudyHead("smirnov", "1.2", patient_name="Petrov")))
    made.drop("nguyen")
    made.drop("nguyen")
    assert [*made.search("smirnov"), *made.search("nguyen")] == []
    assert set(made.search("petrov")) == {"smirnov"}
    assert len(made) == len(STUDIES) - 1


# --- the finder ------------------------------------------------------------------------------


class Orthanc:
    """Studies, and how often each way to read them was asked."""

    def __init__(self, *heads: StudyHead) -> None:
        self.has = {head.study: head for head in heads}
        self.asked: list[str] = []
        self.ct: set[str] = set()

    def study(self, study: str) -> StudyHead | None:
        self.asked.append(study)
        return self.has.get(study)

    def ids(self, since: int, limit: int) -> list[str]:
        self.asked.append("ids")
        return list(self.has)[since : since + limit]

    def heads(self, since: int, limit: int) -> list[StudyHead]:
        self.asked.append("heads")
        return list(self.has.values())[since : since + limit]

    def with_modality(self, modality: str) -> set[str]:
        return self.ct


class Site:
    """A finder over ten studies of ten days."""

    def __init__(self) -> None:
        self.now = 0.0
        heads = [
            StudyHead(
                f"s{at}",
                f"1.{at}",
                patient_name=f"Patient{at}^X",
                study_date=f"202507{10 + at}",
                study_time="101500.5",
                implied="uuid" if at % 2 else "",
            )
            for at in (3, 1, 4, 0, 5, 9, 2, 6, 8, 7)
        ]
        self.orthanc = Orthanc(*heads)
        self.said: dict[str, bool] = {}
        self.finder = Finder(self.orthanc, self, lambda: self.now)

    def owned(self, ids: object = None) -> dict[str, bool]:
        return self.said

    def walk(self, limit: int, **question: object) -> list[str]:
        """Every study, page by page."""
        told: list[str] = []
        after: str | None = ""
        while after is not None:
            page = self.finder.find(Question(**question), limit=limit, after=after)  # type: ignore[arg-type]
            told += page.studies
            after = page.after or None
        return told


def test_pages_come_in_orthancs_order_or_the_newest_first_with_their_total() -> None:
    site = Site()
    page = site.finder.find(Question(), limit=3, since=2)
    assert (page.studies, page.total) == (("s4", "s0", "s5"), 10)
    page = site.finder.find(Question(newest=True), limit=3)
    assert (page.studies, page.total) == (("s9", "s8", "s7"), 10)
    site.orthanc.has["old"] = StudyHead("old", "1.99")
    site.now += 2
    assert site.finder.find(Question(newest=True), limit=20).studies[-1] == "old"


@pytest.mark.parametrize("newest", [False, True])
def test_a_walk_tells_each_study_once_though_others_go_meanwhile(newest: bool) -> None:
    site = Site()
    first = site.finder.find(Question(newest=newest), limit=4, after="")
    for study in first.studies[:2]:
        del site.orthanc.has[study]
        site.finder.changed(study)
    rest = site.finder.find(Question(newest=newest), limit=99, after=first.after)
    assert sorted(first.studies + rest.studies) == [f"s{at}" for at in range(10)]
    assert rest.after == ""
    assert site.walk(3, newest=newest) == site.walk(99, newest=newest)


@pytest.mark.parametrize(
    ("dates", "found"),
    [
        (("20250712", "20250712"), {"s2"}),
        (("20250718", ""), {"s8", "s9"}),
        (("", "20250711"), {"s0", "s1"}),
        (("20250801", "20250831"), set()),
    ],
)
def test_days_are_a_range_of_study_dates(dates: tuple[str, str], found: set[str]) -> None:
    site = Site()
    site.orthanc.has["undated"] = StudyHead("undated", "1.99")
    assert set(site.finder.find(Question(dates=dates), limit=99).studies) == found


def test_whose_it_is_and_the_modality_narrow_it() -> None:
    site = Site()
    site.orthanc.ct = {"s1", "s2", "s3", "gone"}
    site.said = {"s1": False, "s2": True}
    ct = Question(modality="CT")
    assert set(site.finder.find(ct, limit=9).studies) == {"s1", "s2", "s3"}
    assert set(site.walk(9, modality="CT", assigned=True)) == {"s2", "s3"}
    assert set(site.walk(9, modality="CT", assigned=False)) == {"s1"}


def test_orthanc_is_asked_for_what_changed_only() -> None:
    site = Site()
    site.walk(99)
    site.orthanc.asked.clear()
    site.walk(99)
    assert site.orthanc.asked == []
    site.orthanc.has["s1"] = StudyHead("s1", "1.1", patient_name="Other")
    site.finder.changed("s1")
    assert site.walk(99, words="other") == ["s1"]
    assert site.orthanc.asked == ["ids", "s1"]
    site.orthanc.has["s10"] = StudyHead("s10", "1.10", patient_name="Newcomer")
    site.now += 2
    assert site.walk(99, words="newcomer") == ["s10"]


def test_more_studies_than_are_searched_is_a_refusal_and_no_part_of_them() -> None:
    site = Site()
    finder = Finder(site.orthanc, site, lambda: site.now, most=9)
    with pytest.raises(Conflict, match="more than 9 studies"):
        finder.find(Question(), limit=1)
