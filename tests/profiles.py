"""How many examples hypothesis makes: enough for each run, and many where somebody looks for new ones."""

from __future__ import annotations

import os
from typing import Any

from hypothesis import settings

# The same examples in every run and on every machine; `HYPOTHESIS_PROFILE=explore pytest` looks for new ones.
settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True)
settings.register_profile("explore", deadline=None, max_examples=1000)
PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "ci")
settings.load_profile(PROFILE)

_TIMES = 25 if PROFILE == "explore" else 1


def examples(number: int, **more: Any) -> settings:
    """Of a test whose examples cost something: so many in each run, and more of them with `explore`."""
    return settings(max_examples=number * _TIMES, **more)
