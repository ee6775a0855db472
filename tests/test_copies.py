"""Copies: one exposure in several files counts once, whatever the files are called; frames that are alike stay."""

import gzip
import shutil
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from clinic import NIGHT, altered, examined, only
from paper import frames
from sky import written

from masterlight.core.errors import Rejected
from masterlight.session.found.copies import without_processed
from masterlight.session.planner import plan
from masterlight.session.scan import scan


@pytest.fixture
def night(tmp_path):
    shutil.copytree(written(**NIGHT).folder, tmp_path / "night")
    return tmp_path / "night"


def some(night, kind, index=1):
    return sorted(night.rglob(f"{kind}/*.fits"))[index]


def left_out(night):
    made = plan(scan(night))
    frames = [frame.source for group in made.groups for frame in group.frames]
    assert len(frames) == len(set(frames))
    return {lost.source.rsplit("/", 1)[-1]: lost.reason for lost in made.rejected}, made


@pytest.mark.parametrize("kind", ["LIGHT", "DARK", "FLAT", "BIAS"])
def test_truth_a_copied_file_is_left_out_and_the_frame_itself_stays(night, kind):
    first = some(night, kind)
    for name in ("(copy)", "(copy 2)"):
        shutil.copy(first, first.with_stem(f"{first.stem} {name}"))
    lost, made = left_out(night)
    assert set(lost) == {f"{first.stem} (copy).fits", f"{first.stem} (copy 2).fits"}
    assert all(reason == f"holds the same pixels as {first.name}, which is used once" for reason in lost.values())
    assert str(first) in {frame.source for group in made.groups for frame in group.frames}


def test_truth_of_a_folder_and_its_backup_below_the_folder_stays(night):
    shutil.copytree(night, night / "a backup" / night.name)
    lost, made = left_out(night)
    kept = {frame.source for group in made.groups for frame in group.frames}
    assert lost and not any("a backup" in source for source in kept)
    twin = next(one for one in made.rejected if "LIGHT" in one.source)
    folder, name = twin.source.split("/")[-2:]
    assert f"pixels as {night.parent.name}/{night.name}/" in twin.reason and f"{folder}/{name}, " in twin.reason


def test_truth_a_copy_with_another_header_and_name_is_found_by_its_pixels(night):
    first = some(night, "DARK")
    with fits.open(first) as hdus:
        hdus[0].header["OBSERVER"] = "somebody else"
        hdus[0].header["HISTORY"] = "saved again"
        hdus.writeto(first.with_name("saved_again_by_another_program_and_so_a_longer_name.fits"))
    lost, _ = left_out(night)
    assert set(lost) == {"saved_again_by_another_program_and_so_a_longer_name.fits"}


def test_truth_a_copied_compressed_file_is_left_out(night):
    first = some(night, "LIGHT")
    packed = first.with_name("packed.fits.gz")
    packed.write_bytes(gzip.compress(first.read_bytes(), 1))
    first.unlink()
    shutil.copy(packed, packed.with_name("packed_again.fits.gz"))
    lost, _ = left_out(night)
    assert set(lost) == {"packed_again.fits.gz"}


def test_truth_a_light_copied_among_the_darks_stays_a_light(night):
    light, dark = some(night, "LIGHT"), some(night, "DARK")
    for place in (light, dark.with_name("a.fits")):
        shutil.copy(light, place) if place != light else None
        with fits.open(place, "update") as hdus:  # a bare header: the folders tell
            hdus[0].header.remove("IMAGETYP", ignore_missing=True)
    lost, made = left_out(night)
    assert set(lost) == {"a.fits"}
    assert str(light) in {frame.source for job in made.lights for frame in job.frames}


def test_truth_frames_of_one_time_that_differ_all_stay(tmp_path):
    def timeless(kind, i, pixels, header):
        if kind == "bias":
            header["DATE-OBS"] = "2025-10-18"
        elif kind == "dark":
            del header["DATE-OBS"]

    lost, made = left_out(altered(tmp_path, timeless, biases=12))
    assert not lost
    assert sorted(len(group.frames) for group in made.groups) == [4, 6, 6, 12]


