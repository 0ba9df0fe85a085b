"""Answers to the exercises of lesson 04, from their statements alone."""

import math

import torch
import torch.nn.functional as F

from tests.lab.checks.answers.table import Answers, Slip


def one_hot_by_scatter(ids, V):
    return torch.zeros(len(ids), V).scatter_(1, ids[:, None], 1.0)


def one_hot_by_lists(ids, V):
    rows = [[float(i == j) for j in range(V)] for i in ids.tolist()]
    return torch.tensor(rows).reshape(len(ids), V)


class OneHotOfEye:
    def __call__(self, ids, V):
        return torch.eye(V, dtype=torch.float64)[ids]


def one_hot_transposed(ids, V):
    return (torch.arange(V)[:, None] == ids).float()


def one_hot_of_truths(ids, V):
    return ids[:, None] == torch.arange(V)


def one_hot_up_to_largest(ids, V):
    width = max(ids.tolist(), default=V - 1) + 1
    return (ids[:, None] == torch.arange(width)).float()


def one_hot_counted_from_one(ids, V):
    return (ids[:, None] == torch.arange(1, V + 1)).float()


def one_hot_needs_tokens(ids, V):
    return torch.tensor([[float(i == j) for j in range(V)] for i in ids.tolist()])


def one_hot_all_columns(ids, V):
    table = torch.zeros(len(ids), V)
    table[:, ids] = 1
    return table


def one_hot_first_place(ids, V):
    table, places = torch.zeros(len(ids), V), ids.tolist()
    for i in set(places):
        table[places.index(i), i] = 1
    return table


def one_hot_holds_ids(ids, V):
    table = torch.zeros(len(ids), V)
    for t, i in enumerate(ids):
        table[t, i] = i
    return table


def backward_by_autograd(ids, upstream, V):
    table = torch.zeros(V, upstream.shape[1], dtype=upstream.dtype, requires_grad=True)
    table[ids].backward(upstream)
    return table.grad


def backward_by_lists(ids, upstream, V):
    rows = [[0.0] * upstream.shape[1] for _ in range(V)]
    for i, came_back in zip(ids.tolist(), upstream.tolist(), strict=True):
        rows[i] = [a + b for a, b in zip(rows[i], came_back, strict=True)]
    return torch.tensor(rows)


def backward_by_put(ids, upstream, V):
    gradient = torch.zeros(V, upstream.shape[1], dtype=torch.float64)
    return gradient.index_put_((ids,), upstream.double(), accumulate=True)


def backward_last_wins(ids, upstream, V):
    gradient = torch.zeros(V, upstream.shape[1])
    gradient[ids] += upstream
    return gradient


def backward_of_means(ids, upstream, V):
    counts = torch.bincount(ids, minlength=V).clamp(min=1)[:, None]
    return backward_by_put(ids, upstream, V).float() / counts


def backward_transposed(ids, upstream, V):
    return upstream.T @ F.one_hot(ids, V).to(upstream.dtype)


def backward_up_to_largest(ids, upstream, V):
    return backward_by_put(ids, upstream, int(ids.max()) + 1).float()


def backward_of_counts(ids, upstream, V):
    counts = torch.bincount(ids, minlength=V).float()
    return counts[:, None].repeat(1, upstream.shape[1])


def backward_without_last(ids, upstream, V):
    gradient = torch.zeros(V, upstream.shape[1])
    for t in range(len(ids) - 1):
        gradient[ids[t]] += upstream[t]
    return gradient


def backward_sums_neighbours(ids, upstream, V):
    gradient, before = torch.zeros(V, upstream.shape[1]), None
    for i, came_back in zip(ids.tolist(), upstream, strict=True):
        gradient[i] = gradient[i] + came_back if i == before else came_back
        before = i
    return gradient


def backward_in_whole_numbers(ids, upstream, V):
    gradient = torch.zeros((V, upstream.shape[1]), dtype=ids.dtype)
    for i, came_back in zip(ids, upstream, strict=True):
        gradient[i] = gradient[i] + came_back
    return gradient


def backward_downhill(ids, upstream, V):
    return -backward_by_put(ids, upstream, V).float()


def nearest_sorted_list(table, i, k):
    rows = table.tolist()

    def cosine(j):
        dot = sum(a * b for a, b in zip(rows[i], rows[j], strict=True))
        return dot / math.hypot(*rows[i]) / math.hypot(*rows[j])

    return sorted((j for j in range(len(rows)) if j != i), key=cosine, reverse=True)[:k]


def nearest_by_argsort(table, i, k):
    cosines = F.cosine_similarity(table.double(), table[i].double(), dim=-1)
    order = cosines.argsort(descending=True)
    return order[order != i][:k]


