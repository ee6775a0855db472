"""A fuzz over headers and files: healthy files, spoilt at random places, opened, read, told and written again.

    python tests/fuzz.py --seconds 600                 # what `make fuzz` does
    python tests/fuzz.py --count 2500 --files          # so many mutated files
    python tests/fuzz.py --again build/fuzz/0123.fits  # one that failed, once more

Each number of a try gives the same file for ever. What must hold: reading raises `FrameError` or nothing, writing
`OutputError` or nothing, within MOST_S and MOST_MB, in one line of at most MOST_LETTERS; what can be read can be
written, and gives the same pixels again. A file that fails is kept, with what it did.
"""

import argparse
import gzip
import inspect
import random
import re
import resource
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path

import numpy as np
from astropy.io import fits
from badfiles import CARD, Make, deflate, extension, gz, join, more, tiles, xisf

from masterlight.core.errors import FrameError, MasterlightError, Rejected
from masterlight.core.headers import geometry, reading
from masterlight.io import header_cards, read, write
from masterlight.io.defectlist import read_defects

MOST_S, MOST_MB, MOST_LETTERS = 2.0, 1000, 300
"""What one file may cost."""
MORE_MB = 300
"""What it may take in a process that had more than MOST_MB before, for other reasons."""
ODD = (
    "NaN",
    "Inf",
    "-Inf",
    "1e300",
    "-1e300",
    "1e-300",
    "1E400",
    "0",
    "-1",
    "-0.0",
    "2147483648",
    "9" * 25,
    "1,02",
    "T",
    "F",
    "''",
    "'",
    "'x",
    "'Zo\u00eb'",
    "'" + "y" * 60 + "'",
    "0x10",
    "1D5",
    "1.5",
    "(1, 2)",
    "'1'",
    "'NaN'",
    "'0000-00-00'",
    "/",
    "",
    "\t5",
    "'\x1b[2J'",
    "--1",
    "1_000",
    "\u0661",
    "'RGGB'",
    "'[1:5,2:9]'",
    "'[9:1,0:-4]'",
    "'BOTTOM-UP'",
    "'lights'",
)
"""Values that stand where a number or a word should."""
STRUCTURE = """SIMPLE XTENSION BITPIX NAXIS NAXIS1 NAXIS2 NAXIS3 PCOUNT GCOUNT TFIELDS TFORM1 TTYPE1 ZIMAGE ZBITPIX
    ZNAXIS ZNAXIS1 ZNAXIS2 ZTILE1 ZTILE2 ZCMPTYPE ZNAME1 ZVAL1 ZVAL2 ZBLANK ZSCALE ZZERO ZQUANTIZ THEAP BSCALE BZERO
    BLANK EXTEND GROUPS END CONTINUE HIERARCH""".split()
MEANING = sorted(
    set(re.findall(r"\"([A-Z][A-Z0-9_-]{1,7})\"", inspect.getsource(reading) + inspect.getsource(geometry)))
)
"""Keywords that the headers of programs are read by, whatever their table."""


def healthy(path: Path, seed: int = 1) -> Path:
    """A small light with a header such as capture programs write."""
    rng = np.random.default_rng(seed)
    hdu = fits.PrimaryHDU(rng.normal(1000, 20, (48, 64)).round().astype(np.uint16))
    hdu.header.update(
        {
            "IMAGETYP": "LIGHT",
            "EXPTIME": 120.0,
            "GAIN": 100,
            "OFFSET": 50,
            "EGAIN": 0.8,
            "CCD-TEMP": -10.1,
            "XBINNING": 1,
            "YBINNING": 1,
            "XPIXSZ": 3.76,
            "FOCALLEN": 530.0,
            "DATE-OBS": "2025-10-18T19:30:00.000",
            "INSTRUME": "A camera",
            "FILTER": "L",
            "OBJECT": "M 31",
            "BAYERPAT": "RGGB",
            "ROWORDER": "TOP-DOWN",
            "CRVAL1": 10.0,
            "CTYPE1": "RA---TAN",
            "OBSERVER": "Jane Doe",
        }
    )
    hdu.writeto(path, overwrite=True)
    return path


SEEDS: dict[str, tuple[str, Make | None]] = {
    "plain": ("fits", None),
    "gz": ("fits.gz", gz()),
    "rice": ("fits.fz", tiles()),
    "gzip tiles": ("fits.fz", tiles(compression_type="GZIP_2")),
    "hcompress": ("fits.fz", tiles(compression_type="HCOMPRESS_1", tile_shape=(48, 64))),
    "extension": ("fits", extension()),
    "xisf": ("xisf", xisf()),
    "xisf zlib": ("xisf", xisf(packed=deflate)),
    "xisf shuffled": ("xisf", xisf(packed=deflate, compression="zlib+sh:{size}:2")),
    "long": ("fits", more("NOTES   = 'one &'", "CONTINUE  'two'")),
}
"""What files are made from: the end of the name, and how."""
GZIP = re.compile(rb"(\x1f\x8b\x08.).{4}", re.DOTALL)
"""The head of what gzip packed, and the time in it, which is another one each time."""
DATA = Path(__file__).parents[2] / "shared" / "data"
FOREIGN = [
    DATA / "dslr_raw" / "imagemeta.CRW",
    DATA / "formats" / "m27_RICE_1.fits.fz",
    DATA / "formats" / "m27_lz4hc_sh.xisf",
]
"""Files of real cameras, where they are at hand; large ones take longer and are tried seldom."""
LISTS = {"lst": "P 12 34 H\nP 5 6 C\nC 7 H\n", "txt": "Col 5 10 20\nPoint 3 4\nRow 9\n"}


