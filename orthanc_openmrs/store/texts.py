"""Which texts the database can keep.

Decides: how long an identifier may be, so that every database and its indexes take it, and what
is left out of words that are for a person to read. Must not know: tables.
"""

from orthanc_openmrs.errors import Unstorable

LONGEST_IDENTIFIER = 256
"""Bytes. No valid UID or number has more than 64 characters; PostgreSQL's indexes take rows of
2,704 bytes, and the longest index has six identifiers."""

LONGEST_WORDS = 2000
"""Characters of a reason or an error."""


def identifiers(*values: tuple[str, str]) -> None:
    """Check identifiers that come from outside, each with its name. Raises Unstorable."""
    for name, value in values:
        try:
            size = len(value.encode())
        except UnicodeEncodeError:
            raise Unstorable(name, "has characters that are none") from None
        if size > LONGEST_IDENTIFIER:
            raise Unstorable(name, f"is too long: {size} bytes, at most {LONGEST_IDENTIFIER}")
        if "\0" in value:
            raise Unstorable(name, "has a NUL character")


def texts(*values: str) -> None:
    """Check texts of any length that come from outside. Raises Unstorable."""
    for value in values:
        try:
            value.encode()
        except UnicodeEncodeError:
            raise Unstorable("a text", "has characters that are none") from None
        if "\0" in value:
            raise Unstorable("a text", "has a NUL character")


def words(text: str) -> str:
    """Words for a person, as far as they can be kept."""
    return text.encode(errors="replace").decode().replace("\0", "")[:LONGEST_WORDS]
