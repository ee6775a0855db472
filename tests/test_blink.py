"""Blinking: frames one after the other in a page, a GIF or a film, laid on each other and stretched alike."""

import base64
import io
import json
import os
import re
import shutil
import subprocess

import numpy as np
import pytest
from astropy.io import fits
from click.testing import CliRunner
from PIL import Image
from sky import CALM, EVEN, written

from masterlight import Blink, SubframeSelector
from masterlight.core.errors import FrameError, NothingUsable, OutputError, ParameterError, Rejected
from masterlight.doors.cli import main
from masterlight.doors.hand import film
from masterlight.doors.hand.steps import by_hand
from masterlight.processes import STEPS
from masterlight.subframes.looks.slide import Slide
from masterlight.subframes.looks.slides import CAPTION_PX, fitting, font

NIGHT = {"rows": 300, "cols": 420, "lights": 4, "biases": 0, "darks": 0, "flats": 0, "dither_px": 9.0, **CALM, **EVEN}
EXACT = Blink(picture="png")


def made(files, out, blink=EXACT, **slots):
    """What the last event of a blink tells, and all sentences."""
    events = list(by_hand("blink", files, out, blink, **slots))
    return events[-1].result, [event.message for event in events if event.message]


def page(path):
    """What a page tells of its frames, and their pictures."""
    text = path.read_text()
    told = json.loads(re.search(r'<script id="data" type="application/json">(.*?)</script>', text, re.S)[1])
    packed = dict(re.findall(r'<script type="text/plain" id="p(\d+)">(.*?)</script>', text, re.S))
    assert packed.keys() == {str(i) for i in range(len(told["frames"]))}
    opened = [base64.b64decode(packed[str(i)]) for i in range(len(packed))]
    return told, [np.asarray(Image.open(io.BytesIO(content))) if content else None for content in opened]


def at_brightest(picture, mask=None):
    """Centre of light around the brightest star of a reduced picture away from the borders, (x, y)."""
    inner = picture[40:-40, 40:-40].astype(float)
    y, x = np.unravel_index(np.argmax(np.where(inner > 250, boxed(inner), 0)), inner.shape)
    box = np.maximum(inner[max(0, y - 6) : y + 7, max(0, x - 6) : x + 7] - 90, 0)
    rows, cols = np.indices(box.shape)
    return np.array([(box * cols).sum(), (box * rows).sum()]) / box.sum() + (max(0, x - 6), max(0, y - 6))


def boxed(image):
    """The sum of 9 x 9 pixels around each."""
    from scipy.ndimage import uniform_filter

    return uniform_filter(image, 9)


@pytest.fixture(scope="module")
def night():
    return written(**NIGHT)


def test_truth_frames_lie_on_each_other_in_the_page(night, tmp_path):
    """A star stays where it is to a third of a pixel; without registration it moves as the night was dithered."""
    (path, lost), _ = made(night.paths("light"), tmp_path / "n.html")
    told, pictures = page(path)
    assert not lost and [frame["source"] for frame in told["frames"]] == sorted(map(str, night.paths("light")))
    assert sum(frame["reference"] for frame in told["frames"]) == 1
    places = np.array([at_brightest(picture) for picture in pictures])
    assert np.abs(places - np.median(places, axis=0)).max() < 0.35
    made(night.paths("light"), tmp_path / "raw.html", Blink(picture="png", registered=False))
    _, raw = page(tmp_path / "raw.html")
    reference = next(i for i, frame in enumerate(told["frames"]) if frame["reference"])
    assert np.array_equal(raw[reference], pictures[reference])
    moved = np.array([at_brightest(picture) for picture in raw])
    expected = np.array([(night.transform(i, reference) @ [*places[reference] + 40, 1])[:2] - 40 for i in range(4)])
    assert np.ptp(moved, axis=0).max() > 3 and np.abs(moved - expected).max() < 0.6


def test_truth_captions_tell_what_was_measured(night, tmp_path):
    made(night.paths("light"), tmp_path / "n.html")
    told, _ = page(tmp_path / "n.html")
    for frame, path in zip(told["frames"], sorted(night.paths("light")), strict=True):
        measurement, _ = SubframeSelector().measure(fits.getdata(path).astype(np.float32))
        facts = {name: (words, value) for name, words, value in frame["facts"]}
        assert facts["FWHM"][0].endswith("arcsec") and facts["Stars"][1] == pytest.approx(measurement.stars, abs=3)
        assert facts["Median"][1] == pytest.approx(measurement.location_dn, rel=0.01)
        assert frame["approved"] is None, "nobody asked for a verdict"


