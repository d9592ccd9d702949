"""The rooms of `orthanc_openmrs` and what passes between them, read from its own imports.

Decides: which room may import which (`LEVELS`), and how docs/images/rooms.svg is drawn of what
the code does and of the flows that docs/architecture.md names. tests/unit/test_rooms.py holds
the code to it. Nothing of the plugin is imported or run.
"""

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from xml.sax.saxutils import escape

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "orthanc_openmrs"
PICTURE = ROOT / "docs" / "images" / "rooms.svg"

LEVELS: tuple[tuple[str, ...], ...] = (
    ("__main__", "plugin", ""),
    ("", "host", ""),
    ("", "rest", "ui"),
    ("doctor", "events", "metrics"),
    ("connection", "", "store"),
    ("config", "", ""),
    ("", "", "mpps"),
    ("", "completion", ""),
    ("", "", "mapping"),
    ("", "worklist", ""),
    ("openmrs", "alerts", "dimse"),
    ("worker", "", "model"),
    ("errors", "", "__init__"),
)
"""From the entry down: a room imports rooms of lower levels only. "" is an empty place."""

ADAPTERS = frozenset(
    {"alerts.webhook", "store", "openmrs.client", "openmrs.order_client", "openmrs.transport"}
)
"""What speaks to the world outside. Use cases say what they need of it in protocols of their own;
only who builds it imports it."""

COMPOSITION = "plugin"
"""Imports every room, for it builds every part; its arrows aren't drawn."""

Graph = Mapping[str, frozenset[str]]
"""Who imports whom."""


def modules(root: Path = ROOT) -> Graph:
    """Each module of the package, by its dotted name within it, and those that it imports.
    What is imported for types only counts too."""
    files = {_name(path, root): path for path in (root / PACKAGE).rglob("*.py")}
    return {name: frozenset(_imports(path, files.keys())) - {name} for name, path in files.items()}


