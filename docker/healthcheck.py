"""Exits with 0 where Orthanc and the plugin answer the first of the users.

Whatever OpenMRS does: a restart of Orthanc wouldn't mend it.
"""

import base64
import http.client
import sys

from entrypoint import Unusable, users

PATH = "/openmrs/status"


def main() -> int:
    try:
        user, password = next(iter(users().items()))
    except Unusable as problem:
        print(problem)
        return 1
    pair = f"{user}:{password}"
    headers = {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}
    connection = http.client.HTTPConnection("127.0.0.1", 8042, timeout=8)
    try:
        connection.request("GET", PATH, headers=headers)
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as problem:
        print(f"{PATH} doesn't answer: {problem}")
        return 1
    finally:
        connection.close()
    print(f"{PATH} answers {status}")
    return 0 if status == 200 else 1


if __name__ == "__main__":
    sys.exit(main())