def test_truth_clouds_and_moonlight_show_unless_each_frame_is_stretched_by_itself(night, tmp_path):
    files = []
    for i, path in enumerate(sorted(night.paths("light"))):
        files.append(tmp_path / f"light_{i}.fits")
        pixels, header = fits.getdata(path, header=True)
        fits.writeto(files[-1], pixels + np.uint16(300 * (i == 2)), header)
    for how, least, most in (("reference", 15, 255), ("each", -2, 2)):
        out = tmp_path / f"{how}.html"
        blink = Blink(picture="png", stretch=how)
        made(files, out, blink, reference=files[0])
        level = [float(np.median(picture)) for picture in page(out)[1]]
        assert abs(level[0] - 64) <= 2 and abs(level[1] - level[0]) < 5
        assert least <= level[2] - level[0] <= most, level


def test_surface_frames_that_are_black_in_the_stretch_of_the_reference_are_told(night, tmp_path):
    """A sky that falls through the night, as real ones do."""
    files = []
    for i, path in enumerate(sorted(night.paths("light"))):
        files.append(tmp_path / f"light_{i}.fits")
        pixels, header = fits.getdata(path, header=True)
        fits.writeto(files[-1], pixels - np.uint16(400 * (i == 2)), header)
    for how, count in (("reference", 1), ("each", 0)):
        told = made(files, tmp_path / f"{how}.html", Blink(picture="png", stretch=how), reference=files[0])[1]
        dark = [words for words in told if "darker than the black of the reference" in words]
        assert len(dark) == count and all("1 frame " in words and "light_2.fits; " in words for words in dark)


def test_truth_the_verdict_and_its_reason_stand_beside_the_frame(night, tmp_path):
    sharp = SubframeSelector(approve="Index != 2", weight="10 * Index")
    made(night.paths("light"), tmp_path / "n.html", Blink(select=sharp))
    frames = page(tmp_path / "n.html")[0]["frames"]
    assert [frame["approved"] for frame in frames] == [True, False, True, True]
    assert "Index != 2" in frames[1]["words"]
    weights = [dict((name, value) for name, _, value in frame["facts"]).get("Weight") for frame in frames]
    assert weights == [10, 20, 30, 40]


def test_truth_a_frame_of_another_field_is_shown_as_it_lies(night, tmp_path):
    other = written(**NIGHT | {"lights": 1, "seed": 77})
    _, sentences = made([*night.paths("light"), *other.paths("light")], tmp_path / "n.html")
    frames = page(tmp_path / "n.html")[0]["frames"]
    alone = [frame for frame in frames if "not matched with any other" in frame["words"]]
    assert [frame["source"] for frame in alone] == list(map(str, other.paths("light")))
    assert any("1 frame of 5 not matched with any other" in sentence for sentence in sentences)


def test_truth_what_cannot_be_read_is_told_and_left_out(night, tmp_path):
    for i, path in enumerate(sorted(night.paths("light"))):
        shutil.copy(path, tmp_path / f"light_{i}.fits")
    os.truncate(tmp_path / "light_1.fits", 100_000)
    done = CliRunner().invoke(main, ["blink", str(tmp_path), "-o", str(tmp_path / "n.html")])
    assert done.exit_code == 1 and "light_1.fits" in done.output and "3 frames" in done.output
    assert [frame["name"] for frame in page(tmp_path / "n.html")[0]["frames"]] == [f"light_{i}.fits" for i in (0, 2, 3)]
    with pytest.raises(NothingUsable):
        made([tmp_path / "light_1.fits"], tmp_path / "one.html")
    assert not (tmp_path / "one.html").exists()


def test_truth_calibration_frames_are_shown_without_being_measured(tmp_path):
    truth = written(**NIGHT | {"lights": 0, "darks": 3})
    made(truth.paths("dark"), tmp_path / "n.html")
    told, pictures = page(tmp_path / "n.html")
    assert len(pictures) == 3 and all(not frame["words"] and frame["approved"] is None for frame in told["frames"])
    assert {picture.shape for picture in pictures} == {(300, 420)}


