"""A stand-in for each test, of the generation that the test names."""

from collections.abc import Iterator

import pytest

from standin import Standin


@pytest.fixture
def standin(request: pytest.FixtureRequest) -> Iterator[Standin]:
    with Standin(getattr(request, "param", "v2")) as running:
        yield running
