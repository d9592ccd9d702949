"""Our own OpenAPI, held against answers; and the examples of docs/rest.md."""

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from jsonschema import Draft202012Validator

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "rest.md"
ADDRESS = "http://127.0.0.1:8042"
"""Where the examples ask."""


class Contract:
    """What an OpenAPI document says of each answer."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.document = document
        self.operations: dict[tuple[str, str], Any] = {
            (method.upper(), path): operation
            for path, item in document["paths"].items()
            for method, operation in item.items()
        }
        self._patterns = {
            key: re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(key[1])))
            for key in self.operations
        }

    def find(self, method: str, path: str) -> tuple[str, str] | None:
        """The operation of a path as it is asked: the one with the fewest names in it."""
        found = [
            key
            for key, pattern in self._patterns.items()
            if key[0] == method and pattern.fullmatch(urlsplit(path).path)
        ]
        return min(found, key=lambda key: key[1].count("{"), default=None)

    def check(self, method: str, path: str, status: int, body: bytes) -> None:
        """Raises where an answer isn't as the document says."""
        key = self.find(method, path)
        assert key is not None, f"{method} {path} isn't in the document"
        responses = self.operations[key]["responses"]
        assert str(status) in responses, (
            f"{method} {path}: {status} isn't in the document: {body!r}"
        )
        content = responses[str(status)]["content"]
        if "application/json" in content:
            self.validate(content["application/json"]["schema"], json.loads(body))

    def validate(self, schema: Mapping[str, Any], document: object) -> None:
        """Raises where a document doesn't fit a schema, whose references are the document's."""
        whole = {**schema, "components": self.document["components"]}
        Draft202012Validator(whole).validate(document)


@dataclass(frozen=True)
class Example:
    """A curl command of docs/rest.md."""

    command: str
    method: str
    path: str
    output: str


def examples() -> list[Example]:
    """Every curl command of docs/rest.md, in order."""
    text = DOCUMENT.read_text()
    return [_example(command) for command in re.findall(r"^ {4}(curl (?:.*\\\n)*.*)", text, re.M)]


def _example(command: str) -> Example:
    words = shlex.split(command.replace("\\\n", " "))
    method = words[words.index("-X") + 1] if "-X" in words else "GET"
    output = words[words.index("-o") + 1] if "-o" in words else ""
    (url,) = (word for word in words if word.startswith(ADDRESS))
    return Example(command, method, url.removeprefix(ADDRESS), output)
