"""Which studies a person's words find: the policy.

Decides: that every word must be found, where it is looked for (the name in plain letters, the
numbers, the description, the date), and which other spellings of a name count. Must not know: where
studies come from.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

from anyascii import anyascii
from rapidfuzz import process
from rapidfuzz.distance import OSA

from orthanc_openmrs.mapping.likeness import consonants, read_names
from orthanc_openmrs.mapping.studies import StudyHead
from orthanc_openmrs.worklist import values

LONGEST_SEARCH = 128
"""Characters that are searched for."""

MOST_WORDS = 8
"""Words that are searched for."""

LONGEST_TEXT = 512
"""Characters of a study in which they are looked for."""

ALIKE_FROM = 0.79
"""The likeness of two words that may be one name: one slip in five letters. A search shows what
it found first, and what is only alike behind it."""

SHORTEST_ALIKE = 4
"""Letters of a word of which other spellings count."""

FEWEST_SOUNDS = 3
"""Consonants that are enough to know a name from another script by."""

_APART = re.compile(r"[\s,^=\\]+")
_DATE = re.compile(r"(\d{4})-(\d\d)-(\d\d)")


@dataclass(frozen=True, slots=True)
class Entry:
    """What is kept of a study to find it. `moment` is its StudyDate and StudyTime, `text` all in
    which words are looked for, `words` those of its patient's name, `sounds` the consonants of
    those that are in another script; `implied`: its PatientID names a patient."""

    study: str
    moment: str = ""
    text: str = field(default="", repr=False)
    words: tuple[str, ...] = field(default=(), repr=False)
    sounds: tuple[str, ...] = field(default=(), repr=False)
    implied: bool = False

    @property
    def day(self) -> str:
        """Its StudyDate, "" where it has none."""
        return self.moment[:8].strip()


def entry_of(head: StudyHead) -> Entry:
    """What is kept of a study, whatever a scanner put there."""
    day = values.dicom_date(head.study_date).text
    time = re.sub(r"\D", "", head.study_time)[:6]
    names = read_names(head.patient_name)
    words = tuple(dict.fromkeys(word for name in names for word in name.words))
    texts = (head.patient_name, head.patient_id, head.accession_number, head.study_description)
    return Entry(
        head.study,
        f"{day:8}{time:6}",
        " ".join((*map(plain, texts), *words, day))[:LONGEST_TEXT],
        words,
        tuple({consonants(word) for name in names if name.foreign for word in name.words}),
        bool(head.implied),
    )


def plain(text: str) -> str:
    """A text in plain small letters, whatever its script and accents."""
    cut = text[:LONGEST_TEXT]
    return (cut if cut.isascii() else anyascii(cut)).lower()


def words_of(typed: str) -> tuple[str, ...]:
    """The words that a person typed; a date (2025-07-03) is one of DICOM's."""
    whole = _DATE.sub(r"\1\2\3", plain(typed[:LONGEST_SEARCH]))
    return tuple(dict.fromkeys(_APART.split(whole.strip(" ,^=\\"))))[:MOST_WORDS] if whole else ()


class Index:
    """The entries of all studies, by the words of their names."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        self._with_word: dict[str, set[str]] = {}
        self._with_sound: dict[str, set[str]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, study: str) -> bool:
        return study in self._entries

    def entries(self) -> Collection[Entry]:
        """Every entry."""
        return self._entries.values()

    def entry(self, study: str) -> Entry | None:
        """The entry of a study."""
        return self._entries.get(study)

    def put(self, entry: Entry) -> None:
        """A study is there, or another one than before."""
        self.drop(entry.study)
        self._entries[entry.study] = entry
        for word in entry.words:
            self._with_word.setdefault(word, set()).add(entry.study)
        for sound in entry.sounds:
            self._with_sound.setdefault(sound, set()).add(entry.study)

    def drop(self, study: str) -> None:
        """A study is gone."""
        entry = self._entries.pop(study, None)
        if entry is None:
            return
        for keys, index in ((entry.words, self._with_word), (entry.sounds, self._with_sound)):
            for key in keys:
                index[key].discard(study)
                if not index[key]:
                    del index[key]

    def search(self, typed: str) -> dict[str, bool]:
        """The studies in which every word is, or a name that is spelled otherwise; whether each
        stands there as it was typed. All of them where nothing was typed."""
        found: dict[str, bool] | None = None
        for word in words_of(typed):
            if not word:
                continue
            some = self._with(word, self._entries if found is None else found)
            if found is None:
                found = some
            else:
                found = {study: found[study] and as_typed for study, as_typed in some.items()}
        return dict.fromkeys(self._entries, True) if found is None else found

    def _with(self, word: str, among: Collection[str]) -> dict[str, bool]:
        entries = self._entries
        found = {study: True for study in among if word in entries[study].text}
        for study in self._alike(word):
            if study not in found and study in among:
                found[study] = False
        return found

    def _alike(self, word: str) -> Iterator[str]:
        """Studies with a name that may be this one, spelled otherwise."""
        if len(word) < SHORTEST_ALIKE or not word.isalpha():
            return
        words: Sequence[str] = tuple(self._with_word)
        likes = process.extract(
            word, words, scorer=OSA.normalized_similarity, score_cutoff=ALIKE_FROM, limit=None
        )
        for other, _, _ in likes:
            yield from self._with_word[other]
        sound = consonants(word)
        if len(sound) >= FEWEST_SOUNDS:
            yield from self._with_sound.get(sound, ())
