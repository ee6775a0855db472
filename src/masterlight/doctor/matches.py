"""What is wrong between groups of frames: darks that do not fit, gains that lie, flats and darks that change."""

from collections.abc import Iterator

import numpy as np

from masterlight.core.frame import Meta
from masterlight.core.headers.names import camera_key
from masterlight.core.headers.values import seconds_of
from masterlight.core.units.figures import figure
from masterlight.core.units.reading import Reading
from masterlight.core.units.settle import KNOB, is_plain
from masterlight.doctor import pictures
from masterlight.doctor.evidence import Evidence, alike, level_of, noise_of, scatter_of, steady_level_of
from masterlight.doctor.findings import Finding, finding, some
from masterlight.doctor.masters import greens
from masterlight.doctor.process import Doctor
from masterlight.doctor.quality.sensor import gains_of
from masterlight.doctor.raw.flats import flat_maps, ratio_to, without_odd, zone_error
from masterlight.session.groups import Group
from masterlight.session.plan import MasterJob

NEAR_SET_POINT_C = 10.0
"""A sensor this far from its set point is not cooled: the cooler is off, or there is none."""


def group_of(master) -> Group | None:
    """The frames that a master is made of, or the ready-made master as a group of one."""
    if master is None:
        return None
    return master.group if isinstance(master, MasterJob) else Group(master.meta.kind, (master,))


def lights_and_darks(evidence: Evidence) -> Iterator[tuple[bool, Group, Group]]:
    """(whether the dark is scaled, the lights, their darks) of every set that has any."""
    for part in evidence.plan.sets:
        dark = group_of(part.dark)
        if dark is not None:
            yield part.scaled, Group("light", part.frames), dark


def flat_darks(doctor: Doctor, evidence: Evidence) -> Iterator[Finding]:
    """D07: flats whose darks have another exposure, where that matters."""
    for job in evidence.plan.masters:
        dark, flats = group_of(job.dark), evidence.of(job.group)
        if job.kind != "flat" or dark is None or not flats or None in (job.group.exposure_s, dark.exposure_s):
            continue
        flat_s, dark_s = job.group.exposure_s, dark.exposure_s
        apart, limit = abs(flat_s - dark_s), max(0.1, 0.05 * flat_s)
        level, bias = evidence.level(job.dark), evidence.bias_for(dark)
        known = level is not None and bias is not None and dark_s > 0
        error = abs(level - bias) / dark_s * apart if known else 0.0
        if apart <= limit or (known and error < 1e-3 * level_of(flats)):
            continue
        current = f", which is {figure(error)} DN of dark current" if error else ""
        sentence = f"""the flats {job.group.title} have {flat_s:g} s, the darks that are subtracted from them ({dark})
            {dark_s:g} s: {apart:g} s apart{current}; take flat-darks of {flat_s:g} s"""
        yield finding("D07", "warn", job.group.frames, apart, limit, "s", sentence)


def dark_exposure(doctor: Doctor, evidence: Evidence) -> Iterator[Finding]:
    """D08: lights and their darks differ in exposure, and nothing scales the dark."""
    for scaled, lights, dark in lights_and_darks(evidence):
        if not lights.exposure_s or not dark.exposure_s:
            continue
        off = dark.exposure_s / lights.exposure_s - 1
        if scaled:
            k = lights.exposure_s / dark.exposure_s
            if not 0.1 <= k <= 10:
                sentence = f"""{lights.title}: the darks of {dark.exposure_s:g} s would be scaled by {k:.3g} (0.1 to 10
                    makes sense); take darks of the exposure of the lights"""
                yield finding("D08", "error", dark.frames, k, 0.1 if k < 1 else 10, "", sentence)
        elif abs(off) > doctor.exposure_fraction and abs(dark.exposure_s - lights.exposure_s) > 0.05:
            sentence = f"""{lights.title}: the exposure of the dark is off by {100 * off:+.1f} % ({dark.exposure_s:g} s
                against {lights.exposure_s:g} s, allowed {doctor.exposure_fraction:.0%}): hot pixels stay or turn black;
                take darks of the exposure of the lights, or scale them"""
            yield finding("D08", "warn", dark.frames, 100 * abs(off), 100 * doctor.exposure_fraction, "%", sentence)


