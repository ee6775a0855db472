"""The walk as a whole: simulated nights against their truth, real nights, nights that go wrong."""

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import sky
from astropy.io import fits
from scipy import ndimage

import masterlight as ml
from masterlight.core.errors import NothingUsable, OutputError, ParameterError
from masterlight.night.report import COLUMNS

DATA = Path(os.environ.get("MASTERLIGHT_DATA", Path(__file__).parents[2] / "shared" / "data"))
real = pytest.mark.skipif(not DATA.is_dir(), reason=f"no real observations in {DATA}")

NIGHT = {"rows": 700, "cols": 900, "lights": 14, "biases": 12, "darks": 12, "flats": 12}
NIGHT |= {"trails": 4, "faintest_dn": 2500.0, "cosmic_rays": 80.0}
"""Large enough for two hundred bright stars, small enough for a test; clouds, trails and a meridian flip included."""


def walked(folder, out, **knobs):
    recipe = ml.build(ml.Recipe, {name.replace("__", "."): value for name, value in knobs.items()})
    *events, last = ml.run(folder, out, recipe)
    return last.result, events


@cache
def night():
    """One night, walked once for all tests that only look: (truth, report, image, hdus by name)."""
    truth = sky.written(**NIGHT)
    out = Path(truth.folder) / ".." / f"{Path(truth.folder).name}-result"
    report, _ = walked(truth.folder, out)
    with fits.open(report.lights[0].path) as hdus:
        planes = {hdu.name: hdu.data for hdu in hdus}
    return truth, report, planes[next(iter(planes))].astype(float), planes


def index_of(truth, path):
    """Which of the night's lights a file is."""
    return [p.name for p in truth.paths("light")].index(Path(path).name)


def reference_of(truth, report):
    return index_of(truth, report.lights[0].reference)


def used(report):
    return [row for row in report.frames if row.status == "used"]


def test_truth_every_light_is_used():
    truth, report, _, _ = night()
    assert report.exit_status == 0
    assert len(used(report)) == NIGHT["lights"]


def test_truth_transforms_at_the_corners():
    truth, report, image, _ = night()
    rows, cols = image.shape
    corners = np.array([[0, 0, 1], [cols - 1, 0, 1], [0, rows - 1, 1], [cols - 1, rows - 1, 1.0]]).T
    errors = []
    for row in used(report):
        found = np.reshape(row.matrix, (3, 3)) @ corners
        true = truth.transform(index_of(truth, row.path), reference_of(truth, report)) @ corners
        errors += list(np.hypot(*(found[:2] / found[2] - true[:2] / true[2])))
    errors = [e for e in errors if e > 0]
    assert np.median(errors) < 0.02


def bright_stars(truth, report, image):
    """Isolated unsaturated bright stars of the reference: (x, y, true flux)."""
    reference = reference_of(truth, report)
    stars = truth.expected_stars(reference)
    x, y, flux = stars.x_px, stars.y_px, stars.flux_dn
    rows, cols = image.shape
    inside = (x > 60) & (x < cols - 60) & (y > 60) & (y < rows - 60)
    keep = []
    for i in np.nonzero(inside & (flux > 40_000) & (stars.peak_dn < 35_000))[0]:
        near = np.hypot(x - x[i], y - y[i])
        near[i] = np.inf
        if np.sum(flux[near < 14]) < 0.002 * flux[i] and np.sum(flux[near < 20]) < 0.2 * flux[i]:
            keep.append(i)
    return x[keep], y[keep], flux[keep]


def aperture(image, x, y, radius=5, ring=(12, 18)):
    rows, cols = np.mgrid[int(y) - 25 : int(y) + 26, int(x) - 25 : int(x) + 26]
    r = np.hypot(cols - x, rows - y)
    pixels = image[rows, cols]
    return (pixels[r < radius] - np.median(pixels[(r > ring[0]) & (r < ring[1])])).sum()


def test_truth_photometry_is_linear():
    truth, report, image, _ = night()
    x, y, flux = bright_stars(truth, report, image)
    assert len(x) >= 12
    scene = truth.scene_dn(reference_of(truth, report)).astype(float)  # the nebula is in both apertures
    ratio = np.array([aperture(image, *p) / aperture(scene, *p) for p in zip(x, y, strict=True)])
    ratio /= np.median(ratio)
    slope, _ = np.polyfit(np.log10(flux), ratio, 1)
    assert abs(slope) < 0.005  # per factor of ten in flux
    assert 1.4826 * np.median(abs(ratio - 1)) < 0.005  # photon noise is 0.0014 of it, patchy clouds the most


