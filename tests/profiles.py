"""How many examples hypothesis makes: enough for each run, and many where somebody looks for new ones."""

from __future__ import annotations

import math
import os
from typing import Any

from hypothesis import settings
from hypothesis.internal.conjecture import providers

# The same examples in every run and on every machine; `HYPOTHESIS_PROFILE=thorough pytest` tries more of those that
# cost something, and `explore` looks for new ones.
settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True)
settings.register_profile("thorough", derandomize=True, deadline=None, print_blob=True)
settings.register_profile("explore", deadline=None, max_examples=1000)
PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "ci")
settings.load_profile(PROFILE)
if PROFILE == "ci":
    # Else some of what it draws are numbers of the sources of all modules that were imported until then: other
    # examples after any change, and in each order of tests. To look for them takes a second in every worker.
    providers._get_local_constants = lambda: providers._local_constants

_SHARE = {"ci": 0.1, "explore": 25}.get(PROFILE, 1)


def examples(number: int, **more: Any) -> settings:
    """Of a test whose examples cost something: so many in a thorough run, a tenth of them in every run."""
    return settings(max_examples=math.ceil(number * _SHARE), **more)
