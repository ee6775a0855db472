"""Two colour cameras with other patterns and other eyes: each plane has the colour of the reference."""

import numpy as np
import pytest
from astropy.io import fits
from cameras import Camera, stars, write

import masterlight as ml

WARM = Camera("Apex C", (300, 400), pattern="RGGB", response=(0.6, 1.0, 0.7), vignetting=0.0)
BLUE = Camera(
    "Bolt C", (280, 370), scale=0.95, light_e=1.6, sky_e=1500.0, gain_e_per_dn=1.4, read_e=5.0, turn_deg=-2.0,
    pattern="GBRG", response=(0.9, 1.0, 0.45), vignetting=0.0,
)  # fmt: skip


def light_in(image: np.ndarray, colour: int) -> float:
    """Light of the brighter lone stars over what the sky has of them in red, green or blue."""
    xy, light, redder = stars()
    matrix = WARM.matrix(0)
    at, sums = xy @ matrix[:2, :2].T + matrix[:2, 2], []
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    for k in np.flatnonzero(light > 10000):
        apart = np.hypot(*(at - at[k]).T)
        apart[k] = np.inf
        if (light[apart < 28] > 0.03 * light[k]).any() or not (28 < at[k]).all() or (at[k] > (372, 272)).any():
            continue
        far = np.hypot(x - at[k, 0], y - at[k, 1])
        sky = np.median(image[(far > 18) & (far < 26)])
        share = np.clip(11.5 - far, 0, 1)
        sums.append((float((share * (image - sky)).sum()), light[k] * np.exp(redder[k] * (1 - colour))))
    seen, known = np.array(sums).T
    assert len(seen) >= 4
    return float(seen @ known / (known @ known))


def test_truth_planes_of_two_cameras_have_the_colours_of_the_reference(tmp_path):
    """By one ratio for all planes red would be 20 % too bright and blue as much too faint."""
    write(tmp_path / "raw", WARM, 3, masters=False)
    write(tmp_path / "raw", BLUE, 3, masters=False)
    *_, last = ml.run(tmp_path / "raw", tmp_path / "out", ml.Recipe(reference="Apex-C_0.fits"))
    (row,) = last.result.lights
    assert row.frames_used == 6
    image = fits.getdata(row.path).astype(float)
    for colour in range(3):
        wanted = 0.998 * WARM.response[colour] / WARM.gain_e_per_dn
        assert light_in(image[colour], colour) == pytest.approx(wanted, rel=0.02), "RGB"[colour]
