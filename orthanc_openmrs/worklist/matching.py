"""Which items answer a query (PS3.4 C.2.2.2 and K.6.1.2.2).

Decides: attribute matching, clause by clause, and the rules of a station. A query becomes a
list of `Rule`s; an item is answered where every rule passes, and the same rules explain why
not. Must not know: how items are stored or encoded.

Where Orthanc applies a query again inside the step (`host_matcher`), a key passes there only
where Orthanc's rule passes too; where the Lua filter keeps Orthanc from it, the standard alone
decides.
"""

import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache

from anyascii import anyascii

from orthanc_openmrs.worklist.attributes import POSITION
from orthanc_openmrs.worklist.charset import UNICODE, Codecs, sent, without_undeclared
from orthanc_openmrs.worklist.host_matcher import HostMatcher
from orthanc_openmrs.worklist.items import WorklistItem
from orthanc_openmrs.worklist.patterns import wildcard
from orthanc_openmrs.worklist.query import Key, Query
from orthanc_openmrs.worklist.values import clean

Test = Callable[[str], bool]
Texts = Callable[[WorklistItem], tuple[str, ...]]

_WILDCARD_VRS = frozenset(("AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"))
_RANGE_VRS = frozenset(("DA", "DT", "TM"))

_DATE = "ScheduledProcedureStepStartDate"
_TIME = "ScheduledProcedureStepStartTime"
_STATION = "ScheduledStationAETitle"


@dataclass(frozen=True, slots=True)
class Station:
    """What is configured for one calling AE title (`OpenMRS.Stations`).

    `ae_titles` are the titles under which its steps are scheduled. `days_back` and
    `days_ahead` bound the dates for queries that name none; None leaves them open.
    """

    ae_titles: tuple[str, ...] = ()
    charset: str = ""
    days_back: int | None = None
    days_ahead: int | None = None


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: its AE title, its rules, whether it gets its own steps only, and the characters
    that it can be sent."""

    ae_title: str
    station: Station = field(default_factory=Station)
    own_steps_only: bool = False
    codecs: Codecs = UNICODE

    @property
    def ae_titles(self) -> tuple[str, ...]:
        """The caller's title first, then its aliases."""
        others = (title for title in self.station.ae_titles if title != self.ae_title)
        return (self.ae_title, *others)


@dataclass(frozen=True, slots=True)
class Rule:
    """One condition on an item, and what it asks, in words.

    `index` and `exact` serve the index: the items that pass are exactly those whose value of
    the key `index` is one of `exact` (or, for a date, lies in the interval).
    """

    name: str
    asks: str
    passes: Callable[[WorklistItem], bool]
    index: str = ""
    exact: tuple[str, ...] | None = None
    interval: tuple[str, str] | None = None


def rules(
    query: Query, caller: Caller, day: Callable[[int], str], host: HostMatcher | None = None
) -> tuple[Rule, ...]:
    """The rules of a query. `day(n)` is the date (DA) n days from today; `host` is Orthanc's
    own matcher, which has a say where the query's step isn't open."""
    host = host or HostMatcher()
    inside = {key.keyword: key for key in query.step_keys or ()}
    lost = query.letters_lost and host.codec == "utf-8"
    found: list[Rule] = [_station_rule(query, caller, host)]
    if not _asks(inside.get(_DATE)):
        found += _window_rule(caller.station, day)
    found += [
        _key_rule(key, caller, letters_lost=lost)
        for key in query.keys
        # An optional key that OpenMRS has no value for never restricts (K.2.2.1.2).
        if _asks(key) and key.keyword in POSITION
    ]
    for key in query.step_keys or ():
        if key.keyword in (_STATION, _TIME) or key.vr == "SQ":
            continue
        theirs = None
        if key.has_value and not query.open_step:
            theirs = host.test(key, query.charset)
        if (_asks(key) and key.keyword in POSITION) or theirs is not None:
            found.append(_key_rule(key, caller, theirs, letters_lost=lost))
    times = StartTimes(query, host)
    if times.asks:
        asks = query.text(_TIME)
        found.append(Rule(_TIME, asks, lambda item: times.answered(item) is not None, _TIME))
    return tuple(found)


