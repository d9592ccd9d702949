"""How long anything waits."""

import pytest

from orthanc_openmrs.completion.retries import pause_after


@pytest.mark.parametrize(
    ("attempts", "longest"),
    [(0, 1), (1, 2), (2, 4), (5, 32), (8, 256), (9, 300), (10, 300), (1000, 300), (10**9, 300)],
)
def test_pauses_grow_to_five_minutes_and_are_spread(attempts: int, longest: float) -> None:
    pauses = [pause_after(attempts) for _ in range(200)]
    assert longest / 2 <= min(pauses) < longest * 0.6
    assert longest * 0.9 < max(pauses) <= longest
