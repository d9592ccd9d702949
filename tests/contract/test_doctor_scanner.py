"""Which findscu is DCMTK's, where other programs have the same name."""

from pathlib import Path

import pytest

from orthanc_openmrs.doctor.scanner import dcmtk_findscu

DCMTK = "#!/bin/sh\necho '$dcmtk: findscu v3.6.7 2022-04-22 $'\n"
PYNETDICOM = "#!/bin/sh\necho 'findscu.py v0.1.0'\n"
OLD_PYNETDICOM = "#!/bin/sh\necho 'usage: findscu [options] addr port' >&2; exit 2\n"


@pytest.mark.parametrize(
    ("programs", "taken"),
    [
        ([], None),
        ([DCMTK], 0),
        ([PYNETDICOM, DCMTK], 1),
        ([OLD_PYNETDICOM, DCMTK], 1),
        ([DCMTK, PYNETDICOM], 0),
        ([PYNETDICOM], None),
        (["no program at all", DCMTK], 1),
    ],
)
def test_dcmtks_findscu_is_told_from_others(
    tmp_path: Path, programs: list[str], taken: int | None
) -> None:
    folders = [tmp_path / str(at) for at in range(len(programs))]
    for folder, text in zip(folders, programs, strict=True):
        folder.mkdir()
        (folder / "findscu").write_text(text)
        (folder / "findscu").chmod(0o755)
    found = dcmtk_findscu([str(tmp_path / "none"), *map(str, folders)])
    assert found == (None if taken is None else str(folders[taken] / "findscu"))
