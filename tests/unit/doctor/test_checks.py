"""The table of checks."""

from orthanc_openmrs.doctor.checks import CHECKS


def test_every_check_needs_earlier_ones_only() -> None:
    names: list[str] = []
    for check in CHECKS:
        assert set(check.needs) <= set(names), check.name
        assert check.name not in names
        names.append(check.name)