def residue(truth, report, image):
    """The image less its surroundings, in units of the local noise, NaN near stars."""
    smooth = ndimage.median_filter(image, 25)
    stars = ndimage.maximum_filter(truth.scene_dn(reference_of(truth, report)), 9) - ndimage.median_filter(
        truth.scene_dn(reference_of(truth, report)), 25
    )
    left = np.where(stars < 15, image - smooth, np.nan)
    return left / (1.4826 * np.nanmedian(abs(left)))


def on_reference(truth, report, mask_of):
    """Pixels of the reference's grid that lie under a mask of any light."""
    reference = reference_of(truth, report)
    shape = truth.cosmic_mask(0).shape
    y, x = np.mgrid[: shape[0], : shape[1]]
    hit = np.zeros(shape, bool)
    for row in used(report):
        i = index_of(truth, row.path)
        mask = mask_of(i)
        if not mask.any():
            continue
        u, v, w = np.tensordot(truth.transform(i, reference), np.stack([x, y, np.ones_like(x)]), 1)
        u, v = np.rint(u / w).astype(int), np.rint(v / w).astype(int)
        inside = (u >= 0) & (u < shape[1]) & (v >= 0) & (v < shape[0])
        hit[inside] |= mask[v[inside], u[inside]]
    return hit


@pytest.mark.parametrize("what", ["trail_mask", "cosmic_mask"])
def test_truth_trails_and_cosmic_rays_leave_nothing(what):
    truth, report, image, planes = night()
    hit = on_reference(truth, report, getattr(truth, what))
    z = residue(truth, report, image)
    seen = planes["COVERAGE"] + NIGHT["lights"] * (planes["REJ_LOW"] + planes["REJ_HIGH"])
    full = seen > NIGHT["lights"] - 2.5  # pixels that rays struck are repaired, and missing in their light
    hit &= full & np.isfinite(z)
    assert hit.sum() > 1800
    assert abs(z[hit].mean() - z[full & np.isfinite(z)].mean()) < 0.1


def test_truth_noise_is_that_of_inverse_variance_weights(tmp_path):
    truth = sky.written(**NIGHT | {"nebula_dn": 0.0, "gradient": 0.02, "stars": 200})  # room between the stars
    report, _ = walked(truth.folder, tmp_path / "out", integrate__weights="noise")
    image = fits.getdata(report.lights[0].path).astype(float)
    rows = used(report)
    weights = np.array([r.weight for r in rows])
    noise = np.array([r.noise * r.scale for r in rows])
    assert np.allclose(weights, noise**-2 / (noise**-2).max(), rtol=1e-3)
    theory = np.sqrt(1 / np.sum(noise**-2))
    z = ndimage.gaussian_filter(image, 6)
    scene = truth.scene_dn(reference_of(truth, report))
    empty = ndimage.maximum_filter(abs(scene - ndimage.median_filter(scene, 31)), 31) < 2
    empty[:60], empty[-60:], empty[:, :60], empty[:, -60:] = False, False, False, False
    # whole blocks of 5 x 5 pixels: their means have the noise of the samples whatever the resampling did to pixels
    blocks = (image - z)[:695, :895].reshape(139, 5, 179, 5).mean(axis=(1, 3))
    inside = empty[:695, :895].reshape(139, 5, 179, 5).all(axis=(1, 3))
    assert inside.sum() > 8000
    white = np.random.default_rng(1).normal(0, 1, image.shape)
    expected = (white - ndimage.gaussian_filter(white, 6))[:695, :895].reshape(139, 5, 179, 5).mean(axis=(1, 3)).std()
    measured = 1.4826 * np.median(abs(blocks[inside] - np.median(blocks[inside]))) / expected
    assert measured == pytest.approx(theory, rel=0.03)


def test_truth_variance_plane_is_honest():
    _, report, _, planes = night()
    row = report.lights[0]
    assert row.noise_claimed == pytest.approx(row.noise, rel=0.1)
    assert np.nanmax(planes["COVERAGE"]) == NIGHT["lights"]