@pytest.mark.parametrize(("width_px", "shape"), [(None, (300, 420, 3)), (200, (75, 105, 3)), (100, (50, 70, 3))])
def test_truth_mosaics_are_shown_in_colour_and_no_larger_than_asked_for(tmp_path, width_px, shape):
    truth = written(**NIGHT | {"lights": 2, "pattern": "RGGB"})
    made(truth.paths("light"), tmp_path / "n.html", Blink(picture="png", width_px=width_px))
    told, pictures = page(tmp_path / "n.html")
    assert {picture.shape for picture in pictures} == {shape}
    reference = next(i for i, frame in enumerate(told["frames"]) if frame["reference"])
    assert np.abs(np.median(pictures[reference], axis=(0, 1)) - 64).max() <= 2, "grey sky"
    both = [picture[10:-10, 10:-10].astype(float).ravel() for picture in pictures]
    assert np.corrcoef(both)[0, 1] > 0.3, "the same stars at the same places"


def test_truth_a_gif_holds_all_frames_with_their_captions(night, tmp_path):
    made(night.paths("light"), tmp_path / "n.gif", Blink(rate=2.0))
    with Image.open(tmp_path / "n.gif") as opened:
        assert opened.n_frames == 4 and opened.size == (420, 300 + CAPTION_PX) and opened.info["duration"] == 500
        for i in range(4):
            opened.seek(i)
            line = np.asarray(opened.convert("L"))[-CAPTION_PX:]
            assert (line > 200).sum() > 100, "letters"


def test_surface_a_narrow_picture_has_its_verdict_and_figures_below_its_name():
    facts = [("", "2025-10-18 19:36:18", None), ("FWHM", "5.034 arcsec", 5.034), ("Eccentricity", "0.871", 0.871)]
    slide = Slide("/night/a_night_with_a_very_long_name_that_fills_the_line_0004.fits", facts, False, "fails FWHM < 4")
    name, told = slide.caption(4, 20)
    assert name.startswith("4/20   a_night") and told.startswith("rejected   FWHM 5.034 arcsec   Eccentricity 0.871   ")
    widths = [font().getlength(told[: told.index(word)]) + 20 for word in ("Eccen", "2025", "fails")]
    assert [fitting(told, width).rpartition("   ")[2] for width in widths[:2]] == [
        "FWHM 5.034 arcsec",
        "Eccentricity 0.871",
    ]
    assert fitting(told, 10_000) == told and "   fails" not in fitting(told, widths[2])


def test_truth_a_film_holds_all_frames(night, tmp_path):
    ffmpeg = film_maker()
    made(night.paths("light"), tmp_path / "n.mp4", Blink(rate=5.0))
    told = subprocess.run([ffmpeg, "-i", str(tmp_path / "n.mp4"), "-f", "null", "-"], capture_output=True, text=True)
    assert "420x346" in told.stderr and "5 fps" in told.stderr and re.search(r"frame= *4\b", told.stderr)


def film_maker():
    try:
        return film.find_ffmpeg("n.mp4")
    except ParameterError:
        pytest.skip("ffmpeg is not there")


def test_surface_a_film_without_ffmpeg_says_what_to_do_before_any_work(night, tmp_path, monkeypatch):
    monkeypatch.setattr(film.shutil, "which", lambda name: None)
    monkeypatch.setitem(__import__("sys").modules, "imageio_ffmpeg", None)
    with pytest.raises(ParameterError, match=r"needs ffmpeg.*masterlight\[film\].*\.gif") as told:
        made(night.paths("light"), tmp_path / "n.mp4")
    assert len(str(told.value)) < 300 and not list(tmp_path.iterdir())


def test_surface_a_film_that_fails_leaves_nothing(night, tmp_path, monkeypatch):
    monkeypatch.setattr("masterlight.doors.hand.blink.find_ffmpeg", lambda path: shutil.which("false"))
    with pytest.raises(OutputError, match="film could not be made"):
        made(night.paths("light"), tmp_path / "n.mp4")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["n.pdf", "n", "n.avi"])
def test_surface_other_names_are_refused_before_the_work(night, tmp_path, name):
    with pytest.raises(ParameterError, match=r"\.html.*\.mp4"):
        made(night.paths("light"), tmp_path / name)


def test_surface_no_file_is_replaced_unasked(night, tmp_path):
    (tmp_path / "n.html").write_text("mine")
    with pytest.raises(OutputError, match="exists"):
        made(night.paths("light"), tmp_path / "n.html")
    made(night.paths("light")[:1], tmp_path / "n.html", overwrite=True)
    with pytest.raises(ParameterError, match="reference= nobody.fits"):
        made(night.paths("light"), tmp_path / "m.html", reference="nobody.fits")


