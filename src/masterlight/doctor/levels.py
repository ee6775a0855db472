"""What is wrong with raw frames taken one group at a time: levels, clipping, twins, lies about their kind."""

import re
from collections.abc import Iterator

import numpy as np

from masterlight.core.headers.names import camera_key
from masterlight.core.headers.processed import words_of
from masterlight.core.statistics.scale import madn
from masterlight.core.units.figures import figure
from masterlight.doctor import pictures
from masterlight.doctor.evidence import Evidence, Look, letters_of, region, sample, sampled_rows
from masterlight.doctor.findings import Finding, finding, some
from masterlight.doctor.process import Doctor
from masterlight.doctor.raw.places import abrupt, bad_places, places
from masterlight.session.found.copies import rank_of_copy, same_pixels
from masterlight.session.groups import PLURAL, Group

FEW = 40.0
"""The sigma of few levels is not known well: of Gaussian ones, one set in a hundred has a level further away than
5 (1 + 40 / n^2) of it, whatever their number."""
CALIBRATED = re.compile(
    r"(?i)imagecalibration|(dark|bias|flat)[- ]?(field)?[- ]?(subtract|correct|divid)|calibrated with|ccdproc"
)
NOT_DONE = re.compile(r"(?i)\b(no|not|none|off|false|without|skipped|disabled)\b")
"""Words of a line of HISTORY that tell of a calibration, and those that say it was not made."""


def full_scale(evidence: Evidence, group: Group) -> tuple[float, float] | None:
    """Bounds of the level at which the camera of a group saturates; None when nothing tells it.

    The file can hold up to the second; a camera of fewer bits, whose data are not shifted up, ends at the first:
    the smallest number of bits that holds every pixel seen of this camera.
    """
    told = group.meta.saturation_dn
    if told != 65535 or any(one.shift_bits for one in evidence.of(group)):
        return (told, told) if told else None
    same = [one for one in evidence.looks.values() if one.frame.meta.shape == group.meta.shape]
    same = [one for one in same if camera_key(one.frame.meta.camera) == camera_key(group.meta.camera)]
    highest = max((one.highest_dn for one in same), default=told)
    return next((float(2**bits - 1) for bits in (10, 12, 14) if highest < 2**bits), told), told


def flat_level(doctor: Doctor, evidence: Evidence) -> Iterator[Finding]:
    """D04: flats too faint to be good, or so bright that the camera may not be linear."""
    for group in evidence.groups("flat"):
        scale = full_scale(evidence, group)
        if scale is None:
            continue
        looks = evidence.of(group)
        for full, sign, side, limits, advice in (
            (scale[0], -1, "below", (doctor.flat_lowest, doctor.flat_low), "expose longer"),
            (scale[1], 1, "above", (doctor.flat_highest, doctor.flat_high), "expose shorter"),
        ):
            value = np.array([brightest_dn(one) / full for one in looks])
            bad = [one for one, v in zip(looks, value, strict=True) if sign * v > sign * limits[1]]
            if not bad:
                continue
            worst = sign * float(np.max(sign * value))
            grave = sign * np.median(value) > sign * limits[0]
            limit = limits[0] if grave else limits[1]
            sentence = f"""{len(bad)} of {len(looks)} {group.title} have a level {side} {limit:.0%} of full scale
                ({some(bad)}; the worst is at {worst:.0%}): {advice}, a third to a half is best"""
            picture = pictures.histogram(bad[0].histogram, "level of a flat, DN", {"full scale": scale[1]})
            yield finding("D04", "error" if grave else "warn", bad, worst, limit, "of full scale", sentence, picture)


def brightest_dn(one: Look) -> float:
    """The level of the brightest colour of a frame: no exposure brings the others up without it."""
    return max(one.colours.values()) if len(one.colours) > 1 else one.level_dn