def test_surface_outputs():
    truth, report, image, planes = night()
    row = report.lights[0]
    path = Path(row.path)
    assert list(planes)[1:] == ["VARIANCE", "COVERAGE", "REJ_LOW", "REJ_HIGH", "FRAMES", "RECIPE"]
    assert 0 < planes["REJ_HIGH"].max() <= 1
    assert len(planes["FRAMES"]) == NIGHT["lights"]
    with fits.open(path, checksum=True) as hdus:
        head = hdus[0].header
        assert hdus[0].data.dtype.newbyteorder("=") == np.float32
        recipe = "\n".join(line.decode() if isinstance(line, bytes) else line for line in hdus["RECIPE"].data["TEXT"])
    with fits.open(path, disable_image_compression=True) as hdus:
        assert all("DATASUM" in hdu.header for hdu in hdus)
    assert ml.from_toml(ml.Recipe, recipe) == ml.Recipe()
    assert head["NCOMBINE"] == NIGHT["lights"]
    assert head["EXPTIME"] == 120
    assert head["LIVETIME"] == 120 * NIGHT["lights"]
    assert head["CALSTAT"] == "BDF"
    assert Path(row.preview).stat().st_size > 1000
    told = json.loads((path.parent / "report.json").read_text())
    assert {m["kind"] for m in told["masters"]} == {"bias", "dark", "flat", "light"}
    assert all(Path(m["path"]).is_file() for m in told["masters"])
    wanted = (
        "path",
        "status",
        "reason",
        "fwhm_px",
        "eccentricity",
        "noise",
        "stars",
        "weight",
        "rms_px",
        "rejected_low",
        "rejected_high",
    )
    assert all(name in frame for frame in told["frames"] for name in wanted)
    assert set(COLUMNS) == set(told["frames"][0])
    assert told["timing"]["total"] > 0


# nights that go wrong


@pytest.fixture
def folder(tmp_path):
    """A copy of a small night that a test may spoil."""
    truth = sky.written()
    target = tmp_path / "night"
    shutil.copytree(truth.folder, target)
    return target


def frames(folder, kind):
    return sorted((p for p in folder.rglob("*.fits") if kind in str(p.parent.relative_to(folder)).upper()), key=str)


def dangle(path):
    """Make a file a link that leads nowhere, as on a disk that was unplugged."""
    path.unlink()
    path.symlink_to(path.with_name("gone.fits"))


def spoil(path, change):
    with fits.open(path) as hdus:
        header, data = hdus[0].header, hdus[0].data.copy()
    fits.writeto(path, change(data), header, overwrite=True)


SPOILED = {
    "truncated": (lambda p: p.write_bytes(p.read_bytes()[:200_000]), "truncated"),
    "garbage": (lambda p: p.write_bytes(b"not a picture" * 1000), "FITS"),
    "empty": (lambda p: p.write_bytes(b""), ""),
    "unreadable": (dangle, "is a link to .* which leads nowhere"),
    "zeros": (lambda p: spoil(p, np.zeros_like), "0"),
    "saturated": (lambda p: spoil(p, lambda d: np.full_like(d, 65535)), "satur|every pixel"),
    "all NaN": (lambda p: spoil(p, lambda d: np.full(d.shape, np.nan, np.float32)), "NaN|missing"),
    "no stars": (
        lambda p: spoil(p, lambda d: np.random.default_rng(0).normal(1500, 30, d.shape).astype(np.uint16)),
        "star",
    ),
    "another size": (lambda p: spoil(p, lambda d: d[:-10]), "pixels|size|no dark|no flat|stars|align"),
}


@pytest.mark.parametrize("how", SPOILED)
def test_bad_light_is_told_and_the_night_goes_on(folder, tmp_path, how):
    do, words = SPOILED[how]
    bad = frames(folder, "LIGHT")[2]
    do(bad)
    report, events = walked(folder, tmp_path / "out")
    rows = [r for r in report.frames if Path(r.path).name == bad.name]
    if how == "another size":  # a job of its own without masters of its size; the others are not touched
        assert [r.status for r in rows] in (["used"], ["rejected"])
        assert max(m.frames_used for m in report.lights) == 5
        return
    assert [r.status for r in rows] == ["rejected"]
    assert set(COLUMNS) == set(vars(rows[0]))
    assert re.search(words, rows[0].reason), rows[0].reason
    assert report.lights[0].frames_used == 5
    assert report.exit_status == 1
    assert any(bad.name in e.message for e in events)


