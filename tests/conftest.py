"""Settings for all tests."""

import os
import tempfile

from hypothesis import settings

# The first call of a kernel compiles it, which no deadline should count; the same examples are tried each time.
settings.register_profile("masterlight", deadline=None, derandomize=True)
settings.load_profile("masterlight")

# What verbs keep for the next time goes into a folder of these tests, and goes away with them.
CACHE = tempfile.TemporaryDirectory(prefix="masterlight-cache-")
os.environ["XDG_CACHE_HOME"] = CACHE.name