def temperature(doctor: Doctor, evidence: Evidence) -> Iterator[Finding]:
    """D09: darks warmer or colder than the lights, coolers that do not hold, set points that were not reached.

    An uncooled camera is at another temperature every minute: its darks cannot fit better, and nothing is to settle.
    """
    for scaled, lights, dark in lights_and_darks(evidence):
        if None in (lights.temperature_c, dark.temperature_c):
            continue
        apart = abs(dark.temperature_c - lights.temperature_c)
        if apart > doctor.temperature_c and not scaled:
            has_cooler = cooled(lights) or cooled(dark)
            grave = has_cooler and apart > doctor.temperature_limit_c
            limit = doctor.temperature_limit_c if grave else doctor.temperature_c
            way = "at the temperature of the lights" if has_cooler else "among the lights, or scale the dark"
            sentence = f"""{lights.title}: the darks were at {dark.temperature_c:.1f} °C, the lights at
                {lights.temperature_c:.1f} °C ({apart:.1f} °C apart, limit {limit:g}): dark current differs by
                {100 * (2 ** (apart / 6) - 1):.0f} %; take darks {way}"""
            yield finding("D09", "error" if grave else "warn", dark.frames, apart, limit, "°C", sentence)
    for group in evidence.groups("light", "dark", "flatdark", "flat"):
        limit = doctor.temperature_limit_c if group.kind == "flat" else doctor.temperature_spread_c
        values = np.array([f.meta.temperature_c for f in group.frames if f.meta.temperature_c is not None])
        rms = float(np.std(values)) if len(values) > 1 else 0.0
        if rms > limit and cooled(group):
            sentence = f"""{group}: the sensor's temperature spreads by {rms:.2f} °C rms, from {values.min():.1f} to
                {values.max():.1f} °C (usual: {limit:g}): let it settle, or set it warmer"""
            order = pictures.line(values, "frame", "temperature, °C")
            yield finding("D09", "warn", group.frames, rms, limit, "°C", sentence, order)
    for group in evidence.groups("light", "dark", "bias", "flatdark"):
        far = {f: apart for f in group.frames if (apart := from_set_point_c(f.meta)) > 1}
        if far and (cooled(group) or any(f.meta.set_temperature_c for f in far)):  # 0 may stand for none
            sentence = f"""{some(list(far))}: the sensor was {max(far.values()):.1f} °C away from the set point (1 °C is
                usual): the cooler is off, too weak or was still on its way; wait for it, or match darks by the
                temperature reached"""
            yield finding("D09", "warn", far, max(far.values()), 1.0, "°C", sentence)


def from_set_point_c(meta: Meta) -> float:
    """How far the sensor was from what the cooler was set to; 0 where one of them is not known."""
    told, wanted = meta.temperature_c, meta.set_temperature_c
    return 0.0 if told is None or wanted is None else abs(told - wanted)


def cooled(group: Group) -> bool:
    """Whether a cooler was at work, as far as headers tell: a set point that some frame came near to.

    Programs write a set point for a camera whose cooler is off or missing as well, often 0.
    """
    return any(
        f.meta.set_temperature_c is not None
        and f.meta.temperature_c is not None
        and from_set_point_c(f.meta) <= NEAR_SET_POINT_C
        for f in group.frames
    )


def offset(doctor: Doctor, evidence: Evidence) -> Iterator[Finding]:
    """D10: lights darker than their dark, darks darker than the bias: another offset, gain or read-out mode."""
    for part in evidence.plan.sets:
        dark = evidence.of(getattr(part.dark, "group", None)) or evidence.of(getattr(part.bias, "group", None))
        lights, meta = evidence.of(part), part.frames[0].meta
        if not (dark and lights) or part.scaled or "B" in meta.calibration or meta.overscan_px:
            continue  # overscan follows a level that drifts
        level, limit = level_of(dark), -max(doctor.outlier_dn, 2 * noise_of(dark), scatter_of(dark))
        under = [one for one in lights if one.level_dn < level + limit]
        if under:
            worst = min(one.level_dn for one in under) - level
            sentence = f"""{some(under)}: {figure(-worst)} DN darker than what is subtracted from them ({figure(level)}
                DN): no sky is. Another offset, gain, read-out mode or temperature; take darks with their settings"""
            severity = "error" if 2 * len(under) > len(lights) else "warn"  # a few bad lights never end a night
            yield finding("D10", severity, under, worst, limit, "DN", sentence)
    for bias in evidence.groups("bias"):
        looks = evidence.of(bias)
        level, least = steady_level_of(looks), max(doctor.outlier_dn, 2 * noise_of(looks), scatter_of(looks))
        for dark in evidence.groups("dark", "flatdark", "flat"):
            if dark.meta.shape != bias.meta.shape or not alike(dark.meta, bias.meta) or dark.meta.calibration:
                continue
            median, limit = steady_level_of(evidence.of(dark)), -max(least, scatter_of(evidence.of(dark)))
            if median >= level + limit:
                continue
            sentence = f"""{dark} lie {figure(level - median)} DN below {bias} ({figure(median)} against {figure(level)}
                DN): a {dark.kind} cannot be. Another offset, gain or read-out mode; take both with the same settings"""
            severity = "error" if subtracted_together(evidence, bias, dark) else "warn"
            yield finding("D10", severity, [*dark.frames, *bias.frames], median - level, limit, "DN", sentence)


