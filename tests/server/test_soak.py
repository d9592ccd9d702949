"""The short form of `script/soak`: the same load and the same accounts, without its hour."""

from dataclasses import replace
from pathlib import Path

import pytest

from bench import soak

SHORT = soak.Plan(
    seconds=9,
    requests=600,
    scanners=8,
    study_every=0.5,
    restart_every=3,
    down=(1, 2),
    refresh_interval=1,
    sample_every=1,
)


@pytest.mark.parametrize("allow_threads", [False, True])
def test_nothing_is_lost_wrong_or_an_error_while_scanners_ask_and_openmrs_restarts(
    tmp_path: Path, allow_threads: bool
) -> None:
    findings = soak.run(tmp_path, replace(SHORT, allow_threads=allow_threads))
    print(soak.table(findings))
    assert findings.problems == []
    assert findings.studies == SHORT.studies
    assert findings.restarts >= 2
    assert findings.errors_while_down >= 1
    assert findings.queries > SHORT.scanners * SHORT.seconds / 2
