"""`[[match]]`: masters that a recipe gives to some frames, in place of the best that is found."""

from pathlib import Path

import pytest
from click.testing import CliRunner
from paper import frames, only, told

from masterlight.core.errors import ParameterError
from masterlight.core.frame import Frame
from masterlight.core.process import build, from_toml, to_toml
from masterlight.doors.cli import main
from masterlight.night.recipe import Recipe
from masterlight.session.planner import plan
from masterlight.session.rules import Match, selects
from masterlight.session.scan import Session


def in_folder(folder, some):
    return [Frame(source=str(Path(folder, frame.source)), meta=frame.meta) for frame in some]


def planned(*sets, match=()):
    return plan(Session("night", tuple(frame for part in sets for frame in part)), match=match)


NIGHT = (
    *(in_folder(f"M51/{name}", frames("light", object="M 51", filter=name)) for name in "VR"),
    in_folder("M51/flats", frames("flat", filter="V")), in_folder("M51/flats", frames("flat", filter="R")),
    in_folder("library/2026-03", frames("flat", filter="V", night=20)), in_folder("library", frames("bias")),
    in_folder("library", frames("dark")), in_folder("library/cold", frames("dark", temperature_c=-20.0)),
)  # fmt: skip


def by_filter(found):
    return {job.filter: job.sets for job in found.lights}


def folder_of(master):
    return str(Path(master.frames[0].source).parent)


@pytest.mark.parametrize(
    "words, meant",
    [
        ("M51/V/*", True), ("M51/V", True), ("M51", True), ("M51/*", True), ("*", True), ("M 51", True), ("m51", True),
        ("V", True), ("M 51 V", True), ("light_*", True), ("M51/R/*", False), ("R", False), ("M 51 R", False),
        ("M5", False), ("library/*", False), ("./M51/V", True), ("~/M51", False), ("51", False),
    ],
)  # fmt: skip
def test_truth_words_mean_frames_by_path_target_and_filter(words, meant):
    assert selects(words, NIGHT[0][0]) is meant


def test_truth_a_match_gives_lights_the_flats_that_it_names():
    found = by_filter(planned(*NIGHT))
    assert [folder_of(part.flat) for part in found["V"] + found["R"]] == ["M51/flats", "M51/flats"]
    named = planned(*NIGHT, match=(Match(lights="M51/V/*", flat="library/2026-03/*"),))
    (v,), (r,) = by_filter(named)["V"], by_filter(named)["R"]
    assert folder_of(v.flat) == "library/2026-03" and folder_of(r.flat) == "M51/flats"
    assert "as Recipe.match 1 says" in named.text()


def test_truth_what_speaks_against_it_is_told_field_by_field():
    found = planned(*NIGHT, match=(Match(lights="V", dark="library/cold"),))
    (part,) = by_filter(found)["V"]
    assert part.dark.frames[0].meta.temperature_c == -20.0
    assert "temperature -20.0 °C, the lights have -10.0 °C (5 darks" in told(found)
    odd = in_folder("other", frames("dark", gain=0.0, offset=10.0, readout_mode="fast"))
    lights = in_folder("M51/V", frames("light", object="M 51", filter="V", readout_mode="slow"))
    for match, head in ((Match(lights="*", dark="other"),), "lights of M 51 V"), ((), "no matching dark (not 5 darks"):
        (line,) = [words for words in planned(lights, odd, frames("bias"), match=match).warnings if "readout" in words]
        assert head in line
        for words in ("gain 0, the lights have 100", "offset 10, the lights have 50", "readout mode fast, the"):
            assert words in line


def test_truth_of_several_that_a_match_names_the_best_serves():
    found = planned(*NIGHT, match=(Match(lights="M51", flat="M51/flats"),))
    for name, parts in by_filter(found).items():
        assert parts[0].flat.frames[0].meta.filter == name


def test_truth_none_is_no_master_and_no_complaint():
    found = planned(*NIGHT, match=(Match(lights="V", flat="none", dark="none", bias="none"),))
    (part,) = by_filter(found)["V"]
    assert part.equation == "C = L" and part.flat is part.dark is part.bias is None
    assert "no flat" not in told(found) and "no matching dark" not in told(found)
    assert "dark for 5 lights of M 51 V 300 s -10 °C gain 100: none (as Recipe.match 1 says)" in found.text()
    assert by_filter(found)["R"][0].equation == "C = (L - D) * mean(F) / F"


def test_truth_the_first_match_that_speaks_of_a_frame_counts():
    both = Match(lights="V", flat="library/2026-03"), Match(lights="M 51", flat="none", dark="library/cold")
    found = by_filter(planned(*NIGHT, match=both))
    assert folder_of(found["V"][0].flat) == "library/2026-03" and found["R"][0].flat is None
    assert {folder_of(part.dark) for part in (*found["V"], *found["R"])} == {"library/cold"}


def test_truth_flats_have_a_match_of_their_own():
    flatdarks = in_folder("flatdarks", frames("flatdark", exposure_s=3.0))
    night = frames("light"), in_folder("flats", frames("flat")), frames("bias"), frames("dark"), flatdarks
    assert only(planned(*night)).flat.equation == "F = mean of f - B"
    assert only(planned(*night, match=(Match(flats="*", dark="flatdarks"),))).flat.equation == "F = mean of f - DF"
    bare = planned(*night[:2], frames("dark"), match=(Match(flats="*", dark="none"),))
    assert only(bare).flat is None, "nothing takes their level off, and the recipe wants it so"


