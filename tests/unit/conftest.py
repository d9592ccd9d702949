"""One profile of hypothesis: the same examples on every machine, none against the clock."""

from hypothesis import settings

settings.register_profile(
    "unit", derandomize=True, deadline=None, max_examples=60, print_blob=False, database=None
)
settings.load_profile("unit")
