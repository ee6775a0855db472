"""The kernels beside what others offer for the same work, each ratio measured in one run on one core.

python -m bench.kernels [--write]     --write puts the table into docs/benchmarks.md
"""

import argparse

from bench import bench_calibrate, bench_cosmetic, bench_debayer, bench_rejection, bench_stars, bench_warp
from bench.page import machine, write_section


def table() -> list[str]:
    lines = ["| what | ours ms | other ms | ratio | measured |", "| --- | ---: | ---: | ---: | --- |"]
    for room in (bench_calibrate, bench_cosmetic, bench_debayer, bench_warp, bench_rejection, bench_stars):
        for name, ours_s, rival_s, ratio, note in room.rows():
            other = ("", "") if rival_s != rival_s else (f"{1e3 * rival_s:.1f}", f"{ratio:.1f} x")
            lines.append(f"| {name} | {1e3 * ours_s:.1f} | {other[0]} | {other[1]} | {note} |")
            print(lines[-1], flush=True)
    return lines


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--write", action="store_true", help="put the table into docs/benchmarks.md")
    chosen = words.parse_args()
    text = "\n".join([machine(), "", *table()])
    if chosen.write:
        write_section("kernels", text)


if __name__ == "__main__":
    main()
