"""Multi-echo phase unwrapping that follows the coherence of phase and magnitude."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import breadth_first_order, connected_components, minimum_spanning_tree

from .geometry import FloatArray, MaskArray, check_mask
from .unwrapping import ConnectedParts, check_echo_times, check_echoes, check_wrapped

_Values = NDArray[np.float64]
_Indices = NDArray[np.int32]


def unwrap_romeo(
    phases: Sequence[ArrayLike],
    magnitudes: Sequence[ArrayLike],
    echo_times: Sequence[float],
    mask: ArrayLike,
    *,
    template: int = 1,
) -> list[FloatArray]:
    """Unwrap one echo along its most coherent voxels, the others in time from it (ROMEO).

    Neighbours i, j of the template echo are joined with the quality ::

        (1 − |δ|/π) · max(0, 1 − |δ − δ′·TE/TE′|) · (min(mᵢ, mⱼ) / max(mᵢ, mⱼ))²,

    δ their wrapped phase difference and δ′ that of the next echo: coherence in space, in
    time and of the magnitude. The template grows from neighbour to neighbour, the best
    pair first, which is to follow the maximum spanning tree of the qualities. The other
    echoes get the whole turns that bring them nearest to the field, voxel by voxel, that
    fits the echoes done so far. That leaves neither jumps between echoes nor, where late
    echoes are undersampled in space (veins, haemorrhages), jumps between neighbours; but
    the phase offset must have been removed.

    Parameters
    ----------
    phases : sequence of (X, Y, Z) array_like
        Wrapped phase of each echo, in radians, without offset; one echo is unwrapped in
        space alone.
    magnitudes : sequence of (X, Y, Z) array_like
        Magnitude of each echo.
    echo_times : sequence of float
        Echo times in seconds, ascending.
    mask : (X, Y, Z) array_like
        Where to unwrap.
    template : int
        Number of the echo that is unwrapped in space. The first has the fewest wraps; a
        later one carries less noise into the others where the first is very short.

    Returns
    -------
    list of (X, Y, Z) ndarray of float32
        Phases plus multiples of 2π inside the mask, zero outside. In each connected part
        of the mask the phase gains at most half a turn, in the median, over the echo
        spacing at the template (a single echo: since excitation).

    Raises
    ------
    ValueError
        If the inputs do not fit together, a phase is not finite or beyond ±π, or there is
        no echo of the template's number.

    References
    ----------
    Dymerska et al., Magn Reson Med 85:2294 (2021).
    """
    times = check_echo_times(echo_times, len(phases))
    inside = check_mask(mask)
    if not 1 <= template <= len(times):
        raise ValueError(f"template must be an echo from 1 to {len(times)}, not {template}")
    wrapped = [
        check_wrapped(f"phase of echo {number}", phase, inside)[inside]
        for number, phase in enumerate(phases, 1)
    ]
    weights = [
        volume[inside].astype(float)
        for volume in check_echoes("magnitude", magnitudes, len(times), mask=inside)
    ]
    first = template - 1
    second = first + 1 if first + 1 < len(times) else first - 1
    i, j = _neighbours(inside)
    quality = _coherence(wrapped[first], weights[first], i, j)
    parts = ConnectedParts(inside)
    if len(times) == 1:
        (unwrapped,) = _follow_tree([wrapped[0]], quality, i, j)
        return [parts.volume(unwrapped - 2 * np.pi * parts.turns(unwrapped))]
    quality *= _coherence_in_time(wrapped, times, first, second, i, j)
    gained = _wrap(wrapped[second] - wrapped[first])
    unwrapped, gained = _follow_tree([wrapped[first], gained], quality, i, j)
    gained -= 2 * np.pi * parts.turns(gained)
    expected = gained * (times[first] / (times[second] - times[first]))
    unwrapped -= 2 * np.pi * parts.turns(unwrapped - expected)
    return [parts.volume(phase) for phase in _in_time(unwrapped, first, wrapped, weights, times)]


def _neighbours(mask: MaskArray) -> tuple[_Indices, _Indices]:
    """Pairs of neighbours in a mask, as indices of its voxels."""
    numbers = np.full(mask.shape, -1, np.int32)
    numbers[mask] = np.arange(np.count_nonzero(mask), dtype=np.int32)
    pairs = []
    for axis in range(3):
        along = np.moveaxis(numbers, axis, 0)
        both = (along[:-1] >= 0) & (along[1:] >= 0)
        pairs.append((along[:-1][both], along[1:][both]))
    before, after = (np.concatenate(side) for side in zip(*pairs, strict=True))
    return before, after


def _coherence(phase: _Values, magnitude: _Values, i: _Indices, j: _Indices) -> _Values:
    """Coherence in space of phase and magnitude, 0 to 1."""
    low = np.minimum(magnitude[i], magnitude[j])
    high = np.maximum(magnitude[i], magnitude[j])
    ratio = np.divide(low, high, out=np.zeros_like(low), where=high > 0)
    result: _Values = (1 - np.abs(_wrap(phase[i] - phase[j])) / np.pi) * ratio**2
    return result


def _coherence_in_time(
    phases: Sequence[_Values], times: _Values, first: int, second: int, i: _Indices, j: _Indices
) -> _Values:
    """Whether the phase between neighbours grows with echo time, 0 to 1."""
    early, late = (_wrap(phases[echo][i] - phases[echo][j]) for echo in (first, second))
    result: _Values = np.maximum(0, 1 - np.abs(early - late * times[first] / times[second]))
    return result


def _follow_tree(
    phases: Sequence[_Values], quality: _Values, i: _Indices, j: _Indices
) -> list[_Values]:
    """Unwrap along the maximum spanning tree of the qualities of pairs of voxels."""
    n = len(phases[0])
    # Costs are 1 to 2, because a sparse graph takes zero for no connection.
    graph = csr_matrix((2 - quality, (i, j)), shape=(n, n))
    tree = minimum_spanning_tree(graph).tocoo()
    count, part = connected_components(tree, directed=False)
    roots = np.full(count, n)
    np.minimum.at(roots, part, np.arange(n))
    # One more node, joined to all roots, lets one search do for all parts.
    rows = np.concatenate([tree.row, np.full(count, n)])
    columns = np.concatenate([tree.col, roots])
    rooted = csr_matrix((np.ones(len(rows)), (rows, columns)), shape=(n + 1, n + 1))
    parent = breadth_first_order(rooted, n, directed=False)[1][:n]
    parent[roots] = roots
    turns = [-np.rint((phase - phase[parent]) / (2 * np.pi)) for phase in phases]
    # Sums along the paths to the root: each round doubles the length that is summed.
    while True:
        turns = [turn + np.where(parent == np.arange(n), 0, turn[parent]) for turn in turns]
        further = parent[parent]
        if np.array_equal(further, parent):
            break
        parent = further
    return [phase + 2 * np.pi * turn for phase, turn in zip(phases, turns, strict=True)]


def _in_time(
    template: _Values,
    first: int,
    wrapped: Sequence[_Values],
    magnitudes: Sequence[_Values],
    times: _Values,
) -> list[_Values]:
    """All echoes, unwrapped to the line through zero of those that are done already."""
    result = list(wrapped)
    # Where there is no signal all echoes count alike.
    dark = sum(magnitudes) <= 0
    total, norm = np.zeros_like(template), np.zeros_like(template)
    for echo in (*range(first, len(times)), *range(first - 1, -1, -1)):
        if echo == first:
            result[echo] = template
        else:
            expected = total / norm * times[echo]
            turns = np.rint((expected - wrapped[echo]) / (2 * np.pi))
            result[echo] = wrapped[echo] + 2 * np.pi * turns
        weight = np.where(dark, 1.0, magnitudes[echo] ** 2) * times[echo]
        total += weight * result[echo]
        norm += weight * times[echo]
    return result


def _wrap(radians: _Values) -> _Values:
    result: _Values = radians - 2 * np.pi * np.rint(radians / (2 * np.pi))
    return result