def nearest_by_einsum(table, i, k):
    directions = torch.einsum("nc,n->nc", table, 1 / table.norm(dim=1))
    cosines = torch.einsum("nc,c->n", directions, directions[i])
    cosines[i] = -math.inf
    return cosines.topk(k).indices


def cosines_to(table, i):
    directions = table / table.norm(dim=1, keepdim=True)
    return (directions * directions[i]).sum(1)


def nearest_with_itself(table, i, k):
    return cosines_to(table, i).topk(k).indices


def nearest_by_dot(table, i, k):
    products = table @ table[i]
    products[i] = -math.inf
    return products.topk(k).indices


def nearest_drops_first(table, i, k):
    return cosines_to(table, i).argsort(descending=True, stable=True)[1 : k + 1]


def nearest_own_is_zero(table, i, k):
    cosines = cosines_to(table, i)
    cosines[i] = 0
    return cosines.topk(k).indices


def nearest_changes_table(table, i, k):
    table /= table.norm(dim=1, keepdim=True)
    cosines = table @ table[i]
    cosines[i] = -2
    return cosines.topk(k).indices


def nearest_last(table, i, k):
    return nearest_by_einsum(table, i, k).flip(0)


def nearest_without_equals(table, i, k):
    cosines = cosines_to(table, i)
    cosines[cosines > 0.99999] = -2
    return cosines.topk(k).indices


def nearest_renumbered(table, i, k):
    others = torch.cat([table[:i], table[i + 1 :]])
    return F.cosine_similarity(others, table[i], dim=-1).topk(k).indices


def nearest_by_columns(table, i, k):
    directions = table / table.norm(dim=0)
    cosines = directions @ directions[i]
    cosines[i] = -math.inf
    return cosines.topk(k).indices


def nearest_or_opposite(table, i, k):
    cosines = cosines_to(table, i).abs()
    cosines[i] = -1
    return cosines.topk(k).indices