def flat_clipping(doctor: Doctor, evidence: Evidence) -> Iterator[Finding]:
    """D05: flats with pixels at saturation or at zero, for each colour; those of bad columns are told apart."""
    for group in evidence.groups("flat"):
        worst, bad, what, named = 0.0, [], "", {}
        for one in evidence.of(group):
            shares, here = clipped_shares(doctor, one)
            named |= {one.source: here} if here else {}
            name = max(shares, key=shares.get, default="")
            if name and shares[name] > doctor.clipped_fraction and shares[name] * one.pixels >= 5:
                bad.append(one)
                worst, what = max((worst, what), (shares[name], name))
        if bad:
            sentence = f"""{worst:.2%} of the pixels of {some(bad)} are {what} (allowed: {doctor.clipped_fraction:.2%}):
                such pixels are corrected wrongly; expose these flats {"longer" if what == "zero" else "shorter"}"""
            picture = pictures.histogram(bad[0].histogram, "level of a flat, DN", {})
            yield finding("D05", "warn", bad, 100 * worst, 100 * doctor.clipped_fraction, "%", sentence, picture)
        if named:
            yield bad_places("D05", list(named), next(iter(named.values())))


def clipped_shares(doctor: Doctor, one: Look) -> tuple[dict[str, float], str]:
    """What part of a flat's pixels is clipped by its exposure, and in which way; and its bad columns as words.

    Pixels that end at once, beside others that are exposed well, are defects of the sensor: no exposure helps them.
    """
    each = one.pixels / max(1, len(one.saturated))
    names = [f"saturated in {colour}" if colour else "saturated" for colour in one.colours]
    counts = dict(zip(names, one.saturated, strict=True)) | {"zero": one.zeros}
    if one.at_highest > 0.002 * one.pixels and one.highest_dn > 1.02 * one.level_dn:
        counts["at their highest value"] = one.at_highest
    limits = {name: doctor.clipped_fraction * (each if name in names else one.pixels) for name in counts}
    if not any(n >= 5 and n > limits[name] for name, n in counts.items()):
        return {}, ""
    x = sample(one.frame)
    letters = letters_of(one.frame, (sampled_rows(one.frame)[0], region(one.frame)[2]))
    colours = np.tile(letters, (1, 1 + x.shape[2] // letters.shape[1]))[: x.shape[1], : x.shape[2]]
    ceiling, shares, words = 0.98 * (one.frame.meta.saturation_dn or np.inf), {}, []
    for name in counts:
        clip = {"zero": 0.0, "at their highest value": one.highest_dn}.get(name, ceiling)
        mask = x == 0 if name == "zero" else x >= clip
        mask = mask & (colours == name[-1]) if name.startswith("saturated in") else mask
        defects = abrupt(x, mask, clip, one.level_dn)
        shares[name] = float(np.count_nonzero(mask & ~defects)) / (each if name in names else one.pixels)
        found = places(mask, defects)
        words += [f"{found.in_words(region(one.frame)[2])} ({name})"] if found.named else []
    return shares, " and ".join(words)


def outliers(doctor: Doctor, evidence: Evidence) -> Iterator[Finding]:
    """D20: bias frames and darks whose level is unlike the others, and bias levels that drift."""
    for group in evidence.groups("bias", "dark", "flatdark"):
        looks = sorted(evidence.of(group), key=lambda one: one.source)
        if len(looks) < 4:
            continue
        levels = np.array([one.steady_dn for one in looks])  # overscan follows a level that drifts
        middle = float(np.median(levels))
        away = np.abs(levels - middle)
        sigmas = doctor.outlier_sigma * (1 + FEW / len(looks) ** 2)
        far = (away > sigmas * madn(levels)) & (away > doctor.outlier_dn)
        bad = [one for one, odd in zip(looks, far, strict=True) if odd]
        picture = pictures.line(levels, "frame, in the order of their names", "median, DN")
        above = " above the overscan" if looks[0].overscan_dn is not None else ""
        if bad:
            worst = float(away.max())
            sentence = f"""{some(bad)}: {figure(worst)} DN away from the {figure(middle)} DN{above} of the other
                {PLURAL[group.kind]} (more than {sigmas:.2g} of their sigma and {doctor.outlier_dn:g} DN):
                light got in, another temperature or offset, or the camera had not settled yet; leave out what does not
                belong"""
            yield finding("D20", "warn", bad, worst, doctor.outlier_dn, "DN", sentence, picture)
        drift = float(np.ptp(levels[~far])) if (~far).any() else 0.0
        if group.kind == "bias" and drift > doctor.outlier_dn:
            way = "" if above else "correct by overscan or masked borders, or "
            sentence = f"""the level of {group} drifts by {figure(drift)} DN{above} (usual: {doctor.outlier_dn:g}):
                {way}take bias frames when the camera has its temperature"""
            yield finding("D20", "info", looks, drift, doctor.outlier_dn, "DN", sentence, picture)


def twins(doctor: Doctor, evidence: Evidence) -> Iterator[Finding]:
    """D21: the same exposure twice, whatever the headers say; what a small sample finds equal is compared whole."""
    by_digest: dict[tuple, list[Look]] = {}
    for one in evidence.looks.values():
        by_digest.setdefault((one.digest, one.frame.meta.shape), []).append(one)
    for same in by_digest.values():
        kept: list[Look] = []
        copies: dict[str, list[Look]] = {}
        for one in sorted(same, key=lambda look: rank_of_copy(look.frame)):
            twin = next((other for other in kept if same_pixels(one.frame, other.frame)), None)
            if twin is None:
                kept.append(one)
            else:
                copies.setdefault(twin.source, []).append(one)
        for twin, others in copies.items():
            sentence = f"""{some(others)}: the same pixels as {some([twin])}; a frame that counts twice makes the noise
                look smaller than it is, and outliers look real: a run leaves {"it" if len(others) == 1 else "them"}
                out"""
            yield finding("D21", "warn", others, 1 + len(others), 1, "equal frames", sentence, out=True)


def calibrated_already(doctor: Doctor, evidence: Evidence) -> Iterator[Finding]:
    """D22: frames that were calibrated before, as they say, or as their pixels show."""
    groups = evidence.groups("light", "flat", "dark", "bias", "flatdark")
    for group in (g for g in groups if g.meta.calibration):
        sentence = f"""{group}: calibrated already ({words_of(group.meta.calibration)}); what was done is not done
            again. Raw frames give the most control"""
        yield finding("D22", "info", group.frames, None, None, "", sentence)
    silent = [one for group in groups if not group.meta.calibration for one in evidence.of(group)]
    processed = [one for one in silent if not one.frame.meta.integer]
    processed = [one for one in processed if max(one.missing, one.negative) > 0.001 * one.pixels]
    if processed:
        shares = {name: max(getattr(one, name) / one.pixels for one in processed) for name in ("missing", "negative")}
        worst = 100 * max(shares.values())
        seen = " and ".join(f"up to {100 * share:.2g} % are {name}" for name, share in shares.items() if share > 0)
        again = {f.source for part in evidence.plan.sets if part.bias or part.dark or part.flat for f in part.frames}
        again |= {f.source for job in evidence.plan.masters for f in job.frames}
        twice = any(one.source in again for one in processed)
        advice = ", and would be calibrated twice. Give the raw frames, or write CALSTAT into the headers"
        sentence = f"""{some(processed)}: floats of which {seen}, as no camera writes them: they were calibrated or
            stacked before, though the headers do not say so{advice if twice else ""}"""
        yield finding("D22", "error" if twice else "info", processed, worst, 0.1, "% of pixels", sentence)
    wrapped = [one for one in silent if one.frame.meta.integer and one.negative > 0.001 * one.pixels]
    if wrapped:
        worst = 100 * max(one.negative / one.pixels for one in wrapped)
        sentence = f"""{some(wrapped)}: {worst:.2g} % of the pixels are negative in a file of integers: something was
            subtracted before, or the header lost its BZERO; look at the program that wrote them"""
        yield finding("D22", "warn", wrapped, worst, 0.1, "% of pixels", sentence)
    quiet = [one for one in silent if one not in processed + wrapped]
    told = [one for one in quiet if tells_of_calibration(str(one.frame.header.get("HISTORY", "")))]
    if told:
        sentence = f"""{some(told)}: the HISTORY in the header tells of a calibration, CALSTAT does not; if they are
            calibrated, take their bias, darks and flats away, or they are applied twice"""
        yield finding("D22", "warn", told, None, None, "", sentence)


def tells_of_calibration(history: str) -> bool:
    """Whether a line of a HISTORY says that something was calibrated."""
    return any(CALIBRATED.search(line) and not NOT_DONE.search(line) for line in history.splitlines())
