"""Wild cards as regular expressions (PS3.4 C.2.2.2.4).

Decides: what `*` and `?` stand for, and that no pattern takes for ever. Must not know: VRs.
"""

import re


def wildcard(text: str) -> re.Pattern[str]:
    """The pattern of a text with `*` and `?`, to be matched in full.

    Between two `*`, the first place that fits is as good as any other; the atomic groups say
    so, for without them a hostile pattern would take for ever.
    """
    first, *rest = (
        "".join("." if mark == "?" else re.escape(mark) for mark in part)
        for part in re.split(r"\*+", text)
    )
    middle = "".join(f"(?>.*?{part})" for part in rest[:-1])
    last = f".*{rest[-1]}" if rest else ""
    return re.compile(first + middle + last, re.DOTALL)