def angles_of(T, D, base, first=0, exponent=-2.0):
    frequencies = base ** (exponent * torch.arange(D // 2, dtype=torch.float64) / D)
    return (first + torch.arange(T, dtype=torch.float64))[:, None] * frequencies


def turned(x, angles):
    first, second = x.chunk(2, dim=-1)
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    return torch.cat([first * cos - second * sin, first * sin + second * cos], -1)


def rotary_complex(x, base):
    first, second = x.double().chunk(2, dim=-1)
    turns = torch.exp(1j * angles_of(*x.shape, base))
    arrows = torch.complex(first, second) * turns
    return torch.cat([arrows.real, arrows.imag], -1)


def rotary_loops(x, base):
    out, half = torch.empty_like(x), x.shape[1] // 2
    for t, row in enumerate(x.tolist()):
        for i, (a, b) in enumerate(zip(row[:half], row[half:], strict=True)):
            angle = t * base ** (-i / half)
            out[t, i] = a * math.cos(angle) - b * math.sin(angle)
            out[t, i + half] = a * math.sin(angle) + b * math.cos(angle)
    return out


def rotary_matrices(x, base):
    angles = angles_of(*x.shape, base)
    rows = [angles.cos(), -angles.sin(), angles.sin(), angles.cos()]
    matrices = torch.stack(rows, -1).unflatten(-1, (2, 2)).to(x.dtype)
    return torch.einsum("tprm,tmp->trp", matrices, x.unflatten(1, (2, -1))).flatten(1)


def rotary_interleaved(x, base):
    angles = angles_of(*x.shape, base).to(x.dtype)
    even, odd, cos, sin = x[:, 0::2], x[:, 1::2], angles.cos(), angles.sin()
    return torch.stack([even * cos - odd * sin, even * sin + odd * cos], -1).flatten(1)


def rotary_backwards(x, base):
    return turned(x, -angles_of(*x.shape, base))


def rotary_from_one(x, base):
    return turned(x, angles_of(*x.shape, base, first=1))


def rotary_without_two(x, base):
    return turned(x, angles_of(*x.shape, base, exponent=-1.0))


def rotary_reads_the_new_x(x, base):
    angles = angles_of(*x.shape, base).to(x.dtype)
    first, second = x.chunk(2, dim=-1)
    first = first * angles.cos() - second * angles.sin()
    second = first * angles.sin() + second * angles.cos()
    return torch.cat([first, second], -1)


def rotary_in_place(x, base):
    x[:] = turned(x, angles_of(*x.shape, base))
    return x


def rotary_fixed_base(x, base):
    return turned(x, angles_of(*x.shape, 10_000.0))


def rotary_joined_in_turns(x, base):
    first, second = turned(x, angles_of(*x.shape, base)).chunk(2, dim=-1)
    return torch.stack([first, second], -1).flatten(1)


def rotary_growing(x, base):
    return turned(x, angles_of(*x.shape, base, exponent=2.0))


def halves_by_order(W, n_heads):
    D = len(W) // n_heads
    inside = [*range(0, D, 2), *range(1, D, 2)]
    return W[[head * D + i for head in range(n_heads) for i in inside]]


def halves_by_matrix(W, n_heads):
    D = len(W) // n_heads
    order = torch.cat([torch.arange(0, D, 2), torch.arange(1, D, 2)])
    return torch.block_diag(*[torch.eye(D)[order]] * n_heads).double() @ W.double()


def halves_by_generator(W, n_heads):
    return torch.cat([part for h in W.chunk(n_heads) for part in (h[0::2], h[1::2])])


def halves_across_heads(W, n_heads):
    return torch.cat([W[0::2], W[1::2]])


def halves_of_columns(W, n_heads):
    return torch.cat([W[:, 0::2], W[:, 1::2]], 1)


def halves_undone(W, n_heads):
    return W.unflatten(0, (n_heads, 2, -1)).transpose(1, 2).flatten(0, 2)


def halves_odd_first(W, n_heads):
    return torch.cat([torch.cat([h[1::2], h[0::2]]) for h in W.chunk(n_heads)])


def halves_of_chunks(W, n_heads):
    return torch.cat([torch.cat([h[0::2], h[1::2]]) for h in W.split(n_heads)])


def halves_of_swapped_heads(W, n_heads):
    return W.unflatten(0, (n_heads, -1, 2)).transpose(0, 2).flatten(0, 2)


def halves_not_joined(W, n_heads):
    return torch.stack([torch.cat([h[0::2], h[1::2]]) for h in W.chunk(n_heads)])


def halves_of_first_head(W, n_heads):
    D = len(W) // n_heads
    return torch.cat([W[0:D:2], W[1:D:2], W[D:]])


def halves_by_strides_of_heads(W, n_heads):
    heads = W.chunk(n_heads)
    return torch.cat([h[first::n_heads] for h in heads for first in range(n_heads)])


ANSWERS = {
    "one_hot": Answers(
        right=[one_hot_by_scatter, one_hot_by_lists, OneHotOfEye()],
        wrong=[
            Slip(one_hot_transposed, "rows and columns swapped", r"shape|transpos|swap"),
            Slip(one_hot_of_truths, "True and False, no floats", r"float|bool|true"),
            Slip(one_hot_up_to_largest, "as wide as the largest id", r"shape|\bV\b|column|wide"),
            Slip(
                one_hot_counted_from_one,
                "ids are counted from 1",
                r"column|from 0|from 1|one too|off by",
                r"sum|float|empty",
            ),
            Slip(
                one_hot_needs_tokens,
                "no columns without tokens",
                r"empty|without tokens|no tokens|0 tokens|\(0,",
                r"transpos|swap",
            ),
            Slip(
                one_hot_all_columns,
                "each row has the ones of all rows",
                r"each row|every row|more than one|single 1|one 1|ones|other|own",
                r"float|transpos",
            ),
            Slip(
                one_hot_first_place,
                "only the first of equal ids gets its 1",
                r"repeat|again|twice|equal ids|same id|without a 1|no 1|all zeros",
                r"float|transpos",
            ),
            Slip(
                one_hot_holds_ids,
                "the id stands where the 1 should",
                r"the id\b",
                r"transpos|repeat",
            ),
        ],
    ),
    "embedding_backward": Answers(
        right=[backward_by_autograd, backward_by_lists, backward_by_put],
        wrong=[
            Slip(
                backward_last_wins,
                "one gradient per row survives",
                r"sum|add|one gradient|repeat",
                r"mean|averag|transpos",
            ),
            Slip(
                backward_of_means,
                "mean instead of sum",
                r"mean|averag|not divid|sum",
                r"last one|overwr|keeps one|transpos",
            ),
            Slip(backward_transposed, "rows and columns swapped", r"shape|transpos|swap"),
            Slip(
                backward_up_to_largest,
                "rows up to the largest id only",
                r"shape|\bV\b rows|rows",
                r"transpos|swap|repeat",
            ),
            Slip(
                backward_of_counts,
                "counts readings and ignores upstream",
                r"upstream|count|gradients",
                r"mean|averag|transpos|overwr",
            ),
            Slip(
                backward_without_last,
                "the last position is left out",
                r"last|position|left out|missing",
                r"mean|averag|transpos|overwr",
            ),
            Slip(
                backward_sums_neighbours,
                "sums only neighbouring repeats",
                r"sum|add|repeat",
                r"mean|averag|transpos",
            ),
            Slip(
                backward_in_whole_numbers,
                "fractions are cut off",
                r"float|whole|int|fraction|round",
                r"mean\b|averag|transpos|overwr",
            ),
            Slip(
                backward_downhill,
                "has the opposite sign",
                r"sign|minus|negativ|opposite",
                r"mean\b|averag|transpos|overwr|repeat",
            ),
        ],
    ),
    "nearest": Answers(
        right=[nearest_sorted_list, nearest_by_argsort, nearest_by_einsum],
        wrong=[
            Slip(nearest_with_itself, "row i is its own nearest", r"itself|own|row i\b|row \d"),
            Slip(
                nearest_by_dot,
                "lengths count",
                r"length|cosine|dot product|divid",
                r"itself|order|equal",
            ),
            Slip(
                nearest_drops_first,
                "drops the first, taking it for row i",
                r"equal|same|twin|itself|own|first|copy",
                r"length|dot product|opposite",
            ),
            Slip(
                nearest_own_is_zero,
                "0 is not below every cosine",
                r"below|negative|itself|own|-1|−1|opposite",
                r"length|dot product|order",
            ),
            Slip(nearest_changes_table, "changes the table", r"chang|leave|in place|new tensor"),
            Slip(nearest_last, "nearest last", r"order|first|revers", r"length|itself|dot product"),
            Slip(
                nearest_without_equals,
                "leaves out rows equal to row i",
                r"equal|same|twin|copy|duplicate",
                r"length|dot product|order",
            ),
            Slip(
                nearest_renumbered,
                "rows after i have moved up",
                r"numbered|off by|one too|move up|shift|taken out",
                r"length|dot product|itself|own cosine",
            ),
            Slip(
                nearest_by_columns,
                "divides columns by their length",
                r"column|axis|each row",
                r"itself|order|equal",
            ),
            Slip(
                nearest_or_opposite,
                "takes opposite rows for near ones",
                r"opposite|negative|sign|abs",
                r"length|itself|order|dot product",
            ),
        ],
    ),
    "rotary": Answers(
        right=[rotary_complex, rotary_loops, rotary_matrices],
        wrong=[
            Slip(
                rotary_interleaved,
                "pairs neighbours",
                r"interleav|neighbour|pair|D/2|halves",
                r"sign|direction|exponent|base",
            ),
            Slip(
                rotary_backwards,
                "rotates the other way",
                r"sign|direction|other way|backward|clockwise|minus|opposite",
                r"interleav|neighbour|exponent|from 0",
            ),
            Slip(
                rotary_from_one,
                "positions from 1",
                r"position|from 0|row 0|first row",
                r"interleav|neighbour|exponent|sign|direction",
            ),
            Slip(
                rotary_without_two,
                "the exponent lacks its 2",
                r"exponent|frequenc|-2|−2|radians|base \*\*|slow|fast",
                r"interleav|neighbour|sign|direction|from 0",
            ),
            Slip(
                rotary_reads_the_new_x,
                "y is made from the rotated x",
                r"old|already|new x|rotated x|length|overwr|both formulas|keep",
                r"interleav|neighbour|exponent|from 0|frequenc",
            ),
            Slip(rotary_in_place, "changes its argument", r"chang|new tensor|leave|in place"),
            Slip(
                rotary_fixed_base,
                "ignores base",
                r"base",
                r"interleav|neighbour|sign|direction|from 0",
            ),
            Slip(
                rotary_joined_in_turns,
                "joins the numbers in turns",
                r"order|join|half|halves|cat|interleav|place",
                r"sign|direction|exponent|from 0",
            ),
            Slip(
                rotary_growing,
                "later pairs are faster",
                r"exponent|frequenc|-2|−2|minus|slow|fast|radians|sign",
                r"interleav|neighbour|from 0",
            ),
        ],
    ),
    "to_halves": Answers(
        right=[halves_by_order, halves_by_matrix, halves_by_generator],
        wrong=[
            Slip(
                halves_across_heads,
                "rows leave their heads",
                r"head",
                r"column|odd|nothing is moved",
            ),
            Slip(halves_of_columns, "orders columns", r"column|axis|the rows\b", r"odd|mixed"),
            Slip(
                halves_undone,
                "goes from halves to interleaved",
                r"other way|inverse|back|direction|wrong way|interleav|undo",
                r"columns|mixed|odd rows",
            ),
            Slip(halves_odd_first, "odd numbers first", r"odd|even|first", r"columns|mixed"),
            Slip(
                halves_of_chunks,
                "takes the number of heads for their width",
                r"\bheads?\b",
                r"column|odd|nothing is moved",
            ),
            Slip(
                halves_of_swapped_heads,
                "heads and members change places",
                r"head",
                r"column|odd|nothing is moved",
            ),
            Slip(halves_not_joined, "heads are not joined", r"shape|join|axes"),
            Slip(
                halves_of_first_head, "orders head 0 alone", r"head", r"column|odd|nothing is moved"
            ),
            Slip(
                halves_by_strides_of_heads,
                "steps by n_heads instead of 2",
                r"\bheads\b|step|\bpair|even|every",
                r"columns|nothing is moved",
            ),
        ],
    ),
}
