"""How true measures are, on skies whose truth is known: `python bench/measures.py [--seeds 3] [part of a SCENE ...]`.

A row per scene and seed: error of FWHM and eccentricity over the stars of SNR above 50, share of the stars of SNR above
10 that are found (those farther than 1.5 FWHM from a brighter one), and how many of those found are none.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from starfield import Scene, judge, sky_of


def scenes() -> dict[str, Scene]:
    """The skies of the table, by name."""
    out = {f"round {f:g} px": Scene(fwhm_px=f, count=600, faintest=15) for f in (1.6, 2.0, 2.5, 3.0, 4.0, 5.0)}
    out |= {f"round {f:g} px": Scene(fwhm_px=f, count=350, faintest=20, shape=(1500, 2000)) for f in (6.0, 7.0, 8.0)}
    out |= {f"gauss {f:g} px": Scene(fwhm_px=f, beta=None, count=600, faintest=15) for f in (1.6, 2.0, 3.0, 5.0)}
    out["gauss 8 px"] = Scene(fwhm_px=8, beta=None, count=350, faintest=20, shape=(1500, 2000))
    for e in (0.3, 0.5, 0.7):
        for f in (1.6, 2.0, 3.0, 5.0):
            out[f"e {e:g} {f:g} px"] = Scene(fwhm_px=f, eccentricity=e, count=600, faintest=15)
        out[f"e {e:g} 8 px"] = Scene(fwhm_px=8, eccentricity=e, count=350, faintest=20, shape=(1500, 2000))
    for f in (2.0, 3.0, 5.0):
        out[f"crowded {f:g}"] = Scene(fwhm_px=f, count=int(1400 * 1000 / (70 * f**2)), faintest=5)
        out[f"nebula {f:g}"] = Scene(fwhm_px=f, count=600, faintest=5, nebula=20)
        out[f"knots {f:g}"] = Scene(fwhm_px=f, count=600, faintest=5, knots=120)
        out[f"hot {f:g}"] = Scene(fwhm_px=f, count=600, faintest=5, hot=1000)
        out[f"rays {f:g}"] = Scene(fwhm_px=f, count=600, faintest=5, rays=300)
        for kind in ("cfa", "xtrans", "colour"):
            out[f"{kind} {f:g}"] = Scene(fwhm_px=f, count=500, faintest=10, kind=kind)
            if kind != "colour":
                out[f"{kind} hot {f:g}"] = Scene(fwhm_px=f, count=500, faintest=8, kind=kind, hot=1000)
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scenes", nargs="*")
    parser.add_argument("--seeds", type=int, default=2)
    options = parser.parse_args()
    print(
        f"{'scene':<16}{'seed':>5}{'FWHM %':>8}{'ecc':>7}{'n50':>6}{'complete %':>11}{'of':>6}{'false':>6}{'found':>7}"
    )
    for name, scene in scenes().items():
        if options.scenes and not any(part in name for part in options.scenes):
            continue
        for seed in range(1, options.seeds + 1):
            told = judge(scene, sky_of(scene, seed))
            fine = abs(told["fwhm"]) < 0.01 and told["complete"] >= 0.95 and told["false"] <= 0.01 * told["found"]
            e = scene.eccentricity
            fine &= abs(told["ecc"] - e) <= 0.02 if e >= 0.3 else told["ecc"] < 0.15
            print(
                f"{name:<16}{seed:>5}{100 * told['fwhm']:>8.2f}{told['ecc'] - e:>7.3f}{told['n50']:>6}"
                f"{100 * told['complete']:>11.1f}{told['wanted']:>6}{told['false']:>6}{told['found']:>7}"
                f"  {told['beta'] or 0:5.2f} {'' if fine else '<--'}",
                flush=True,
            )


if __name__ == "__main__":
    main()
