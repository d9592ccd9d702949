"""`python3 -m orthanc_openmrs`: the command line of an installation.

It puts the `.venv` beside the package, where there is one, on the import path, as
`orthancWorklist.py` does: the Python that Orthanc embeds can then run it from a checkout too.
"""

import logging
import sys
import warnings
from pathlib import Path

_FOLDER = Path(__file__).resolve().parent.parent
_PACKAGES = (
    _FOLDER / ".venv" / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}"
) / "site-packages"
if _PACKAGES.is_dir() and str(_PACKAGES) not in sys.path:
    sys.path.insert(0, str(_PACKAGES))

try:
    from orthanc_openmrs.doctor.command import main
except ImportError as problem:
    print(
        f"error    packages: {sys.executable} can't import {problem.name}\n"
        "         -> run script/setup in the checkout, or this in the folder that pip made"
    )
    sys.exit(2)

if __name__ == "__main__":
    # Everything is told by the findings; what libraries add would stand between the lines.
    logging.disable()
    warnings.simplefilter("ignore")
    sys.exit(main())
