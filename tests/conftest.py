"""Settings that every test shares."""

import os

from hypothesis import settings

# Reproducible by default; HYPOTHESIS_PROFILE=random draws fresh examples (nightly, --paranoid).
settings.register_profile("reproducible", deadline=None, derandomize=True, max_examples=50)
settings.register_profile("random", deadline=None, max_examples=200)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "reproducible"))
