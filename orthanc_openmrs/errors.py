"""What can go wrong, as one tree.

PluginError
├── ConfigurationError   the configuration of Orthanc: stops the start
├── StoreError           the database of the plugin
│   └── Unstorable       a value that it can't keep: the trouble of whose it is only
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


class Unstorable(StoreError):
    """A value can't be kept: too long, or no text. `what` names it, for whose it is."""

    def __init__(self, what: str, problem: str) -> None:
        super().__init__(f"{what} {problem}")
        self.what = what


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
    "proxy": "the proxy or servlet container in front of OpenMRS answers, OpenMRS doesn't: check "
    "that OpenMRS has started, and the proxy's own log",
    "https": "OpenMRS wants https: write https:// in ImagingWorklistURL and "
    "ImagingUpdateRequestStatus",
    "tls-port": "the URL says http, but its port speaks TLS: write https:// in ImagingWorklistURL "
    "and ImagingUpdateRequestStatus, or the port for http",
    "http-port": "the URL says https, but its port speaks no TLS: check the port in "
    "ImagingWorklistURL and ImagingUpdateRequestStatus, or write http://",
    "moved": "OpenMRS has another address: write the one that it redirects to in "
    "ImagingWorklistURL and ImagingUpdateRequestStatus",
    "tls": "the TLS certificate of OpenMRS isn't trusted: check OpenMRS.CACertificates",
    "credentials": "OpenMRS refuses the sign-in: check ImagingWorklistUsername and "
    "ImagingWorklistPassword",
    "single-sign-on": "OpenMRS sends this account to its single sign-on: allow Basic sign-in for "
    "the account in OpenMRS, or set OpenMRS.BearerToken",
    "token-refused": "the identity provider gives no access token: check OpenMRS.BearerToken's "
    "ClientID, ClientSecret and Scope",
    "token-server": "the identity provider can't be asked for an access token: check "
    "OpenMRS.BearerToken's TokenURL, and that it runs",
    "token-unknown": "OpenMRS refuses the identity provider's token: check that OpenMRS knows the "
    "account of OpenMRS.BearerToken's ClientID",
    "privilege": "OpenMRS refuses this account: give it the role Imaging Manager",
    "orders-privilege": "OpenMRS refuses this account its orders: give it the privileges Get "
    "Orders, Get Order Types, Get Concepts, Get Care Settings and Edit Orders",
    "orders-unknown": "OpenMRS knows none of the order types: check OpenMRS.Orders.OrderTypes, "
    "and that OpenMRS's core is 2.3 or later",
    "not-found": "OpenMRS has no such route: check ImagingWorklistURL",
    "module-too-old": "OpenMRS's Imaging module gives no worklist: update OpenMRS's Imaging module "
    "to 1.1.5 or later",
    "no-steps": "OpenMRS's list has requests, but not one step: where OpenMRS shows steps, update "
    "OpenMRS's Imaging module to 1.1.5 or later",
    "server-error": "OpenMRS fails: see its own log, for one row is enough (a patient without a "
    "birth date before Imaging 1.2.9, a step with an impossible date or time in it)",
    "too-big": "the list is too long: raise OpenMRS.MaxResponseSize",
    "not-a-patient": "what OpenMRS sends is no patient: check OpenMRS.RestURL and the sign-in",
    "not-a-list": "what OpenMRS sends is no worklist: check ImagingWorklistURL and the sign-in",
}
"""What each kind of OpenMRSError means, and what to do about it."""