def subtracted_together(evidence: Evidence, bias: Group, other: Group) -> bool:
    """Whether the plan takes this bias out of these frames, or out of lights together with this dark."""
    users = (*evidence.plan.sets, *evidence.plan.masters)
    both = any(group_of(one.bias) is bias and group_of(one.dark) is other for one in users)
    job = evidence.job(other)
    return both or (job is not None and group_of(job.bias) is bias)


def pattern(doctor: Doctor, evidence: Evidence) -> Iterator[Finding]:
    """D17: colour patterns that differ, or that the greens of a flat contradict."""
    lights = evidence.groups("light")
    for group in evidence.groups("flat", "dark", "bias", "flatdark"):
        for light in lights:
            same = camera_key(light.meta.camera) == camera_key(group.meta.camera)
            if not same or light.meta.shape != group.meta.shape or light.meta.pattern == group.meta.pattern:
                continue
            silent = not (light.meta.pattern and group.meta.pattern)
            names = light.meta.pattern or "no pattern", group.meta.pattern or "no pattern"
            odd = "another row order or region? Take both with one program and one region"
            sentence = f"""{light.title} have {names[0]}, {group} have {names[1]}, though camera and size are the same:
                {"one header is silent; write BAYERPAT into it" if silent else odd}"""
            grave = not silent and group.kind == "flat"
            yield finding("D17", "error" if grave else "warn", group.frames, None, None, "", sentence)
            break
    for group in evidence.groups("flat"):
        phases = np.median([one.phases for one in evidence.of(group)], axis=0)
        if np.isfinite(phases).all():
            yield from greens(phases, group.meta.pattern, str(group), group.frames)


def shutter(doctor: Doctor, evidence: Evidence) -> Iterator[Finding]:
    """D18: short flats that show another illumination than longer ones of the same filter: a mechanical shutter."""
    for group, looks, maps in flat_maps(evidence):
        exposure = np.array([one.frame.meta.exposure_s or np.nan for one in looks])
        if not np.isfinite(exposure).all() or exposure.min() >= 1 or exposure.max() < 2 * exposure.min():
            continue
        short, long = exposure < 1.5 * exposure.min(), exposure > 0.7 * exposure.max()
        ratio = maps[short].mean(axis=0) / maps[long].mean(axis=0)
        ratio /= np.median(ratio)
        reach = float(np.ptp(ratio)) - 6 * zone_error(evidence, group, looks) / np.sqrt(min(short.sum(), long.sum()))
        if reach > doctor.shutter_fraction:
            bad = [one for one, s in zip(looks, short, strict=True) if s]
            sentence = f"""flats of {exposure.min():g} s differ from those of {exposure.max():g} s by {reach:.2%} over
                the frame (usual: below {doctor.shutter_fraction:.1%}): the shutter shades the short ones; expose flats
                for more than a second, by a dimmer light"""
            picture = pictures.image(ratio)
            yield finding("D18", "warn", bad, 100 * reach, 100 * doctor.shutter_fraction, "%", sentence, picture)


def illumination(doctor: Doctor, evidence: Evidence) -> Iterator[Finding]:
    """D19: flats whose gradient or colour changes through the set."""
    for group, looks, maps in without_odd(doctor, evidence):
        if len(looks) < 3:
            continue
        order = np.argsort([seconds_of(one.frame.meta.time) or i for i, one in enumerate(looks)], kind="stable")
        change = ratio_to(maps, np.median(maps, axis=0))
        across = (change[:, :, -2:] - change[:, :, :2]).mean((1, 2))
        down = (change[:, -2:] - change[:, :2]).mean((1, 2))
        series = {"gradient": max((across, down), key=np.ptp)}
        bias = evidence.bias_for(group)
        if len(looks[0].colours) > 1:
            level = {c: np.array([one.colours[c] - bias for one in looks]) for c in looks[0].colours}
            series |= {f"colour {c}/G": level[c] / level["G"] for c in level if c != "G" and "G" in level}
        for name, values in series.items():
            drift = float(np.ptp(values) / (abs(np.median(values)) if "/" in name else 1))
            drift -= 4 * zone_error(evidence, group, looks) / np.sqrt(6)
            if drift > doctor.drift_fraction:
                sentence = f"""{group}: the {name} changes by {drift:.1%} through the set (allowed:
                    {doctor.drift_fraction:.0%}): the light is not even, as twilight near the horizon or a panel that
                    wobbles; the master flat is a mean of different flats. Point near the zenith, or use a panel"""
                picture = pictures.line(values[order], "flat, in order of time", name)
                yield finding("D19", "warn", looks, 100 * drift, 100 * doctor.drift_fraction, "%", sentence, picture)
                break