def _asks(key: Key | None) -> bool:
    """Whether the key restricts: zero length or a lone `*` is universal (C.2.2.2.3), so is a list
    of nothing. So is a name of delimiters and `*` alone, for a component that is missing is empty
    (PS3.5 6.2.1)."""
    if key is None or key.vr == "SQ":
        return False
    return bool(key.text.strip("*^= \\" if key.vr == "PN" else "* \\"))


def _key_rule(
    key: Key, caller: Caller, theirs: Test | None = None, *, letters_lost: bool = False
) -> Rule:
    """`theirs` is what Orthanc will say of the value, where it has a say."""
    name = key.keyword or f"{key.tag:08X}"
    position = POSITION.get(key.keyword)
    if position is None:
        # A tag that the dictionary doesn't know isn't answered.
        passed = theirs is None or (bool(key.keyword) and theirs(""))
        return Rule(name, key.text, lambda item: passed)
    ours = _key_test(key) if _asks(key) else _any
    if letters_lost:
        ours = _also_lost(key.vr, ours)
    further = _further_texts(key, caller.codecs)

    def passes(item: WorklistItem) -> bool:
        value = item.values[position]
        if theirs is not None and not theirs(sent(key.vr, value, caller.codecs)):
            return False
        return ours(value) or (further is not None and any(map(ours, further(item))))

    exact, interval = _index_of(key) if _asks(key) else (None, None)
    if theirs is not None and not all(map(theirs, exact or filter(None, interval or ()))):
        exact, interval = None, None
    return Rule(name, key.text, passes, key.keyword, exact, interval)


def _index_of(key: Key) -> tuple[tuple[str, ...] | None, tuple[str, str] | None]:
    """The values that the index has for a key, as `Rule.exact` and `Rule.interval`."""
    text = key.text.strip()
    if key.keyword in ("Modality", "PatientID") and not set(text) & set("*?\\"):
        return (indexed(key.keyword, text),), None
    if key.keyword == _DATE:
        if re.fullmatch(r"\d{8}", text, re.ASCII):
            return (text,), None
        if found := re.fullmatch(r"(\d{8})?-(\d{8})?", text, re.ASCII):
            return None, (found[1] or "", found[2] or "99999999")
    return None, None


def indexed(keyword: str, value: str) -> str:
    """A value as the index has it: what an equal key is equal to."""
    return value.casefold() if keyword == "PatientID" else value


def _any(value: str) -> bool:
    return True


def _key_test(key: Key) -> Test:
    """The test of a key on a value."""
    if key.keyword == "PatientID":  # without regard to case, as images are linked
        folded = attribute_test(key.vr, key.text.casefold())
        return lambda value: folded(value.casefold())
    return attribute_test(key.vr, key.text)


def _also_lost(vr: str, test: Test) -> Test:
    """The test where letters of the query may have been lost on its way."""
    if vr not in _WILDCARD_VRS:
        return test
    return lambda value: (
        test(value)
        or (not value.isascii() and bool(left := without_undeclared(value)) and test(left))
    )


def _further_texts(key: Key, codecs: Codecs) -> Texts | None:
    """What a key is compared with beside the value: what of it the scanner was sent, and an
    accession number in full, as OpenMRS shows it and a bar code has it."""
    position = POSITION[key.keyword]
    # A short number is none in full, for that one is longer than the value.
    if key.keyword == "AccessionNumber" and (len(key.text) > 16 or set(key.text) & set("*?\\")):

        def numbers(item: WorklistItem) -> tuple[str, ...]:
            value, whole = item.values[position], item.request.accession_number
            # What isn't longer is the value already, or is by its cleaning.
            full = (clean(whole),) if len(whole) > len(value) else ()
            return full if value.isascii() else (*full, sent(key.vr, value, codecs))

        return numbers
    if codecs == UNICODE:
        return None
    return lambda item: (sent(key.vr, item.values[position], codecs),)


# --- the rules of a station ----------------------------------------------------------------


