"""webservices.rest's representations: ref, default, full and custom:(…) of one object graph.

Decides which properties of a resource are shown, and how a custom one is read. Must not know
what the resources mean.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

REF_KEYS = ("uuid", "display")


@dataclass(frozen=True)
class Resource:
    """`default` and `full` name the properties that these representations have, each with the
    representation of what it holds ("name:rep", default where there is none). A property may be
    a function, which is called when the property is shown."""

    properties: Mapping[str, object]
    default: tuple[str, ...]
    full: tuple[str, ...] = ()


class UnknownProperty(Exception):
    """A custom representation asks for what the resource doesn't have: the whole answer fails."""


class Denied:
    """A property that the account may not see is left out."""


DENIED = Denied()


def render(value: object, representation: str = "default") -> object:
    if isinstance(value, Resource):
        return _render_resource(value, representation)
    if isinstance(value, tuple | list):
        return [render(one, representation) for one in value]
    if isinstance(value, datetime):
        return java_date(value)
    return value


def java_date(moment: datetime) -> str:
    """yyyy-MM-dd'T'HH:mm:ss.SSSZ; the server runs in UTC."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + (
        f"{moment.microsecond // 1000:03d}+0000"
    )


def _render_resource(resource: Resource, representation: str) -> dict[str, object]:
    if representation.startswith("("):
        wanted = split_custom(representation)
    elif representation.lower() == "ref":
        wanted = REF_KEYS
    else:
        full = representation.lower() == "full"
        wanted = (full and resource.full) or resource.default
    shown: dict[str, object] = {}
    for item in wanted:
        name, _, inner = item.partition(":")
        if name == "links":
            shown["links"] = []
            continue
        if name not in resource.properties:
            raise UnknownProperty(f"Unable to get property {name}")
        value = resource.properties[name]
        value = value() if callable(value) else value
        if value is not DENIED:
            shown[name] = render(value, inner or "default")
    if not representation.startswith("("):
        shown["links"] = []
    if representation.lower() != "ref":
        shown["resourceVersion"] = "1.10"
    return shown


def split_custom(representation: str) -> tuple[str, ...]:
    """The parts of "(a,b:ref,c:(d,e))" between its outermost brackets."""
    text = representation.removeprefix("(").removesuffix(")")
    parts, depth, start = [], 0, 0
    for at, mark in enumerate(text):
        depth += {"(": 1, ")": -1}.get(mark, 0)
        if mark == "," and depth == 0:
            parts.append(text[start:at])
            start = at + 1
    return (*parts, text[start:])


def asked_representation(v: str | None) -> str:
    """What `v=` asks for, as `render` takes it."""
    asked = (v or "default").strip()
    return asked.removeprefix("custom:") if asked.startswith("custom:") else asked
