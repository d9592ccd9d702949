"""The vocabulary of the REST API: how arguments, bodies and answers are described.

Decides: the forms that every noun uses (texts, counts, moments, pages), and that an object's keys
stand once: with their schema, for OpenAPI, and with where their value comes from, for the answer.
Knows no noun.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

LARGEST_PAGE = 1000
"""Elements of one answer, where no `limit` asks for fewer."""

LARGEST_SINCE = 10**9

Schema = Mapping[str, Any]

TEXT: Schema = {"type": "string"}
NAME: Schema = {"type": "string", "minLength": 1}
TEXTS: Schema = {"type": "array", "items": TEXT}
COUNT: Schema = {"type": "integer", "minimum": 0}
FLAG: Schema = {"type": "boolean"}
MOMENT: Schema = {
    "type": ["string", "null"],
    "pattern": "^[0-9]{8}T[0-9]{6}Z$",
    "description": "a time in UTC, null for never",
}
ANYTHING: Schema = {"type": "object"}


class Named(dict[str, Any]):
    """A schema with a name: OpenAPI tells it once, among its components, and refers to it."""

    def __init__(self, name: str, schema: Schema) -> None:
        super().__init__(schema)
        self.name = name


def array(of: Schema) -> Schema:
    """A page of things."""
    return {"type": "array", "items": of, "maxItems": LARGEST_PAGE}


def record(optional: Mapping[str, Schema] | None = None, /, **keys: Schema) -> Schema:
    """An object with these keys and no other."""
    return {
        "type": "object",
        "properties": {**keys, **(optional or {})},
        "required": list(keys),
        "additionalProperties": False,
    }


def choice(*values: str) -> Schema:
    """One of a few words."""
    return {"type": "string", "enum": list(values)}


_Of = TypeVar("_Of")


class Keys(Generic[_Of]):
    """The keys of an object of the API, each with its schema and with what gives its value."""

    def __init__(self, rows: Mapping[str, tuple[Schema, Callable[[_Of], Any]]]) -> None:
        self._rows = dict(rows)

    @property
    def schemas(self) -> dict[str, Schema]:
        """Each key's schema."""
        return {key: schema for key, (schema, _) in self._rows.items()}

    def describe(self, of: _Of) -> dict[str, Any]:
        """The object, as it is answered."""
        return {key: value(of) for key, (_, value) in self._rows.items()}


@dataclass(frozen=True, slots=True)
class Parameter:
    """An argument of a query."""

    name: str
    summary: str
    schema: Schema


LIMIT = Parameter(
    "limit", "elements at most", {"type": "integer", "minimum": 1, "maximum": LARGEST_PAGE}
)
AFTER = Parameter(
    "after", "the cursor that Link gives; empty for the first page of a walk that is stable", TEXT
)
SINCE = Parameter(
    "since", "elements to leave out", {"type": "integer", "minimum": 0, "maximum": LARGEST_SINCE}
)
