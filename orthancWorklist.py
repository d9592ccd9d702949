"""The script that Orthanc's Python plugin loads: `"PythonScript": ".../orthancWorklist.py"`.

It puts its own folder, and the `.venv` beside it where there is one, on the import path.
"""

import sys
from pathlib import Path

_FOLDER = Path(__file__).resolve().parent
_PACKAGES = (
    _FOLDER / ".venv" / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}"
) / "site-packages"
sys.path[:0] = [str(folder) for folder in (_FOLDER, _PACKAGES) if folder.is_dir()]

import orthanc  # noqa: E402 - the import path comes first

from orthanc_openmrs.host import process  # noqa: E402 - the import path comes first

process.begin(orthanc)

from orthanc_openmrs import plugin  # noqa: E402 - only in the first interpreter of a process

plugin.start(orthanc)
