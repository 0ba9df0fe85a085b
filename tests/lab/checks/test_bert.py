"""The checkers of lesson 14 accept right answers and name typical slips."""

import torch
import torch.nn.functional as F

from course_lib.lab.checks import bert as check
from course_lib.lab.solutions import bert as solutions
from tests.lab.checks.cases import Case, tests_of


def skeleton_2(a, b): ...


def skeleton_5(a, b, c, d, e): ...


# Hiding
# --------------------------------------------------------------------------------------------------


def corrupt(ids, chosen, dice, others, mask, low=0.8, high=0.9, stay=False, only=True):
    out = ids.clone()
    where = chosen if only else torch.ones_like(chosen)
    out[where & (dice < low)] = mask
    if not stay:
        out[where & (dice >= high)] = others[where & (dice >= high)]
    return out


def corrupting(**change):
    return lambda *case: corrupt(*case, **change)


def corrupt_by_loop(ids, chosen, dice, others, mask):
    rows = []
    for i, row in enumerate(ids.tolist()):
        made = []
        for j, token in enumerate(row):
            if chosen[i, j] and dice[i, j] < 0.8:
                token = mask
            elif chosen[i, j] and dice[i, j] >= 0.9:
                token = int(others[i, j])
            made.append(token)
        rows.append(made)
    return torch.tensor(rows)


def in_place(ids, chosen, dice, others, mask):
    ids[chosen & (dice < 0.8)] = mask
    return torch.where(chosen & (dice >= 0.9), others, ids)


# Loss
# --------------------------------------------------------------------------------------------------


def loss_by_hand(logits, targets, mean=None, sign=-1.0):
    asked = (targets != -100).nonzero()
    found = [logits[b, t].log_softmax(-1)[targets[b, t]] for b, t in asked]
    return sign * sum(found) / (mean(targets) if mean else len(found))


def flat_loss(logits, targets):
    return F.cross_entropy(logits.transpose(1, 2), targets, ignore_index=-100)


def clamped(logits, targets):
    return F.cross_entropy(logits.flatten(0, 1), targets.clamp(min=0).flatten())


def probabilities(logits, targets):
    return F.nll_loss(logits.softmax(-1).transpose(1, 2), targets, ignore_index=-100)


def mean_of_rows(logits, targets):
    rows = zip(logits, targets, strict=True)
    return torch.stack([F.cross_entropy(x, y) for x, y in rows if (y != -100).any()]).mean()


# Pairs
# --------------------------------------------------------------------------------------------------


def pair(document, cut, other, cls, sep, label=0, second=1, early=0, middle=True):
    a, b = sum(document[:cut], []), sum(document[cut:] if other is None else other, [])
    ids = [cls] + a + ([sep] if middle else []) + b + [sep]
    n = 1 + len(a) + middle - early
    return ids, [0] * n + [second] * (len(ids) - n), label if other is None else 1 - label


def pairing(**change):
    return lambda *case: pair(*case, **change)


def pair_of_sentences(document, cut, other, cls, sep):
    a, b = [cls, *document[:cut], sep], [*(document[cut:] if other is None else other), sep]
    return a + b, [0] * len(a) + [1] * len(b), int(other is not None)


def pair_of_tensors(document, cut, other, cls, sep):
    ids, segments, label = pair(document, cut, other, cls, sep)
    return torch.tensor(ids), torch.tensor(segments), bool(label)


# Positions
# --------------------------------------------------------------------------------------------------


def positions_by_loop(ids, pad, first=1, pads=True):
    out = torch.full_like(ids, pad if pads else 0)
    for i, row in enumerate(ids):
        n = pad + first
        for j, token in enumerate(row):
            if token != pad:
                out[i, j] = n
                n += 1
    return out


# Words
# --------------------------------------------------------------------------------------------------


def cut(word, pieces, prefix=""):
    if not word:
        return []
    for n in range(len(word), 0, -1):
        if prefix + word[:n] in pieces:
            rest = cut(word[n:], pieces, "##")
            return ["[UNK]"] if "[UNK]" in rest else [prefix + word[:n], *rest]
    return ["[UNK]"]


def greedy(word, pieces, inside="##", sizes=lambda n: range(n, 0, -1), give_up=None):
    found, rest = [], word
    while rest:
        name = inside if found else ""
        size = next((n for n in sizes(len(rest)) if name + rest[:n] in pieces), None)
        if size is None:
            return give_up(found) if give_up else ["[UNK]"]
        found.append(name + rest[:size])
        rest = rest[size:]
    return found


def cut_with_way_back(word, pieces):
    ways = [[]]
    for end in range(1, len(word) + 1):
        found = [(s, "##" * (s > 0) + word[s:end]) for s in range(end) if ways[s] is not None]
        fitting = [(s, name) for s, name in found if name in pieces]
        ways.append(max((ways[s] + [n] for s, n in fitting), key=_sizes, default=None))
    return ways[-1] or ["[UNK]"]


def _sizes(names):
    return [len(name.removeprefix("##")) for name in names]


def cutting(**change):
    return lambda word, pieces: greedy(word, pieces, **change)


# Pooling
# --------------------------------------------------------------------------------------------------


def pool_by_loop(hidden, padding):
    return torch.stack([row[~out].mean(0) for row, out in zip(hidden, padding, strict=True)])


def pool(hidden, padding, real=lambda padding: ~padding, count=None):
    keep = real(padding).float()[..., None]
    return (hidden * keep).sum(1) / (keep.sum(1) if count is None else count(hidden))