def _station_rule(query: Query, caller: Caller, host: HostMatcher) -> Rule:
    station = StationTitles(query, caller, host)
    position = POSITION[_STATION]
    asks = station.asked or (" or ".join(caller.ae_titles) if caller.own_steps_only else "")
    return Rule(
        _STATION,
        asks,
        lambda item: station.answered(item.values[position]) is not None,
        _STATION,
        station.short_list(),
    )


class StationTitles:
    """Whose steps a station gets, and under which AE title.

    A query's ScheduledStationAETitle decides, with the caller's own titles and rules.
    """

    def __init__(self, query: Query, caller: Caller, host: HostMatcher | None = None) -> None:
        self._caller = caller
        self.asked = ""
        self._test: Test = _any
        self._theirs: Test = _any
        for key in query.step_keys or ():
            if key.keyword == _STATION and _asks(key):
                self.asked = key.text.strip()
                self._test = attribute_test("AE", key.text)
            if key.keyword == _STATION and key.has_value and not query.open_step:
                self._theirs = (host or HostMatcher()).test(key, query.charset)
        parts = (part.strip() for part in self.asked.split("\\"))
        self._wanted = [part for part in parts if part and not set(part) & set("*?")]

    def short_list(self) -> tuple[str, ...] | None:
        """The AE titles of the steps that the station can get, None where that isn't a short list.

        "" stands among them, for steps without an AE title belong to every station.
        """
        caller = self._caller
        if self._theirs is not _any and not self._theirs(self.asked):
            return None
        if not self.asked:
            return ("", *caller.ae_titles) if caller.own_steps_only else None
        if set(self.asked) & set("*?\\"):
            return None
        aliases = caller.ae_titles if self.asked in caller.ae_titles else ()
        return ("", *dict.fromkeys((self.asked, *aliases)))

    def answered(self, title: str) -> str | None:
        """The ScheduledStationAETitle of the answer, None where the step isn't the station's.

        `title` is the step's own, "" for a step of every station. A step that is the caller's
        under another of its titles, or anybody's, is answered under the title that was asked
        for, else under the caller's own.
        """
        return next((one for one in self._fitting(title) if self._theirs(one)), None)

    def _fitting(self, title: str) -> Iterator[str]:
        titles = self._caller.ae_titles
        if not self.asked:
            if not title:
                yield self._caller.ae_title
            elif not self._caller.own_steps_only or title in titles:
                yield title
        elif title and self._test(title):
            yield title
        elif not title or (
            title in titles and (not self._wanted or set(self._wanted) & set(titles))
        ):
            yield from (one for one in (*titles, *self._wanted) if self._test(one))


def _window_rule(station: Station, day: Callable[[int], str]) -> list[Rule]:
    if station.days_back is None and station.days_ahead is None:
        return []
    first = day(-station.days_back) if station.days_back is not None else ""
    last = day(station.days_ahead) if station.days_ahead is not None else "99999999"
    position = POSITION["ScheduledProcedureStepStartDate"]
    return [
        Rule(
            "DateWindow",
            f"{first}-{last if last != '99999999' else ''}",
            lambda item: first <= item.values[position] <= last,
            "ScheduledProcedureStepStartDate",
            interval=(first, last),
        )
    ]


def _without_window(caller: Caller) -> Caller:
    return replace(caller, station=replace(caller.station, days_back=None, days_ahead=None))


# --- dates and times ------------------------------------------------------------------------


class StartTimes:
    """Which times of the day a query asks for (C.2.2.2.5 and K.6.1.2.2).

    Where date and time are both ranges, they are one interval, from the first date and time to
    the last. A step without a time is answered with one that was asked for.
    """

    def __init__(self, query: Query, host: HostMatcher | None = None) -> None:
        inside = {key.keyword: key for key in query.step_keys or ()}
        key = inside.get(_TIME)
        self.asks = key is not None and key.has_value
        self._tests: tuple[Test, ...] = ()
        self._first_time = ""
        self._interval: tuple[str, str] | None = None
        if key is None or not self.asks:
            return
        self._first_time = _time(re.split(r"[-\\]", key.text.strip())[0] or "0", "0")
        date = inside.get(_DATE)
        if query.open_step and date is not None and "-" in date.text and "-" in key.text:
            self._interval = _interval(date.text, key.text)
        elif _asks(key):
            self._tests = (attribute_test("TM", key.text),)
        if not query.open_step:
            self._tests += ((host or HostMatcher()).test(key, query.charset),)

    def answered(self, item: WorklistItem) -> str | None:
        """The ScheduledProcedureStepStartTime of the answer, None where the item's isn't asked
        for."""
        date, time = item.values[_DATE_POSITION], item.values[_TIME_POSITION]
        if not item.untimed:
            return time if self._fits(date, time) else None
        return next((one for one in (time, self._first_time) if self._fits(date, one)), None)

    def _fits(self, date: str, time: str) -> bool:
        if self._interval is not None:
            return self._interval[0] <= date + time <= self._interval[1]
        return all(test(time) for test in self._tests)