def gain(doctor: Doctor, evidence: Evidence) -> Iterator[Finding]:
    """H02: electrons per DN as two flats and two bias frames show them, against the header; D24: coarse steps."""
    told = set()
    for group in evidence.groups("light", "flat", "bias", "dark"):
        bits = {one.shift_bits for one in evidence.of(group)}
        camera = camera_key(group.meta.camera), min(bits)
        if min(bits) > 0 and camera not in told and all(one.pixels > 2000 for one in evidence.of(group)):
            told.add(camera)
            sentence = f"""every value of {group} is a multiple of {2 ** min(bits)}: a converter of {16 - min(bits)}
                bits, shifted up. Gains told for the converter are that many times too large for these files"""
            yield finding("D24", "info", group.frames, min(bits), 0, "bits", sentence)
    for bias in evidence.groups("bias"):
        pair = evidence.pairs.get(id(bias))
        step = 2 ** min(one.shift_bits for one in evidence.of(bias))
        if pair is not None and pair.noise_dn < 0.5 * step:
            sentence = f"""{bias} have a noise of {figure(pair.noise_dn, 2)} DN, less than half a step of the converter
                ({step} DN): noise is measured badly at such a gain, and faint levels are lost in rounding; use a higher
                gain"""
            yield finding("D24", "warn", pair.sources, pair.noise_dn, 0.5 * step, "DN", sentence)
        for flat in evidence.groups("flat"):
            yield from gain_lie(doctor, evidence, bias, flat)


def gain_lie(doctor: Doctor, evidence: Evidence, bias: Group, flat: Group) -> Iterator[Finding]:
    """One group of flats against one of bias frames."""
    b, f = evidence.pairs.get(id(bias)), evidence.pairs.get(id(flat))
    header = flat.meta.gain_e_per_dn or bias.meta.gain_e_per_dn
    same = bias.meta.shape == flat.meta.shape and alike(bias.meta, flat.meta)
    if b is None or f is None or not header or not same:
        return
    excess = f.noise_dn**2 - b.noise_dn**2
    if not (excess > 4 * b.noise_dn**2 and f.signal_dn > 0) or b.colours.keys() != f.colours.keys():
        return
    bias_dn = evidence.bias_for(flat) or 0.0
    gains = gains_of(b.colours, f.colours, dict.fromkeys(f.colours, bias_dn))
    measured = float(np.median([gain.gain_e_per_dn for gain in gains.values()]))
    if abs(measured / header - 1) > doctor.gain_fraction:
        bits = evidence.of(flat)[0].shift_bits
        shifted = f"; the data are shifted up by {bits} bits, a factor of {2**bits}" if bits else ""
        sentence = f"""{some(f.sources)}: {measured:.3g} electrons for each DN by the noise of the flats, the header
            says {header:.3g} (allowed: {doctor.gain_fraction:.0%} apart){shifted}; the measured gain is the true one"""
        yield finding("H02", "warn", f.sources, measured, header, "e-/DN", sentence)


def banding(doctor: Doctor, evidence: Evidence) -> Iterator[Finding]:
    """D25: rows or columns that change from frame to frame more than noise lets them."""
    for group in evidence.groups("bias", "dark", "flatdark"):
        pair = evidence.pairs.get(id(group))
        if pair is None or not pair.noise_dn > 0:
            continue
        name = max(pair.lines, key=lambda key: pair.lines[key][1])
        power, rms = pair.lines[name]
        if power > doctor.banding_power and rms > 0.1 * pair.noise_dn:
            sentence = f"""{group}: the {name} differ from frame to frame by {figure(rms, 2)} DN rms, with {power:.0f}
                times the power of white noise (allowed: {doctor.banding_power:g}): banding that no master removes;
                dither, take more frames, or correct rows and columns"""
            picture = pictures.line(pair.profile_dn, "row of the sample", "difference of two, DN", first=0)
            yield finding("D25", "warn", pair.sources, power, doctor.banding_power, "times", sentence, picture)


def scales(doctor: Doctor, evidence: Evidence) -> Iterator[Finding]:
    """D26: files whose numbers are on another scale than the 16-bit integers of a camera, however they were read."""
    read: dict[tuple[str, bool], list[Reading]] = {}
    for one in evidence.plan.scales:
        if one.odd:
            read.setdefault((one.words, one.sure), []).append(one)
    raw = {frame.source for group in evidence.plan.groups for frame in group.frames if is_plain(frame.meta)}
    mixed = len(read) > 1 or bool(raw - {one.source for same in read.values() for one in same})
    for (words, sure), same in read.items() if mixed else ():
        sentence = f"""{some(same)}: a level of {figure(same[0].level)} in the file, another scale than that of other
            frames; {words} ({same[0].why}). If that is wrong, pass {KNOB} dn or full-scale"""
        yield finding("D26", "info" if sure else "warn", same, same[0].level, None, "in the file", sentence)
