"""A stand-in for each test, of the generation that the test names.

A ✔ in these files: so did the module's own controllers when they were run. The rest was read.
"""

from collections.abc import Iterator

import pytest

from standin import Standin


@pytest.fixture
def standin(request: pytest.FixtureRequest) -> Iterator[Standin]:
    with Standin(getattr(request, "param", "v2")) as running:
        yield running
