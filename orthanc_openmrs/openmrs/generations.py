"""Which generation of the Imaging module OpenMRS has.

Decides: what tells it, and what counts most where several things do. There is no route that says
it, and nothing depends on it: every generation is served in the same way, and this is for the
people who look. Must not know: HTTP, DICOM rules, the database.

The words: v0 (2025-03), v0.9 (1.0.1 to 1.1.4: no worklist can be served from it), v1 (1.1.5), v2
(1.1.6 to 1.2.2, and what is compatible with it), v3 (1.2.9). "" is unknown.
"""

from collections.abc import Mapping

from orthanc_openmrs.model import Answer
from orthanc_openmrs.openmrs.answers import read_exception

OLDEST_OF_USE = "1.1.5"
"""The version of the module that gives a worklist first."""

TOO_OLD = "v0.9"


def of_request(element: Mapping[str, object]) -> str:
    """By an element of the list: only v3 names the character set that the text really has, and
    1.1.3 and 1.1.4 write other keys, and no steps."""
    if element.get("SpecificCharacterSet") == "ISO_IR 192":
        return "v3"
    if "mrsPatientUuid" in element and "ScheduledProcedureStepSequence" not in element:
        return TOO_OLD
    return ""


def of_update(answer: Answer) -> str:
    """By the answer to a status update that names a step: only v2 and v3 give a score (v3 is told
    by its list), only v1 and v0 say nothing."""
    if answer.status != 200:
        return ""
    if not answer.body.strip():
        return "v1"
    return "v2" if answer.body.lstrip()[:1] == b"{" and b'"score"' in answer.body else ""


def of_empty_update(answer: Answer) -> str:
    """By the answer to a status update of no step: v1 and v0 miss a parameter, v2 finds no series,
    v3 refuses the body."""
    failed = read_exception(answer.body)
    if failed is not None:
        return "v1" if failed.misses_parameter else ""
    is_page = answer.body.lstrip()[:1] == b"<"
    if answer.status == 200:
        return "" if is_page else "v2"
    if answer.status == 400:
        return "v1" if is_page or not answer.body.strip() else "v3"
    return ""


def recognise(*told: str, update_url: str = "") -> str:
    """The first that was told, except that v0 has an address of its own."""
    known = next((generation for generation in told if generation), "")
    if known in ("", "v1") and update_url.endswith("/imaging/updatestatus"):
        return "v0"
    return known
