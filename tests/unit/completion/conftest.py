"""What the unit tests of completion stand on."""

from pathlib import Path

import pytest

from tests.unit.completion.site import Site


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Nothing runs yet."""
    return Site(tmp_path)