def test_truth_frames_that_differ_in_one_pixel_are_no_copies(night):
    first = some(night, "BIAS")
    other = first.with_stem(f"{first.stem} (copy)")
    shutil.copy(first, other)
    with fits.open(other, "update") as hdus:
        hdus[0].data[5, 5] += 1
    assert left_out(night)[0] == {}
    assert only(examined(night), "D21") == []


def test_truth_a_copy_without_its_time_is_left_out_by_the_doctor(night):
    first = some(night, "FLAT")
    with fits.open(first) as hdus:
        for name in ("DATE-OBS", "DATE-LOC", "DATE-AVG", "DATE-BEG"):
            hdus[0].header.remove(name, ignore_missing=True)
        hdus.writeto(first.with_name("without_a_time_in_its_header.fits"))
    assert left_out(night)[0] == {}
    (found,) = only(examined(night), "D21")
    assert found.severity == "warn" and found.out
    assert [source.rsplit("/", 1)[-1] for source in found.sources] == ["without_a_time_in_its_header.fits"]


def test_truth_a_plan_without_some_frames(night):
    made = plan(scan(night))
    dark = next(group for group in made.groups if group.kind == "dark").frames[2]
    less = made.without([Rejected(dark.source, "doctor", "odd")])
    assert [len(job.frames) for job in less.masters] == [len(job.frames) - (job.kind == "dark") for job in made.masters]
    (part,) = less.sets
    assert part.dark in less.masters and part.flat in less.masters and part.flat.bias in (*less.masters, None)
    assert less.rejected[-1].source == dark.source and np.isfinite(less.memory_bytes)


def processed(frame_list, prefix="pp_", suffix="", **changes):
    """What a program made of frames and wrote beside them."""
    names = [f"process/{prefix}{Path(f.source).stem}{suffix}.fits" for f in frame_list]
    metas = [f.meta.with_(integer=False, **changes) for f in frame_list]
    return [type(f)(source=n, meta=m) for f, n, m in zip(frame_list, names, metas, strict=True)]


def test_truth_what_a_program_made_of_raw_lights_is_not_counted_beside_them():
    """A working folder of Siril holds every light raw, calibrated and registered: twice the photons were claimed."""
    raw = frames("light", 5)
    done = processed(raw, calibration="BDF")
    kept, lost = without_processed([*done, *raw, *processed(raw, "r_pp_", calibration="BDF", stages=("registered",))])
    assert kept == raw and len(lost) == 10
    assert "is light_1_0.fits processed before" in lost[0].reason and "counts once" in lost[0].reason
    kept, _ = without_processed([*done, *processed(done, "r_", calibration="BDF")])
    assert kept == done, "no header tells of the registration: the name does"
    again = processed(raw, "", "_c", calibration="BDF")
    assert without_processed([*processed(again, "", "_r", calibration="BDF"), *again])[0] == again


def test_truth_exposures_of_their_own_stay():
    raw = frames("light", 3, object="M 31")
    for others in (
        processed(frames("light", 3, night=2), calibration="BDF"),  # of another night
        processed(frames("light", 3, camera="Other"), calibration="BDF"),  # of a second telescope
        processed(frames("light", 3, exposure_s=30.0), calibration="BDF"),
        frames("light", 3, name="b"),  # many short exposures in one second
        processed(frames("dark", 3), calibration="B"),
        processed(frames("light", 3, object="M 42"), calibration="BDF") + processed(frames("light", 3, filter="OIII")),
    ):
        both = [*raw, *others]
        assert without_processed(both) == (both, [])
    east, west = (frames("light", 3, telescope=side) for side in ("east", "west"))
    twins = [*east, *processed(west, calibration="BDF")]
    assert without_processed(twins) == (twins, []), "two telescopes with one camera each of a kind begin together"
    timeless = [type(f)(source=f.source, meta=f.meta.with_(time=None)) for f in [*raw, *processed(raw)]]
    assert without_processed(timeless) == (timeless, [])
