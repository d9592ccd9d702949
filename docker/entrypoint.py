"""Starts Orthanc with its settings from the environment, or from files (Docker's secrets).

For NAME below, the environment has the value itself or NAME_FILE, the path of a file with it.
"""

import json
import os
import sys

TEXTS = (
    "IMAGING_WORKLIST_URL",
    "IMAGING_UPDATE_REQUEST_STATUS",
    "IMAGING_WORKLIST_USERNAME",
    "IMAGING_WORKLIST_PASSWORD",
    "DICOM_AET",
    "ORTHANC_NAME",
)
"""What stands between quotes in orthanc.json."""

USERS = "ORTHANC_USERS"
"""A JSON object: names and passwords."""

DATABASE_PASSWORD = "PGPASSWORD"  # noqa: S105 - a name
"""PostgreSQL's own variable, which Orthanc's plugin and this one both heed."""


class Unusable(Exception):
    """A setting that can't be used, and what to do."""


def setting(name: str) -> str | None:
    """A value, None where there is none."""
    path = os.environ.get(f"{name}_FILE")
    if not path:
        return os.environ.get(name)
    if os.environ.get(name):
        raise Unusable(f"{name} and {name}_FILE are both set: leave one of them out")
    try:
        with open(path, encoding="utf-8") as file:
            return file.read().rstrip("\r\n")
    except (OSError, ValueError) as problem:
        who = f"user {os.geteuid()} must be able to read it"
        raise Unusable(f"{name}_FILE: {path} can't be read: {problem}; {who}") from None


def users() -> dict[str, str]:
    """Who may use port 8042."""
    text = setting(USERS)
    if not text:
        raise Unusable(f'{USERS} or {USERS}_FILE is missing: {{"name": "password"}} as JSON')
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict) or not all(isinstance(one, str) for one in found.values()):
        raise Unusable(f'{USERS} isn\'t a JSON object of texts, such as {{"name": "password"}}')
    if not found:
        raise Unusable(f"{USERS} has no user: nobody could use port 8042, the health check neither")
    return found


def main() -> None:
    try:
        os.environ[USERS] = json.dumps(users())
        for name in TEXTS:
            value = setting(name)
            if value is not None:
                os.environ[name] = json.dumps(value)[1:-1]
        password = setting(DATABASE_PASSWORD)
        if password is not None:
            os.environ[DATABASE_PASSWORD] = password
    except Unusable as problem:
        sys.exit(f"orthanc-openmrs: {problem}")
    os.execv("/usr/sbin/Orthanc", ["Orthanc", *(sys.argv[1:] or ["/etc/orthanc/"])])  # noqa: S606 - Orthanc takes its place


if __name__ == "__main__":
    main()
