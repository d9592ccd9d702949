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

    `kind` is a word of `openmrs.client.PROBLEMS`, which says what to do about it.
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
