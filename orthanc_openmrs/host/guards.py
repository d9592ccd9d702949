"""The callbacks that Orthanc calls, each behind its guard.

The rule: a worklist callback raises only where no list is fresh enough, or the query is no
dataset (the scanner gets status C000, as it must not take "failed" for "no patients"); a
change callback never raises; a REST callback turns every error into a status.
"""

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol
from urllib.parse import unquote_plus

from orthanc_openmrs.errors import PluginError, WorklistUnavailable
from orthanc_openmrs.host.api import (
    ChangeCallback,
    DicomConnection,
    Orthanc,
    RestCallback,
    RestOutput,
    WorklistAnswers,
    WorklistQuery,
)
from orthanc_openmrs.mapping.studies import is_orthanc_id, may_be_uid
from orthanc_openmrs.metrics import FAILED
from orthanc_openmrs.rest.messages import Request, Response, error
from orthanc_openmrs.worklist.service import Answers

_log = logging.getLogger(__name__)


class OnWorklist(Protocol):
    """The callback of C-FINDs. `remote_ip` is "" where Orthanc doesn't tell it."""

    def __call__(
        self,
        answers: WorklistAnswers,
        query: WorklistQuery,
        issuer_aet: str,
        called_aet: str,
        remote_ip: str = "",
    ) -> None: ...


def worklist_callback(
    answers_to: Callable[[bytes, str], Answers],
    note: Callable[[float, int], None] = lambda seconds, answers: None,
    asked: Callable[[str, str, int], None] = lambda ae_title, address, answers: None,
) -> OnWorklist:
    """C-FIND: from the identifier and the calling AE title to encoded answers.

    `note` is told how many seconds a query took and its answers, FAILED where it failed; `asked`
    who it was, the address ("" where Orthanc doesn't tell it), and the same answers.
    """

    def on_worklist(
        answers: WorklistAnswers,
        query: WorklistQuery,
        issuer_aet: str,
        called_aet: str,
        remote_ip: str = "",
    ) -> None:
        caller = f"{issuer_aet} at {remote_ip}" if remote_ip else issuer_aet
        started = time.perf_counter()
        answered = FAILED
        try:
            found = answers_to(query.WorklistGetDicomQuery(), issuer_aet)
            for dataset in found.datasets:
                answers.WorklistAddAnswer(query, dataset)
            answered = len(found.datasets)
        except (WorklistUnavailable, ValueError) as problem:
            _log.error("the query of %s fails: %s", caller, problem)
            raise
        except Exception:
            _log.exception("the query of %s fails", caller)
            # Orthanc logs what is raised, words and all.
            raise WorklistUnavailable("the plugin failed; see its line above") from None
        finally:
            note(time.perf_counter() - started, answered)
            asked(issuer_aet, remote_ip, answered)
        if found.beyond:
            _log.warning(
                "%s asks for a range of dates and one of times; Orthanc takes the times as those "
                "of each day, so %d steps of the interval are missing",
                caller,
                found.beyond,
            )
        _log.info("%d steps for %s", len(found.datasets), caller)

    return on_worklist


def register_worklist(host: Orthanc, on_worklist: OnWorklist) -> object:
    """Register it in the newest form that this Orthanc has; what was registered.

    The Python plugin 7.0 has RegisterWorklistCallback2, which tells the caller's address.
    """
    register = getattr(host, "RegisterWorklistCallback2", None)
    if register is None:
        host.RegisterWorklistCallback(on_worklist)
        return on_worklist

    def on_worklist_2(
        answers: WorklistAnswers, query: WorklistQuery, connection: DicomConnection
    ) -> None:
        on_worklist(
            answers,
            query,
            connection.GetConnectionRemoteAet(),
            connection.GetConnectionCalledAet(),
            connection.GetConnectionRemoteIp(),
        )

    register(on_worklist_2)
    return on_worklist_2


def change_callback(on_change: Callable[[int, int, str], None]) -> ChangeCallback:
    """A change: its type, the level and the Orthanc ID of the resource."""

    def on_orthanc_change(change_type: int, level: int, resource: str) -> None:
        try:
            on_change(change_type, level, resource)
        except PluginError as problem:
            _log.error("change %d of %s is not noted: %s", change_type, resource, problem)
        except Exception:
            _log.exception("change %d of %s is not noted", change_type, resource)

    return on_orthanc_change


