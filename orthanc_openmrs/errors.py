"""What can go wrong, as one tree.

PluginError
├── ConfigurationError   the configuration of Orthanc: stops the start
├── StoreError           the database of the plugin
├── OpenMRSError         OpenMRS did not give what was asked
├── WorklistUnavailable  no list that is fresh enough to be served
├── NotFound             what a person names doesn't exist
└── Conflict             what a person asks doesn't fit what is

Decides nothing; knows no other module. Messages carry identifiers, never names,
birth dates, payloads or passwords, so that any of them may be logged.
"""


class PluginError(Exception):
    """The root: `str(error)` is one line for an administrator."""


class ConfigurationError(PluginError):
    """The configuration can't be used. `key` is the path of the key, as in `OpenMRS.Timeout`."""

    def __init__(self, key: str, problem: str) -> None:
        super().__init__(f"{key}: {problem}")
        self.key = key
        self.problem = problem


class StoreError(PluginError):
    """The database can't be opened, read or written, or is of a newer version."""


class OpenMRSError(PluginError):
    """OpenMRS is away, refuses, or sends what isn't a list.

    `kind` is a word of PROBLEMS, which says what to do about it.
    """

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind


class WorklistUnavailable(PluginError):
    """No list was ever read, or the last one is older than `MaxStaleness`."""


class NotFound(PluginError):
    """A study, step or notification that doesn't exist."""


class Conflict(PluginError):
    """A decision that doesn't fit the state of things."""


PROBLEMS = {
    "unreachable": "OpenMRS can't be reached: check ImagingWorklistURL and that OpenMRS runs",
    "timeout": "OpenMRS doesn't answer in time: see OpenMRS's own load, or raise OpenMRS.Timeout",
    "tls": "the TLS certificate of OpenMRS isn't trusted: check OpenMRS.CACertificates",
    "credentials": "OpenMRS refuses the sign-in: check ImagingWorklistUsername and "
    "ImagingWorklistPassword",
    "privilege": "OpenMRS refuses this account: give it the role Imaging Manager",
    "not-found": "OpenMRS has no such route: check ImagingWorklistURL",
    "server-error": "OpenMRS fails: see its own log (a patient without a birth date is enough)",
    "too-big": "the list is larger than OpenMRS.MaxResponseSize",
    "not-a-patient": "what OpenMRS sends is no patient: check OpenMRS.RestURL and the sign-in",
    "not-a-list": "what OpenMRS sends is no worklist: check ImagingWorklistURL and the sign-in",
}
"""What each kind of OpenMRSError means and what to do about it."""