# --- mutations --------------------------------------------------------------------------------------------------------


def mutated_cards(rng: random.Random, content: bytes, at: int = 0) -> bytes:
    """A FITS file with one to four cards of a header swapped, doubled, cut, or given odd keywords and values."""
    head, rest = content[:at], content[at:]
    cards = [rest[i : i + CARD] for i in range(0, len(rest), CARD)]
    end = next((i for i, card in enumerate(cards) if card.rstrip() == b"END"), None)
    if end is None:
        return content
    data = rest[-(-(end + 1) * CARD // 2880) * 2880 :]
    cards = cards[:end]
    for _ in range(rng.randint(1, 4)):
        change_card(rng, cards)
    end_card = b"END" if rng.random() > 0.03 else rng.choice([b"end", b"END x", b""])
    return head + join(cards, data, end_card)


def change_card(rng: random.Random, cards: list[bytes]) -> None:
    i, j = rng.randrange(len(cards)), rng.randrange(len(cards))
    key = rng.choice(STRUCTURE if rng.random() < 0.4 else MEANING)
    odd = f"{key:8}= {rng.choice(ODD)}".encode()
    way = rng.randrange(8)
    if way == 0:
        cards[i], cards[j] = cards[j], cards[i]
    elif way == 1:
        cards.insert(i, cards[j])
    elif way == 2:
        del cards[i]
        cards.extend([b""] if not cards else [])
    elif way == 3:
        cards[i] = mutated_bytes(rng, cards[i])[:CARD]
    elif way == 4:
        cards[i] = cards[i][: rng.randrange(CARD)]
    elif way == 5:
        cards[i] = cards[i][:10] + rng.choice(ODD).encode()
    else:
        at = next((n for n, card in enumerate(cards) if card[:8].rstrip() == key.encode()), None)
        cards.insert(i, odd) if at is None or rng.random() < 0.2 else cards.__setitem__(at, odd)


def mutated_bytes(rng: random.Random, content: bytes) -> bytes:
    """Bytes changed, cut out, doubled or cut off."""
    b = bytearray(content)
    for _ in range(rng.choice([1, 1, 1, 2, 5, 50])):
        at = rng.randrange(max(1, min(len(b), rng.choice([64, 600, 6000, len(b) or 1]))))
        way = rng.randrange(6)
        if way == 0:
            b[at : at + 1] = bytes([rng.randrange(256)])
        elif way == 1:
            b[at : at + 4] = rng.choice([b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f"])
        elif way == 2:
            del b[at : at + rng.choice([1, 2, 80, 2880])]
        elif way == 3:
            b[at:at] = b[at : at + rng.choice([1, 16, 80])]
        elif way == 4 and rng.random() < 0.3:
            del b[at:]
        else:
            b[at : at + 1] = bytes([b[at] ^ (1 << rng.randrange(8))]) if at < len(b) else b""
    return bytes(b)


def mutated_xml(rng: random.Random, content: bytes) -> bytes:
    """An XISF file one of whose attributes has an odd value."""
    found = list(re.finditer(rb'="([^"]*)"', content[:4096]))
    if not found:
        return mutated_bytes(rng, content)
    m = rng.choice(found)
    old = m[1]
    parts = old.split(b":")
    parts[rng.randrange(len(parts))] = (
        rng.choice([*ODD, "99999999999", "Float32", "RGB", "zstd", "lz4"]).encode().replace(b"<", b"")
    )
    new = b":".join(parts) if rng.random() < 0.7 else rng.choice(ODD).encode()
    whole = content[:4096][: m.start(1)] + new + content[m.end(1) : 4096]
    return whole[:4096].ljust(4096, b"\0") + content[4096:]


class Fuzz:
    """Tries by number, in a folder of their own."""

    def __init__(self, folder: Path, seed: int, headers: bool = True, files: bool = True):
        self.folder, self.seed, self.headers, self.files = folder, seed, headers, files
        self.sources: list[tuple[str, str, bytes]] = []
        plain = healthy(folder / "healthy.fits")
        for name, (end, make) in SEEDS.items():
            target = folder / f"seed.{end}"
            make(plain, target) if make else target.write_bytes(plain.read_bytes())
            self.sources.append((name, end, GZIP.sub(rb"\1\0\0\0\0", target.read_bytes())))
            target.unlink()
        self.sources += [(f"list {end}", end, words.encode()) for end, words in LISTS.items()]
        self.foreign = [
            (path.name, path.name.split(".", 1)[1].lower(), path.read_bytes()) for path in FOREIGN if path.is_file()
        ]

    def make(self, number: int) -> Path:
        """The file of a try."""
        rng = random.Random(f"{self.seed}/{number}")
        by_header = self.headers and (not self.files or rng.random() < 0.6)
        pool = self.foreign if self.files and self.foreign and rng.random() < 0.02 else self.sources
        name, end, content = rng.choice(
            [s for s in pool if not by_header or "fits" in s[1] or "xisf" in s[1]] or self.sources
        )
        if by_header and end == "xisf":
            content = mutated_xml(rng, content)
        elif by_header and end == "fits.gz":
            content = gzip.compress(mutated_cards(rng, gzip.decompress(content)), 1, mtime=0)
        elif by_header:
            content = mutated_cards(
                rng, content, 2880 if name in ("extension",) or end == "fits.fz" and rng.random() < 0.8 else 0
            )
        else:
            content = mutated_bytes(rng, content)
        path = self.folder / f"{number:06}.{end}"
        path.write_bytes(content)
        return path


def most_mb() -> float:
    """The most memory that this process had since it was started, MB; what it was forked from does not count."""
    try:
        return int(re.search(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text())[1]) / 1024
    except (OSError, TypeError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


# --- what must hold ---------------------------------------------------------------------------------------------------


def use(path: Path) -> str:
    """Do with a file all that a run does; tells whether it was "read" or "refused". Raises what must not be raised."""
    try:
        if path.suffix in (".lst", ".txt"):
            read_defects(path, (48, 64))
            return "read"
        frame = read(path)
        pixels = np.asarray(frame)
    except FrameError as error:
        check_words(Rejected.of(path, "read", error).reason)
        return "refused"
    assert pixels.shape == frame.shape == frame.meta.shape, f"shape {pixels.shape}, {frame.shape}, {frame.meta.shape}"
    assert pixels.dtype == np.float32, pixels.dtype
    for note in frame.meta.notes:
        check_words(note)
    header_cards(frame)
    written = path.with_name("written.fits")
    write(written, frame)
    again = np.asarray(read(written))
    assert np.array_equal(pixels, again, equal_nan=True), "other pixels when it is written and read again"
    written.unlink()
    return "read"


def check_words(words: str) -> None:
    """A message is one line, not too long, without control characters."""
    assert len(words) <= MOST_LETTERS, f"a message of {len(words)} letters: {words}"
    assert "\n" not in words and words.isprintable(), f"a message that is no plain line: {words!r}"


def fault(path: Path) -> tuple[str, str]:
    """How a file was taken, and what is wrong with that; '' if nothing is."""
    started, before, how = time.process_time(), most_mb(), ""
    try:
        with warnings.catch_warnings(action="ignore"):
            how = use(path)
    except MasterlightError as error:
        return "fault", f"{type(error).__name__} where only FrameError may be: {error}"
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        return "fault", f"{type(error).__name__}: {str(error)[:300]} ({Path(where.filename).name}:{where.lineno})"
    took, most = time.process_time() - started, most_mb()
    if took > MOST_S:
        return "fault", f"took {took:.1f} s"
    return ("fault", f"took {most:.0f} MB") if most > max(MOST_MB, before + MORE_MB) else (how, "")


def main() -> None:
    """Try for some seconds or so many files; the summary, and status 1 when one failed."""
    parser = argparse.ArgumentParser(description="fuzz over headers and files")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--count", type=int, default=10**9)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--headers", action="store_true", help="only headers")
    parser.add_argument("--files", action="store_true", help="only files")
    parser.add_argument("--keep", type=Path, default=Path("build/fuzz"))
    parser.add_argument("--again", type=Path, help="try this file once more")
    how = parser.parse_args()
    if how.again:
        print(*fault(how.again))
        return
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        fuzz = Fuzz(Path(folder), how.seed, headers=not how.files, files=not how.headers)
        sys.exit(walk(fuzz, how.seconds, how.first, how.count, how.keep))


def walk(fuzz: Fuzz, seconds: float, first: int, count: int, keep: Path) -> int:
    """Try file after file, say what came of it, and give 1 when one failed."""
    until, seen, kinds, slowest = time.monotonic() + seconds, {"read": 0, "refused": 0, "fault": 0}, {}, 0.0
    for number in range(first, first + count):
        if time.monotonic() > until:
            break
        path = fuzz.make(number)
        started = time.process_time()
        how, why = fault(path)
        slowest = max(slowest, time.process_time() - started)
        seen[how] += 1
        kind = re.sub(r"'.*?'|\(.*?\)(?= |,)|\d+", "", why)[:80]
        if why and len(kinds.setdefault(kind, [])) < 3:
            keep.mkdir(parents=True, exist_ok=True)
            kinds[kind].append(kept := keep / path.name)
            kept.write_bytes(path.read_bytes())
            print(f"{kept}: {why}", flush=True)
        path.unlink()
    most = most_mb()
    told = ", ".join(f"{count} {name}" for name, count in seen.items())
    costs = f"slowest {slowest:.2f} s of CPU, at most {most:.0f} MB"
    print(f"fuzz: {sum(seen.values())} files of seed {fuzz.seed}: {told}; {costs}")
    return 1 if seen["fault"] else 0


if __name__ == "__main__":
    main()
