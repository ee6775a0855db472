"""Laying: frames that do not all overlap one reference are laid on it by way of their neighbours, and all at once.

Frames are the nodes of a graph, matches of two of them its edges. What the reference does not show is matched with
frames that reach farther; then all places are solved together from the stars of all edges, so that errors do not pile
up along a chain of panels and loops close.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.spatial import cKDTree

from masterlight.alignment.align import StarAlignment
from masterlight.alignment.canvas import Canvas, panels_of, share_within
from masterlight.alignment.models.growth import SIGMA_FLOOR_PX, pair_up
from masterlight.alignment.panels.adjusted import Edge, adjusted, light_ratios
from masterlight.alignment.quads import Reference
from masterlight.alignment.transform import Transform
from masterlight.core.workers import Events, Pool, each

if TYPE_CHECKING:
    from masterlight.subframes.measurement import StarList

NEAR, TOUCHING = 0.75, 0.03
"""A frame of which less than the first lies on one that others were matched with reaches farther; such of which the
second or more lies on another one are matched with it."""
TIGHT = 1.2
"""Frames that all match the reference are laid all at once where their stars lie no more than so many times as far
apart as each pair's transform leaves them: else a lens bends them, which only their own transforms follow."""
STRANGE = 6
"""So many frames that reach farther and show nothing new are tried, one after the other."""


@dataclass(frozen=True)
class Laying:
    """Where frames lie, by their numbers, and on which of them."""

    reference: int
    transforms: dict[int, Transform]
    bridged: tuple[int, ...] = ()
    """Those that the first reference does not show."""
    rms_px: float = 0.0
    """How far stars of overlapping frames lie from each other, in pixels of the reference; 0 where nothing changed."""


class Node(NamedTuple):
    """A frame whose stars are matched with those of another."""

    number: int
    stars: StarList
    guess: Transform | None = None


def lay_by_neighbours(
    settings: StarAlignment, stars: Sequence[StarList], laid: Mapping[int, Transform], reference: int, pool: Pool,
    free: bool = True, focal_px: float | None = None,
) -> Events[Laying]:  # fmt: skip
    """Lay frames by way of those that lie on a reference already.

    stars: of all frames; laid: from the reference to those that match it, itself among them; free: whether a frame in
    the middle may take the reference's place; focal_px: focal length in pixels, where headers tell it. Frames that
    match none of the others have no transform. Panels that all match the reference are laid all at once as well, so
    that they fit each other where it does not show both.
    """
    places, hubs, strange = dict(laid), [reference], 0
    left = [i for i in range(len(stars)) if i not in places]
    if not left and not are_panels(places, stars, reference):
        return Laying(reference, places)
    while strange < STRANGE and (hub := reaching(places, hubs, stars)) is not None:
        hubs.append(hub)
        if not left:
            continue
        found = yield from matched_with(settings, stars, hub, [Node(i, stars[i]) for i in left], pool)
        places |= {i: t @ places[hub] for i, t in found.items()}
        left = [i for i in left if i not in found]
        strange = 0 if found else strange + 1
    bridged = tuple(sorted(set(places) - set(laid)))
    if not bridged and not are_panels(places, stars, reference):
        return Laying(reference, dict(laid))
    edges = yield from edges_between(settings, stars, places, hubs, pool)
    chosen = in_the_middle(places, hubs, edges) if free and bridged else reference
    joined = connected(edges, chosen)
    places = {i: t @ places[chosen].inverse for i, t in places.items() if i in joined}
    found, rms_px = all_at_once(stars, places, chosen, edges, focal_px)
    if not bridged and (len(found) < len(laid) or rms_px > TIGHT * pairs_rms_px(edges)):
        return Laying(reference, dict(laid))
    return Laying(chosen, found, tuple(i for i in bridged if i in found), rms_px)


def are_panels(places: Mapping[int, Transform], stars: Sequence[StarList], reference: int) -> bool:
    """Whether frames on a reference show so much beyond it that they are panels of a mosaic, by matrices alone."""
    if any(t.bend is not None for t in places.values()):
        return False
    shapes = [tuple(stars[i].shape) for i in places]
    return bool(panels_of(list(places.values()), shapes, tuple(stars[reference].shape)))


def pairs_rms_px(edges: Sequence[Edge]) -> float:
    """How far stars of two frames lie from each other by the transform of these alone, over all pairs."""
    return float(np.sqrt(np.average([e.found.rms_px**2 for e in edges], weights=[len(e.xy_a) for e in edges])))


def reaching(places: Mapping[int, Transform], hubs: Sequence[int], stars: Sequence[StarList]) -> int | None:
    """The laid frame that overlaps those others were matched with least; None where all of them nearly cover it."""
    covered = {i: max(overlap(places, stars, i, hub) for hub in hubs) for i in places if i not in hubs}
    beyond = {i: share for i, share in covered.items() if share < NEAR}
    return min(beyond, key=lambda i: (round(beyond[i], 2), -len(stars[i]), i)) if beyond else None


