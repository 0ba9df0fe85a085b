"""The checkers of lesson 12 accept right answers and name typical slips."""

import torch

from course_lib.inference.quantize import quantize_groups
from course_lib.lab.checks import inference as check
from course_lib.lab.solutions import inference as solutions
from tests.lab.checks.cases import Case, tests_of


def skeleton_2(a, b): ...


def skeleton_3(a, b, c): ...


def skeleton_4(a, b, c, d): ...


def skeleton_5(a, b, c, d, e): ...


# Bounds and bytes
# --------------------------------------------------------------------------------------------------


def bound_by_seconds(weights, cache, rows, bandwidth):
    seconds = weights / bandwidth + rows * cache / bandwidth
    return rows / seconds


def bytes_by_shapes(layers, heads, width, tokens, size):
    shape = torch.empty(layers, 2, heads, tokens, width, device="meta")
    return shape.numel() * size


# Padding
# --------------------------------------------------------------------------------------------------


def pad(prompts, right=False, by_zero=False, invert=False, first=0, columns=False, clamp=True):
    width = max(map(len, prompts))
    ids = torch.zeros(len(prompts), width, dtype=torch.long)
    padding = torch.ones(len(prompts), width, dtype=torch.bool)
    positions = torch.zeros(len(prompts), width, dtype=torch.long)
    for row, prompt in enumerate(prompts):
        n = len(prompt)
        where = slice(0, n) if right else slice(width - n, width)
        ids[row, where] = torch.tensor(prompt)
        padding[row, where] = False
        positions[row, where] = torch.arange(n)
        if not clamp:
            positions[row] = torch.arange(n - width, n)
    if columns:
        positions = torch.arange(width).expand(len(prompts), -1)
    if by_zero:
        padding = ids == 0
    return ids, ~padding if invert else padding, positions + first


# The queue
# --------------------------------------------------------------------------------------------------


def admit(waiting, clock, rows, tokens, skip=False, late=False, strict=False, add=True):
    n = 0
    for arrival, wish in waiting:
        here = late or (arrival < clock if strict else arrival <= clock)
        if here and n < rows and wish <= tokens:
            n += 1
            tokens -= wish if add else 0
        elif not skip:
            break
    return n


def admit_by_sums(waiting, clock, rows, tokens):
    sums = torch.tensor([wish for _, wish in waiting], dtype=torch.long).cumsum(0)
    arrived = torch.tensor([arrival <= clock for arrival, _ in waiting], dtype=torch.bool)
    fits = arrived & (sums <= tokens) & (torch.arange(len(waiting)) < rows)
    return int(fits.long().cumprod(0).sum())


# Speculation
# --------------------------------------------------------------------------------------------------


def place(weights, point):
    line = weights.double().cumsum(0)
    return int(torch.searchsorted(line, point * line[-1].item(), right=True))


def play(p, q, token, point, second, stands=None, rest=None):
    kept = point < p[token] / q[token] if stands is None else stands(p, q, token, point)
    if kept:
        return token
    weights = (p - q).clamp(min=0) if rest is None else rest(p, q)
    return place(weights, second)


def without_it(p, q, token, point, second):
    left = p.clone()
    left[token] = 0
    return play(p, q, token, point, second, rest=lambda p, q: left)


# Quantization
# --------------------------------------------------------------------------------------------------


def quantize(row, bits, size, limit=None, signed=False, cut=False):
    groups = row.view(-1, size)
    limit = limit or 2 ** (bits - 1) - 1
    scales = (groups if signed else groups.abs()).amax(1) / limit
    codes = (groups / scales[:, None]).nan_to_num(0.0)
    return (codes.trunc() if cut else codes.round()).flatten(), scales


def quantize_by_lists(row, bits, size):
    codes, scales, limit = [], [], 2 ** (bits - 1) - 1
    for start in range(0, len(row), size):
        group = row[start : start + size].tolist()
        scale = max(abs(value) for value in group) / limit
        codes += [round(value / scale) if scale else 0 for value in group]
        scales.append(scale)
    return torch.tensor(codes), torch.tensor(scales)


def nan_for_zeros(row, bits, size):
    groups = row.view(-1, size)
    scales = groups.abs().amax(1) / (2 ** (bits - 1) - 1)
    return (groups / scales[:, None]).round().flatten(), scales


