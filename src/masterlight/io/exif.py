"""What a camera writes beside its raw pixels: the tags of TIFF and its kin (DNG, CR2, NEF ...), CR3, CRW and RAF."""

import errno
import itertools
import os
import re
import struct
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from masterlight.io.plain import open_regular

KINDS = {1: "B", 2: "s", 3: "H", 4: "I", 5: "II", 6: "b", 7: "s", 8: "h", 9: "i", 10: "ii", 11: "f", 12: "d", 13: "I"}
"""Types of TIFF values as struct spells them."""
LONGEST_BYTES = 1 << 16
MOST_DIRECTORIES, MOST_BOXES = 40, 1000
MAKER_NOTE, CFA = 37500, 32803
WANTED = {
    271: "make", 272: "model", 50708: "unique_model", 306: "changed", 36867: "taken", 37521: "fraction", 36880: "zone",
    36881: "taken_zone", 33434: "exposure_s", 33437: "f_number", 37386: "focal_mm", 34855: "iso", 34867: "iso_speed",
    34866: "iso_index", 262: "photometric", 273: "starts", 279: "counts", 324: "starts", 325: "counts", 330: "sub_ifds",
    34665: "exif_ifd", 4: "canon_shot", 50710: "plane_colours", 50830: "masked",
}  # fmt: skip
"""The tags that are read, as they are called here; strips and tiles alike."""
CIFF_NAMES, CIFF_CLOCK, CIFF_SHOT = 0x080A, 0x180E, 0x102A


class Exif(NamedTuple):
    """What is known of an exposure; None where the file does not tell."""

    camera: str | None = None
    exposure_s: float | None = None
    iso: float | None = None
    f_number: float | None = None
    focal_mm: float | None = None
    time: datetime | None = None
    """Start of the exposure by the clock of the camera, whatever its zone."""
    zone: timedelta | None = None
    """What the clock is ahead of UTC."""
    temperature_c: float | None = None
    masked: tuple[tuple[int, int, int, int], ...] = ()
    """Masked areas of a DNG, as bounds (y0, y1, x0, x1) of the full image."""
    filters: str = ""
    """Letters of the colour filters of a DNG, one for each."""
    end_bytes: int = 0
    """How long the file must be to hold the pixels that it announces."""


def read_exif(path) -> Exif:
    """The tags of a raw file of any kind; empty where there are none or they are damaged. OSError if unreadable."""
    with open_regular(path) as file:
        head = file.read(96)
        try:
            if head[6:14] == b"HEAPCCDR":
                return of_canon_heap(file, head)
            if head[4:8] == b"ftyp":
                return of_tags(list(of_boxes(file)))
            if head.startswith(b"FUJIFILM"):
                jpeg = struct.unpack(">I", head[84:88])[0]
                return of_tags(list(directories(file, jpeg + 12)))
            if head[:2] in (b"II", b"MM"):
                return of_tags(list(directories(file, 0)))
        except Exception as error:  # nonsense ends as any of a dozen errors, that of a place before the file included
            if isinstance(error, OSError) and error.errno != errno.EINVAL:
                raise
    return Exif()


