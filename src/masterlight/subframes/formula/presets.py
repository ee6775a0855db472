"""Formulas of weights that have a name."""

TUTORIAL = "35*inv(FWHM) + 5*inv(Eccentricity) + 10*inv(Noise) + 50"
"""50 for the worst and 100 for the best of these frames, between their extremes instead of those of another night."""
PRESETS = {"tutorial": TUTORIAL, "tutorial+noise": f"({TUTORIAL}) * PSFScaleSNR / PSFScaleSNRMax"}
"""By name. `tutorial` is blind to haze, which takes light and leaves noise as it is, and counts a frame of twice the
noise as much as it does any other: `tutorial+noise` multiplies it by the weight of least noise."""