def overlap(places: Mapping[int, Transform], stars: Sequence[StarList], i: int, hub: int) -> float:
    """The part of a frame that lies on another one."""
    return share_within(places[i] @ places[hub].inverse, stars[i].shape, Canvas(tuple(stars[hub].shape)))


def matched_with(
    settings: StarAlignment, stars: Sequence[StarList], hub: int, nodes: Sequence[Node], pool: Pool
) -> Events[dict[int, Transform]]:
    """The transforms from one frame to those of others that match it, by their numbers."""
    task, found = partial(match_node, settings, settings.prepare(stars[hub])), {}
    for event in each("align", pool, task, nodes):
        if event.result:
            found[event.item.number] = event.result
        yield replace(event, item="", result=None)
    return {node.number: found[node.number] for node in nodes if node.number in found}


def match_node(settings: StarAlignment, reference: Reference, node: Node):
    """The task of one match."""
    return settings.align(reference, node.stars, guess=node.guess)


def edges_between(
    settings: StarAlignment, stars: Sequence[StarList], places: Mapping[int, Transform], hubs: Sequence[int], pool: Pool
) -> Events[list[Edge]]:
    """The stars in common of all frames with those that others were matched with, where these overlap."""
    edges, done = [], set()
    for hub in hubs:
        nodes = []
        for i in places:
            if i != hub and (i, hub) not in done and overlap(places, stars, i, hub) >= TOUCHING:
                nodes.append(Node(i, stars[i], places[i] @ places[hub].inverse))
                done |= {(i, hub), (hub, i)}
        found = yield from matched_with(settings, stars, hub, nodes, pool)
        edges += [edge_of(settings, hub, i, stars[hub], stars[i], t) for i, t in found.items()]
    return edges


def edge_of(settings: StarAlignment, a: int, b: int, first: StarList, second: StarList, found: Transform) -> Edge:
    """The stars that two frames have in common by the transform from the first to the second."""
    one, other = first[: settings.max_stars], second[: settings.max_stars]
    reach = min(settings.tolerance_px, max(1.0, 4 * found.rms_px))
    of_one, of_other = pair_up(found(one.xy), cKDTree(other.xy), reach)
    sigma = np.hypot(*(np.maximum(s.sigma_px[k], SIGMA_FLOOR_PX) for s, k in ((one, of_one), (other, of_other))))
    return Edge(a, b, one.xy[of_one], other.xy[of_other], sigma, found)


def connected(edges: Iterable[Edge], start: int) -> set[int]:
    """The frames that edges lead to from one of them, itself among them."""
    return set(hops(list(edges), start))


def hops(edges: Sequence[Edge], start: int) -> dict[int, int]:
    """By how many edges frames are away from one of them."""
    away, last = {start: 0}, {start}
    while last:
        near = {e.b for e in edges if e.a in last} | {e.a for e in edges if e.b in last}
        last = near - set(away)
        away |= dict.fromkeys(last, max(away.values()) + 1)
    return away


def in_the_middle(places: Mapping[int, Transform], hubs: Sequence[int], edges: Sequence[Edge]) -> int:
    """The frame from which the others are the fewest overlaps away, at most and all together; the first reference
    where others are no better."""

    def worth(hub: int) -> tuple[int, int]:
        away = hops(edges, hub)
        far = [away.get(i, len(places)) for i in places]
        return max(far), sum(far)

    return min(hubs, key=worth)


def all_at_once(
    stars: Sequence[StarList], places: Mapping[int, Transform], reference: int, edges: Sequence[Edge],
    focal_px: float | None,
) -> tuple[dict[int, Transform], float]:  # fmt: skip
    """All frames on a reference by the stars of all edges: transforms, and the rms distance of stars in common."""
    own = [e for e in edges if e.a in places and e.b in places]
    shapes = {i: tuple(stars[i].shape) for i in places}
    solved = adjusted(places, shapes, reference, own, focal_px)
    light, out = light_ratios(own, reference), {}
    for i, matrix in solved.matrices.items():
        if i == reference:
            out[i] = Transform.identity(shapes[i])
            continue
        mine = [e for e in own if i in (e.a, e.b)]
        ratio, error = light[i]
        told = {"flux_ratio": ratio, "flux_ratio_error": error, "shape": shapes[reference], "method": "neighbours"}
        told |= {"flux_pairs": min(e.found.flux_pairs for e in mine), "matched": sum(len(e.xy_a) for e in mine)}
        told |= {"rms_px": solved.rms_px[i], "corner_error_px": solved.corner_error_px[i], "chi2": solved.chi2}
        told["log10_p"] = max(e.found.log10_p for e in mine)
        mirrored = bool(np.linalg.det(matrix[:2, :2]) < 0)
        out[i] = Transform(matrix=matrix, mirrored=mirrored, model="homography", **told)
    return out, solved.total_rms_px