@pytest.mark.parametrize("kind", ["BIAS", "DARK", "FLAT"])
@pytest.mark.parametrize(("how", "which"), [("truncated", 1), ("zeros", 0), ("all NaN", 0)])
def test_bad_calibration_frame_is_told_and_the_night_goes_on(folder, tmp_path, kind, how, which):
    bad = frames(folder, kind)[which]
    SPOILED[how][0](bad)
    report, _ = walked(folder, tmp_path / "out")
    assert [Path(r.path).name for r in report.rejected] == [bad.name]
    made = next(m for m in report.masters if m.kind == kind.lower())
    assert made.frames_used == 4
    assert report.lights[0].frames_used == 6


def test_bad_pixels_that_are_nan_are_filled_by_dithering(folder, tmp_path):
    def holes(data):
        data = data.astype(np.float32)
        data[100:110, 100:110] = np.nan
        return data

    for path in frames(folder, "LIGHT"):
        spoil(path, holes)
    report, _ = walked(folder, tmp_path / "out")
    image = fits.getdata(report.lights[0].path)
    assert report.lights[0].frames_used == 6
    assert np.isfinite(image[50:350, 50:450]).mean() > 0.9995


def test_bad_no_calibration_frames(folder, tmp_path):
    for kind in ("BIAS", "DARK", "FLAT"):
        for path in frames(folder, kind):
            path.unlink()
    report, events = walked(folder, tmp_path / "out")
    assert report.lights[0].frames_used == 6
    assert any("C = L" in e.message for e in events)
    assert any("no dark" in note or "uncalibrated" in note for note in report.notes)