_DATE_POSITION = POSITION[_DATE]
_TIME_POSITION = POSITION[_TIME]


def _interval(dates: str, times: str) -> tuple[str, str]:
    """The first and the last moment of two ranges, as date and time in one text."""
    first_date, _, last_date = (part.strip() for part in _digits(dates).partition("-"))
    first_time, _, last_time = (part.strip() for part in times.partition("-"))
    return (
        first_date + _time(first_time, "0") if first_date else "",
        last_date + _time(last_time, "9") if last_date else "99999999",
    )


def interval_rules(
    query: Query, caller: Caller, day: Callable[[int], str], host: HostMatcher | None = None
) -> tuple[Rule, ...] | None:
    """The rules with date and time as one interval, where Orthanc lets nobody answer so: to tell
    what is missing. None where nothing is.

    Orthanc drops a step whose time of the day lies outside the range of times, whatever its date.
    """
    inside = {key.keyword: key for key in query.step_keys or ()}
    dates, times = (inside[name].text if name in inside else "" for name in (_DATE, _TIME))
    if query.open_step or "-" not in dates or "-" not in times:
        return None
    asked = StartTimes(replace(query, open_step=True))
    others = tuple(key for key in query.step_keys or () if key.keyword not in (_DATE, _TIME))
    return (
        *rules(replace(query, step_keys=others), _without_window(caller), day, host),
        Rule(_TIME, f"{dates} {times}", lambda item: asked.answered(item) is not None),
    )


# --- attribute matching (C.2.2.2) ----------------------------------------------------------


@lru_cache(maxsize=1024)
def attribute_test(vr: str, text: str) -> Test:
    """The test of one key by its VR and text, as the standard says. Blanks at the ends say
    nothing (PS3.5 Table 6.2-1)."""
    text = text.strip()
    if "\\" in text:
        return _list_of_values(vr, tuple(text.split("\\")))
    if vr in _RANGE_VRS:
        return _moments(vr, text)
    if vr == "PN":
        return _person_name(text)
    if vr in _WILDCARD_VRS and ("*" in text or "?" in text):
        pattern = wildcard(text)
        return lambda value: bool(pattern.fullmatch(value))
    return lambda value: value == text


def _list_of_values(vr: str, texts: tuple[str, ...]) -> Test:
    """C.2.2.2.2 List of UID Matching; other VRs by the same rule, as Orthanc does."""
    tests = tuple(attribute_test(vr, text) for text in texts if text.strip())
    return lambda value: any(test(value) for test in tests)


def _moments(vr: str, text: str) -> Test:
    if not text.strip("*"):
        return lambda value: True
    if vr == "DA":
        text = _digits(text)
    if "-" in text:
        return _range(vr, text)
    if vr == "TM":
        return _single_time(text)
    return lambda value: value == text


def _digits(date: str) -> str:
    """A DA, also as ACR-NEMA had it: 2025.07.03 (PS3.5 Table 6.2-1, note of DA)."""
    return re.sub(r"(\d{4})\.(\d{2})\.(\d{2})", r"\1\2\3", date)


def _range(vr: str, text: str) -> Test:
    """C.2.2.2.5 Range Matching, inclusive; an unknown value lies in no range."""
    first, _, last = (part.strip() for part in text.partition("-"))
    if vr == "TM":
        first, last = first and _time(first, "0"), last and _time(last, "9")
    return lambda value: bool(value) and first <= value and (not last or value <= last)


