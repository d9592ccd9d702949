"""How one OpenMRS differs from the usual one of its generation: nothing but settings."""

from dataclasses import dataclass


@dataclass
class Behaviour:
    """How this OpenMRS differs from the usual one of its generation."""

    old_core: bool = False  # before 2.5: an exception is a page, with status 500
    strict_sql: bool = True  # False: a MySQL that cuts what is too long for its column
    enforces_privileges: bool = True  # False: 1.2.0's annotation is there, nobody looks at it
    follows_merges: bool = False  # a merged patient's uuid is answered with the preferred patient
    default_results: int = 50  # of a page of core's REST
    most_results: int = 100  # a larger limit is refused
    single_sign_on: bool = False  # module oauth2login: who isn't signed in is sent to its login
