"""What the server tests stand on: a stand-in OpenMRS and a scratch Orthanc a test."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from standin import Standin
from trial.orthanc import ScratchOrthanc

Start = Callable[..., ScratchOrthanc]


@pytest.fixture
def openmrs() -> Iterator[Standin]:
    """An OpenMRS with the Imaging module's second generation; tests may change it."""
    with Standin("v2") as server:
        yield server


def module_keys(openmrs: Standin) -> dict[str, Any]:
    """The four keys of the Imaging module's own script."""
    return {
        "ImagingWorklistURL": openmrs.worklist_url,
        "ImagingUpdateRequestStatus": openmrs.update_url,
        "ImagingWorklistUsername": "imaging",
        "ImagingWorklistPassword": "Imaging123",
    }


@pytest.fixture
def start_orthanc(openmrs: Standin, tmp_path: Path) -> Iterator[Start]:
    """Starts an Orthanc with the four keys and more, and stops it after the test."""
    with ExitStack() as running:

        def start(
            section: dict[str, Any] | None = None, name: str = "orthanc", **keys: Any
        ) -> ScratchOrthanc:
            configuration = {
                **module_keys(openmrs),
                **({"OpenMRS": section} if section is not None else {}),
                **keys,
            }
            return running.enter_context(ScratchOrthanc(tmp_path / name, configuration))

        yield start
