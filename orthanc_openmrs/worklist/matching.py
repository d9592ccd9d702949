"""Which items answer a query (PS3.4 C.2.2.2 and K.6.1.2.2).

Decides: attribute matching, clause by clause, and the rules of a station. A query becomes a
list of `Rule`s; an item is answered where every rule passes, and the same rules explain why
not. Must not know: how items are stored or encoded.

Orthanc applies a query again inside the step when an answer is added, by rules of its own
(`HierarchicalMatcher`); a step that fails them would be answered without its sequence. So
inside the step a key passes only where Orthanc's rule passes too.
"""

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache

from anyascii import anyascii

from orthanc_openmrs.worklist.attributes import POSITION
from orthanc_openmrs.worklist.charset import sent
from orthanc_openmrs.worklist.items import WorklistItem
from orthanc_openmrs.worklist.query import Key, Query

Test = Callable[[str], bool]

_WILDCARD_VRS = frozenset(("AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"))
_RANGE_VRS = frozenset(("DA", "DT", "TM"))


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
    """Who asks: its AE title, its rules, and whether it gets its own steps only."""

    ae_title: str
    station: Station = field(default_factory=Station)
    own_steps_only: bool = False

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
    query: Query, caller: Caller, day: Callable[[int], str], codec: str = "utf-8"
) -> tuple[Rule, ...]:
    """The rules of a query. `day(n)` is the date (DA) n days from today; `codec` holds the
    characters that the caller can be sent."""
    found: list[Rule] = [_station_rule(query, caller)]
    inside = {key.keyword: key for key in query.step_keys or ()}
    if not _asks(inside.get("ScheduledProcedureStepStartDate")):
        found += _window_rule(caller.station, day)
    for key in query.keys:
        if _asks(key) and key.keyword in POSITION:
            found.append(_key_rule(key, attribute_test(key.vr, key.text)))
    for key in query.step_keys or ():
        if not _asks(key) or key.keyword == "ScheduledStationAETitle":
            continue
        orthanc = _answered_test(key, codec)
        if key.keyword not in POSITION:
            if not orthanc(""):
                found.append(Rule(key.keyword or f"{key.tag:08X}", key.text, lambda item: False))
        else:
            found.append(_key_rule(key, attribute_test(key.vr, key.text), orthanc))
    return tuple(found)


def _asks(key: Key | None) -> bool:
    """Whether the key restricts: zero length or a lone `*` is universal (C.2.2.2.3)."""
    return key is not None and key.vr != "SQ" and key.text.strip("*") != ""


def _key_rule(key: Key, *tests: Test) -> Rule:
    position = POSITION[key.keyword]

    def passes(item: WorklistItem) -> bool:
        value = item.values[position]
        return all(test(value) for test in tests)

    exact: tuple[str, ...] | None = None
    interval: tuple[str, str] | None = None
    if key.keyword in ("Modality", "PatientID") and not set(key.text) & set("*?\\"):
        exact = (key.text,)
    elif key.keyword == "ScheduledProcedureStepStartDate":
        if re.fullmatch(r"\d{8}", key.text):
            exact = (key.text,)
        elif found := re.fullmatch(r"(\d{8})?-(\d{8})?", key.text):
            interval = (found[1] or "", found[2] or "99999999")
    return Rule(key.keyword, key.text, passes, key.keyword, exact, interval)


# --- the rules of a station ----------------------------------------------------------------


def _station_rule(query: Query, caller: Caller) -> Rule:
    text = asked_ae_title(query)
    position = POSITION["ScheduledStationAETitle"]

    def passes(item: WorklistItem) -> bool:
        title = item.values[position]
        return answered_ae_title(title, text, caller) is not None

    asks = text or (" or ".join(caller.ae_titles) if caller.own_steps_only else "")
    exact = _station_titles(text, caller)
    return Rule("ScheduledStationAETitle", asks, passes, "ScheduledStationAETitle", exact)


def asked_ae_title(query: Query) -> str:
    """The ScheduledStationAETitle that a query asks for, "" where it leaves it open."""
    for key in query.step_keys or ():
        if key.keyword == "ScheduledStationAETitle" and _asks(key):
            return key.text
    return ""


def _station_titles(text: str, caller: Caller) -> tuple[str, ...] | None:
    """The AE titles of the steps that a station can get, None where that isn't a short list.

    "" stands among them, for steps without an AE title belong to every station.
    """
    if not text:
        return ("", *caller.ae_titles) if caller.own_steps_only else None
    if set(text) & set("*?\\"):
        return None
    aliases = caller.ae_titles if text in caller.ae_titles else ()
    return ("", *dict.fromkeys((text, *aliases)))


def answered_ae_title(title: str, text: str, caller: Caller) -> str | None:
    """The ScheduledStationAETitle of the answer, None where the step isn't the station's.

    `title` is the step's own, "" for a step of every station; `text` is what the query asks.
    A step that is the caller's under another of its titles, or anybody's, is answered under
    the title that was asked for, else under the caller's own.
    """
    titles = caller.ae_titles
    if not text:
        if not title:
            return caller.ae_title
        return title if not caller.own_steps_only or title in titles else None
    test = orthanc_test("AE", text)
    if title and test(title):
        return title
    if title and title not in titles:
        return None
    wanted = [part for part in text.split("\\") if part and not set(part) & set("*?")]
    if title and not set(wanted) & set(titles) and wanted:
        return None
    return next((candidate for candidate in (*titles, *wanted) if test(candidate)), None)


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