def _name(path: Path, root: Path) -> str:
    parts = path.relative_to(root / PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def _imports(path: Path, known: object) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            first, _, inner = name.partition(".")
            if first != PACKAGE:
                continue
            while inner and inner not in known:  # type: ignore[operator]
                inner = inner.rpartition(".")[0]
            yield inner or "__init__"


def room_of(module: str) -> str:
    """The package or single module at the top in which a module lies."""
    return module.partition(".")[0]


def rooms(graph: Graph) -> Graph:
    """The same between rooms."""
    found: dict[str, set[str]] = {room_of(module): set() for module in graph}
    for module, imported in graph.items():
        found[room_of(module)] |= {room_of(other) for other in imported}
    return {room: frozenset(others - {room}) for room, others in found.items()}


def level_of(room: str) -> int:
    """Its place in LEVELS. Raises KeyError for a room that has none."""
    return {room: at for at, row in enumerate(LEVELS) for room in row if room}[room]


def upward(graph: Graph) -> list[str]:
    """The imports between rooms that don't go down."""
    return [
        f"{module} imports {other}"
        for module, imported in sorted(graph.items())
        for other in sorted(imported)
        if room_of(other) != room_of(module)
        and level_of(room_of(other)) <= level_of(room_of(module))
    ]


def circles(graph: Graph) -> list[str]:
    """Modules that import each other, over whatever others."""
    reached = {module: _reach(module, graph) for module in graph}
    return sorted(module for module in graph if module in reached[module])


def _reach(start: str, graph: Graph) -> set[str]:
    found: set[str] = set()
    waiting = list(graph[start])
    while waiting:
        module = waiting.pop()
        if module not in found:
            found.add(module)
            waiting.extend(graph[module])
    return found


def flows(text: str) -> dict[str, list[str]]:
    """The flows of docs/architecture.md: name → its stations, "room" or "room.module" where they
    are ours, else in words."""
    block = re.search(r"^## The flows\n+```\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert block, "docs/architecture.md has no flows"
    joined = re.sub(r"\n +", " ", block[1])
    lines = (line.partition(":") for line in joined.splitlines() if line.strip())
    return {
        name.strip(): [station.strip() for station in path.split("→")] for name, _, path in lines
    }


def named(path: list[str]) -> set[str]:
    """Our modules that a flow's stations name."""
    words = {word for station in path for word in re.findall(r"[a-z_]+\.[a-z_]+", station)}
    return {word for word in words if any(room_of(word) in row for row in LEVELS)}


# --- the picture ---------------------------------------------------------------------------

WIDTH, MARGIN = 960, 20
BOX, GAP = 56, 30
STATION, STATION_GAP = 34, 18
INK, PAPER, LINE, ROOM, FLOW = "#1f2933", "#ffffff", "#9aa5b1", "#e4edf7", "#eef6ee"


def draw(root: Path = ROOT) -> str:
    """The rooms by level, an arrow for each import that no other way implies, then the flows."""
    imports = rooms(modules(root))
    places: dict[str, tuple[float, float, float]] = {}  # left, top, width
    parts: list[str] = []
    top = float(MARGIN)
    for row in LEVELS:
        width = (WIDTH - 2 * MARGIN - GAP * (len(row) - 1)) / len(row)
        for at, room in enumerate(row):
            if room not in ("", "__init__"):
                places[room] = (MARGIN + at * (width + GAP), top, width)
        top += BOX + GAP
    for room, others in sorted(imports.items()):
        if room == COMPOSITION:
            continue
        for other in sorted(others):
            implied = any(other in _reach(third, imports) for third in others - {other})
            if room in places and other in places and not implied:
                parts.append(_arrow(places[room], places[other]))
    for room, (left, at, width) in places.items():
        parts.append(_box(left, at, width, BOX, ROOM, room, _first_sentence(root, room)))
    text = (root / "docs" / "architecture.md").read_text(encoding="utf-8")
    for name, stations in flows(text).items():
        parts.append(_words(MARGIN, top + STATION / 2 + 4, name, "start", 13, bold=True))
        width = (WIDTH - 2 * MARGIN - 70 - STATION_GAP * (len(stations) - 1)) / len(stations)
        left = MARGIN + 70.0
        for at, station in enumerate(stations):
            if at:
                y = top + STATION / 2
                parts.append(_line(left - STATION_GAP, y, left - 2, y))
            parts.append(_box(left, top, width, STATION, FLOW, "", station))
            left += width + STATION_GAP
        top += STATION + 12
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top + MARGIN:.0f}" '
        'font-family="system-ui, sans-serif">\n'
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        f'markerHeight="7" orient="auto"><path d="M0 0 8 4 0 8z" fill="{LINE}"/></marker></defs>\n'
        f'<rect width="100%" height="100%" fill="{PAPER}"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def _first_sentence(root: Path, room: str) -> str:
    path = root / PACKAGE / room / "__init__.py"
    text = (path if path.exists() else path.parent.with_suffix(".py")).read_text(encoding="utf-8")
    sentence = ast.get_docstring(ast.parse(text)) or ""
    return " ".join(re.split(r"(?<=[.:]) |\n\n", sentence.replace("`", ""))[0].split()).rstrip(".:")


def _arrow(start: tuple[float, float, float], end: tuple[float, float, float]) -> str:
    (left, top, width), (other_left, other_top, other_width) = start, end
    x, other_x = left + width / 2, other_left + other_width / 2
    bend = (x - other_x) / 8  # apart from those that come from straight above
    return _line(x, top + BOX, other_x + bend, other_top - 2)


def _line(x: float, y: float, other_x: float, other_y: float) -> str:
    return (
        f'<line x1="{x:.0f}" y1="{y:.0f}" x2="{other_x:.0f}" y2="{other_y:.0f}" '
        f'stroke="{LINE}" stroke-width="1.4" marker-end="url(#tip)"/>'
    )


def _box(
    left: float, top: float, width: float, height: float, fill: str, title: str, text: str
) -> str:
    middle = left + width / 2
    lines = _wrapped(text, int(width / 5.6), 2)
    first = top + height / 2 + 4 - (8 if title else 0) - (len(lines) - 1) * 5.5
    words = [_words(middle, first, title, "middle", 13, bold=True)] if title else []
    for at, line in enumerate(lines):
        words.append(_words(middle, first + at * 11 + (14 if title else 0), line, "middle", 10))
    return (
        f'<rect x="{left:.0f}" y="{top:.0f}" width="{width:.0f}" height="{height:.0f}" rx="5" '
        f'fill="{fill}" stroke="{LINE}"/>' + "".join(words)
    )


def _wrapped(text: str, width: int, most: int) -> list[str]:
    lines = [""]
    for word in text.replace(".", ".\u200b").split():
        if len(lines[-1]) + len(word) >= width and lines[-1]:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines[:most]


def _words(x: float, y: float, text: str, anchor: str, size: int, *, bold: bool = False) -> str:
    weight = ' font-weight="600"' if bold else ""
    return (
        f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}" font-size="{size}"{weight} '
        f'fill="{INK}">{escape(text)}</text>'
    )


if __name__ == "__main__":
    PICTURE.write_text(draw(), encoding="utf-8")
    print(PICTURE.relative_to(ROOT))
