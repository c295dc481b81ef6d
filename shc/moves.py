"""Numba kernels of the center optimizer: moves that are tried in O(C), on plain arrays.

A set of C centers is kept as `bits` [K, C] (±1, one row per bit) with its inner products `inner` [C, C]; both float so
that the loops vectorize, both exact whole numbers. The objective is a sum over pairs of
    cost_ij(g) = quad_ij g² − 2 lin_ij g,   g = h_iᵀh_j,
which holds the weighted residual (S_ij − g/K)² and the bit-balance term (linear in g) up to a constant. A pair with
g > cap is closer than allowed and costs penalty·(g − cap)² more. Diagonals: quad = lin = 0 and inner = −K, so that a
center never meets itself. `free` lists the centers that may change. Random numbers come from `state` (uint64 [1],
splitmix64), so a run depends on its seed alone.
"""

import numpy as np
from numba import njit


@njit(cache=True)
def _random(state):  # uint64, splitmix64 (Steele, Lea & Flood 2014)
    state[0] += np.uint64(0x9E3779B97F4A7C15)
    z = state[0]
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@njit(cache=True)
def _below(state, n):  # a whole number in [0, n)
    return np.int64(((_random(state) >> np.uint64(32)) * np.uint64(n)) >> np.uint64(32))


@njit(cache=True)
def _uniform(state):  # float64 in (0, 1)
    return (np.float64(_random(state) >> np.uint64(11)) + 0.5) / 9007199254740992.0


@njit(cache=True, fastmath=True)
def flip_change(bits, inner, quad, lin, cap, penalty, i, k):
    """Change of the objective when bit k of center i flips."""
    two = bits.dtype.type(2)
    h = two * bits[k, i]
    total = bits.dtype.type(0)
    zero = total
    for j in range(bits.shape[1]):
        s = h * bits[k, j]  # what inner[i, j] loses
        g = inner[i, j]
        over = max(g - cap, zero)
        after = max(g - s - cap, zero)
        total += s * (quad[i, j] * (s - two * g) + two * lin[i, j]) + penalty * (after * after - over * over)
    return total


@njit(cache=True, fastmath=True)
def pair_flip_change(bits, inner, quad, lin, cap, penalty, i, k, m):
    """Change of the objective when bits k and m of center i flip."""
    two = bits.dtype.type(2)
    a, b = two * bits[k, i], two * bits[m, i]
    total = bits.dtype.type(0)
    zero = total
    for j in range(bits.shape[1]):
        s = a * bits[k, j] + b * bits[m, j]
        g = inner[i, j]
        over = max(g - cap, zero)
        after = max(g - s - cap, zero)
        total += s * (quad[i, j] * (s - two * g) + two * lin[i, j]) + penalty * (after * after - over * over)
    return total


@njit(cache=True, fastmath=True)
def exchange_change(inner, quad, lin, i, j):
    """Change of the objective when classes i and j exchange their centers; no distance changes."""
    two = inner.dtype.type(2)
    total = inner.dtype.type(0)
    for m in range(inner.shape[0]):
        gi, gj = inner[i, m], inner[j, m]
        d = gj - gi
        total += d * ((quad[i, m] - quad[j, m]) * (gj + gi) - two * (lin[i, m] - lin[j, m]))
    for m in (i, j):  # the pair itself keeps its distance
        gi, gj = inner[i, m], inner[j, m]
        d = gj - gi
        total -= d * ((quad[i, m] - quad[j, m]) * (gj + gi) - two * (lin[i, m] - lin[j, m]))
    return total


@njit(cache=True)
def flip(bits, inner, i, k):
    """Flip bit k of center i, in place, but in `inner` only row i; `mirror` it before any other center changes."""
    h = bits.dtype.type(2) * bits[k, i]
    own = inner[i, i]
    for j in range(bits.shape[1]):
        inner[i, j] -= h * bits[k, j]
    inner[i, i] = own
    bits[k, i] = -bits[k, i]


@njit(cache=True)
def mirror(inner, i):
    """Copy row i of `inner` to column i; done once for many flips, because a column is slow to write."""
    for j in range(inner.shape[0]):
        inner[j, i] = inner[i, j]


@njit(cache=True)
def exchange(bits, inner, i, j):
    """Exchange the centers of classes i and j, in place."""
    own = inner[i, i]
    shared = inner[i, j]
    for k in range(bits.shape[0]):
        bits[k, i], bits[k, j] = bits[k, j], bits[k, i]
    for m in range(bits.shape[1]):
        inner[i, m], inner[j, m] = inner[j, m], inner[i, m]
    for m in range(bits.shape[1]):
        inner[m, i] = inner[i, m]
        inner[m, j] = inner[j, m]
    inner[i, i] = own
    inner[j, j] = own
    inner[i, j] = shared
    inner[j, i] = shared