_DATE_AND_TIME = ("ScheduledProcedureStepStartDate", "ScheduledProcedureStepStartTime")


def interval_rules(
    query: Query, caller: Caller, day: Callable[[int], str], codec: str = "utf-8"
) -> tuple[Rule, ...] | None:
    """The rules with date and time as K.6.1.2.2 has them where both are ranges: one interval,
    from the first date and time to the last. None where they aren't.

    Orthanc drops a step whose time of the day lies outside the range of times, whatever its
    date, so that such a query can't be answered in full; these rules tell what is missing.
    """
    inside = {key.keyword: key for key in query.step_keys or ()}
    date_text, time_text = (inside[name].text if name in inside else "" for name in _DATE_AND_TIME)
    if "-" not in date_text or "-" not in time_text:
        return None
    first_date, _, last_date = date_text.partition("-")
    first_time, _, last_time = time_text.partition("-")
    first = first_date + _time(first_time, "0") if first_date else ""
    last = last_date + _time(last_time, "9") if last_date else "9"
    date_position, time_position = (POSITION[name] for name in _DATE_AND_TIME)
    interval = Rule(
        "ScheduledProcedureStepStartDate and Time",
        f"{date_text} {time_text}",
        lambda item: first <= item.values[date_position] + item.values[time_position] <= last,
    )
    others = tuple(key for key in query.step_keys or () if key.keyword not in _DATE_AND_TIME)
    dated = rules(replace(query, step_keys=others), _without_window(caller), day, codec)
    return (*dated, interval)


# --- attribute matching (C.2.2.2) ----------------------------------------------------------


@lru_cache(maxsize=1024)
def attribute_test(vr: str, text: str) -> Test:
    """The test of one key by its VR and text, as the standard says."""
    if "\\" in text:
        return _list_of_values(vr, tuple(text.split("\\")))
    if vr in _RANGE_VRS:
        if "-" in text:
            return _range(vr, text)
        if vr == "TM":
            return _single_time(text)
        return lambda value: value == text
    if vr == "PN":
        return _person_name(text)
    if vr in _WILDCARD_VRS and ("*" in text or "?" in text):
        pattern = _wildcard(text)
        return lambda value: bool(pattern.fullmatch(value))
    return lambda value: value == text


def _list_of_values(vr: str, texts: tuple[str, ...]) -> Test:
    """C.2.2.2.2 List of UID Matching; other VRs by the same rule, as Orthanc does."""
    tests = tuple(attribute_test(vr, text.strip()) for text in texts if text.strip())
    return lambda value: any(test(value) for test in tests)


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


def _wildcard(text: str) -> re.Pattern[str]:
    """C.2.2.2.4 Wild Card Matching.

    Between two `*`, the first place that fits is as good as any other; the atomic groups say
    so, for without them a hostile pattern would take for ever.
    """
    first, *rest = (
        "".join("." if mark == "?" else re.escape(mark) for mark in part)
        for part in re.split(r"\*+", text)
    )
    middle = "".join(f"(?>.*?{part})" for part in rest[:-1])
    last = f".*{rest[-1]}" if rest else ""
    return re.compile(first + middle + last, re.DOTALL)


def _person_name(text: str) -> Test:
    """C.2.2.2.1 lets PN be matched without regard to case and accents, as here; across
    scripts too, for a station that shows transliterated names asks for those."""
    spellings = tuple(dict.fromkeys(spell(_name(text)) for spell in _SPELLINGS))
    if "*" in text or "?" in text:
        patterns = tuple(_wildcard(spelling) for spelling in spellings)
        return lambda value: any(
            pattern.fullmatch(spelling) for spelling in _spellings_of(value) for pattern in patterns
        )
    return lambda value: any(spelling in spellings for spelling in _spellings_of(value))


def _name(text: str) -> str:
    """Without the delimiters that say nothing (PS3.5 6.2.1: trailing null components)."""
    return text.partition("=")[0].strip().rstrip("^")


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
        return all(any(word in found for found in (*spellings, *numbers)) for word in words)

    return test


SEARCHED = ("PatientID", "AccessionNumber", "RequestedProcedureID", "ScheduledProcedureStepID")


def _answered_test(key: Key, codec: str) -> Test:
    """What Orthanc's matcher says of a value as it is sent: in the caller's characters."""
    text = key.raw.decode(codec, "ignore") if key.raw else key.text
    test = orthanc_test(key.vr, text)
    if codec == "utf-8":
        return test
    return lambda value: test(sent(key.vr, value, codec))


@lru_cache(maxsize=1024)
def orthanc_test(vr: str, text: str) -> Test:
    """What Orthanc's own matcher says of a value inside the step: ranges by plain comparison
    of text, lists for every VR, PN without regard to case, all else exact."""
    if vr in _RANGE_VRS and "-" in text:
        first, _, last = text.partition("-")
        return lambda value: first <= value and (not last or value <= last)
    fold: Callable[[str], str] = str.upper if vr == "PN" else str
    if "\\" in text:
        wanted = frozenset(fold(part) for part in text.split("\\"))
        return lambda value: fold(value) in wanted
    if vr in _WILDCARD_VRS and ("*" in text or "?" in text):
        # To Orthanc, "?" is one byte of UTF-8.
        pattern = _wildcard(_bytewise(fold(text)))
        return lambda value: bool(pattern.fullmatch(_bytewise(fold(value))))
    single = fold(text)
    return lambda value: fold(value) == single


def _bytewise(text: str) -> str:
    """One character for each byte of UTF-8."""
    return text.encode("utf-8", "replace").decode("latin-1")
