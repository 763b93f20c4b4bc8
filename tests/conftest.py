"""What holds for every test: how hard hypothesis tries.

`HYPOTHESIS_PROFILE` chooses; without it, `ci` under CI and `dev` elsewhere. A failing example
becomes a named test, so no profile is needed to find a known bug again.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

settings.register_profile("dev", max_examples=50, deadline=None)
settings.register_profile(
    "ci",
    max_examples=300,
    deadline=None,  # A shared machine stalls now and then; a slow example is not a wrong one.
    derandomize=True,  # The same change gives the same answer twice.
    print_blob=True,
)
settings.register_profile(
    "night",
    max_examples=20_000,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if "CI" in os.environ else "dev"))