def directory(file, base: int, order: str, at: int) -> tuple[dict[str, Any], int]:
    """The tags of one TIFF directory, and where the next one is; a maker note is given as its place in the file."""
    file.seek(base + at)
    count = struct.unpack(order + "H", file.read(2))[0]
    rows, tags = file.read(12 * count), {}
    after = file.read(4)
    for tag, kind, n, inline in struct.iter_unpack(order + "HHI4s", rows[: len(rows) // 12 * 12]):
        if kind not in KINDS or WANTED.get(tag) in tags:  # each tag stands once in a directory that is whole
            continue
        size = n * struct.calcsize("=" + KINDS[kind])
        if tag == MAKER_NOTE:
            tags["maker_note"] = base + struct.unpack(order + "I", inline)[0]
        elif tag in WANTED and size <= LONGEST_BYTES:
            if size > 4:
                file.seek(base + struct.unpack(order + "I", inline)[0])
                inline = file.read(size)
            if len(inline) >= size:
                tags[WANTED[tag]] = values(order, kind, n, inline[:size])
    return tags, struct.unpack(order + "I", after)[0] if len(after) == 4 else 0


def values(order: str, kind: int, n: int, data: bytes) -> Any:
    """Text, or numbers as a tuple; fractions are divided, None where the divisor is zero."""
    if KINDS[kind] == "s":
        return data.split(b"\0")[0].decode("utf-8", "replace").strip()
    numbers = struct.unpack(f"{order}{n * len(KINDS[kind])}{KINDS[kind][0]}", data)
    if len(KINDS[kind]) == 1:
        return numbers
    return tuple(a / b if b else None for a, b in zip(numbers[::2], numbers[1::2], strict=True))


def directories(file, base: int) -> Iterator[dict[str, Any]]:
    """Every directory of a TIFF structure that begins at `base`: the chain, sub-images, EXIF, Canon's maker note."""
    file.seek(base)
    head = file.read(8)
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    if order is None:
        return
    waiting, seen = [struct.unpack(order + "I", head[4:8])[0]], set()
    while waiting and len(seen) < MOST_DIRECTORIES:
        at = waiting.pop(0)
        if not at or at in seen:
            continue
        seen.add(at)
        tags, following = directory(file, base, order, at)
        yield tags
        waiting += [following, *(p for key in ("sub_ifds", "exif_ifd") for p in integers(tags, key))]
        if "maker_note" in tags:
            with suppress(struct.error):
                yield {"maker_note": directory(file, base, order, tags["maker_note"] - base)[0]}


def of_boxes(file) -> Iterator[dict[str, Any]]:
    """The directories in the boxes of a CR3: CMT1 the image, CMT2 its EXIF, CMT3 the maker note."""
    size, at = os.fstat(file.fileno()).st_size, 0
    for _ in range(MOST_BOXES):
        if at + 8 > size:
            return
        file.seek(at)
        length, name = struct.unpack(">I4s", file.read(8))
        if name == b"moov":
            blob = file.read(min(length, 1 << 20))
            for box in (b"CMT1", b"CMT2", b"CMT3"):
                found = blob.find(box)
                for tags in directories(file, at + 8 + found + 4) if found >= 0 else ():
                    yield {"maker_note": tags} if box == b"CMT3" else tags
            return
        if length < 8:
            return
        at += length


def of_tags(found: list[dict[str, Any]]) -> Exif:
    """What directories say together; the first that tells a thing is believed."""
    tags: dict[str, Any] = {}
    for part in found:
        for key, value in part.items():
            tags[key] = part[key] if isinstance(value, dict) else tags.get(key, value)
    note, bounds = tags.get("maker_note"), integers(tags, "masked")
    sensitivities = (number(tags, key) for key in ("iso", "iso_speed", "iso_index"))
    time, zone = moment(tags)
    return Exif(
        camera=camera_name(text(tags, "make"), text(tags, "model")) or text(tags, "unique_model"),
        iso=next((value for value in sensitivities if value and value != 65535), None),
        **{name: number(tags, name) for name in ("exposure_s", "f_number", "focal_mm")},
        time=time,
        zone=zone,
        temperature_c=canon_temperature(integers(note, "canon_shot")) if isinstance(note, dict) else None,
        masked=tuple(zip(*(bounds[i::4] for i in (0, 2, 1, 3)), strict=False)),
        filters="".join("RGBCMYW"[i] if i < 7 else "?" for i in integers(tags, "plane_colours")),
        end_bytes=max(map(end_of, found), default=0),
    )


def text(tags: dict, key: str) -> str | None:
    value = tags.get(key)
    return value or None if isinstance(value, str) else None


def number(tags: dict, key: str) -> float | None:
    """The first value of a tag if it is above zero."""
    value = tags.get(key)
    value = value[0] if isinstance(value, tuple) and value else None
    return float(value) if value is not None and value > 0 else None


def integers(tags: dict, key: str) -> tuple[int, ...]:
    """The values of a tag if they are whole numbers, as they should be."""
    value = tags.get(key)
    return value if isinstance(value, tuple) and all(isinstance(v, int) for v in value) else ()


def camera_name(make: str | None, model: str | None) -> str | None:
    """Maker and model, the maker's name once: 'Canon EOS 6D', 'NIKON D750', 'FUJIFILM X-T2'."""
    if not (make and model) or make.split()[0].lower() in model.lower():
        return model or make
    return f"{make} {model}"


def moment(tags: dict) -> tuple[datetime | None, timedelta | None]:
    """When the exposure began by the camera's clock, and what that is ahead of UTC, if the camera tells."""
    fraction = re.sub("[^0-9]", "", text(tags, "fraction") or "")
    away = text(tags, "taken_zone") or text(tags, "zone") or ""
    try:
        time = datetime.strptime((text(tags, "taken") or text(tags, "changed") or "")[:19], "%Y:%m:%d %H:%M:%S")
    except ValueError:
        return None, None
    if time.year < 1980:
        return None, None
    time += timedelta(seconds=float(f"0.{fraction or 0}"))
    ahead = re.fullmatch(r"([+-]?)(\d+):(\d+)", "0:0" if away == "Z" else away)
    if not ahead:
        return time, None
    return time, timedelta(hours=int(ahead[2]), minutes=int(ahead[3])) * (-1 if ahead[1] == "-" else 1)


def end_of(tags: dict) -> int:
    """Where the strips or tiles of a mosaic end; 0 for other directories."""
    if integers(tags, "photometric")[:1] != (CFA,):
        return 0
    return max(map(sum, zip(integers(tags, "starts"), integers(tags, "counts"), strict=False)), default=0)


def canon_temperature(shot: tuple[int, ...]) -> float | None:
    """The temperature inside the camera in Celsius, from Canon's table of the shot; older models leave it 0."""
    return float(shot[12] - 128) if len(shot) > 12 and 64 < shot[12] < 228 else None


def of_canon_heap(file, head: bytes) -> Exif:
    """A CRW: camera, clock and temperature; LibRaw tells the exposure."""
    order = "<" if head[:2] == b"II" else ">"
    found = records(file, order, struct.unpack_from(order + "I", head, 2)[0], os.fstat(file.fileno()).st_size)
    names = [part.decode("latin-1").strip() for part in found.get(CIFF_NAMES, b"").split(b"\0") if part.strip()]
    clock, shot = found.get(CIFF_CLOCK, b"")[:4], found.get(CIFF_SHOT, b"")
    seconds = struct.unpack(order + "I", clock)[0] if len(clock) == 4 else 0
    return Exif(
        camera=camera_name(*names[:2]) if len(names) > 1 else None,
        time=datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None) if seconds else None,
        temperature_c=canon_temperature(struct.unpack(f"{order}{len(shot) // 2}H", shot[: len(shot) // 2 * 2])),
    )


def records(file, order: str, start: int, end: int) -> dict[int, bytes]:
    """The records that are wanted from a CIFF heap and the heaps in it; the directory of each lies at its end."""
    found: dict[int, bytes] = {}
    waiting = [(start, end)]
    for start, end in itertools.islice(waiting, MOST_DIRECTORIES):  # which grows on the way
        file.seek(end - 4)
        file.seek(start + struct.unpack(order + "I", file.read(4))[0])
        rows = file.read(10 * struct.unpack(order + "H", file.read(2))[0])
        for tag, size, offset in struct.iter_unpack(order + "HII", rows[: len(rows) // 10 * 10]):
            if tag & 0x3FFF in (CIFF_NAMES, CIFF_CLOCK, CIFF_SHOT) and size <= LONGEST_BYTES:
                file.seek(start + offset)
                found[tag & 0x3FFF] = struct.pack(order + "II", size, offset) if tag & 0x4000 else file.read(size)
            elif tag & 0x7800 in (0x2800, 0x3000):
                waiting.append((start + offset, start + offset + size))
    return found
