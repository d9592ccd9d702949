"""A name as one text → the components of a PN (PS3.5 6.2.1).

Decides: which words are the family name, a title, a suffix. OpenMRS's list has a name as one
text, in the order title, given, middle, family, suffix, and doesn't say where one ends. The
tables below know the words that tell; without one of them, the last word is the family name.
No word is lost. Must not know: whose name it is, OpenMRS's structured names.
"""

from collections.abc import Sequence
from typing import NamedTuple

from orthanc_openmrs.worklist.values import Value, name_text, person_name


def _table(words: str) -> frozenset[str]:
    return frozenset(words.split())


_TITLES = _table(
    "dr dra mr mrs ms miss mme mlle prof professor rev fr sr sra srta eng ing lic hon "
    "ato w/ro w/rt weyzero weyzerit shri sri smt kum km b/o bo/"
)
"""Before a name, with or without a full stop. "Md" is none: in Bangladesh it is a given name."""

_RELATIONS = _table("d/o s/o w/o a/l a/p")
"""Daughter, son, wife of: also between the names of both."""

_SUFFIXES = _RELATIONS | _table(
    "jr sr jnr snr junior júnior filho neto ii iii iv md phd mbbs frcs rn esq msc bsc"
)
"""Behind a name, or behind a comma."""

_FAMILY_BEGINS = _table(
    "de del dela della delos das dos des von vom zu zur ter bin bint binti bte ibn ben ould mint "
    "بن بنت ابن ولد"
)
"""With these the family name begins, however they are written."""

_FAMILY_BEGINS_SMALL = _table("van da do di du y e")
"""With these too, in small letters: in capitals they are names as well (Vietnam's Văn, Đỗ)."""

_ARTICLES = _table("der den het la las los le")
"""Behind one of those, and before a name: de la Cruz, VAN DER BERG."""

_BOUND_TO_NEXT = _table(
    "abd abdel abdul abdal abdoul abu abou al el st saint san santa santo sainte "
    "عبد أبو ابو آل ابي أبي أم"
)
"""These make one name with the next word: Abdel Aziz."""

_GIVEN_BEHIND = _table(
    "ángeles angeles carmen rosario rosário pilar dolores mercedes fátima fatima lourdes socorro "
    "milagros conceição conceicao graça graca carmo céu luz dieu"
)
"""Behind de, da, del …: a second given name, as in María del Carmen."""

_COMMAS = str.maketrans({"،": ",", "，": ",", "、": ",", "﹐": ","})


def split_name(text: str) -> Value:
    """PN of "Title Given Middle Family Suffix", or of "Family, Given Middle".

    A text that already has the delimiter `^` is taken as PN.
    """
    name = name_text(text)
    if "^" in name:
        return person_name(name)
    parts = [part.split() for part in name.translate(_COMMAS).split(",")]
    parts = [part for part in parts if part]
    if not parts:
        return person_name(name.strip(", "))
    titles, suffixes = _taken_apart(parts)
    parts = [part for part in parts if part]
    if not parts:  # titles alone: somebody's name all the same
        return person_name(" ".join((*titles, *suffixes)))
    given: Sequence[str]
    middle: Sequence[str]
    family: Sequence[str]
    if len(parts) > 1:
        family, others = parts[0], [word for part in parts[1:] for word in part]
        first = _names(others)[0].words
        given, middle = first, others[len(first) :]
    else:
        given, middle, family = _in_order(parts[0])
    components = (family, given, middle, titles, suffixes)
    return person_name("^".join(" ".join(words) for words in components))


def _taken_apart(parts: Sequence[list[str]]) -> tuple[list[str], list[str]]:
    """Takes titles and suffixes out of the parts between commas, but the last word of all."""
    titles: list[str] = []
    suffixes: list[str] = []
    for part in parts:
        while part and _key(part[0]) in _TITLES and _more(parts):
            titles.append(part.pop(0))
        if len(part) > 1 and [_key(word) for word in part[:2]] == ["baby", "of"] and _more(parts):
            titles += [part.pop(0), part.pop(0)]
    for at, part in enumerate(parts):
        behind: list[str] = []
        while part and _key(part[-1]) in _SUFFIXES and _more(parts):
            behind.insert(0, part.pop())
        within = [word for word in part[1:-1] if _key(word) in _RELATIONS]
        parts[at][:] = [word for word in part if word not in within]
        suffixes += within + behind
    return titles, suffixes


def _more(parts: Sequence[list[str]]) -> bool:
    """Whether a name is left where one word is taken away."""
    return sum(map(len, parts)) > 1


class _Name(NamedTuple):
    """Words that make one name, and whether they begin with a particle of family names."""

    words: Sequence[str]
    particle: bool


def _in_order(words: Sequence[str]) -> tuple[Sequence[str], Sequence[str], Sequence[str]]:
    """Given, middle and family name of words in this order."""
    names = _names(words)
    if len(names) == 1:
        return (), (), words
    starts = [
        at
        for at, name in enumerate(names)
        if name.particle and _key(name.words[-1]) not in _GIVEN_BEHIND
    ]
    start = starts[0] if starts else len(names) - 1
    middle = [word for name in names[1:start] for word in name.words]
    family = [word for name in names[start:] for word in name.words]
    return names[0].words, middle, family


def _names(words: Sequence[str]) -> list[_Name]:
    names: list[_Name] = []
    at, last = 0, len(words) - 1
    while at <= last:
        start = at
        particle = at > 0 and _is_particle(words, at)
        if particle:
            at += 1
            while at < last and _key(words[at]) in _ARTICLES:
                at += 1
        while at < last and _key(words[at]) in _BOUND_TO_NEXT:
            at += 1
        at += 1
        names.append(_Name(words[start:at], particle))
    return names


def _is_particle(words: Sequence[str], at: int) -> bool:
    following = len(words) - at - 1
    if not following:
        return False
    word, key = words[at], _key(words[at])
    in_capitals = key in _FAMILY_BEGINS_SMALL and _key(words[at + 1]) in _ARTICLES and following > 1
    return key in _FAMILY_BEGINS or word in _FAMILY_BEGINS_SMALL or in_capitals


def _key(word: str) -> str:
    """A word as the tables have it."""
    return word.replace(".", "").casefold()
