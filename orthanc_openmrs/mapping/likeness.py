"""How names are compared: in any order, script and spelling.

Decides: what is left of a name, and how much two have in common. Every script is written in
plain letters first. Where one of two names was in another script its vowels are uncertain
(Arabic doesn't write them), so that its consonants decide. Must not know: dates, identifiers.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache

from anyascii import anyascii
from rapidfuzz import process
from rapidfuzz.distance import OSA

from orthanc_openmrs.worklist.values import clean

LONGEST_NAME = 194
"""Characters of a name that are looked at: three component groups (PS3.5 Table 6.2-1)."""

MOST_WORDS = 8
"""Words of a name that are looked at."""

ALIKE_FROM = 0.74
"""The likeness of two words that may be one, spelled otherwise: one slip in four letters."""

_INITIAL = 0.7
"""The likeness of a word and its first letter."""

JOINED_FROM = 0.88
"""The likeness of two whole names whose words are divided otherwise."""

_TITLES = frozenset(["mr", "mrs", "ms", "miss", "dr", "prof", "jr", "sr", "al", "el"])
"""Words that are no names of their own: titles, and the Arabic article."""

_WORD = re.compile(r"[a-z]+")
_ARTICLE = re.compile(r"(?<!\w)ال")  # the alef of it is silent in plain letters
_SERVANT = re.compile(r"\b(?:(عبد)|abd(?:[aeu]l)?)[\s-]+(?:ال)?", re.IGNORECASE)
"""Half of a name: Abdul Rahman is Abdulrahman."""
_SOUNDS = (
    # The first that fits, from left to right: one sound in the spellings of several languages.
    ("sch|sh|ch|tch|ts|dz|z|s", "s"),
    ("ph", "f"),
    ("ck|kh|gh|x(?=$)|k|q|g|c", "k"),
    ("x", "ks"),
    ("th|dh|d|t", "t"),
    ("w|v|b", "b"),
    ("h(?=$)|[aeiouyj]", ""),
)
_SOUND = re.compile("|".join(f"(?P<s{at}>{spelled})" for at, (spelled, _) in enumerate(_SOUNDS)))
_TWICE = re.compile(r"(.)\1+")


class Likeness(IntEnum):
    """What two names have in common, the most last."""

    UNKNOWN = 0
    NOTHING = 1
    ONE_WORD = 2
    ALIKE = 3
    SAME_BUT_FEWER = 4
    SAME = 5


@dataclass(frozen=True, slots=True)
class Name:
    """One writing of a name, its words in plain small letters; `foreign`: in another script."""

    words: tuple[str, ...]
    foreign: bool = False


@lru_cache(maxsize=4096)
def read_names(text: str) -> tuple[Name, ...]:
    """Every writing of a name: of a PN (PS3.5 6.2.1) each component group without prefix and
    suffix, of another text the whole of it."""
    found: dict[Name, None] = {}
    for group in clean(text[:LONGEST_NAME]).split("=")[:3]:
        name = _read(" ".join(group.split("^")[:3]))
        if name.words:
            found[name] = None
    return tuple(found)


def _read(text: str) -> Name:
    text = _SERVANT.sub(lambda found: found[1] or "abdul", text)
    plain = text if text.isascii() else anyascii(_ARTICLE.sub("", text))
    plain = plain.lower().replace("'", "").replace("`", "")
    words = _WORD.findall(plain[:LONGEST_NAME])[:MOST_WORDS]
    names = [word for word in words if word not in _TITLES]
    return Name(tuple(names or words), _is_foreign(text))


def _is_foreign(text: str) -> bool:
    # Latin letters with their marks end at U+024F; Vietnamese has more of them from U+1E00 on.
    return any(mark > "\u024f" and not "\u1e00" <= mark <= "\u1eff" for mark in text)


@lru_cache(maxsize=65536)
def consonants(word: str) -> str:
    """What is left of a word in whatever language it was spelled."""
    if len(word) > 5 and word[:2] in ("al", "el"):  # an article, or the same letters on both sides
        word = word[2:]
    return _SOUND.sub(_sound, _TWICE.sub(r"\1", word))


def _sound(found: re.Match[str]) -> str:
    assert found.lastgroup is not None
    return _SOUNDS[int(found.lastgroup[1:])][1]


class NameComparison:
    """The names of one patient, beside those of many studies.

    `vocabulary` has the words of all studies: each is compared with the patient's once.
    """

    def __init__(self, names: Iterable[Name], vocabulary: Iterable[str]) -> None:
        self._names = tuple(dict.fromkeys(names))
        words = {word for name in self._names for word in name.words}
        known = tuple(dict.fromkeys(vocabulary))
        by_consonants: dict[str, list[str]] = {}
        for word in known:
            by_consonants.setdefault(consonants(word), []).append(word)
        sounds = tuple(sound for sound in by_consonants if sound)
        self._like: Mapping[str, Mapping[str, float]] = {
            word: _likes(word, known) for word in words
        }
        self._sounds: Mapping[str, Mapping[str, float]] = {
            word: {
                other: 0.95 * likeness
                for sound, likeness in _likes(consonants(word), sounds).items()
                for other in by_consonants[sound]
            }
            for word in words
        }
        self._near = {
            other for found in (*self._like.values(), *self._sounds.values()) for other in found
        }

    def may_have_one(self, name: Name) -> bool:
        """Whether a word of a name is like one of the patient's; quick."""
        return not self._near.isdisjoint(name.words)

    def best(self, names: Iterable[Name]) -> tuple[Likeness, float]:
        """What the patient's names and a study's have in common, and how alike they are, from 0
        to 1. UNKNOWN where one of them has none."""
        return max(
            (self._compare(one, other) for other in names for one in self._names),
            default=(Likeness.UNKNOWN, 0.0),
        )

    def _compare(self, one: Name, other: Name) -> tuple[Likeness, float]:
        foreign = one.foreign != other.foreign
        pairs = self._pairs(one, other, foreign)
        fewer = min(len(one.words), len(other.words))
        more = max(len(one.words), len(other.words))
        mean = sum(pairs) / more
        if len(pairs) == fewer and (fewer > 1 or more == 1):
            if min(pairs) == 1.0:
                return (Likeness.SAME if fewer == more else Likeness.SAME_BUT_FEWER), mean
            return Likeness.ALIKE, mean
        if fewer != more:
            joined = _joined(one, other, foreign)
            if joined >= JOINED_FROM:
                return (Likeness.SAME if joined == 1.0 else Likeness.ALIKE), joined
        some = any(likeness > _INITIAL for likeness in pairs)
        return (Likeness.ONE_WORD if some else Likeness.NOTHING), mean

    def _pairs(self, one: Name, other: Name, foreign: bool) -> list[float]:
        """The likeness of the words that belong together, each taken once, the most alike first."""
        ways: list[tuple[float, int, int]] = []
        for at, word in enumerate(one.words):
            like, sounds = self._like[word], self._sounds[word] if foreign else {}
            for position, another in enumerate(other.words):
                likeness = max(like.get(another, 0.0), sounds.get(another, 0.0))
                if not likeness and 1 in (len(word), len(another)) and word[0] == another[0]:
                    likeness = _INITIAL
                if likeness:
                    ways.append((likeness, at, position))
        ways.sort(reverse=True)
        left: set[int] = set()
        right: set[int] = set()
        pairs: list[float] = []
        for likeness, at, position in ways:
            if at not in left and position not in right:
                left.add(at)
                right.add(position)
                pairs.append(likeness)
        return pairs


def _likes(word: str, words: Sequence[str]) -> dict[str, float]:
    """The words that are like a word, and how much. In short ones each letter counts."""
    if len(word) < 4:
        return {word: 1.0} if word in words else {}
    found = process.extract(
        word,
        words,
        scorer=OSA.normalized_similarity,
        score_cutoff=ALIKE_FROM,
        limit=None,
    )
    return {other: likeness for other, likeness, _ in found if len(other) > 3 or other == word}


def _joined(one: Name, other: Name, foreign: bool) -> float:
    """The likeness of two names whose words are divided otherwise, the family name first or
    last."""
    here = "".join(one.words)
    best = 0.0
    for words in (
        other.words,
        other.words[1:] + other.words[:1],
        other.words[-1:] + other.words[:-1],
    ):
        there = "".join(words)
        best = max(best, OSA.normalized_similarity(here, there))
        if foreign and consonants(here) == consonants(there):
            best = max(best, 0.95)
    return best
