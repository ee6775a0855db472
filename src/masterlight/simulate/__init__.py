"""Synthetic nights with known truth: the demo's input and the tests' sky."""

from masterlight.simulate.night import Night, Pointing
from masterlight.simulate.observatory import Observatory
from masterlight.simulate.truth import Truth, simulate

__all__ = ["Night", "Observatory", "Pointing", "Truth", "simulate"]