def rest_callback(respond: Callable[[Request], Response], *, decoded: bool = False) -> RestCallback:
    """HTTP: from a request to a response, which is always given.

    `decoded`: whether this Orthanc gives the arguments of a query as they are meant, not as they
    stand in the URL.
    """

    def on_request(output: RestOutput, uri: str, **details: Any) -> None:
        request = Request(
            method=details["method"],
            path=uri,
            query=_arguments(details.get("get", {}), decoded),
            headers=dict(details.get("headers", {})),
            body=details.get("body") or b"",
        )
        _send(output, _with_room(respond, request))

    return on_request


def _with_room(respond: Callable[[Request], Response], request: Request) -> Response:
    """The response, made in a thread of its own, and whatever happens.

    Orthanc's HTTP threads have a stack of 100 KiB. SQLAlchemy's compiler needs most of it, and
    Python 3.14 refuses to go on. There are never more of these threads than of Orthanc's.
    """
    responses: list[Response] = []

    def answer() -> None:
        try:
            responses.append(respond(request))
        except Exception:
            _log.exception("%s %s failed", request.method, request.path)

    try:
        thread = threading.Thread(target=answer, name="openmrs-rest", daemon=True)
        thread.start()
        thread.join()
    except RuntimeError as problem:  # no thread can be started
        _log.error("%s %s failed: %s", request.method, request.path, problem)
    return responses[0] if responses else error(500, FAILED_PLUGIN, request)


FAILED_PLUGIN = "the plugin failed; see Orthanc's log"


def _arguments(given: Mapping[str, str], decoded: bool) -> dict[str, str]:
    if decoded:
        return dict(given)
    return {unquote_plus(key): unquote_plus(text) for key, text in given.items()}


def decodes_arguments(host: Orthanc) -> bool:
    """Whether this Orthanc decodes the arguments of a query: 1.13.0 with the Python plugin 7.1
    does, 1.12.7 with 5.0 and 1.10.1 with 4.0 don't."""
    return hasattr(host, "SetMetricsIntegerValue")  # new in the Python plugin 7.1


def push_metric(host: Orthanc) -> Callable[[str, float], None]:
    """Sets a metric of Orthanc's Prometheus endpoint, which keeps its last value."""
    last_value = host.MetricsType.DEFAULT

    def push(name: str, value: float) -> None:
        host.SetMetricsValue(name, value, last_value)

    return push


def _send(output: RestOutput, response: Response) -> None:
    for key, value in response.headers.items():
        output.SetHttpHeader(key, value)
    if response.status == 200:
        output.AnswerBuffer(response.body, response.content_type)
    elif response.status == 405:
        output.SendMethodNotAllowed(response.allow)
    else:
        output.SetHttpHeader("Content-Type", response.content_type)
        text = response.body.decode()
        try:
            output.SendHttpStatus(response.status, text, len(response.body))  # plugin 4.0
        except TypeError:
            output.SendHttpStatus(response.status, text)  # plugin 5.0 and later


def core_rest(host: Orthanc) -> Callable[[str], Any]:
    """Orthanc's core REST API: a route → its JSON, None where there is no such resource."""

    def get(uri: str) -> Any:
        try:
            return json.loads(host.RestApiGet(uri))
        except host.OrthancException as problem:
            if problem.args and problem.args[0] in NOT_FOUND:
                return None
            raise

    return get


def look_up_study(host: Orthanc) -> Callable[[str], str | None]:
    """An Orthanc ID or a StudyInstanceUID → the study's Orthanc ID, None where there is none."""
    get = core_rest(host)

    def look_up(name: str) -> str | None:
        if is_orthanc_id(name):
            return name if get(f"/studies/{name}") is not None else None
        if not may_be_uid(name):
            return None
        found = json.loads(host.RestApiPost("/tools/lookup", name.encode()))
        return next((one["ID"] for one in found if one["Type"] == "Study"), None)

    return look_up


NOT_FOUND = (7, 17)
"""Orthanc's ErrorCode InexistentItem and UnknownResource."""