def _time(text: str, fill: str) -> str:
    """A TM of less than six digits, filled up to its first ("0") or last ("9") moment."""
    digits = text.replace(":", "").partition(".")[0]
    return digits[:6].ljust(6, fill)


def _single_time(text: str) -> Test:
    """C.2.2.2.1 Single Value Matching on TM: missing digits are open (PS3.5 6.2, TM)."""
    digits = text.replace(":", "").partition(".")[0]
    return lambda value: bool(value) and value.startswith(digits)


# --- person names ---------------------------------------------------------------------------


def _person_name(text: str) -> Test:
    """C.2.2.2.1 lets PN be matched without regard to case and accents, as here; across
    scripts too, for a station that shows transliterated names asks for those.

    A query may have an alphabetic, an ideographic and a phonetic group; OpenMRS has one name, in
    one script, and any group may be it.
    """
    groups = [group for group in map(_name, text.split("=")) if group.strip("*^")]
    tests = [_group(group) for group in groups]
    if not tests:
        return lambda value: True
    return lambda value: any(test(value) for test in tests)


def _group(text: str) -> Test:
    """One component group. Components that are missing are empty (PS3.5 6.2.1), and one name is
    found as the given name too."""
    spellings = tuple(dict.fromkeys(spell(text) for spell in _SPELLINGS))
    patterns = tuple((wildcard(spelling), spelling.count("^")) for spelling in spellings)
    if not ("*" in text or "?" in text):
        given = (one[1:] for one in spellings if one.startswith("^") and one.count("^") == 1)
        known = frozenset((*spellings, *given))
        return lambda value: not known.isdisjoint(_spellings_of(value))
    if not any(delimiters for _, delimiters in patterns):
        plain = tuple(pattern.fullmatch for pattern, _ in patterns)

        def fits(value: str) -> bool:
            for spelling in _spellings_of(value):  # a loop, for thousands of names
                for fullmatch in plain:
                    if fullmatch(spelling):
                        return True
            return False

        return fits

    def fits_by_component(value: str) -> bool:
        for spelling in _spellings_of(value):
            for pattern, delimiters in patterns:
                for whole in _with_delimiters(spelling, delimiters):
                    if pattern.fullmatch(whole):
                        return True
        return False

    return fits_by_component


def _with_delimiters(name: str, delimiters: int) -> tuple[str, ...]:
    """A name with as many delimiters as a query has, one name also as the given name."""
    there = name.count("^")
    whole = name + "^" * (delimiters - there)
    return (whole,) if there or not delimiters else (whole, "^" + whole[:-1])


def _name(text: str) -> str:
    """One group, without the delimiters that say nothing (PS3.5 6.2.1: trailing null
    components)."""
    return re.sub(r"\s*\^\s*", "^", text.strip()).rstrip("^")


def without_accents(text: str) -> str:
    """In small letters, combining marks removed."""
    decomposed = unicodedata.normalize("NFKD", text)
    return "".join(mark for mark in decomposed if not unicodedata.combining(mark)).casefold()


_SPELLINGS: tuple[Callable[[str], str], ...] = (
    without_accents,
    lambda text: anyascii(unicodedata.normalize("NFC", text)).casefold(),
)


@lru_cache(maxsize=65536)
def _spellings_of(value: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(spell(_name(value)) for spell in _SPELLINGS))


def holds(text: str) -> Callable[[WorklistItem], bool]:
    """What a person searches for: whether each word stands in a patient's name, in any spelling,
    or in one of the numbers of an item."""
    words = without_accents(text).split()
    if not words:
        return lambda item: True

    def test(item: WorklistItem) -> bool:
        spellings = _spellings_of(item["PatientName"])
        numbers = [item[keyword].casefold() for keyword in SEARCHED]
        numbers.append(clean(item.request.accession_number).casefold())
        return all(any(word in found for found in (*spellings, *numbers)) for word in words)

    return test


SEARCHED = ("PatientID", "AccessionNumber", "RequestedProcedureID", "ScheduledProcedureStepID")
