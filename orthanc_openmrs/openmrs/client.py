"""OpenMRS's routes that the plugin uses: the Imaging module's list and updates, core REST's person.

Decides: which route answers what, and how much of an answer is read. Must not know: HTTP's ways,
what is in the list, when to ask again.
"""

from urllib.parse import quote

from orthanc_openmrs.errors import OpenMRSError
from orthanc_openmrs.model import Answer
from orthanc_openmrs.openmrs.answers import read_exception
from orthanc_openmrs.openmrs.imaging_list import refusal
from orthanc_openmrs.openmrs.persons import PLAIN_REPRESENTATION, REPRESENTATION
from orthanc_openmrs.openmrs.transport import MAX_PAGE, Transport
from orthanc_openmrs.openmrs.verdicts import StatusUpdate, empty_update

MAX_PATIENT = 1024 * 1024
"""Bytes read of a patient's document, or of what is said of the session."""


class OpenMRSClient:
    """The configured routes, by one transport. Safe for several threads."""

    def __init__(
        self,
        transport: Transport,
        *,
        worklist_url: str,
        update_url: str,
        rest_url: str = "",
        timeout: float = 10,
        update_timeout: float = 120,
        max_response_size: int = 64 * 1024 * 1024,
    ) -> None:
        self._transport = transport
        self._worklist_url = worklist_url
        self._update_url = update_url
        self._rest_url = rest_url
        root, mark, rest = update_url.rpartition("/updaterequeststatus")
        self._step_status_url = f"{root}/updateprocedurestepstatus" if mark and not rest else ""
        self._timeout = timeout
        self._update_timeout = update_timeout
        self._max_response_size = max_response_size
        self._representation = REPRESENTATION

    def get_list(self) -> bytes:
        """The body of `GET worklist/requests`. Raises OpenMRSError with one of PROBLEMS."""
        answer = self.try_list()
        problem = refusal(answer)
        if problem is not None:
            raise problem
        return answer.body

    def try_list(self) -> Answer:
        """The answer of `GET worklist/requests`, of any status. Raises OpenMRSError."""
        return self._transport.ask(
            "GET", self._worklist_url, timeout=self._timeout, limit=self._max_response_size
        )

    def get_patient(self, uuid: str) -> bytes | None:
        """The body of `GET patient/{uuid}` of core REST, None where there is none.

        Raises OpenMRSError, also where no core REST is configured.
        """
        if not self._rest_url:
            raise OpenMRSError("not-found", "OpenMRS.RestURL isn't set")
        url = f"{self._rest_url}/patient/{quote(uuid, safe='')}"
        answer = self._get(url, {"v": self._representation})
        if answer.problem == "server-error" and self._representation != PLAIN_REPRESENTATION:
            # A core that lacks one of the properties refuses the whole.
            plain = self._get(url, {"v": PLAIN_REPRESENTATION})
            if not plain.problem:
                self._representation, answer = PLAIN_REPRESENTATION, plain
        if answer.status != 404:
            return _whole(answer)
        if answer.body.lstrip()[:1] == b"{":
            return None
        # A page: of a servlet container where OpenMRS isn't, or not yet.
        raise OpenMRSError("not-found", "HTTP 404, not by core REST: see OpenMRS.RestURL")

    def find_patients(self, words: str, limit: int) -> bytes:
        """The body of `GET patient?q=` of core REST: by name or identifier.

        Raises OpenMRSError, also where no core REST is configured.
        """
        if not self._rest_url:
            raise OpenMRSError("not-found", "OpenMRS.RestURL isn't set")
        query = {"q": words, "limit": str(limit), "v": REPRESENTATION}
        return _whole(self._get(f"{self._rest_url}/patient", query))

    def get_session(self) -> bytes | None:
        """The body of `GET session` of core REST, None where none is configured or it fails."""
        if not self._rest_url:
            return None
        try:
            answer = self._get(f"{self._rest_url}/session")
        except OpenMRSError:
            return None
        return answer.body if answer.status == 200 else None

    def _get(self, url: str, params: dict[str, str] | None = None) -> Answer:
        return self._transport.ask(
            "GET", url, timeout=self._timeout, limit=MAX_PATIENT, params=params
        )

    def post_update(self, update: StatusUpdate) -> Answer:
        """POST a status update; any HTTP status is an answer.

        Raises OpenMRSError where there is none; the update may have been saved all the same.
        """
        return self._transport.ask(
            "POST",
            self._update_url,
            timeout=self._update_timeout,
            limit=MAX_PAGE,
            params=update.parameters,
            json=update.body,
        )

    def try_update(self) -> Answer:
        """The answer to a status update of no step, which changes nothing: v2 and v3 find no
        series in it, v1 finds none of its parameters, and none of them calls Orthanc back.

        Any status is an answer. Raises OpenMRSError where there is none.
        """
        return self.post_update(StatusUpdate({}, empty_update()))

    @property
    def has_step_status(self) -> bool:
        """Whether the address of `updateprocedurestepstatus` is known: it lies beside v2's and
        v3's `updaterequeststatus`, and has no key of its own in the configuration."""
        return bool(self._step_status_url)

    def post_step_status(self, step_id: str, status: str) -> Answer:
        """POST the status of one step; any HTTP status is an answer.

        Raises OpenMRSError where there is none.
        """
        return self._transport.ask(
            "POST",
            self._step_status_url,
            timeout=self._update_timeout,
            limit=MAX_PAGE,
            params={"stepId": step_id, "status": status},
        )

    def close(self) -> None:
        """Let no new exchange start; one that waits is abandoned by its daemon thread."""
        self._transport.close()


def _whole(answer: Answer) -> bytes:
    if not answer.problem:
        return answer.body
    failed = read_exception(answer.body)
    if failed is None:
        raise OpenMRSError(answer.problem, f"HTTP {answer.status}")
    raise OpenMRSError(failed.problem, f"HTTP {answer.status}, {failed.describe()}")