@njit(cache=True)
def violations(inner, cap):
    """Number of pairs that are closer than allowed."""
    count = 0
    for i in range(inner.shape[0]):
        for j in range(i):
            if inner[i, j] > cap:
                count += 1
    return count


@njit(cache=True)
def anneal(bits, inner, quad, lin, cap, free, shares, steps, heat, cool, light, heavy, until_feasible, state):
    """Make `steps` random proposals in place, accepted by Metropolis' rule; return how many were.

    The temperature goes from `heat` to `cool` and the penalty from `light` to `heavy`, both geometrically. `shares` [2]
    are the shares of single flips and of pairs of flips in one center (which keep the parity of its distances); the
    rest exchanges two centers. With `until_feasible` it stops when no pair is too close.
    """
    number = bits.dtype.type
    accepted = 0
    width, length = len(free), bits.shape[0]
    turn, block = 8, 64  # proposals to one center; proposals at one temperature and penalty
    blocks = -(-steps // block)
    flips = shares[0] / (shares[0] + shares[1])
    for b in range(blocks):
        part = b / blocks
        temperature = heat * (cool / heat) ** part
        penalty = number(light * (heavy / light) ** part)
        for _ in range(block // turn):
            i = free[_below(state, width)]
            if _uniform(state) < shares[0] + shares[1]:
                changed = False
                for _ in range(turn):
                    k = _below(state, length)
                    m = k
                    if _uniform(state) < flips:
                        change = flip_change(bits, inner, quad, lin, cap, penalty, i, k)
                    else:
                        m = _below(state, length)
                        if m == k:
                            continue
                        change = pair_flip_change(bits, inner, quad, lin, cap, penalty, i, k, m)
                    if change <= 0 or change < -temperature * np.log(_uniform(state)):
                        flip(bits, inner, i, k)
                        if m != k:
                            flip(bits, inner, i, m)
                        accepted += 1
                        changed = True
                if changed:
                    mirror(inner, i)
            else:
                for _ in range(turn):
                    j = free[_below(state, width)]
                    if i == j:
                        continue
                    change = exchange_change(inner, quad, lin, i, j)
                    if change <= 0 or change < -temperature * np.log(_uniform(state)):
                        exchange(bits, inner, i, j)
                        accepted += 1
        if until_feasible and violations(inner, cap) == 0:
            break
    return accepted


@njit(cache=True)
def descend(bits, inner, quad, lin, cap, penalty, free, tolerance):
    """One pass over all single flips, taking every one that improves the objective with `penalty`; return how many."""
    taken = 0
    for i in free:
        before = taken
        for k in range(bits.shape[0]):
            if flip_change(bits, inner, quad, lin, cap, penalty, i, k) < -tolerance:
                flip(bits, inner, i, k)
                taken += 1
        if taken > before:
            mirror(inner, i)
    return taken


@njit(cache=True)
def polish(bits, inner, quad, lin, cap, free, reach, exchanges, tolerance):
    """One pass over all flips, pairs of flips in one center and, if asked, exchanges, taking every allowed improvement.

    For a set that keeps the distance, which it goes on keeping. Returns the number of moves taken; 0 proves that none
    gains more than `tolerance`. Two flips of one center change the objective by the sum of their own changes and a
    cross term 8 Σ_j quad_ij h_ik h_im h_jk h_jm; `reach` is a limit on its size that saves most of the trials.
    """
    number = bits.dtype.type
    zero, forbid = number(0), number(1e12)  # no gain outweighs `forbid`
    taken = 0
    length = bits.shape[0]
    alone = np.empty(length, bits.dtype)  # change of the objective by each flip, without the distance
    for a in range(len(free)):
        i = free[a]
        for k in range(length):
            alone[k] = flip_change(bits, inner, quad, lin, cap, zero, i, k)
        before = taken
        for k in range(length):
            for m in range(k + 1):
                if m == k:
                    if alone[k] >= -tolerance:
                        continue
                    change = flip_change(bits, inner, quad, lin, cap, forbid, i, k)
                else:
                    if alone[k] + alone[m] - reach >= -tolerance:
                        continue
                    change = pair_flip_change(bits, inner, quad, lin, cap, forbid, i, k, m)
                if change < -tolerance:
                    flip(bits, inner, i, k)
                    if m != k:
                        flip(bits, inner, i, m)
                    taken += 1
                    for other in range(length):
                        alone[other] = flip_change(bits, inner, quad, lin, cap, zero, i, other)
        if taken > before:
            mirror(inner, i)
        for b in range(a if exchanges else 0):
            if exchange_change(inner, quad, lin, i, free[b]) < -tolerance:
                exchange(bits, inner, i, free[b])
                taken += 1
    return taken