CASES = {
    check.decode_bound: Case(
        solution=solutions.decode_bound_solution,
        skeleton=skeleton_4,
        also_right=[bound_by_seconds, lambda w, c, n, b: b / (w / n + c)],
        wrong=[
            (lambda w, c, n, b: b / (w + n * c), "steps per second"),
            (lambda w, c, n, b: n * b / w, "the caches are missing"),
            (lambda w, c, n, b: b / (w + c), "read once per step, not once per row"),
            (lambda w, c, n, b: n * b / (w + c), "the caches of all n_rows"),
            (lambda w, c, n, b: (w + n * c) / b, "how many seconds a step takes"),
            (lambda w, c, n, b: (w + n * c) / b / n, "seconds per token"),
        ],
    ),
    check.cache_bytes: Case(
        solution=solutions.cache_bytes_solution,
        skeleton=skeleton_5,
        also_right=[bytes_by_shapes],
        wrong=[
            (lambda n, g, d, t, b: n * g * d * t * b, "a key and a value"),
            (lambda n, g, d, t, b: 2 * n * g * d * t, "not bytes"),
            (lambda n, g, d, t, b: 2 * g * d * t * b, "one layer's"),
            (lambda n, g, d, t, b: 2 * n * g * d * b, "for one token"),
            (lambda n, g, d, t, b: 2 * n * g * d * t * t * b, "square of n_tokens"),
            (lambda n, g, d, t, b: 2 * n * d * t * b, "one head of keys"),
        ],
    ),
    check.left_pad: Case(
        solution=solutions.left_pad_solution,
        skeleton=lambda prompts: ...,
        also_right=[pad, lambda prompts: tuple(part.tolist() for part in pad(prompts))],
        wrong=[
            (lambda prompts: pad(prompts, right=True), "padding is on the right"),
            (lambda prompts: pad(prompts, right=True, columns=True), "padding is on the right"),
            (lambda prompts: pad(prompts, invert=True), "the other way round"),
            (lambda prompts: pad(prompts, columns=True), "count the columns"),
            (lambda prompts: pad(prompts, clamp=False), "negative positions"),
            (lambda prompts: pad(prompts, by_zero=True), "0 may be a token"),
            (lambda prompts: pad(prompts)[0], "return three tables"),
            (lambda prompts: (*pad(prompts)[:2], pad(prompts)[2] + 1), "begin at 1"),
        ],
    ),
    check.admit_requests: Case(
        solution=solutions.admit_requests_solution,
        skeleton=skeleton_4,
        also_right=[admit, admit_by_sums],
        wrong=[
            (lambda *case: admit(*case, skip=True), "first come, first served"),
            (lambda *case: admit(*case, late=True), "before it arrived"),
            (lambda *case: admit(*case, strict=True), "may equal the clock"),
            (lambda w, c, r, t: admit(w, c, 99, t), "more requests than free rows"),
            (lambda w, c, r, t: admit(w, c, r, 9999), "free tokens are not looked at"),
            (lambda *case: admit(*case, add=False), "not all together"),
            (lambda w, c, r, t: admit(w, c, r, t - 1), "may equal the free ones"),
        ],
    ),
    check.accept_or_resample: Case(
        solution=solutions.accept_or_resample_solution,
        skeleton=skeleton_5,
        also_right=[play, lambda p, q, t, x, y: torch.tensor(play(p, q, t, x, y))],
        wrong=[
            (lambda *c: play(*c, rest=lambda p, q: p), "a draw from p. Tokens that"),
            (without_it, "without that token"),
            (lambda *c: play(*c, rest=lambda p, q: (p - q).abs()), "without their sign"),
            (lambda *c: play(*c, rest=lambda p, q: (q - p).clamp(min=0)), "way round: missing is"),
            (
                lambda *c: play(*c, stands=lambda p, q, t, x: x * p[t] < q[t]),
                "ratio is upside down",
            ),
            (lambda *c: play(*c, stands=lambda p, q, t, x: x < p[t]), "stands with probability p."),
            (
                lambda *c: play(*c, stands=lambda p, q, t, x: p[t] >= q[t]),
                "only if p is at least q",
            ),
            (
                lambda *c: play(*c, stands=lambda p, q, t, x: x * q[t] >= p[t]),
                "accepted where it should be refused",
            ),
            (lambda *c: play(*c, stands=lambda p, q, t, x: False), "never kept"),
            (lambda p, q, t, x, y: place(p, y), "ignores the draft"),
        ],
    ),
    check.quantize_row: Case(
        solution=solutions.quantize_row_solution,
        skeleton=skeleton_3,
        also_right=[quantize, quantize_by_lists],
        wrong=[
            (lambda row, bits, size: quantize(row, bits, len(row)), "one scale for the whole row"),
            (lambda *case: quantize(*case, signed=True), "not the largest size"),
            (lambda *case: quantize(*case, cut=True), "cut off towards 0"),
            (lambda r, b, s: quantize(r, b, s, 2 ** (b - 1)), "which does not fit"),
            (lambda r, b, s: quantize(r, b, s, 2**b - 1), "needed for the sign"),
            (
                lambda r, b, s: (
                    quantize(r, b, s)[0],
                    (1 / quantize(r, b, s)[1]).nan_to_num(posinf=0.0),
                ),
                "upside down",
            ),
            (
                lambda r, b, s: (quantize(r, b, s)[0], r.view(-1, s).abs().amax(1)),
                "the largest sizes",
            ),
            (nan_for_zeros, "0 / 0 is NaN"),
            (lambda *case: quantize(*case)[0], "return codes and scales"),
            (
                lambda r, b, s: (quantize(r, b, s)[0].view(-1, s), quantize(r, b, s)[1]),
                "codes are a row again",
            ),
        ],
    ),
}
test_checkers = tests_of(check, CASES)


def test_the_exercise_and_the_library_round_alike():
    row = torch.randn(64, generator=torch.Generator().manual_seed(1))
    codes, scales = solutions.quantize_row_solution(row, 8, 16)
    theirs, rounded = quantize_groups(row[None], 8, 16)
    torch.testing.assert_close(scales, rounded[0].float(), rtol=1e-3, atol=0)
    assert (codes - theirs[0]).abs().max() <= 1  # the library's scales are float16