CASES = {
    check.corrupt_tokens: Case(
        solution=solutions.corrupt_tokens_solution,
        skeleton=skeleton_5,
        also_right=[corrupting(), corrupt_by_loop],
        wrong=[
            (corrupting(low=1.1, stay=True), "all chosen tokens became"),
            (corrupting(only=False), "not chosen are changed too"),
            (corrupting(high=0.8), "no chosen token stays"),
            (corrupting(stay=True), "no token becomes another"),
            (lambda i, c, d, o, m: corrupt(i, ~c, d, o, m), "the other way round"),
            (lambda i, c, d, o, m: corrupt(i, c, 1 - d, o, m), "read from the other end"),
            (lambda *case: corrupt(*case).where(case[1], -100), "for the targets"),
            (in_place, "changed its argument"),
            (lambda i, c, d, o, m: corrupt(i, c | (d >= 0.9), d, o, m), "only where `chosen`"),
        ],
    ),
    check.hidden_loss: Case(
        solution=solutions.hidden_loss_solution,
        skeleton=skeleton_2,
        also_right=[loss_by_hand, flat_loss],
        wrong=[
            (lambda x, y: loss_by_hand(x, y, torch.Tensor.numel), "divided by all places"),
            (lambda x, y: loss_by_hand(x, y, lambda t: 1), "sum over the hidden"),
            (lambda x, y: loss_by_hand(x, y, sign=1.0), "sign is wrong"),
            (lambda x, y: loss_by_hand(x, y, len), "number of rows"),
            (clamped, "asked for token 0"),
            (mean_of_rows, "average each row"),
            (lambda x, y: flat_loss(x.softmax(-1), y), "softmax is taken twice"),
            (lambda x, y: flat_loss(x, y) / torch.log(torch.tensor(2.0)), "this is in bits"),
            (lambda x, y: flat_loss(x, y).item(), "no gradient"),
            (probabilities, "the logarithm is missing"),
        ],
    ),
    check.pair_row: Case(
        solution=solutions.pair_row_solution,
        skeleton=skeleton_5,
        also_right=[pairing(), pair_of_tensors],
        wrong=[
            (pairing(label=1), "classes have changed places"),
            (pairing(early=1), "first [SEP] ends the first text"),
            (pairing(middle=False), "between the two texts"),
            (lambda *case: pair(*case)[:2], "return three things"),
            (lambda d, c, o, *b: pair(d, c, None, *b)[:2] + (int(o is not None),), "own end even"),
            (lambda d, c, o, *b: pair(d[:c] * 2, c, o, *b), "repeats the first text"),
            (lambda d, c, o, *b: pair(d, c, o and o[c:], *b), "other document is cut too"),
            (pair_of_sentences, "whole sentences stand in the row"),
            (lambda d, c, o, *b: pair([[x] for x in sum(d, [])], c, o, *b), "not tokens"),
        ],
    ),
    check.token_positions: Case(
        solution=solutions.token_positions_solution,
        skeleton=skeleton_2,
        also_right=[positions_by_loop],
        wrong=[
            (
                lambda ids, p: torch.arange(ids.shape[1]).expand_as(ids) + p + 1,
                "columns are counted",
            ),
            (lambda ids, p: positions_by_loop(ids, p, first=0), "position of padding"),
            (lambda ids, p: positions_by_loop(ids, p, first=2), "pad_token + 1, not more"),
            (lambda ids, p: positions_by_loop(ids, p, pads=False), "row stays zero"),
            (lambda ids, p: positions_by_loop(ids, p) - p, "add pad_token"),
            (lambda ids, p: (ids != p).long().cumsum(1) + p, "token before it"),
            (lambda ids, p: positions_by_loop(ids, p).float(), "they are floats"),
        ],
    ),
    check.cut_word: Case(
        solution=solutions.cut_word_solution,
        skeleton=skeleton_2,
        also_right=[cut, greedy],
        wrong=[
            (cutting(inside=""), "without `##`"),
            (cutting(sizes=lambda n: range(1, n + 1)), "*shortest*"),
            (cutting(give_up=lambda found: [*found, "[UNK]"]), "unknown as a whole"),
            (cutting(give_up=lambda found: found), "cut short"),
            (lambda w, p: [x.replace("##", "") for x in greedy(w, p)], "`##` is missing"),
            (lambda w, p: [w] if w in p else ["[UNK]"], "whole words"),
            (cut_with_way_back, "never goes back"),
            (lambda w, p: greedy(w, p | {"##" + x for x in p}), "a piece without `##`"),
            (lambda w, p: greedy(w, p | {x.removeprefix("##") for x in p}), "taken at the front"),
        ],
    ),
    check.mean_pooling: Case(
        solution=solutions.mean_pooling_solution,
        skeleton=skeleton_2,
        also_right=[pool_by_loop],
        wrong=[
            (lambda h, p: h.mean(1), "padding is in the mean"),
            (lambda h, p: pool(h, p, count=lambda h: h.shape[1]), "still counted"),
            (lambda h, p: pool(h, p, count=lambda h: 1), "this is the sum"),
            (lambda h, p: h[:, 0], "first column"),
            (lambda h, p: F.normalize(pool(h, p), dim=-1), "scaled to length 1"),
            (lambda h, p: h.sum(1) / (~p).sum(1, keepdim=True), "still in the sum"),
        ],
    ),
}
test_checkers = tests_of(check, CASES)
