"""Modality Worklist matching as PS3.4 has it, plainly: to hold the plugin's answers against.

Written from the standard (C.2.2.2, K.6.1.2.2, PS3.5 6.2), without a look at the plugin's code
and without an index, a cache or a regular expression. Where the standard leaves something open
(case and accents of names), `surely` says what must be answered, `perhaps` what may be.
"""

import unicodedata
from collections.abc import Mapping
from itertools import zip_longest

DATE, TIME = "ScheduledProcedureStepStartDate", "ScheduledProcedureStepStartTime"
STATION = "ScheduledStationAETitle"
NAMES = ("PatientName", "ScheduledPerformingPhysicianName", "RequestingPhysician")
DATES = (DATE, "PatientBirthDate")
EXACT = ("StudyInstanceUID",)

Values = Mapping[str, str]


def surely(query: Values, step: Values) -> bool:
    """Whether the standard wants the step answered."""
    return _matches(query, step, lenient=False)


def perhaps(query: Values, step: Values) -> bool:
    """Whether it allows the step to be answered."""
    return _matches(query, step, lenient=True)


def _matches(query: Values, step: Values, *, lenient: bool) -> bool:
    keys = {key: text.strip() for key, text in query.items()}
    if "-" in keys.get(DATE, "") and "-" in keys.get(TIME, ""):
        dates, times = keys.pop(DATE), keys.pop(TIME)
        if not _in_interval(dates, times, step):
            return False
    return all(_key(key, text, step, lenient=lenient) for key, text in keys.items())


def _key(key: str, text: str, step: Values, *, lenient: bool) -> bool:
    value = step[key]
    if text.strip("*\\ ") == "":
        return True
    if key in NAMES:
        names = [part for part in text.split("\\") if part.strip()]
        return any(_name(part, value, lenient=lenient) for part in names)
    if key == STATION and not value:
        # A step of no station is everybody's; what a pattern gets of those is left open.
        return lenient or not set(text) & set("*?")
    if key in DATES:
        return any(_moment(part, value, 8) for part in text.split("\\"))
    if key == TIME:
        return any(_moment(part, value, 6) for part in text.split("\\"))
    parts = [part.strip() for part in text.split("\\")]
    if key == "PatientID":
        parts, value = [part.lower() for part in parts], value.lower()
    if key in EXACT:
        return value in parts
    return any(part and _wild(part, value) for part in parts)


def _wild(pattern: str, text: str) -> bool:
    """C.2.2.2.4: `*` any characters, none too; `?` any one."""
    ends = {0}
    for mark in pattern:
        if mark == "*":
            ends = set(range(min(ends), len(text) + 1)) if ends else ends
        else:
            ends = {at + 1 for at in ends if at < len(text) and mark in ("?", text[at])}
    return len(text) in ends


def _moment(asked: str, value: str, digits: int) -> bool:
    """C.2.2.2.1 and C.2.2.2.5 on DA and TM; what a time leaves out is open."""
    asked = asked.strip()
    if not asked:
        return False
    first, dash, last = asked.partition("-")
    earliest, latest = _filled(first, digits, "0"), _filled(last or "9", digits, "9")
    if not value:
        return earliest <= latest  # a step of no time is at any that is asked for
    return earliest <= value <= latest if dash else value.startswith(_plain(first))


def _plain(text: str) -> str:
    return text.strip().partition(".")[0].replace(":", "")


def _filled(text: str, digits: int, fill: str) -> str:
    return _plain(text).ljust(digits, fill)


def _in_interval(dates: str, times: str, step: Values) -> bool:
    """K.6.1.2.2: from the first date and time to the last; an end without a date is open."""
    first_date, _, last_date = dates.partition("-")
    first_time, _, last_time = times.partition("-")
    first = _filled(first_date, 8, "0") + _filled(first_time, 6, "0") if first_date else ""
    last = _filled(last_date, 8, "9") + _filled(last_time or "9", 6, "9") if last_date else "9"
    if step[TIME]:
        return first <= step[DATE] + step[TIME] <= last
    return first <= step[DATE] + "235959" and step[DATE] + "000000" <= last


def _name(text: str, value: str, *, lenient: bool) -> bool:
    """C.2.2.2.1: literally, or without regard to case and accents; by component (PS3.5 6.2.1), of
    which those that are missing are empty. A group is compared with the only name that is there."""
    groups = [group for group in text.split("=") if group.strip("^* ")]
    if not groups:
        return True
    spellings = [_spelled(value)] if lenient else [value]
    if lenient:
        groups = [_spelled(group) for group in groups]
        if "^" not in value:
            spellings.append("^" + spellings[0])
    if lenient and any(group.isascii() != _spelled(value).isascii() for group in groups):
        return True  # across scripts: which letters stand for which nobody says
    return any(_components(group, name) for group in groups for name in spellings)


def _components(asked: str, name: str) -> bool:
    if "*" in asked or "?" in asked:
        missing = "^" * max(0, asked.count("^") - name.count("^"))
        return _wild(asked, name + missing)
    pairs = zip_longest(asked.split("^"), name.split("^"), fillvalue="")
    return all(one.strip() == other.strip() for one, other in pairs)


def _spelled(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(mark for mark in decomposed if not unicodedata.combining(mark))
