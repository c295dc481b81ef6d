"""Numba kernels of the center optimizer: moves on plain arrays.

The objective is a sum over pairs of centers, up to a constant, of
    quad_ij g² − 2 lin_ij g + penalty·max(g − cap, 0)²,   g = h_iᵀh_j,
the weighted residual (S_ij − g/K)² with the bit-balance term (linear in g), and a charge on pairs closer than allowed.

A visit to center i computes what each of its K flips changes, one matrix-vector product; two flips together need only
the overlap of the two bits over all centers besides. So one visit tries all K(K + 1)/2 single flips and pairs of flips
in a few vector instructions each, and looks at the distances (to the few partners near the cap) only for those that
the rest of the objective would let pass. Random numbers come from `state` (uint64 [1], splitmix64), so a run depends on
its seed alone.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from shc.histogram_kernels import popcount

LONGEST = 1024  # bits
# Exponential random numbers, shuffled once: a change of up to temperature × one of them is accepted. Vector loops read
# them from a random place on, which costs less than a logarithm each.
_WAITS = np.random.default_rng(0).permutation(-np.log((np.arange(4096) + 0.5) / 4096)).astype(np.float32)
_WAITS = np.concatenate([_WAITS, _WAITS[:LONGEST]])


class Arrays(NamedTuple):
    """A set of C centers of K bits and its objective; all of one float type, whole numbers exact.

    `free` int64 [F] lists the centers that may change; `quad`, `lin` and it stay as they are.
    """

    codes: np.ndarray  # [C, K], ±1, one row per center
    bits: np.ndarray  # [K, C], the same, one row per bit
    inner: np.ndarray  # [C, C], h_iᵀh_j; diagonal −K, so that a center never meets itself
    overlap: np.ndarray  # [K, K], Σ_i h_ik h_im
    quad: np.ndarray  # [C, C], diagonal 0; or [1, 1] where all pairs weigh the same
    lin: np.ndarray  # [C, C], diagonal 0
    free: np.ndarray


class Work(NamedTuple):
    """Scratch space of a visit, and the partners that it could bring too close."""

    row: np.ndarray  # [C]
    vectors: np.ndarray  # [6, K]
    partners: np.ndarray  # int64 [C + 4], near ones first
    over: np.ndarray  # [C + 4], by how much their inner product with the center exceeds the cap (maybe < 0)
    agree: np.ndarray  # [C + 4, K], ±1: on which bits they agree with the center
    chosen: np.ndarray  # int64 [C + 4]
    weight: np.ndarray  # [C + 4]


@njit(cache=True)
def _work(bits):
    length, classes = bits.shape
    number = bits.dtype.type
    vectors, agree = np.empty((6, length), number), np.empty((classes + 4, length), number)
    over, weight = np.empty(classes + 4, number), np.empty(classes + 4, number)
    partners, chosen = np.empty(classes + 4, np.int64), np.empty(classes + 4, np.int64)
    return Work(np.empty(classes, number), vectors, partners, over, agree, chosen, weight)


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
def flip_changes(bits, inner, quad, lin, i, row, change):
    """Write to change [K] how the objective, penalties apart, changes by each flip in center i; row [C] is scratch."""
    number = bits.dtype.type
    length, classes = bits.shape
    total = number(0)
    if quad.size == 1:
        weight = quad[0, 0]
        for j in range(classes):
            row[j] = lin[i, j] - weight * inner[i, j]
        total = weight * number(classes - 1)
    else:
        for j in range(classes):
            row[j] = lin[i, j] - quad[i, j] * inner[i, j]
            total += quad[i, j]
    row[i] = number(0)
    for k in range(length):
        dot = number(0)
        for j in range(classes):
            dot += bits[k, j] * row[j]
        change[k] = number(4) * (total + bits[k, i] * dot)


@njit(cache=True, fastmath=True)
def twin_changes(bits, inner, quad, lin, i, j, change, other, trial):
    """Write to trial [K] the change, penalties apart, when bit k flips in both centers i and j.

    `change` and `other` [K] are the `flip_changes` of i and j. The two keep their distance.
    """
    number = bits.dtype.type
    weight = quad[0, 0] if quad.size == 1 else quad[i, j]
    pull = lin[i, j] - weight * inner[i, j]
    for k in range(len(trial)):
        trial[k] = change[k] + other[k] - number(8) * (weight + bits[k, i] * bits[k, j] * pull)


@njit(cache=True, fastmath=True)
def exchange_change(inner, quad, lin, i, j):
    """Change of the objective when classes i and j exchange their centers; no distance changes."""
    total = inner.dtype.type(0)
    if quad.size == 1:
        for m in range(inner.shape[0]):
            total += (inner[j, m] - inner[i, m]) * (lin[j, m] - lin[i, m])
        for m in (i, j):  # the pair itself keeps its distance
            total -= (inner[j, m] - inner[i, m]) * (lin[j, m] - lin[i, m])
        return total + total
    for m in range(inner.shape[0]):
        if m != i and m != j:
            d, both = inner[j, m] - inner[i, m], inner[j, m] + inner[i, m]
            pull = lin[i, m] - lin[j, m]
            total += d * ((quad[i, m] - quad[j, m]) * both - pull - pull)
    return total


@njit(cache=True)
def find_near(codes, inner, cap, i, work):
    """Collect in `work` the partners that two flips in center i could bring too close; return how many.

    And Σ max(g − cap, 0)², what the pairs of center i exceed the cap by.
    """
    zero = excess = inner.dtype.type(0)
    found, edge = 0, cap - inner.dtype.type(4)
    for j in range(inner.shape[0]):
        work.partners[found] = j
        found += inner[i, j] > edge and j != i
    for t in range(found):
        j = work.partners[t]
        work.over[t] = inner[i, j] - cap
        excess += max(work.over[t], zero) ** 2
        for k in range(codes.shape[1]):
            work.agree[t, k] = codes[i, k] * codes[j, k]
    return found, excess


@njit(cache=True)
def flip_excess(work, found, k, skip):
    """Change of Σ max(g − cap, 0)² when bit k of the visited center flips, partner `skip` left out."""
    zero = total = work.over.dtype.type(0)
    two = work.over.dtype.type(2)
    for t in range(found):
        if work.partners[t] != skip:
            before, after = max(work.over[t], zero), max(work.over[t] - two * work.agree[t, k], zero)
            total += after * after - before * before
    return total


@njit(cache=True, fastmath=True)
def next_pairs(codes, bits, overlap, quad, i, first, change, most, penalty, charge, found, work, trial, single):
    """Find the first bit k ≥ `first` of center i that, flipped with some bit m, changes the objective by ≤ most[m].

    Returns k, K if there is none, and writes to trial [K] the changes for every m; at m = k that of flipping k alone,
    which without `single` never passes.
    `change` as by `flip_changes`, `found` partners as by `find_near`; charge, the penalty that center i now pays, is
    the most that a move can save of it, so that most bits are passed over without a look at the partners.
    """
    number = bits.dtype.type
    zero, one, four, half = number(0), number(1), number(4), number(0.5)
    length, classes = bits.shape
    center, slack, charged = codes[i], work.vectors[4], work.vectors[5]
    over, agree, chosen, weight = work.over, work.agree, work.chosen, work.weight
    alike = quad[0, 0] if quad.size == 1 else zero  # the overlap counts i itself, which takes no part
    for m in range(length):
        slack[m] = change[m] - most[m] - charge
    for k in range(first, length):
        factor, base = number(8) * center[k], change[k] - number(8) * alike
        if quad.size == 1:
            factor *= alike
            row = overlap[k]
        else:
            row = trial
            for m in range(length):
                dot = zero
                for j in range(classes):
                    dot += quad[i, j] * bits[k, j] * bits[m, j]
                row[m] = dot
        passing = zero  # a number of the arrays' type keeps the loop in vector registers
        for m in range(length):
            passing += one if slack[m] + factor * center[m] * row[m] <= -base else zero
        if passing == zero and change[k] - charge > most[k]:
            continue
        # A partner's pair goes from g to g − 4 where it agrees with the center on k and m, to g + 4 where on neither.
        count, constant = 0, zero
        for t in range(found):
            before, after = max(over[t], zero), max(over[t] - four * agree[t, k], zero)
            if after != before:
                chosen[count] = t
                weight[count] = half * penalty * (after * after - before * before)
                constant += weight[count]
                weight[count] *= agree[t, k]
                count += 1
        chosen[count : count + 4] = 0
        weight[count : count + 4] = zero
        for m in range(length):
            charged[m] = base + constant + change[m] + factor * center[m] * row[m]
        for t in range(0, count, 4):
            a, b, c, d = weight[t], weight[t + 1], weight[t + 2], weight[t + 3]
            p, q, r, s = agree[chosen[t]], agree[chosen[t + 1]], agree[chosen[t + 2]], agree[chosen[t + 3]]
            for m in range(length):
                charged[m] += a * p[m] + b * q[m] + c * r[m] + d * s[m]
        charged[k] = change[k] + penalty * flip_excess(work, found, k, -1) if single else number(1e30)
        passing = zero
        for m in range(length):
            trial[m] = charged[m]
            passing += one if charged[m] <= most[m] else zero
        if passing > zero:
            return k
    return length


@njit(cache=True, fastmath=True)
def flip(codes, bits, inner, overlap, i, k):
    """Flip bit k of center i, in place, but in `inner` only row i; `mirror` it before any other center changes."""
    h = bits[k, i] + bits[k, i]
    own, square = inner[i, i], overlap[k, k]
    for j in range(bits.shape[1]):
        inner[i, j] -= h * bits[k, j]
    for m in range(bits.shape[0]):
        overlap[k, m] -= h * bits[m, i]
        overlap[m, k] = overlap[k, m]
    inner[i, i], overlap[k, k] = own, square
    bits[k, i] = codes[i, k] = -bits[k, i]


@njit(cache=True, fastmath=True)
def flip_visited(codes, bits, inner, overlap, quad, lin, i, k, row, change):
    """`flip` that keeps `change`, which `flip_changes` wrote for center i, up to date."""
    number = bits.dtype.type
    if quad.size > 1:
        flip(codes, bits, inner, overlap, i, k)
        flip_changes(bits, inner, quad, lin, i, row, change)
        return
    center, own, factor = codes[i], -change[k], number(8) * quad[0, 0] * codes[i, k]
    for m in range(len(change)):
        change[m] += factor * center[m] * overlap[k, m] - number(8) * quad[0, 0]
    change[k] = own
    flip(codes, bits, inner, overlap, i, k)


@njit(cache=True)
def mirror(inner, i):
    """Copy row i of `inner` to column i; done once for many flips, because a column is slow to write."""
    for j in range(inner.shape[0]):
        inner[j, i] = inner[i, j]


@njit(cache=True)
def exchange(codes, bits, inner, i, j):
    """Exchange the centers of classes i and j, in place."""
    own, shared = inner[i, i], inner[i, j]
    for k in range(bits.shape[0]):
        bits[k, i], bits[k, j] = bits[k, j], bits[k, i]
        codes[i, k], codes[j, k] = codes[j, k], codes[i, k]
    for m in range(bits.shape[1]):
        inner[i, m], inner[j, m] = inner[j, m], inner[i, m]
    inner[i, i] = inner[j, j] = own
    inner[i, j] = inner[j, i] = shared
    mirror(inner, i)
    mirror(inner, j)


@njit(cache=True)
def row_violations(inner, cap, i):
    """Number of partners that are too close to center i."""
    count = 0
    for j in range(inner.shape[0]):
        if inner[i, j] > cap:
            count += 1
    return count


@njit(cache=True)
def violations(inner, cap):
    """Number of pairs that are closer than allowed."""
    count = 0
    for i in range(inner.shape[0]):
        count += row_violations(inner, cap, i)
    return count // 2


@njit(cache=True, nogil=True)
def anneal(a, cap, single, exchanges, twins, visits, heat, cool, light, heavy, until_feasible, state):
    """Visit random centers, in place; return how many moves were accepted (by Metropolis' rule).

    A visit tries all single flips (only if `single`: pairs keep the parity of all distances) and pairs of flips in one
    center, and exchanges it with `exchanges` other centers;
    the share `twins` of the visits tries every bit together with the same bit of another center instead. The
    temperature goes from `heat` to `cool` and the penalty from `light` to `heavy`, both geometrically. With
    `until_feasible` it stops when no pair is too close.
    """
    codes, bits, inner, _, quad, lin, free = a
    number = bits.dtype.type
    work = _work(bits)
    close = violations(inner, cap) if until_feasible else 1
    accepted = 0
    for visit in range(visits):
        part = visit / visits
        temperature = number(heat * (cool / heat) ** part)
        penalty = number(light * (heavy / light) ** part)
        i = free[_below(state, len(free))]
        for _ in range(exchanges):
            j = free[_below(state, len(free))]
            wait = _WAITS[_below(state, 4096)]
            if i != j and exchange_change(inner, quad, lin, i, j) <= temperature * wait:
                exchange(codes, bits, inner, i, j)
                accepted += 1
        j = i if _uniform(state) >= twins else free[_below(state, len(free))]
        before = row_violations(inner, cap, i) + row_violations(inner, cap, j) if until_feasible else 0
        if j == i:
            taken = _try_pairs(a, cap, single, i, work, temperature, penalty, state)
        else:
            taken = _try_twins(a, cap, i, j, work, temperature, penalty, state)
        if taken and until_feasible:
            after = row_violations(inner, cap, i) + row_violations(inner, cap, j)
            close += (after - before) // 2 if i == j else after - before
            if close == 0:
                break
        accepted += taken
    return accepted


@njit(cache=True)
def _try_pairs(a, cap, single, i, work, temperature, penalty, state):
    """Try all single flips and pairs of flips in center i; return how many were accepted."""
    codes, bits, inner, overlap, quad, lin, _ = a
    change, trial, most = work.vectors[0], work.vectors[1], work.vectors[2]
    length = bits.shape[0]
    flip_changes(bits, inner, quad, lin, i, work.row, change)
    found, excess = find_near(codes, inner, cap, i, work)
    _draw(most, temperature, state)
    accepted, k = 0, 0
    while k < length:
        k = next_pairs(
            codes, bits, overlap, quad, i, k, change, most, penalty, penalty * excess, found, work, trial, single
        )
        if k < length:
            m = _pick(trial, most, state)
            flip_visited(codes, bits, inner, overlap, quad, lin, i, k, work.row, change)
            if m != k:
                flip_visited(codes, bits, inner, overlap, quad, lin, i, m, work.row, change)
            found, excess = find_near(codes, inner, cap, i, work)
            _draw(most, temperature, state)
            accepted += 1
            k += 1
    if accepted:
        mirror(inner, i)
    return accepted


@njit(cache=True)
def _pick(trial, most, state):
    """The place of one of the changes that are at most `most`, at random."""
    passing = 0
    for m in range(len(trial)):
        passing += trial[m] <= most[m]
    skip = _below(state, passing)
    for m in range(len(trial)):
        if trial[m] <= most[m]:
            if not skip:
                return m
            skip -= 1
    return -1


@njit(cache=True)
def _try_twins(a, cap, i, j, work, temperature, penalty, state):
    """Try to flip a bit in both centers i and j, until one is accepted; return how many were (0 or 1)."""
    codes, bits, inner, overlap, quad, lin, _ = a
    change, trial, most, other = work.vectors[0], work.vectors[1], work.vectors[2], work.vectors[3]
    length = bits.shape[0]
    flip_changes(bits, inner, quad, lin, i, work.row, change)
    flip_changes(bits, inner, quad, lin, j, work.row, other)
    twin_changes(bits, inner, quad, lin, i, j, change, other, trial)
    for one, two in ((i, j), (j, i)):
        found, _ = find_near(codes, inner, cap, one, work)
        for k in range(length):
            trial[k] += penalty * flip_excess(work, found, k, two)
    _draw(most, temperature, state)
    turn = _below(state, length)
    for step in range(length):
        k = step + turn if step + turn < length else step + turn - length
        if trial[k] <= most[k]:
            flip(codes, bits, inner, overlap, i, k)
            mirror(inner, i)
            flip(codes, bits, inner, overlap, j, k)
            mirror(inner, j)
            return 1
    return 0


@njit(cache=True, fastmath=True)
def _draw(most, temperature, state):
    """Write to most [K] the largest changes that Metropolis' rule accepts."""
    start = _below(state, 4096)
    waits = _WAITS[start : start + len(most)]
    for m in range(len(most)):
        most[m] = temperature * waits[m]


@njit(cache=True, nogil=True)
def descend(a, cap, penalty, tolerance):
    """One pass over all single flips, taking every one that improves the objective with `penalty`; return how many."""
    codes, bits, inner, overlap, quad, lin, free = a
    work = _work(bits)
    change = work.vectors[0]
    taken = 0
    for i in free:
        flip_changes(bits, inner, quad, lin, i, work.row, change)
        found, excess = find_near(codes, inner, cap, i, work)
        before = taken
        for k in range(bits.shape[0]):
            if change[k] - penalty * excess >= -tolerance:
                continue
            if change[k] + penalty * flip_excess(work, found, k, -1) < -tolerance:
                flip_visited(codes, bits, inner, overlap, quad, lin, i, k, work.row, change)
                found, excess = find_near(codes, inner, cap, i, work)
                taken += 1
        if taken > before:
            mirror(inner, i)
    return taken


@njit(cache=True, nogil=True)
def polish(a, cap, exchanges, tolerance):
    """One pass over all flips, pairs of flips in one center and, if asked, exchanges, taking every allowed improvement.

    For a set that keeps the distance, which it goes on keeping. Returns the number of moves taken; 0 proves that none
    gains more than `tolerance`.
    """
    codes, bits, inner, overlap, quad, lin, free = a
    number = bits.dtype.type
    length, classes = bits.shape
    work = _work(bits)
    change, trial, most = work.vectors[0], work.vectors[1], work.vectors[2]
    most[:] = -tolerance
    taken = 0
    for place in range(len(free)):
        i = free[place]
        flip_changes(bits, inner, quad, lin, i, work.row, change)
        found, _ = find_near(codes, inner, cap, i, work)
        # More than two flips can gain, and not so much more that small gains would drown in rounding.
        weight = quad[0, 0] * number(classes) if quad.size == 1 else quad[i].sum()
        forbid = number(4) * (np.abs(change).max() + number(8) * weight) + number(1)
        before, k = taken, 0
        while True:
            k = next_pairs(codes, bits, overlap, quad, i, k, change, most, forbid, number(0), found, work, trial, True)
            if k == length:
                break
            m = np.argmin(trial)
            flip_visited(codes, bits, inner, overlap, quad, lin, i, k, work.row, change)
            if m != k:
                flip_visited(codes, bits, inner, overlap, quad, lin, i, m, work.row, change)
            found, _ = find_near(codes, inner, cap, i, work)
            taken += 1
        if taken > before:
            mirror(inner, i)
        for other in range(place if exchanges else 0):
            if exchange_change(inner, quad, lin, i, free[other]) < -tolerance:
                exchange(codes, bits, inner, i, free[other])
                taken += 1
    return taken


@njit(cache=True, nogil=True)
def residual(similarity, words, length, weights, histogram):
    """Σ over all i, j of weights (S − h_iᵀh_j/K)² for packed codes `words` uint64 [C, W]; weights [1, 1] serve all.

    Adds to histogram int64 [K+1] how many pairs i < j stand at each distance.
    """
    total = 0.0
    for i in range(words.shape[0]):
        part = 0.0
        for j in range(words.shape[0]):
            distance = 0
            for w in range(words.shape[1]):
                distance += popcount(words[i, w] ^ words[j, w])
            off = similarity[i, j] - (1 - 2 * distance / length)
            part += off * off * (weights[0, 0] if weights.size == 1 else weights[i, j])
            if j < i:
                histogram[distance] += 1
        total += part
    return total
