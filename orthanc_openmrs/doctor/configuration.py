"""Orthanc's configuration, read from its files as Orthanc reads them.

Decides: which files count, what a comment is, how `${ENV}` is replaced, and the words for what
Orthanc would refuse. Tried on Orthanc 1.10.1: of a folder, every *.json in it but none of its
subfolders; a key of the root may stand in one file only; of a key that stands twice in a file the
last one counts; variables are replaced before the text is read, once, and with nothing where they
aren't set; what comes after the closing brace is ignored. On 1.13.0: of several paths all are
read alike, and relative paths in them count from the first.
"""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

# The standard library's parser on a text whose comments are blanks: JSON5's parsers would take
# single quotes and bare keys too, which jsoncpp refuses, and then Orthanc doesn't start.
# (jsoncpp also takes the numbers +1, 01 and 1., which are refused here.)
_COMMENT = r"//[^\n]*+|(?>/\*.*?\*/)"
_TOKEN = re.compile(rf'"(?:\\.|[^"\\])*+"|{_COMMENT}|,(?=(?:\s++|{_COMMENT})*+[\]}}])', re.DOTALL)

_VARIABLE = re.compile(r"\$\{([^:}]+)(?::-([^}]*))?\}")


class Unreadable(Exception):
    """Orthanc wouldn't start with this: `where` is the file, with line and column where known."""

    def __init__(self, where: str, meaning: str, advice: str) -> None:
        super().__init__(f"{where}: {meaning}")
        self.where = where
        self.meaning = meaning
        self.advice = advice


@dataclass(frozen=True, slots=True)
class Reading:
    """A configuration. `folder` is where its relative paths count from, `origin` the file of each
    key; `unset` are variables that the environment doesn't have, with the keys whose values name
    them (not comments); `twice` are keys that stand twice in a file, of which the last one counts.
    """

    values: Mapping[str, Any] = field(repr=False)
    folder: Path
    files: tuple[Path, ...] = ()
    origin: Mapping[str, Path] = field(default_factory=dict)
    unset: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    twice: Mapping[str, Path] = field(default_factory=dict)


_ONE_SCRIPT = (
    'keep one of the two scripts, and let it start the other: docs/installation.md, "Beside '
    'another script"'
)


def read_configuration(path: Path, environment: Mapping[str, str]) -> Reading:
    """The configuration in a file or a folder. Raises Unreadable."""
    return read_configurations([path], environment)


def read_configurations(paths: Sequence[Path], environment: Mapping[str, str]) -> Reading:
    """The configuration in several files and folders, which Orthanc 1.13 takes. Raises
    Unreadable."""
    paths = [path.resolve() for path in paths]
    files = [file for path in paths for file in _files(path)]
    values: dict[str, Any] = {}
    origin: dict[str, Path] = {}
    unset: dict[str, set[str]] = {}
    twice: dict[str, Path] = {}
    for file in files:
        found = _read(file, environment)
        for key in found.values:
            if key in origin:
                raise Unreadable(
                    str(file),
                    f'has the section "{key}", which {origin[key].name} has too: Orthanc takes a '
                    "section from one file only",
                    _ONE_SCRIPT
                    if key == "PythonScript"
                    else f'put all of "{key}" into one of the two files',
                )
            origin[key] = file
        values |= found.values
        twice |= dict.fromkeys(found.twice, file)
        for name, keys in found.unset.items():
            unset.setdefault(name, set()).update(keys)
    first = paths[0]
    folder = first if first.is_dir() else first.parent
    named = {name: tuple(sorted(keys)) for name, keys in sorted(unset.items())}
    return Reading(values, folder, tuple(files), origin, named, twice)


def _files(path: Path) -> list[Path]:
    try:
        if not path.is_dir():
            return [path]
        files = sorted(one for one in path.iterdir() if one.suffix.lower() == ".json")
    except OSError as problem:
        raise _no_access(path, problem) from None
    files = [one for one in files if one.is_file()]
    if not files:
        raise Unreadable(
            str(path), "has no file *.json", "give the folder or the file that Orthanc is given"
        )
    return files


@dataclass(frozen=True, slots=True)
class _File:
    values: dict[str, Any]
    twice: frozenset[str]
    unset: dict[str, set[str]]


def _read(file: Path, environment: Mapping[str, str]) -> _File:
    try:
        text = file.read_bytes().decode("utf-8-sig", "replace")
    except OSError as problem:
        raise _no_access(file, problem) from None
    unset: set[str] = set()

    def value(found: re.Match[str], marked: bool = False) -> str:
        name, default = found.groups()
        if name not in environment and default is None:
            unset.add(name)
            return f"{_BEFORE}{name}{_AFTER}" if marked else ""
        return environment.get(name, default or "")

    values, twice = _parsed(file, _VARIABLE.sub(value, text))
    places: dict[str, set[str]] = {}
    if unset:
        marked = _VARIABLE.sub(partial(value, marked=True), text.translate(_NO_MARKS))
        with suppress(Unreadable):  # a variable beside the texts: its place isn't known
            for key, one in _parsed(file, marked)[0].items():
                for name in _MARKED.findall(json.dumps(one, ensure_ascii=False)):
                    places.setdefault(name, set()).add(key)
    return _File(values, twice, places)


# What stands for a variable that isn't set, of Unicode's private use.
_BEFORE, _AFTER = "\ue000", "\ue001"
_MARKED = re.compile(f"{_BEFORE}(.*?){_AFTER}")
_NO_MARKS = str.maketrans(dict.fromkeys(f"{_BEFORE}{_AFTER}", "\ufffd"))


def _parsed(file: Path, text: str) -> tuple[dict[str, Any], frozenset[str]]:
    """The values of a file, and the keys of its root that stand twice."""
    text = _TOKEN.sub(_without_comment, text)
    start = len(text) - len(text.lstrip())
    root: list[tuple[str, Any]] = []

    def made(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        root[:] = pairs  # the root comes last
        return dict(pairs)

    # Not strict: jsoncpp takes line breaks in a text, up to Orthanc 1.12 at least.
    decoder = json.JSONDecoder(strict=False, parse_constant=_refuse, object_pairs_hook=made)
    try:
        found, _ = decoder.raw_decode(text, start)
    except json.JSONDecodeError as problem:
        raise Unreadable(
            f"{file}:{problem.lineno}:{problem.colno}",
            f"is no JSON: {problem.msg}",
            "fix this line, or the one before it: Orthanc doesn't start with it",
        ) from None
    except (ValueError, RecursionError) as problem:
        raise Unreadable(str(file), f"is no JSON: {problem}", "fix it") from None
    if not isinstance(found, dict):
        raise Unreadable(str(file), "is no JSON object", "put braces { } around its keys")
    counts = Counter(key for key, _ in root)
    return found, frozenset(key for key, count in counts.items() if count > 1)


def _without_comment(found: re.Match[str]) -> str:
    """Strings stay; comments and commas before a closing bracket become blanks, so that lines and
    columns stay those of the file."""
    token = found[0]
    return token if token[0] == '"' else re.sub(r"[^\n]", " ", token)


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON value")


def _no_access(path: Path, problem: OSError) -> Unreadable:
    if isinstance(problem, PermissionError):
        return Unreadable(str(path), "can't be read by you", "run the doctor with sudo")
    reason = (problem.strerror or type(problem).__name__).lower()
    return Unreadable(
        str(path), f"can't be read: {reason}", "give the folder or the file that Orthanc is given"
    )
