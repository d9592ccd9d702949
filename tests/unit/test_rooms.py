"""The rooms of the package: what may import what, and the picture of it."""

from pathlib import Path

import pytest

from trial import rooms

GRAPH = rooms.modules()


def test_imports_between_rooms_go_down_only() -> None:
    assert rooms.upward(GRAPH) == []


def test_no_module_imports_itself_over_others() -> None:
    assert rooms.circles(GRAPH) == []


@pytest.mark.parametrize("adapter", sorted(rooms.ADAPTERS))
def test_an_adapter_is_known_to_who_builds_it_only(adapter: str) -> None:
    known_to = {
        rooms.room_of(module)
        for module, imported in GRAPH.items()
        if any(f"{other}.".startswith(f"{adapter}.") for other in imported)
    }
    assert known_to - {rooms.room_of(adapter)} <= {"plugin", "connection", "doctor"}


def test_every_room_has_its_level_and_no_level_has_another() -> None:
    assert set(rooms.rooms(GRAPH)) == {room for row in rooms.LEVELS for room in row if room}


def test_the_flows_name_modules_that_exist() -> None:
    text = (rooms.ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = {word for path in rooms.flows(text).values() for word in rooms.named(path)}
    assert named, "no flow names a module"
    assert named - set(GRAPH) == set()


def test_the_picture_is_drawn_from_this_code() -> None:
    assert rooms.PICTURE.read_text(encoding="utf-8") == rooms.draw(), "run script/rooms"


@pytest.mark.parametrize(
    ("sources", "found"),
    [
        ({"model": ""}, []),
        ({"model": "from orthanc_openmrs import plugin", "plugin": ""}, ["model imports plugin"]),
        ({"model": "import orthanc_openmrs.errors", "errors": ""}, []),
        (
            {"rest.router": "from orthanc_openmrs.host.guards import x", "host.guards": ""},
            ["rest.router imports host.guards"],
        ),
    ],
)
def test_an_import_that_goes_up_is_seen(
    tmp_path: Path, sources: dict[str, str], found: list[str]
) -> None:
    write(tmp_path, sources)
    assert rooms.upward(rooms.modules(tmp_path)) == found


def test_a_circle_is_seen(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "rest.a": "from orthanc_openmrs.rest import b",
            "rest.b": "import orthanc_openmrs.rest.c",
            "rest.c": "from orthanc_openmrs.rest.a import x",
            "rest.d": "from orthanc_openmrs.rest import a",
        },
    )
    assert rooms.circles(rooms.modules(tmp_path)) == ["rest.a", "rest.b", "rest.c"]


def write(root: Path, sources: dict[str, str]) -> None:
    """Modules of a package, by their dotted names within it."""
    for name, source in sources.items():
        path = (root / rooms.PACKAGE).joinpath(*name.split(".")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source, encoding="utf-8")
