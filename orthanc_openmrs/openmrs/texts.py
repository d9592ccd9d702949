"""What is true of any text that OpenMRS sends."""

import re

_SURROGATE = re.compile(r"[\ud800-\udfff]")


def whole_characters(text: str) -> str:
    """The text without half a surrogate pair, which can't be written again: MySQL cuts an emoji
    like that."""
    return _SURROGATE.sub("\ufffd", text)
