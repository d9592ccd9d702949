"""What the tests of the routes stand on."""

import pytest

from tests.unit.rest.application import Application


@pytest.fixture
def app() -> Application:
    """The routes over the list."""
    return Application()