def test_truth_frames_that_a_match_names_are_groups_of_their_own():
    """The library's flats of the same night and filter are not pooled with the others."""
    library = in_folder("library", frames("flat", name="old"))
    match = (Match(lights="*", flat="library"),)
    found = planned(frames("light"), frames("flat"), library, frames("bias"), match=match)
    assert [len(g.frames) for g in found.groups if g.kind == "flat"] == [5, 5]
    assert len(only(found).flat.frames) == 5 and folder_of(only(found).flat) == "library"


def test_truth_a_ready_made_master_can_be_named():
    ready = in_folder("library", frames("flat", 1, is_master=True, frames=20, contains_bias=False))
    found = planned(frames("light"), frames("flat"), frames("bias"), ready, match=(Match(lights="*", flat="library"),))
    assert only(found).flat is ready[0]


def test_truth_what_nothing_asks_for_is_told():
    found = planned(frames("light"), frames("dark"), frames("bias"), match=(Match(lights="*", bias="bias_*"),))
    assert "Recipe.match 1: bias = 'bias_*' was not used" in told(found)


@pytest.mark.parametrize(
    "match, words",
    [
        ({"lights": "M52/*", "flat": "none"}, "1: lights = 'M52/*' means no light frame of those that were found; "
         "there are some in M51/R, M51/V"),
        ({"lights": "*", "flat": "library/2020/*"}, "1: flat = 'library/2020/*' means no flat frame of those that were "
         "found; there are some in M51/flats, library/2026-03"),
        ({"lights": "*", "flat": "library/cold"}, "1: flat = 'library/cold' means no flat frame, but 5 of kind dark ("),
        ({"flats": "*", "dark": "M51/V"}, "1: dark = 'M51/V' means no dark or flatdark frame, but 5 of kind light ("),
        ({"lights": "library", "dark": "none"}, "1: lights = 'library' means no light frame, but "),
    ],
)  # fmt: skip
def test_truth_words_that_mean_nothing_are_told(match, words):
    with pytest.raises(ParameterError) as told:
        planned(*NIGHT, match=(Match(**match),))
    assert f"Recipe.match {words}" in str(told.value) and len(str(told.value)) < 300


def test_truth_a_library_that_was_not_looked_at_is_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("library/2020").mkdir(parents=True)
    with pytest.raises(ParameterError, match="outside the folders that were .* give it with Recipe.flat_dir too"):
        planned(*NIGHT, match=(Match(lights="*", flat="library/2020"),))


def test_truth_shapes_that_cannot_go_together_are_told():
    small = in_folder("small", frames("flat", shape=(20, 30)))
    with pytest.raises(ParameterError, match="have 30 x 20 pixels, the lights .* 60 x 40; these cannot go together"):
        planned(frames("light"), frames("flat"), small, frames("bias"), match=(Match(lights="*", flat="small"),))


# the doors


RECIPE = """
[[match]]
lights = "M51/V/*"
flat = "library/flats_2026-03/*"
dark = "none"

[[match]]
flats = "V"
bias = "library/bias"
"""


def test_surface_a_match_is_a_table_of_a_recipe():
    made = from_toml(Recipe, RECIPE)
    assert made.match == (
        Match(lights="M51/V/*", flat="library/flats_2026-03/*", dark="none"), Match(flats="V", bias="library/bias"),
    )  # fmt: skip
    assert from_toml(Recipe, to_toml(made)) == made and hash(made) == hash(from_toml(Recipe, to_toml(made)))
    empty = to_toml(Recipe())
    assert empty.index("# [[match]]") > empty.index("[doctor]"), "nothing that it would swallow comes after"
    filled = empty.replace("lights = ...", "lights = 'V'").replace("flat = ...", "flat = 'F'").splitlines()
    used = "# [[match", "# lights =", "# flat ="
    opened = "\n".join(line.removeprefix("# ") if line.startswith(used) else line for line in filled)
    assert from_toml(Recipe, opened).match == (Match(lights="V", flat="F"),)
    one = "match = 'lights=V; flat=F'", "[match]\nlights = 'V'\nflat = 'F'\n", "match = [{lights = 'V', flat = 'F'}]"
    assert all(from_toml(Recipe, text).match == (Match(lights="V", flat="F"),) for text in one)
    assert Recipe(match=Match(lights="V", flat="F")) == from_toml(Recipe, opened)


def test_surface_a_match_can_be_typed():
    words = ("lights=M51/V/*; flat=library/flats_2026-03/*; dark=none", "flats=V;bias=library/bias")
    assert build(Recipe, {"match": words}).match == from_toml(Recipe, RECIPE).match
    made = CliRunner().invoke(main, ["recipe", "--match", ",".join(words)])
    assert made.exit_code == 0 and from_toml(Recipe, made.output).match == from_toml(Recipe, RECIPE).match


@pytest.mark.parametrize(
    "text, words",
    [
        ("[[match]]\nflat = 'x'\n", "say which lights this is for"),
        ("[[match]]\nlights = 'x'\nflats = 'y'\n", "one of both"),
        ("[[match]]\nflats = 'x'\nflat = 'y'\n", "match.0.flat: is for lights"),
        ("[[match]]\nlights = 'x'\nbias = ''\n", "bias is empty"),
        ("[[match]]\nlights = 'x'\nflatt = 'y'\n", "flatt"),
        ("match = 'lights'\n", "'lights' is no match"),
        ("[[match]]\nlights = 'x'\n", "say with flat, dark, bias what these shall take"),
        ("match = 3\n", "match"),
        ("match = ['lights']\n", "'lights' is no match; write it as lights=GLOB; flat=GLOB"),
    ],
)
def test_surface_wrong_matches_are_one_sentence(text, words):
    with pytest.raises(ParameterError) as told:
        from_toml(Recipe, text)
    assert words in str(told.value) and "\n" not in str(told.value) and len(str(told.value)) < 300, told.value
