"""Answers to the exercises of lesson 12, written from their statements alone."""

import bisect
import itertools
from fractions import Fraction

import numpy as np
import torch

from tests.lab.checks.answers.table import Answers, Slip

# --- decode_bound ---


class DecodeBound:
    def __call__(self, weight_bytes, cache_bytes_per_row, n_rows, bandwidth):
        return bandwidth / (weight_bytes / n_rows + cache_bytes_per_row)


def bound_exactly(weight_bytes, cache_bytes_per_row, n_rows, bandwidth):
    read = Fraction(weight_bytes) + n_rows * Fraction(cache_bytes_per_row)
    return float(Fraction(bandwidth) * n_rows / read)


def bound_in_loops(weight_bytes, cache_bytes_per_row, n_rows, bandwidth):
    read = np.float64(weight_bytes)
    for _ in range(n_rows):
        read += cache_bytes_per_row
    return n_rows / (read / bandwidth)


DECODE_BOUND = Answers(
    right=[
        DecodeBound(),
        bound_exactly,
        bound_in_loops,
        lambda *given: (
            torch.tensor(given[2] * given[3], dtype=torch.float64)
            / (given[0] + given[2] * given[1])
        ),
    ],
    wrong=[
        Slip(
            lambda w, c, n, b: n * b / (n * (w + c)),
            "weights are read for each row",
            r"once|weights",
            r"per row alone|in bytes|upside",
        ),
        Slip(
            lambda w, c, n, b: n * b / (w + c),
            "the cache of one row alone",
            r"cache|each row|every row",
            r"upside|per row alone|tokens per row",
        ),
        Slip(
            lambda w, c, n, b: b / (w + n * c),
            "steps per second, not tokens",
            r"tokens|rows together|steps|one (token )?per row|all rows",
            r"upside|cache of one",
        ),
        Slip(
            lambda w, c, n, b: (w + n * c) / b,
            "seconds per step",
            r"second|step|upside|over|per token",
            r"cache of one|weights are",
        ),
        Slip(
            lambda w, c, n, b: (w + n * c) / b / n,
            "seconds per token",
            r"second|upside|over|inverse|per token",
            r"cache of one|weights are",
        ),
        Slip(lambda w, c, n, b: n * b / w, "caches are left out", r"cache", r"upside|once"),
        Slip(
            lambda w, c, n, b: n * (b // (w + n * c)),
            "floored by //",
            r"//|floor|whole|round",
            r"upside|once|cache of one",
        ),
        Slip(
            lambda w, c, n, b: b / (w / n + n * c),
            "weights are shared, caches are not per token",
            r"cache|row",
            r"upside|left out",
        ),
        Slip(
            lambda w, c, n, b: n * n * b / (w + n * c),
            "rows are counted twice",
            r"row|twice|n_rows",
            r"upside|left out|once",
        ),
        Slip(
            lambda w, c, n, b: n * b / (n * w + c),
            "weights by rows and one cache",
            r"weights|cache|once|row",
            r"upside|left out",
        ),
        Slip(
            lambda w, c, n, b: n * b / (2 * w + n * c),
            "weights are counted twice",
            r"weights|once|twice",
            r"upside|left out|per row",
        ),
    ],
)

# --- cache_bytes ---


class CacheBytes:
    def __call__(self, n_layers, n_kv_heads, d_head, n_tokens, bytes_per_number):
        total = 0
        for _ in range(n_layers):
            for _ in ("key", "value"):
                total += n_kv_heads * d_head * n_tokens * bytes_per_number
        return total


def bytes_of_a_shape(n_layers, n_kv_heads, d_head, n_tokens, bytes_per_number):
    shape = (n_layers, 2, n_kv_heads, n_tokens, d_head)
    return torch.empty(shape, device="meta").numel() * bytes_per_number


CACHE_BYTES = Answers(
    right=[
        CacheBytes(),
        bytes_of_a_shape,
        lambda *given: np.prod([2, *given], dtype=np.int64),
        lambda *given: sum(np.multiply.reduce(np.array(given, dtype=object)) for _ in range(2)),
    ],
    wrong=[
        Slip(
            lambda a, h, d, n, b: a * h * d * n * b,
            "keys alone, no values",
            r"value|two|twice|2\b|half",
            r"layer|float",
        ),
        Slip(lambda a, h, d, n, b: 2 * h * d * n * b, "one layer", r"layer", r"value|float"),
        Slip(lambda a, h, d, n, b: 2 * a * d * n * b, "one head", r"head", r"layer|float"),
        Slip(
            lambda a, h, d, n, b: 2 * a * h * n * b,
            "one number per key",
            r"d_head|number|width|wide",
            r"layer|float",
        ),
        Slip(
            lambda a, h, d, n, b: 2 * a * h * d * n,
            "numbers, not bytes",
            r"byte",
            r"layer|value|float",
        ),
        Slip(
            lambda a, h, d, n, b: 2 * a * h * d * b,
            "bytes of one token",
            r"token",
            r"layer|value|float",
        ),
        Slip(
            lambda a, h, d, n, b: 3 * a * h * d * n * b,
            "queries are kept as well",
            r"quer|key and|two|3",
            r"layer|float",
        ),
        Slip(
            lambda a, h, d, n, b: 8 * a * h * d * n * b,
            "bits, not bytes",
            r"bit|8|eight",
            r"layer|value is|float",
        ),
        Slip(
            lambda a, h, d, n, b: 2 * a * h * d * n**2 * b,
            "squared in the tokens",
            r"token|square",
            r"layer|value is|float",
        ),
        Slip(
            lambda a, h, d, n, b: 2 * a * h * d * (n - 1) * b,
            "one token less",
            r"token",
            r"layer|value is|float",
        ),
        Slip(
            lambda a, h, d, n, b: a * d * n * b * (h + 1),
            "one value for all heads",
            r"value|head|two|key and",
            r"layer|float",
        ),
        Slip(
            lambda a, h, d, n, b: 2 * a * h * d * n * b / 1e6,
            "megabytes",
            r"byte|million|mega|whole",
            r"layer|value is",
        ),
        Slip(
            lambda a, h, d, n, b: 2 * a * h * d * n // b,
            "divided by the bytes of a number",
            r"byte",
            r"layer|value is|float",
        ),
    ],
)

# --- left_pad ---


def pad_by_torch(prompts):
    turned = [torch.tensor(list(prompt)[::-1]) for prompt in prompts]
    ids = torch.nn.utils.rnn.pad_sequence(turned, batch_first=True).flip(1)
    lengths = torch.tensor([len(prompt) for prompt in prompts])
    real = torch.arange(ids.shape[1]) >= ids.shape[1] - lengths[:, None]
    return ids, real.logical_not(), (real.cumsum(1) - 1).clamp(min=0)


def pad_by_lists(prompts):
    width = max(map(len, prompts))
    gaps = [width - len(prompt) for prompt in prompts]
    ids = [[0] * gap + list(prompt) for gap, prompt in zip(gaps, prompts, strict=True)]
    padding = [[column < gap for column in range(width)] for gap in gaps]
    positions = [[0] * gap + list(range(width - gap)) for gap in gaps]
    return ids, padding, positions


class LeftPad:
    def __call__(self, prompts):
        columns = list(itertools.zip_longest(*map(reversed, prompts)))[::-1]
        table = np.array(columns, dtype=object).T
        padding = table == None  # noqa: E711
        ids = np.where(padding, 0, table).astype(int)
        return ids, padding, np.maximum(0, np.arange(len(columns)) - padding.sum(1)[:, None])


def padded(prompts, fill=0):
    width = max(map(len, prompts))
    ids = torch.tensor([[fill] * (width - len(p)) + list(p) for p in prompts])
    missing = torch.tensor([width - len(p) for p in prompts])[:, None]
    positions = torch.arange(width) - missing
    return ids, positions < 0, positions.clamp(min=0)


def pad_right(prompts):
    width = max(map(len, prompts))
    ids = torch.tensor([list(p) + [0] * (width - len(p)) for p in prompts])
    lengths = torch.tensor([len(p) for p in prompts])[:, None]
    columns = torch.arange(width).expand(len(prompts), -1)
    return ids, columns >= lengths, columns.where(columns < lengths, 0)


def pad_by_zero_ids(prompts):
    ids, _, positions = padded(prompts)
    return ids, ids == 0, positions


def pad_by_zero_positions(prompts):
    ids, _, positions = padded(prompts)
    return ids, positions == 0, positions


def pad_mask_of_tokens(prompts):
    ids, padding, positions = padded(prompts)
    return ids, ~padding, positions


def pad_columns(prompts):
    ids, padding, _ = padded(prompts)
    return ids, padding, torch.arange(ids.shape[1]).expand_as(ids)


def pad_columns_zeroed(prompts):
    ids, padding, _ = padded(prompts)
    return ids, padding, torch.arange(ids.shape[1]).expand_as(ids).where(~padding, 0)


def pad_negative(prompts):
    ids, padding, positions = padded(prompts)
    missing = padding.sum(1, keepdim=True)
    return ids, padding, torch.arange(ids.shape[1]) - missing


def pad_from_one(prompts):
    ids, padding, positions = padded(prompts)
    return ids, padding, (~padding).cumsum(1)


def pad_in_place(prompts):
    width = max(map(len, prompts))
    gaps = [width - len(p) for p in prompts]
    for prompt, gap in zip(prompts, gaps, strict=True):
        prompt[:0] = [0] * gap
    ids = torch.tensor(prompts)
    positions = torch.arange(width) - torch.tensor(gaps)[:, None]
    return ids, positions < 0, positions.clamp(min=0)


def pad_by_minus_one(prompts):
    return padded(prompts, fill=-1)


def pad_cut(prompts):
    width = min(map(len, prompts))
    return padded([list(p)[-width:] for p in prompts])


def pad_two(prompts):
    return padded(prompts)[:2]


def pad_other_order(prompts):
    ids, padding, positions = padded(prompts)
    return ids, positions, padding


def pad_turned(prompts):
    ids, padding, positions = padded([list(p)[::-1] for p in prompts])
    return ids, padding, positions


def pad_one_wider(prompts):
    ids, padding, positions = padded(prompts)
    return (
        torch.nn.functional.pad(ids, (1, 0)),
        torch.nn.functional.pad(padding, (1, 0), value=True),
        torch.nn.functional.pad(positions, (1, 0)),
    )


LEFT_PAD = Answers(
    right=[pad_by_torch, pad_by_lists, LeftPad()],
    wrong=[
        Slip(
            pad_right,
            "padded on the right",
            r"right|front|left|behind|same column|end in",
            r"positions (are|count)|exchang",
        ),
        Slip(
            pad_by_zero_ids,
            "padding wherever the id is 0",
            r"\b0\b.*(itself|real|token)|id may|id 0|id is 0|ids? of 0",
            r"right|positions count",
        ),
        Slip(
            pad_by_zero_positions,
            "the first token is padding as well",
            r"first|position",
            r"right side|end in the same",
        ),
        Slip(
            pad_mask_of_tokens,
            "True where there is a token",
            r"True|invert|wrong way|opposite|other way|exchang",
            r"position|right side|end in the same",
        ),
        Slip(
            pad_columns,
            "positions are the columns",
            r"position|column",
            r"right side|end in the same|padding is",
        ),
        Slip(
            pad_columns_zeroed,
            "positions are the columns, 0 in the padding",
            r"position|column",
            r"right side|end in the same|padding is",
        ),
        Slip(
            pad_negative,
            "negative positions in the padding",
            r"negative|below 0|less than 0|-\d",
            r"right side|end in the same|columns of",
        ),
        Slip(
            pad_from_one,
            "positions from 1",
            r"\b1\b|from 0",
            r"right side|end in the same|columns of|negative",
        ),
        Slip(
            pad_in_place,
            "prompts are filled in place",
            r"argument|chang|in place",
            r"position|right side",
        ),
        Slip(
            pad_by_minus_one,
            "ids of -1 in the padding",
            r"-1|\b0\b",
            r"position|right side|end in the same",
        ),
        Slip(
            pad_cut,
            "cut to the shortest prompt",
            r"shortest|longest|cut|shape|width|column",
            r"positions|right side",
        ),
        Slip(
            pad_two, "positions are left out", r"three|3|positions", r"right side|end in the same"
        ),
        Slip(
            pad_other_order,
            "positions before padding",
            r"order|exchang|swap|second|third|padding",
            r"right side|end in the same",
        ),
        Slip(
            pad_turned,
            "prompts are turned round",
            r"order|turned|revers|backward",
            r"position|right side",
        ),
        Slip(
            pad_one_wider,
            "a column too many",
            r"shape|wide|column|longest",
            r"positions|right side",
        ),
    ],
)

# --- admit_requests ---


class Doorman:
    def __call__(self, waiting, clock, free_rows, free_tokens):
        used = list(itertools.accumulate(need for _, need in waiting))
        for k, ((arrival, _), total) in enumerate(zip(waiting, used, strict=True)):
            if arrival > clock or total > free_tokens or k >= free_rows:
                return k
        return len(waiting)


def admit_recursively(waiting, clock, free_rows, free_tokens):
    if not waiting or free_rows == 0:
        return 0
    (arrival, need), *others = waiting
    if arrival > clock or need > free_tokens:
        return 0
    return 1 + admit_recursively(others, clock, free_rows - 1, free_tokens - need)


def admit_by_takewhile(waiting, clock, free_rows, free_tokens):
    there = list(itertools.takewhile(lambda request: request[0] <= clock, waiting))[:free_rows]
    ends = list(itertools.accumulate(need for _, need in there))
    return bisect.bisect_right(ends, free_tokens)


def admit(waiting, clock, free_rows, free_tokens, late=False, full=False):
    admitted = 0
    for arrival, need in waiting:
        if (
            arrival > clock
            or (late and arrival == clock)
            or admitted == free_rows
            or need > free_tokens
            or (full and need == free_tokens)
        ):
            break
        admitted, free_tokens = admitted + 1, free_tokens - need
    return admitted


def admit_overtaking(waiting, clock, free_rows, free_tokens):
    admitted = 0
    for arrival, need in waiting:
        if arrival <= clock and admitted < free_rows and need <= free_tokens:
            admitted, free_tokens = admitted + 1, free_tokens - need
    return admitted


def admit_of_those_here(waiting, clock, free_rows, free_tokens):
    there = [request for request in waiting if request[0] <= clock]
    return admit(there, clock, free_rows, free_tokens)


def admit_tokens_not_taken(waiting, clock, free_rows, free_tokens):
    admitted = 0
    for arrival, need in waiting:
        if arrival > clock or admitted == free_rows or need > free_tokens:
            break
        admitted += 1
    return admitted


def admit_rows_unchecked(waiting, clock, free_rows, free_tokens):
    return admit(waiting, clock, len(waiting), free_tokens)


def admit_one_row_more(waiting, clock, free_rows, free_tokens):
    return admit(waiting, clock, free_rows + 1, free_tokens)


def admit_clock_unchecked(waiting, clock, free_rows, free_tokens):
    return admit([(clock, need) for _, need in waiting], clock, free_rows, free_tokens)


def admit_tokens_unchecked(waiting, clock, free_rows, free_tokens):
    return admit([(arrival, 0) for arrival, _ in waiting], clock, free_rows, 1)


def admit_shortest_first(waiting, clock, free_rows, free_tokens):
    return admit(sorted(waiting, key=lambda r: r[1]), clock, free_rows, free_tokens)


def admit_pops(waiting, clock, free_rows, free_tokens):
    admitted = 0
    while waiting and admitted < free_rows:
        arrival, need = waiting[0]
        if arrival > clock or need > free_tokens:
            break
        waiting.pop(0)
        admitted, free_tokens = admitted + 1, free_tokens - need
    return admitted


def admit_list(waiting, clock, free_rows, free_tokens):
    return list(waiting[: admit(waiting, clock, free_rows, free_tokens)])


def admit_index_of_last(waiting, clock, free_rows, free_tokens):
    return admit(waiting, clock, free_rows, free_tokens) - 1


def admit_nothing_when_all_fit(waiting, clock, free_rows, free_tokens):
    for k, (arrival, need) in enumerate(waiting):
        if arrival > clock or k == free_rows or need > free_tokens:
            return k
        free_tokens -= need


def admit_fails_when_empty(waiting, clock, free_rows, free_tokens):
    k = 0
    while waiting[k][0] <= clock and k < free_rows and waiting[k][1] <= free_tokens:
        free_tokens -= waiting[k][1]
        k += 1
    return k


def admit_tokens_per_row(waiting, clock, free_rows, free_tokens):
    room = free_tokens // max(1, free_rows)
    return admit([(a, 0 if n <= room else room + 1) for a, n in waiting], clock, free_rows, room)


def admit_counts_before_the_test(waiting, clock, free_rows, free_tokens):
    admitted = 0
    for arrival, need in waiting:
        if arrival > clock or admitted == free_rows:
            break
        admitted, free_tokens = admitted + 1, free_tokens - need
        if free_tokens < 0:
            break
    return admitted


ADMIT_REQUESTS = Answers(
    right=[Doorman(), admit_recursively, admit_by_takewhile, admit_of_those_here],
    wrong=[
        Slip(
            admit_overtaking,
            "a small request overtakes",
            r"overtak|first come|wait|stop",
            r"row is|arrival at",
        ),
        Slip(
            admit_tokens_not_taken,
            "tokens of those before are not taken away",
            r"before|taken|left|away|tokens|together",
            r"overtak|arriv",
        ),
        Slip(admit_rows_unchecked, "more than the free rows", r"row", r"overtak|arriv"),
        Slip(admit_one_row_more, "one row too many", r"row", r"overtak|arriv"),
        Slip(
            admit_clock_unchecked,
            "arrivals are not looked at",
            r"arriv|clock",
            r"overtak|tokens|row",
        ),
        Slip(
            admit_tokens_unchecked, "tokens are not looked at", r"token|fit", r"overtak|arriv|row"
        ),
        Slip(
            lambda *given: admit(*given, late=True),
            "an arrival at the clock must wait",
            r"at most|clock|arriv|just now|equal",
            r"overtak|tokens|row",
        ),
        Slip(
            lambda *given: admit(*given, full=True),
            "a request that fits exactly must wait",
            r"exact|just|last|equal|fit",
            r"overtak|arriv|row",
        ),
        Slip(
            admit_shortest_first,
            "the shortest go first",
            r"overtak|first come|sort|order|short",
            r"arriv|row is",
        ),
        Slip(
            admit_pops, "the queue is emptied", r"argument|chang|in place", r"overtak|arriv|tokens"
        ),
        Slip(
            admit_list,
            "the requests instead of their number",
            r"number|how many|count|list",
            r"overtak|arriv",
        ),
        Slip(
            admit_index_of_last,
            "the index of the last one",
            r"how many|number|one (less|short|few|more)|index|count|-1",
            r"overtak|arriv",
        ),
        Slip(
            admit_nothing_when_all_fit,
            "None if the loop comes to its end",
            r"None|return|all|whole queue",
            r"overtak|arriv",
        ),
        Slip(
            admit_fails_when_empty,
            "IndexError if everybody joins",
            r"IndexError|end of|empty|range",
            r"overtak|arriv",
        ),
        Slip(
            admit_tokens_per_row,
            "tokens are shared out among rows",
            r"token|left|fit|before",
            r"overtak|arriv",
        ),
        Slip(
            admit_counts_before_the_test,
            "the one that does not fit is counted",
            r"fit|token|before|one too many",
            r"overtak|arriv",
        ),
    ],
)

# --- accept_or_resample ---


def token_by_loop(p, q, drafted, accept_point, resample_point):
    p, q = p.double().tolist(), q.double().tolist()
    if accept_point < p[drafted] / q[drafted]:
        return drafted
    weights = [max(0.0, a - b) for a, b in zip(p, q, strict=True)]
    point = resample_point * sum(weights)
    for token, weight in enumerate(weights):
        if point < weight:
            return token
        point -= weight
    return max(token for token, weight in enumerate(weights) if weight)


def token_by_search(p, q, drafted, accept_point, resample_point):
    if accept_point * q[drafted] < p[drafted]:
        return drafted
    line = torch.relu(p.double() - q.double()).cumsum(0)
    return torch.searchsorted(line, resample_point * line[-1].item(), right=True)


class Judge:
    def __call__(self, p, q, drafted, accept_point, resample_point):
        p, q = np.asarray(p, dtype=np.float64), np.asarray(q, dtype=np.float64)
        if min(1.0, p[drafted] / q[drafted]) > accept_point:
            return drafted
        ends = np.cumsum(np.maximum(p - q, 0))
        return np.count_nonzero(ends <= resample_point * ends[-1])


def keeps(p, q, drafted, accept_point):
    return accept_point < p[drafted] / q[drafted]


def lay(weights, point, scale=True):
    line = weights.cumsum(0)
    return int((line <= point * (line[-1] if scale else 1.0)).sum())


def token_from_p(p, q, drafted, accept_point, resample_point):
    return drafted if keeps(p, q, drafted, accept_point) else lay(p, resample_point)


def token_unscaled(p, q, drafted, accept_point, resample_point):
    if keeps(p, q, drafted, accept_point):
        return drafted
    return min(lay((p - q).clamp(min=0), resample_point, scale=False), len(p) - 1)


def token_from_q_less_p(p, q, drafted, accept_point, resample_point):
    if keeps(p, q, drafted, accept_point):
        return drafted
    return lay((q - p).clamp(min=0), resample_point)


def token_from_sizes(p, q, drafted, accept_point, resample_point):
    return drafted if keeps(p, q, drafted, accept_point) else lay((p - q).abs(), resample_point)


def token_not_clamped(p, q, drafted, accept_point, resample_point):
    return drafted if keeps(p, q, drafted, accept_point) else lay(p - q, resample_point)


def token_most_missing(p, q, drafted, accept_point, resample_point):
    return drafted if keeps(p, q, drafted, accept_point) else int((p - q).argmax())


def token_q_over_p(p, q, drafted, accept_point, resample_point):
    if accept_point < q[drafted] / p[drafted]:
        return drafted
    return lay((p - q).clamp(min=0), resample_point)


def token_by_p_alone(p, q, drafted, accept_point, resample_point):
    if accept_point < p[drafted]:
        return drafted
    return lay((p - q).clamp(min=0), resample_point)


def token_points_swapped(p, q, drafted, accept_point, resample_point):
    if resample_point < p[drafted] / q[drafted]:
        return drafted
    return lay((p - q).clamp(min=0), accept_point)


def token_one_point(p, q, drafted, accept_point, resample_point):
    if accept_point < p[drafted] / q[drafted]:
        return drafted
    return lay((p - q).clamp(min=0), accept_point)


def token_refused_below(p, q, drafted, accept_point, resample_point):
    if accept_point >= p[drafted] / q[drafted]:
        return drafted
    return lay((p - q).clamp(min=0), resample_point)


def token_greedy(p, q, drafted, accept_point, resample_point):
    if p[drafted] >= q[drafted]:
        return drafted
    return lay((p - q).clamp(min=0), resample_point)


def token_one_too_far(p, q, drafted, accept_point, resample_point):
    if keeps(p, q, drafted, accept_point):
        return drafted
    return min(lay((p - q).clamp(min=0), resample_point) + 1, len(p) - 1)


def token_before_the_point(p, q, drafted, accept_point, resample_point):
    if keeps(p, q, drafted, accept_point):
        return drafted
    line = (p - q).clamp(min=0).cumsum(0)
    return int((line < resample_point * line[-1]).sum())


def token_at_random(p, q, drafted, accept_point, resample_point):
    if keeps(p, q, drafted, accept_point):
        return drafted
    return int(torch.multinomial((p - q).clamp(min=0), 1))


def token_among_the_missing(p, q, drafted, accept_point, resample_point):
    if keeps(p, q, drafted, accept_point):
        return drafted
    weights = (p - q).clamp(min=0)
    weights = weights[weights > 0]
    return lay(weights, resample_point)


def token_kept_at_equality(p, q, drafted, accept_point, resample_point):
    if accept_point <= p[drafted] / q[drafted]:
        return drafted
    return lay((p - q).clamp(min=0), resample_point)


def token_probability(p, q, drafted, accept_point, resample_point):
    token = token_by_loop(p, q, drafted, accept_point, resample_point)
    return float(p[token])


def token_in_place(p, q, drafted, accept_point, resample_point):
    if keeps(p, q, drafted, accept_point):
        return drafted
    p.sub_(q).clamp_(min=0)
    return lay(p, resample_point)


ACCEPT_OR_RESAMPLE = Answers(
    right=[token_by_loop, token_by_search, Judge()],
    wrong=[
        Slip(
            token_from_p,
            "a refused token is drawn from p",
            r"from p\b|p - q|p itself|missing|too seldom|positive part",
            r"kept|in place",
        ),
        Slip(
            token_unscaled,
            "the point is not scaled by the length",
            r"scal|whole length|length|sum",
            r"kept|in place|from p\b",
        ),
        Slip(
            token_from_q_less_p,
            "drawn from q - p",
            r"q - p|p - q|exchang|other way|swap|wrong way|too often",
            r"kept|in place|from p\b",
        ),
        Slip(
            token_from_sizes,
            "drawn from |p - q|",
            r"absolut|\|p|abs|positive|negative|max\(0|sign",
            r"kept|in place|from p\b|q - p\b",
        ),
        Slip(
            token_not_clamped,
            "negative weights stay",
            r"negative|clamp|max\(0|positive|below 0",
            r"kept|in place|from p\b|q - p\b",
        ),
        Slip(
            token_most_missing,
            "always the token that misses most",
            r"largest|most|argmax|always|point",
            r"kept|in place|from p\b|q - p\b",
        ),
        Slip(
            token_q_over_p,
            "kept below q/p",
            r"q ?/ ?p|p ?/ ?q|upside|exchang|swap|kept|keep",
            r"in place|from p\b|q - p\b",
        ),
        Slip(
            token_by_p_alone,
            "kept below p",
            r"p ?/ ?q|divid|\bp alone|p itself|kept|keep",
            r"in place|from p\b|q - p\b",
        ),
        Slip(
            token_points_swapped,
            "the two points are exchanged",
            r"exchang|swap|points|accept_point|kept|keep",
            r"in place|from p\b|q - p\b",
        ),
        Slip(
            token_one_point,
            "the accept point is used for both",
            r"resample_point|second|both|again|accept_point",
            r"in place|from p\b|q - p\b|kept",
        ),
        Slip(
            token_refused_below,
            "refused where it should be kept",
            r"kept|keep|refus|below|wrong way|other way",
            r"in place|from p\b|q - p\b",
        ),
        Slip(
            token_greedy,
            "kept only where p is at least q",
            r"kept|keep|accept_point|chance|refus|p ?/ ?q",
            r"in place|from p\b|q - p\b",
        ),
        Slip(
            token_one_too_far,
            "one token too far",
            r"one (too|token)|next|after|stretch|index|off by",
            r"in place|from p\b|q - p\b|kept",
        ),
        Slip(
            token_before_the_point,
            "a point at the end of a stretch belongs to that stretch",
            r"end|at or before|\b0\b|<=|edge|weight 0|no weight|at most",
            r"in place|from p\b|q - p\b|kept",
        ),
        Slip(
            token_at_random,
            "the point is not used, it draws by itself",
            r"resample_point|random|multinomial|point",
            r"in place|from p\b|q - p\b|kept",
        ),
        Slip(
            token_among_the_missing,
            "counted among the missing tokens alone",
            r"index|all tokens|order|weight 0|number|count|weightless|left out|none",
            r"in place|from p\b|q - p\b|kept",
        ),
        Slip(
            token_kept_at_equality,
            "kept where the point equals p/q",
            r"equal|below|exact|<|p is 0|probability 0|\b0\b",
            r"in place|from p\b|q - p\b",
        ),
        Slip(
            token_probability,
            "the token's probability",
            r"token|whole|int|index|probabilit",
            r"in place|from p\b|q - p\b|kept",
        ),
        Slip(
            token_in_place,
            "p is changed in place",
            r"argument|chang|in place",
            r"from p\b|q - p\b|kept",
        ),
    ],
)

# --- quantize_row ---


def quantize_in_numpy(row, bits, group_size):
    groups = np.asarray(row, dtype=np.float64).reshape(-1, group_size)
    scales = np.abs(groups).max(axis=1) / (2 ** (bits - 1) - 1)
    safe = np.where(scales == 0, 1.0, scales)
    return np.rint(groups / safe[:, None]).astype(np.int8).ravel(), scales


def quantize_by_loop(row, bits, group_size):
    limit, codes, scales = (1 << (bits - 1)) - 1, [], []
    for start in range(0, len(row), group_size):
        group = row[start : start + group_size].tolist()
        scale = max(map(abs, group)) / limit
        scales.append(scale)
        codes += [round(weight / scale) if scale else 0 for weight in group]
    return codes, scales


class Quantize:
    def __call__(self, row, bits, group_size):
        pairs = [self.group(group, bits) for group in row.split(group_size)]
        return torch.cat([codes for codes, _ in pairs]), torch.stack([s for _, s in pairs])

    def group(self, group, bits):
        scale = torch.linalg.vector_norm(group, torch.inf) / (2 ** (bits - 1) - 1)
        return (group / scale).nan_to_num(0.0).round().int(), scale


def quantize(row, bits, group_size, limit=None, rounded=torch.round, axis=1):
    groups = row.reshape(-1, group_size) if axis else row.reshape(group_size, -1).T
    scales = groups.abs().amax(1) / (limit or 2 ** (bits - 1) - 1)
    codes = rounded(groups / scales.where(scales != 0, 1.0)[:, None])
    return (codes if axis else codes.T).flatten(), scales


def quantize_zeros_to_nan(row, bits, group_size):
    groups = row.reshape(-1, group_size)
    scales = groups.abs().amax(1) / (2 ** (bits - 1) - 1)
    return (groups / scales[:, None]).round().flatten(), scales


def quantize_zeros_to_one(row, bits, group_size):
    codes, scales = quantize(row, bits, group_size)
    return codes, scales.where(scales != 0, 1.0)


def quantize_signed_maximum(row, bits, group_size):
    groups = row.reshape(-1, group_size)
    scales = groups.amax(1) / (2 ** (bits - 1) - 1)
    return (groups / scales.where(scales != 0, 1.0)[:, None]).round().flatten(), scales


def quantize_one_scale(row, bits, group_size):
    scale = row.abs().max() / (2 ** (bits - 1) - 1)
    codes = (row / scale.where(scale != 0, 1.0)).round()
    return codes, scale.expand(len(row) // group_size)


def quantize_wrong_axis(row, bits, group_size):
    return quantize(row, bits, group_size, axis=0)


def quantize_groups_counted(row, bits, group_size):
    return quantize(row, bits, len(row) // group_size)


def quantize_axis_of_the_maximum(row, bits, group_size):
    groups = row.reshape(-1, group_size)
    scales = groups.abs().amax(0) / (2 ** (bits - 1) - 1)
    return (groups / scales.where(scales != 0, 1.0)).round().flatten(), scales


def quantize_to_groups(row, bits, group_size):
    codes, scales = quantize(row, bits, group_size)
    return codes.reshape(-1, group_size), scales


def quantize_inverse_scales(row, bits, group_size):
    codes, scales = quantize(row, bits, group_size)
    return codes, torch.where(scales == 0, 0.0, 1 / scales)


def quantize_largest_as_scale(row, bits, group_size):
    codes, scales = quantize(row, bits, group_size)
    return codes, scales * (2 ** (bits - 1) - 1)


def quantize_weights_back(row, bits, group_size):
    codes, scales = quantize(row, bits, group_size)
    return (codes.reshape(-1, group_size) * scales[:, None]).flatten(), scales


def quantize_order_swapped(row, bits, group_size):
    return quantize(row, bits, group_size)[::-1]


def quantize_between_extremes(row, bits, group_size):
    groups = row.reshape(-1, group_size)
    low, high = groups.amin(1), groups.amax(1)
    scales = (high - low) / (2**bits - 1)
    codes = ((groups - low[:, None]) / scales.where(scales != 0, 1.0)[:, None]).round()
    return codes.flatten(), scales


def quantize_in_place(row, bits, group_size):
    groups = row.view(-1, group_size)
    scales = groups.abs().amax(1) / (2 ** (bits - 1) - 1)
    groups /= scales.where(scales != 0, 1.0)[:, None]
    return row.round(), scales


def quantize_half_up(row, bits, group_size):
    return quantize(row, bits, group_size, rounded=lambda x: (x + 0.5).floor())


def quantize_with_eps(row, bits, group_size):
    groups = row.reshape(-1, group_size)
    scales = groups.abs().amax(1) / (2 ** (bits - 1) - 1) + 1e-2
    return (groups / scales[:, None]).round().flatten(), scales


QUANTIZE_ROW = Answers(
    right=[quantize_in_numpy, quantize_by_loop, Quantize(), quantize_half_up],
    wrong=[
        Slip(
            lambda row, bits, size: quantize(row, bits, size, limit=2 ** (bits - 1)),
            "the largest code is 2^(bits - 1)",
            r"largest code|- 1|limit|one too (large|many)|\b8\b",
            r"axis|in place|trunc|nan",
        ),
        Slip(
            lambda row, bits, size: quantize(row, bits, size, limit=2**bits - 1),
            "the largest code is 2^bits - 1",
            r"largest code|sign|bits - 1|\b15\b|limit",
            r"axis|in place|trunc|nan",
        ),
        Slip(
            lambda row, bits, size: quantize(row, bits, size, limit=127),
            "always 8 bits",
            r"bits|127|largest code",
            r"axis|in place|trunc|nan",
        ),
        Slip(
            lambda row, bits, size: quantize(row, bits, size, rounded=torch.trunc),
            "cut off, not rounded",
            r"nearest|cut|trunc|round",
            r"axis|in place|largest code|nan",
        ),
        Slip(
            lambda row, bits, size: quantize(row, bits, size, rounded=torch.floor),
            "floored, not rounded",
            r"nearest|floor|round|trunc",
            r"axis|in place|largest code|nan",
        ),
        Slip(
            lambda row, bits, size: quantize(row, bits, size, rounded=lambda x: x),
            "not rounded at all",
            r"round|whole|nearest",
            r"axis|in place|largest code|nan",
        ),
        Slip(
            quantize_zeros_to_nan,
            "0 / 0 in a group of zeros",
            r"nan|zeros|0 ?/ ?0|\b0\b",
            r"axis|in place|largest code",
        ),
        Slip(
            quantize_zeros_to_one,
            "a group of zeros has scale 1",
            r"zeros|scale",
            r"axis|in place|largest code|nan",
        ),
        Slip(
            quantize_signed_maximum,
            "the largest number, signs not dropped",
            r"absolut|size|sign|negative|abs",
            r"axis|in place|largest code|nan",
        ),
        Slip(
            quantize_one_scale,
            "one scale for the row",
            r"one scale|each group|its own|own scale|whole row|group",
            r"in place|largest code|nan|neighbours of",
        ),
        Slip(
            quantize_wrong_axis,
            "every so-manieth weight is a group",
            r"neighbour|apart|every|reshape|axis|stride",
            r"in place|largest code|nan",
        ),
        Slip(
            quantize_groups_counted,
            "group_size taken for the number of groups",
            r"number of groups|group_size|shape|how many|scales",
            r"in place|largest code|nan",
        ),
        Slip(
            quantize_axis_of_the_maximum,
            "the largest over groups, not within",
            r"axis|neighbour|within|shape|scales|amax|group",
            r"in place|largest code|nan",
        ),
        Slip(
            quantize_to_groups,
            "codes come as a table",
            r"shape|flat|row",
            r"in place|largest code|nan",
        ),
        Slip(
            quantize_inverse_scales,
            "scales upside down",
            r"upside|inverse|1 / |over that|scale",
            r"in place|nan|axis",
        ),
        Slip(
            quantize_largest_as_scale,
            "the largest size is returned as scale",
            r"scale|divid|over",
            r"in place|nan|axis",
        ),
        Slip(
            quantize_weights_back,
            "weights come back instead of codes",
            r"code|back|whole|times",
            r"in place|nan|axis",
        ),
        Slip(
            quantize_order_swapped,
            "scales before codes",
            r"order|first|exchang|swap|shape|codes",
            r"in place|nan|axis",
        ),
        Slip(
            quantize_between_extremes,
            "codes from the smallest to the largest weight",
            r"smallest|minim|zero point|0 (is|to|stays)|sign|extreme|negative|largest size|range",
            r"in place|nan|axis",
        ),
        Slip(
            quantize_in_place,
            "the row is divided in place",
            r"argument|chang|in place",
            r"nan|axis|largest code",
        ),
        Slip(
            quantize_with_eps,
            "something is added to the scale",
            r"add|eps|scale",
            r"in place|nan|axis",
        ),
    ],
)

ANSWERS = {
    "decode_bound": DECODE_BOUND,
    "cache_bytes": CACHE_BYTES,
    "left_pad": LEFT_PAD,
    "admit_requests": ADMIT_REQUESTS,
    "accept_or_resample": ACCEPT_OR_RESAMPLE,
    "quantize_row": QUANTIZE_ROW,
}