def test_bad_empty_folder_and_no_lights(folder, tmp_path):
    (tmp_path / "nothing").mkdir()
    with pytest.raises(NothingUsable, match="nothing"):
        walked(tmp_path / "nothing", tmp_path / "out")
    for path in frames(folder, "LIGHT"):
        path.unlink()
    with pytest.raises(NothingUsable, match="light"):
        walked(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_bad_full_disk_leaves_nothing_half_written(folder, tmp_path, monkeypatch):
    from masterlight.io import whole

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(whole.WholeFile, "write", full)
    with pytest.raises(OutputError, match="disk is full"):
        walked(folder, tmp_path / "out")
    assert [p for p in (tmp_path / "out").rglob("*") if p.is_file()] == []


def test_bad_disk_too_small_is_told_before_the_work(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("masterlight.night.products.Store.free_bytes", lambda self: 1000)
    with pytest.raises(OutputError, match="free some space"):
        walked(folder, tmp_path / "out")


def test_bad_frame_that_vanishes_between_the_passes(folder, tmp_path):
    lost = frames(folder, "LIGHT")[3]
    report = None
    for event in ml.run(folder, tmp_path / "out"):
        if event.stage == "align" and lost.exists():
            lost.unlink()
        report = event.result
    assert [Path(r.path).name for r in report.rejected] == [lost.name]
    assert report.lights[0].frames_used == 5


def rewritten(path):
    """Other pixels within the same size, the time set back as if nothing had been."""
    status, content = path.stat(), bytearray(path.read_bytes())
    content[-40_000:-20_000] = bytes(20_000)
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def exchanged(path):
    """Another light of the same size and time under its name."""
    status, other = path.stat(), path.with_name("other")
    other.write_bytes(next(p for p in sorted(path.parent.glob("*.fits")) if p != path).read_bytes())
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    os.replace(other, path)


CHANGES = {
    "rewritten": rewritten, "exchanged": exchanged, "touched": lambda p: os.utime(p, ns=(1, 1)),
    "longer": lambda p: p.write_bytes(p.read_bytes() + b"more"), "cut": lambda p: os.truncate(p, 300_000),
}  # fmt: skip


TIMES = [(how, "align") for how in CHANGES] + [
    (h, s) for h in ("rewritten", "exchanged") for s in ("measure", "integrate")
]


@pytest.mark.parametrize(("how", "stage"), TIMES)
def test_bad_light_that_changes_during_the_run(folder, tmp_path, how, stage):
    """In pass 1 what the doctor saw of it is remembered, in pass 2 what pass 1 saw, in the midst of both passes."""
    lights, at = frames(folder, "LIGHT"), {"measure": 5, "align": 3, "integrate": 2}[stage]
    changed = False
    recipe = ml.build(ml.Recipe, {"workers": "serial", "memory_mb": 300})
    for event in ml.run(folder, tmp_path / "out", recipe):
        if event.stage == stage and event.total and not changed and event.done < event.total:
            CHANGES[how](lights[at])
            changed = True
    report = event.result
    rows = {Path(row.path).name: row for row in report.rejected}
    assert changed and rows.keys() == {lights[at].name}
    assert re.search("has changed|truncated", rows[lights[at].name].reason)
    assert report.lights[0].frames_used == 5 and report.exit_status == 1


def test_bad_master_that_changes_between_the_passes(tmp_path):
    """Of several filters the arrays of masters are let go and made again: no light is calibrated by another master."""
    truth = sky.written(filters=("R", "B"), lights=4, flats=4)
    walked(truth.folder, tmp_path / "first")
    for path in [*frames(truth.folder, "LIGHT"), *(tmp_path / "first" / "masters").glob("*.fits")]:
        (tmp_path / "night").mkdir(exist_ok=True)
        shutil.copy2(path, tmp_path / "night" / path.name)
    dark, report = next((tmp_path / "night").glob("master_dark*.fits")), None
    for event in ml.run(tmp_path / "night", tmp_path / "out"):
        if event.stage == "align" and report is None:
            rewritten(dark)
            report = event
    report = event.result
    lost = [row for row in report.rejected if row.stage == "integrate"]
    assert len(lost) == 8 and all("has changed" in row.reason for row in lost)
    assert report.exit_status == 2 and not list((tmp_path / "out").glob("master_light*.fits"))


def test_bad_interrupted_run_leaves_no_half_file(tmp_path):
    truth = sky.written(**NIGHT)
    command = [sys.executable, "-m", "masterlight.doors.cli", "run", str(truth.folder), "--out", str(tmp_path / "out")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        for line in running.stdout:
            if "calibrate" in line:
                running.send_signal(signal.SIGINT)
                break
        _, told = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "interrupted" in told
    assert "Traceback" not in told
    left = sorted(p.name for p in (tmp_path / "out").rglob("*") if p.is_file())
    assert left.pop(left.index("console.txt"))
    assert left and all(name.startswith("master_") and not name.startswith("master_light") for name in left)
    report, _ = walked(truth.folder, tmp_path / "out")
    assert sum("used again" in note for note in report.notes) == 3


def test_bad_calibration_frame_that_vanishes_after_the_scan(folder, tmp_path):
    night = ml.plan(ml.scan(folder))
    lost = frames(folder, "DARK")[2]
    lost.unlink()
    *_, last = ml.run(night, tmp_path / "out")
    assert [Path(r.path).name for r in last.result.rejected] == [lost.name]
    assert last.result.lights[0].frames_used == 6


def test_bad_reference_that_vanishes_between_the_passes(folder, tmp_path):
    """The header tells of the light that took its place."""
    lost = frames(folder, "LIGHT")[3]
    with fits.open(lost, mode="update") as hdus:
        hdus[0].header["GAIN"] = 7
    for event in ml.run(folder, tmp_path / "out", ml.build(ml.Recipe, {"reference": lost.name})):
        if event.stage == "align" and "reference" in event.message:
            lost.unlink()
    report = event.result
    assert [Path(r.path).name for r in report.rejected] == [lost.name]
    assert report.lights[0].frames_used == 5
    assert fits.getheader(report.lights[0].path)["NCOMBINE"] == 5


def test_masters_are_used_again(folder, tmp_path):
    walked(folder, tmp_path / "out")
    made = {p: p.stat().st_mtime_ns for p in (tmp_path / "out" / "masters").glob("*.fits")}
    report, _ = walked(folder, tmp_path / "out")
    assert {p: p.stat().st_mtime_ns for p in made} == made
    assert sum("used again" in note for note in report.notes) == 3
    report, _ = walked(folder, tmp_path / "out", dark__rejection__low=9)
    assert {p: p.stat().st_mtime_ns for p in made} == made, "those of other knobs stay"
    (other,) = set((tmp_path / "out" / "masters").glob("*.fits")) - made.keys()
    assert "dark" in other.name and other.stem.endswith("_2")
    assert any(f"stays as it is; this one is {other.name}" in note for note in report.notes)
    report, _ = walked(folder, tmp_path / "out", dark__rejection__low=9)
    assert sum("used again" in note for note in report.notes) == 3, "also the one with a number"


@pytest.mark.parametrize("what", ["pixel", "row"])
def test_bad_master_that_was_edited_is_made_anew(folder, tmp_path, what):
    """Its key is the same, its sums are not: it stays, since somebody may want it, and is not used."""
    first, _ = walked(folder, tmp_path / "out")
    dark = next(Path(row.path) for row in first.masters if row.kind == "dark")
    content = bytearray(dark.read_bytes())
    content[5 * 2880 : 5 * 2880 + (1 if what == "pixel" else 2000)] = bytes(1 if what == "pixel" else 2000)
    dark.write_bytes(content)
    report, _ = walked(folder, tmp_path / "out")
    assert any(f"{dark.name} was edited or damaged" in note for note in report.notes)
    assert sum("used again" in note for note in report.notes) == 2 and dark.read_bytes() == content
    a, b = (fits.getdata(r.lights[0].path) for r in (first, report))
    assert np.array_equal(a, b, equal_nan=True)


def test_a_second_night_leaves_the_first_as_it_is(folder, tmp_path):
    first, _ = walked(folder, tmp_path / "out")
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    frames(folder, "LIGHT")[2].unlink()
    second, _ = walked(folder, tmp_path / "out")
    assert {path: path.read_bytes() for path in before} == before
    made = sorted(path.name for path in (tmp_path / "out").rglob("*") if path.is_file() and path not in before)
    name = Path(first.lights[0].path).stem
    assert made == [f"{name}_2.fits", f"{name}_2.png", "report_2.html", "report_2.json"]
    assert Path(second.lights[0].path).name == f"{name}_2.fits" and second.lights[0].frames_used == 5
    again, _ = walked(folder, tmp_path / "out", workers="serial")
    assert again.lights[0].path == second.lights[0].path, "the same frames and knobs take their own place"
    third, _ = walked(folder, tmp_path / "out", overwrite=True)
    assert third.lights[0].path == first.lights[0].path, "as was asked for"


def test_bad_report_that_cannot_be_written_costs_no_master_light(folder, tmp_path, monkeypatch):
    def full(self, path):
        raise OutputError(f"{path}: the disk is full")

    monkeypatch.setattr("masterlight.night.report.Report.write", full)
    report, events = walked(folder, tmp_path / "out")
    assert report.exit_status == 1 and report.lights and Path(report.lights[0].path).is_file()
    assert any("the report could not be written, the results are whole" in event.message for event in events)


def test_what_a_killed_run_left_inside_the_input_is_no_input(folder, tmp_path):
    whole, _ = walked(folder, tmp_path / "out")
    shutil.copytree(tmp_path / "out", folder / "result")
    (folder / "result/report.json").unlink(), (folder / "result/report.html").unlink()
    report, _ = walked(folder, folder / "result")
    assert report.lights[0].frames_used == 6 and report.exit_status == 0
    assert any("are not taken for input" in note for note in report.notes)
    a, b = (fits.getdata(r.lights[0].path) for r in (whole, report))
    assert np.array_equal(a, b, equal_nan=True)


def test_result_does_not_depend_on_threads_or_memory(folder, tmp_path):
    one, _ = walked(folder, tmp_path / "one", workers="serial")
    two, _ = walked(folder, tmp_path / "two", workers="threads:3", memory_mb=310)
    for a, b in zip(one.masters, two.masters, strict=True):
        with fits.open(a.path) as first, fits.open(b.path) as second:
            assert np.array_equal(first[0].data, second[0].data, equal_nan=True), a.kind


def test_truth_several_filters_share_one_grid(tmp_path):
    truth = sky.written(filters=("R", "B"), lights=4, flats=4)
    report, _ = walked(truth.folder, tmp_path / "out")
    assert sorted(m.filter for m in report.lights) == ["B", "R"]
    assert len({m.reference for m in report.lights}) == 1
    red, blue = (fits.getdata(m.path) for m in report.lights)
    stars = [ml.SubframeSelector().measure(image, source="stack")[1].xy for image in (red, blue)]
    from scipy.spatial import cKDTree

    distance, _ = cKDTree(stars[0]).query(stars[1][:20])
    assert np.median(distance) < 0.1  # the noise of the twenty brightest is half of that


def without(folder, *kinds):
    for kind in kinds:
        for path in frames(folder, kind):
            path.unlink()


def median_of(report):
    return float(np.nanmedian(fits.getdata(report.lights[0].path)))


def test_surface_many_masters_are_warned_of_in_one_sentence(tmp_path):
    """Too few flats of each of four filters: one line of the console, one article, four findings in the report."""
    knobs = {"filters": tuple("LRGB"), "lights": 2, "flats": 3, "biases": 3, "darks": 0, "rows": 240, "cols": 320}
    night = sky.written(**{**NIGHT, **knobs, "stars": 150, "trails": 0, "cloudy": 0})
    report, events = walked(night.folder, tmp_path)
    told = [event.message for event in events if event.message.startswith("D16 warn")]
    assert len(told) == 1 and "(the worst of 4 such; also " in told[0]
    depth = [finding for finding in report.findings if finding.unit == "signal to noise"]
    assert len(depth) == 4
    assert (tmp_path / "report.html").read_text().count("signal to noise of a pixel is") == 1


def test_flats_without_bias_do_not_cost_the_night(folder, tmp_path):
    whole, _ = walked(folder, tmp_path / "whole")
    without(folder, "BIAS")
    report, _ = walked(folder, tmp_path / "nobias")
    assert report.lights[0].frames_used == 6
    assert any("takes their bias level off" in note for note in report.notes)
    assert median_of(report) == pytest.approx(median_of(whole), rel=0.01)
    without(folder, "DARK")
    report, _ = walked(folder, tmp_path / "flats-alone")
    assert report.lights[0].frames_used == 6
    assert {m.kind for m in report.masters} == {"light"}


def test_ready_made_masters_serve_as_well(folder, tmp_path):
    first, _ = walked(folder, tmp_path / "out")
    without(folder, "BIAS", "DARK", "FLAT")
    for path in (tmp_path / "out" / "masters").glob("*.fits"):
        shutil.copy(path, folder)
    again, _ = walked(folder, tmp_path / "again")
    assert np.array_equal(fits.getdata(first.lights[0].path), fits.getdata(again.lights[0].path), equal_nan=True)


@pytest.mark.parametrize("kind", ["dark", "flat"])
def test_bad_ready_made_master_is_told_and_the_night_goes_on(folder, tmp_path, kind):
    walked(folder, tmp_path / "out")
    without(folder, "BIAS", "DARK", "FLAT")
    for path in (tmp_path / "out" / "masters").glob("*.fits"):
        data = path.read_bytes()
        (folder / path.name).write_bytes(data[: len(data) // 2] if kind in path.name else data)
    report, _ = walked(folder, tmp_path / "again")
    assert [kind in Path(r.path).name for r in report.rejected] == [True]
    assert report.lights[0].frames_used == 6


def test_pedestal_is_in_the_result_and_in_its_header(folder, tmp_path):
    plain, _ = walked(folder, tmp_path / "plain")
    raised, _ = walked(folder, tmp_path / "raised", calibrate__pedestal_dn=200)
    assert median_of(raised) - median_of(plain) == pytest.approx(200, abs=0.5)
    assert fits.getheader(raised.lights[0].path)["PEDESTAL"] == -200


def test_two_targets_and_a_reference_of_one(folder, tmp_path):
    lights = frames(folder, "LIGHT")
    for path in lights[3:]:
        with fits.open(path, mode="update") as hdus:
            hdus[0].header["OBJECT"] = "M 42"
    report, _ = walked(folder, tmp_path / "out", reference=lights[4].name)
    assert sorted(m.frames_used for m in report.lights) == [3, 3]
    assert lights[4].name in {Path(m.reference).name for m in report.lights}
    with pytest.raises(ParameterError, match=r"Recipe.reference nothing.fits is not among the 6 lights"):
        walked(folder, tmp_path / "other", reference="nothing.fits")
    assert not (tmp_path / "other").exists()


def test_bad_light_without_noise_is_told(folder, tmp_path):
    bad = frames(folder, "LIGHT")[0]
    spoil(bad, lambda d: (d // 2048 * 2048).astype(np.uint16))
    report, _ = walked(folder, tmp_path / "out")
    assert report.lights[0].frames_used >= 5


def test_three_lights_one_of_them_noisy(folder, tmp_path):
    """A cosmic ray in a good frame must not win against a noisier one that does not have it."""
    lights = frames(folder, "LIGHT")
    for path in lights[3:]:
        path.unlink()
    rng = np.random.default_rng(5)
    spoil(lights[1], lambda d: np.clip(d + rng.normal(0, 60, d.shape), 0, 65535).astype(np.uint16))
    report, _ = walked(folder, tmp_path / "clean")
    spoil(lights[0], lambda d: struck(d, 150, 180))
    after, _ = walked(folder, tmp_path / "struck")
    before, image = (fits.getdata(r.lights[0].path) for r in (report, after))
    assert np.nanmax(abs(image - before)[100:300, 100:400]) < 400


def struck(data, y, x):
    data[y : y + 2, x : x + 3] = 30000
    return data


def test_a_binned_light_does_not_shrink_the_others(folder, tmp_path):
    binned = frames(folder, "LIGHT")[2]
    with fits.open(binned) as hdus:
        header, data = hdus[0].header, hdus[0].data.astype(float)
    header["XBINNING"] = header["YBINNING"] = 2
    header["XPIXSZ"] = 2 * header.get("XPIXSZ", 3.76)
    small = data.reshape(200, 2, 250, 2).mean(axis=(1, 3))
    fits.writeto(binned, small.astype(np.uint16), header, overwrite=True)
    report, _ = walked(folder, tmp_path / "out")
    assert {fits.getdata(m.path).shape for m in report.lights} == {(400, 500)}
    assert max(m.frames_used for m in report.lights) == 5


def test_bad_darks_all_of_them_leave_the_bias(folder, tmp_path):
    same = {"reference": frames(folder, "LIGHT")[0].name}  # whose sky is that of the result
    good, _ = walked(folder, tmp_path / "good", **same)
    for path in frames(folder, "DARK"):
        SPOILED["truncated"][0](path)
    report, _ = walked(folder, tmp_path / "out", **same)
    assert report.lights[0].frames_used == 6
    assert any("is subtracted instead" in note or "L - B" in note for note in report.notes)
    assert median_of(report) == pytest.approx(median_of(good), abs=15)  # the dark current


def test_mixed_exposures_are_told_as_the_reference_has_them(folder, tmp_path):
    lights = frames(folder, "LIGHT")
    for path in lights[:3]:
        with fits.open(path, mode="update") as hdus:
            hdus[0].header["EXPTIME"] = hdus[0].header["EXPOSURE"] = 60.0
    unscaled = {"calibrate.dark_scaling": "none"}
    report, _ = walked(folder, tmp_path / "out", reference=lights[5].name, **unscaled)
    head = fits.getheader(report.lights[0].path)
    assert head["EXPTIME"] == 120
    assert head["LIVETIME"] == 540
    assert head["CALSTAT"] == "BF"  # the short ones have no dark of their exposure
    assert any("3 of its 6 lights are only 'BF'" in note for note in report.notes)


def test_an_output_inside_the_input_is_not_taken_for_input(folder):
    first, _ = walked(folder, folder)
    again, _ = walked(folder, folder)
    assert (first.exit_status, again.exit_status) == (0, 0)
    assert first.lights[0].frames_used == again.lights[0].frames_used == 6


# real nights


@real
@pytest.mark.parametrize(
    ("name", "frames_used", "masters", "least_gain"),
    [("tres1_st10", 8, {"dark"}, 2.2), ("galaxy_atik383", 4, {"dark", "flat", "flatdark"}, 1.8)],
)
def test_real_night(tmp_path, name, frames_used, masters, least_gain):
    report, _ = walked(DATA / name, tmp_path / "out")
    left_out = [Path(row.path).name for row in report.frames if row.status == "rejected"]
    assert left_out == (["expected_result.tiff"] if "galaxy" in name else [])  # of 8 bits, for the eye
    row = report.lights[0]
    assert row.frames_used == frames_used
    assert {m.kind for m in report.masters} == masters | {"light"}
    assert row.noise_before / row.noise > least_gain
    image = fits.getdata(row.path)
    assert np.isfinite(image[50:-50, 150:-150]).all()


@real
def test_real_satellite_trails_are_gone(tmp_path):
    report, _ = walked(DATA / "tres1_st10", tmp_path / "out")
    rejected = {Path(r.path).stem: r.rejected_high for r in used(report)}
    crossed = [rejected[f"tres1-{n}"] for n in ("061", "114", "228")]
    assert min(crossed) > 5e-4
