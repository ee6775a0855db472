"""What the tutorial's weights cost on nights that its author had not in mind, and that `tutorial+noise` does not."""

import numpy as np
import pytest

from masterlight.subframes.formula.expression import Expression
from masterlight.subframes.formula.presets import PRESETS

FRAMES = 60


def night(kind, seed):
    """(table, noise of each frame once its stars are as bright as the reference's)."""
    rng = np.random.default_rng(seed)
    noise = 110 * rng.normal(1, 0.25 if kind == "noise" else 0.02, FRAMES).clip(0.4)
    light = np.ones(FRAMES)
    if kind == "cloud":
        light[: FRAMES // 4] = rng.uniform(0.2, 0.7, FRAMES // 4)
    table = {
        "FWHM": rng.normal(3.4, 0.2, FRAMES), "Eccentricity": rng.normal(0.45, 0.05, FRAMES), "Noise": noise,
        "PSFScaleSNR": (light / noise) ** 2,
    }  # fmt: skip
    return table, noise / light


def lost(preset, kind, seed):
    """Depth that a preset gives away, beside the weights of least noise."""
    table, noise = night(kind, seed)

    def depth(weights):
        return weights.sum() / np.sqrt(np.sum((weights * noise) ** 2))

    return 1 - depth(Expression(preset).evaluate(table)) / depth(noise**-2.0)


@pytest.mark.parametrize(("kind", "least", "most"), [("even", 0, 0.01), ("noise", 0.08, 0.2), ("cloud", 0.15, 0.45)])
def test_truth_depth_that_the_tutorial_gives_away(kind, least, most):
    for seed in range(5):
        assert least <= lost("tutorial", kind, seed) <= most
        assert lost("tutorial+noise", kind, seed) < 0.01


def test_authority_the_preset_is_the_text_between_the_extremes_of_the_frames():
    # Published to eight decimals; the author's constants are the extremes of his list.
    night = {
        "FWHM": np.array([3.008, 3.25, 3.5, 4.003]), "Eccentricity": np.array([0.3663, 0.45, 0.41, 0.5712]),
        "Noise": np.array([107.6, 110, 112, 117.5]),
    }  # fmt: skip
    text = (
        "(35*(1-(FWHM-3.008)/(4.003-3.008)) + 5*(1-(Eccentricity-0.3663)/(0.5712-0.3663))"
        " + 10*(1-(Noise-107.6)/(117.5-107.6)))+50"
    )
    assert Expression("tutorial").evaluate(night) == pytest.approx([100, 87.02073503, 77.18264905, 50], abs=1e-8)
    assert Expression(" tutorial ").evaluate(night) == pytest.approx(Expression(text).evaluate(night), rel=1e-13)


def test_surface_presets_are_weights():
    for name in PRESETS:
        assert not Expression(name).approves and Expression(name).text == PRESETS[name]
