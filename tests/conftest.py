"""Settings for all tests."""

from hypothesis import settings

# The first call of a kernel compiles it, which no deadline should count; the same examples are tried each time.
settings.register_profile("masterlight", deadline=None, derandomize=True)
settings.load_profile("masterlight")