def test_surface_names_of_files_are_no_markup(night, tmp_path):
    odd = tmp_path / "a<b>&amp;<img src=x onerror=alert(1)>.fits"
    shutil.copy(night.paths("light")[0], odd)
    made([odd], tmp_path / "n.html")
    text = (tmp_path / "n.html").read_text()
    assert "<img src=x" not in text and page(tmp_path / "n.html")[0]["frames"][0]["name"] == odd.name


def test_surface_the_page_asks_no_network(night, tmp_path):
    made(night.paths("light"), tmp_path / "n.html")
    text = re.sub(r'id="p\d+">[^<]*<', "<", (tmp_path / "n.html").read_text())
    assert not re.findall(r"https?://|src=\"(?!data:)|@import|<link", text)


PRESSED = """
<script>
addEventListener("load", async () => {
  const said = [], wait = ms => new Promise(r => setTimeout(r, ms));
  const name = () => document.querySelector("footer .name").textContent;
  const press = async key => {
    document.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
    await wait(60);
    said.push([key, name(), document.getElementById("badge")?.textContent]);
  };
  await wait(200);
  for (const key of "ArrowRight x ArrowRight a u ArrowLeft End Home v ArrowRight v".split(" ")) await press(key);
  await press("l");
  said.push(document.querySelector("textarea").value.trim().split("\\n").map(n => n.split("/").pop()));
  document.querySelector("dialog[open]").close();
  await press(" ");
  const seen = new Set();
  for (let i = 0; i < 20; i++) { await wait(70); seen.add(name()) }
  await press(" ");
  said.push([...seen]);
  document.body.dataset.said = JSON.stringify(said);
});
</script>
"""


def test_surface_the_keys_of_the_page(night, tmp_path):
    """In a browser: arrows, A, X and U mark, V leaves out what is rejected, L lists the rest, space plays."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if not browser:
        pytest.skip("no browser")
    made(night.paths("light"), tmp_path / "n.html", Blink(registered=False, rate=5.0))
    (tmp_path / "n.html").write_text((tmp_path / "n.html").read_text().replace("</body>", PRESSED + "</body>"))
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    command += ["--virtual-time-budget=8000", "--dump-dom", f"file://{tmp_path / 'n.html'}"]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=120).stdout
    said = json.loads(re.search(r'data-said="(.*?)"', shown)[1].replace("&quot;", '"'))
    names = [os.path.basename(path) for path in sorted(night.paths("light"))]
    where = [names.index(row[1]) for row in said if isinstance(row[0], str) and len(row) == 3]
    assert where[:11] == [1, 1, 2, 2, 2, 1, 3, 0, 0, 2, 2], said
    assert said[1][2].startswith("X") and said[3][2].startswith("A") and said[4][2] == ""
    assert said[12] == [names[0], *names[2:]]
    assert sorted(said[-1]) == names, "it played them all, over and over"


def test_truth_a_frame_that_goes_away_meanwhile_is_left_out(night, tmp_path, monkeypatch):
    real = Blink.reduce

    def gone(self, image, kind="page"):
        gone.calls += 1
        if gone.calls > 3:
            raise FrameError("light", "is gone")
        return real(self, image, kind)

    gone.calls = 0
    monkeypatch.setattr(Blink, "reduce", gone)
    (_, lost), _ = made(night.paths("light"), tmp_path / "n.html", Blink(picture="png", measured=False))
    told, pictures = page(tmp_path / "n.html")
    assert len(lost) == 2 and all(isinstance(one, Rejected) for one in lost)
    assert sum(picture is None for picture in pictures) == 2 and len(told["frames"]) == 4


def test_surface_formulas_are_flags_of_one_name_in_blink_and_in_subframes(night, tmp_path):
    """Whoever tried a formula with one calls it the same in the other, and is told of it in these words."""
    blink, subframes = STEPS["blink"], STEPS["subframes"]
    flags = [blink.flag(knob.path) for knob in blink.knobs()]
    assert {subframes.flag(knob.path) for knob in subframes.knobs()} < set(flags) and len(set(flags)) == len(flags)
    lights = [str(path) for path in night.paths("light")[:1]]
    told = CliRunner().invoke(main, ["blink", *lights, "-o", str(tmp_path / "n.html"), "--approve", "FHWM < 4"])
    assert told.exit_code == 2 and "--approve" in told.output and "select" not in told.output
