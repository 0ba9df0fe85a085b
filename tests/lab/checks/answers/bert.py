"""Answers to the exercises of lesson 14, written from their statements alone."""

import re

import torch
from torch.nn import functional

from tests.lab.checks.answers.table import Answers, Slip

# --- corrupt_tokens ---


def corrupt_by_where(ids, chosen, dice, others, mask_token):
    changed = torch.where(dice < 0.8, torch.full_like(ids, mask_token), others)
    kept = ~chosen | ((dice >= 0.8) & (dice < 0.9))
    return torch.where(kept, ids, changed)


def corrupt_a_copy(ids, chosen, dice, others, mask_token):
    read = ids.clone()
    read[chosen & (dice < 0.8)] = mask_token
    swap = chosen & (dice >= 0.9)
    read[swap] = others[swap]
    return read


def corrupt_by_loops(ids, chosen, dice, others, mask_token):
    rows = []
    for n in range(ids.shape[0]):
        row = []
        for t in range(ids.shape[1]):
            token = int(ids[n, t])
            if chosen[n, t] and dice[n, t] < 0.8:
                token = mask_token
            elif chosen[n, t] and dice[n, t] >= 0.9:
                token = int(others[n, t])
            row.append(token)
        rows.append(row)
    return torch.tensor(rows)


def corrupt(
    masked=lambda dice: dice < 0.8,
    swapped=lambda dice: dice >= 0.9,
    choose=lambda chosen: chosen,
    write=lambda mask_token: mask_token,
):
    """A right answer but for who is masked, who is swapped, who is chosen, or the token written."""

    def corrupt_tokens(ids, chosen, dice, others, mask_token):
        read, chosen = ids.clone(), choose(chosen)
        read[chosen & masked(dice)] = write(mask_token)
        return torch.where(chosen & swapped(dice), others, read)

    return corrupt_tokens


def corrupt_in_place(ids, chosen, dice, others, mask_token):
    ids[chosen & (dice < 0.8)] = mask_token
    swap = chosen & (dice >= 0.9)
    ids[swap] = others[swap]
    return ids


def corrupt_unchosen_dice(ids, chosen, dice, others, mask_token):
    read = torch.where(chosen & (dice < 0.8), mask_token, ids)
    return torch.where(dice >= 0.9, others, read)


def corrupt_to_targets(ids, chosen, dice, others, mask_token):
    return torch.where(chosen, corrupt_a_copy(ids, chosen, dice, others, mask_token), -100)


CORRUPT_TOKENS = Answers(
    right=[corrupt_by_where, corrupt_a_copy, corrupt_by_loops],
    wrong=[
        Slip(corrupt_in_place, "ids are overwritten", r"ids|copy|clone|stay"),
        Slip(
            corrupt(masked=lambda dice: dice < 2, swapped=lambda dice: dice > 2),
            "every chosen token is [MASK]",
            r"0\.8|\[MASK\]|every|all",
        ),
        Slip(
            corrupt(swapped=lambda dice: dice >= 0.8),
            "none stays as it is",
            r"0\.9|unchanged|stay|itself",
        ),
        Slip(corrupt(swapped=lambda dice: dice > 2), "none becomes another", r"0\.9|other|another"),
        Slip(
            corrupt(swapped=lambda dice: (dice >= 0.8) & (dice < 0.9)),
            "unchanged and another in each other's place",
            r"0\.9|0\.8|exchang|other way|swap",
        ),
        Slip(
            corrupt(masked=lambda dice: dice > 0.8, swapped=lambda dice: dice < 0.1),
            "the die is read from the wrong end",
            r"0\.8|below|wrong (side|way)|other way|turned",
        ),
        Slip(
            corrupt(choose=torch.ones_like), "all tokens, chosen or not", r"chosen|not chosen|all"
        ),
        Slip(
            corrupt(choose=lambda chosen: ~chosen), "the ones that are not chosen", r"chosen|turned"
        ),
        Slip(corrupt_unchosen_dice, "another token also where none is chosen", r"chosen"),
        Slip(corrupt(masked=lambda dice: dice <= 0.8), "a die of 0.8 is masked", r"0\.8"),
        Slip(corrupt(swapped=lambda dice: dice > 0.9), "a die of 0.9 stays", r"0\.9"),
        Slip(corrupt(write=lambda mask_token: 0), "0 for [MASK]", r"mask_token|\[MASK\]"),
        Slip(corrupt_to_targets, "-100 where nothing is chosen", r"chosen|-100|stay"),
    ],
)

# --- hidden_loss ---


def loss_by_cross_entropy(logits, targets):
    return functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-100)


def loss_by_gather(logits, targets):
    hidden = targets != -100
    log_probs = logits.log_softmax(-1)
    picked = log_probs.gather(-1, targets.clamp(min=0)[..., None])[..., 0]
    return -(picked * hidden).sum() / hidden.sum()


def loss_by_rows(logits, targets):
    losses = []
    for b, t in (targets != -100).nonzero().tolist():
        row = logits[b, t]
        losses.append(row.logsumexp(0) - row[targets[b, t]])
    return torch.stack(losses).mean()


def hidden(
    ask=lambda targets: targets != -100,
    logs=lambda rows: rows.log_softmax(-1),
    reduce=lambda surprise, targets: surprise.mean(),
):
    """A right answer but for who is asked, the log-probabilities, or what is done with them."""

    def hidden_loss(logits, targets):
        asked = ask(targets)
        rows = logs(logits[asked])
        picked = rows.gather(-1, targets[asked].clamp(min=0)[:, None])[:, 0]
        return reduce(-picked, targets)

    return hidden_loss


def loss_per_row(logits, targets):
    rows = [(x, y) for x, y in zip(logits, targets, strict=True) if (y != -100).any()]
    return torch.stack([functional.cross_entropy(x, y) for x, y in rows]).mean()


def loss_of_the_next(logits, targets):
    return functional.cross_entropy(logits[:, :-1].flatten(0, 1), targets[:, 1:].flatten())


def loss_of_softmax(logits, targets):
    return functional.cross_entropy(logits.softmax(-1).flatten(0, 1), targets.flatten())


def loss_as_number(logits, targets):
    return loss_by_cross_entropy(logits, targets).item()


HIDDEN_LOSS = Answers(
    right=[loss_by_cross_entropy, loss_by_gather, loss_by_rows],
    wrong=[
        Slip(
            hidden(reduce=lambda surprise, targets: surprise.sum() / targets.numel()),
            "divided by all positions",
            r"all|divid|hidden tokens|positions",
        ),
        Slip(hidden(reduce=lambda surprise, targets: surprise.sum()), "a sum", r"sum|mean|divid"),
        Slip(
            hidden(reduce=lambda surprise, targets: -surprise.mean()),
            "the sign is not changed",
            r"sign|negativ|minus",
        ),
        Slip(
            hidden(ask=lambda targets: targets > -1000),
            "all positions are asked, -100 as token 0",
            r"-100|not asked|hidden|all positions|asked",
        ),
        Slip(
            hidden(ask=lambda targets: targets == -100),
            "those that are not asked",
            r"-100|not asked|hidden",
        ),
        Slip(loss_per_row, "a mean of the rows' means", r"row|whole batch"),
        Slip(hidden(logs=lambda rows: rows), "no softmax", r"softmax|logits|log"),
        Slip(
            hidden(logs=lambda rows: rows.softmax(-1)), "probabilities without log", r"\blog|nats"
        ),
        Slip(
            hidden(logs=lambda rows: rows.log_softmax(-1) / torch.tensor(2.0).log()),
            "bits",
            r"bits|nats|natural",
        ),
        Slip(hidden(logs=lambda rows: rows.log_softmax(0)), "softmax over positions", r"axis|last"),
        Slip(loss_of_softmax, "softmax twice", r"twice|softmax"),
        Slip(loss_of_the_next, "one position to the left", r"next|shift|position|same"),
        Slip(
            hidden(reduce=lambda surprise, targets: surprise),
            "a number per token",
            r"mean|shape|one number|average",
        ),
    ],
)

# --- pair_row ---


def joined(sentences):
    return [token for sentence in sentences for token in sentence]


def pair_by_lists(document, cut, other, cls_token, sep_token):
    a = [cls_token] + sum(document[:cut], []) + [sep_token]
    b = sum(document[cut:] if other is None else other, []) + [sep_token]
    return a + b, [0] * len(a) + [1] * len(b), int(other is not None)


def pair_by_loops(document, cut, other, cls_token, sep_token):
    row, segments = [cls_token], [0]
    second, label = (document[cut:], 0) if other is None else (other, 1)
    for segment, text in enumerate((document[:cut], second)):
        for sentence in text:
            row.extend(sentence)
            segments.extend([segment] * len(sentence))
        row.append(sep_token)
        segments.append(segment)
    return row, segments, label


def pair_by_counting(document, cut, other, cls_token, sep_token):
    second = document[cut:] if other is None else other
    row = [cls_token, *joined(document[:cut]), sep_token, *joined(second), sep_token]
    first = 2 + sum(map(len, document[:cut]))
    return row, [int(i >= first) for i in range(len(row))], 0 if other is None else 1


def pair(
    parts=lambda document, cut, other: (document[:cut], document[cut:] if other is None else other),
    segment=lambda a, b: [0] * len(a) + [1] * len(b),
    label=lambda other: int(other is not None),
    wrap=lambda a, b, c, s: ([c, *a, s], [*b, s]),
):
    """A right answer but for the parts, the segments, the class, or the special tokens."""

    def pair_row(document, cut, other, cls_token, sep_token):
        first, second = map(joined, parts(document, cut, other))
        a, b = wrap(first, second, cls_token, sep_token)
        return a + b, segment(a, b), label(other)

    return pair_row


def pair_of_tensors(document, cut, other, cls_token, sep_token):
    row, segments, label = pair_by_lists(document, cut, other, cls_token, sep_token)
    return row, label, segments


PAIR_ROW = Answers(
    right=[pair_by_lists, pair_by_loops, pair_by_counting],
    wrong=[
        Slip(
            pair(label=lambda other: int(other is None)),
            "the classes in each other's place",
            r"class|label",
        ),
        Slip(
            pair(segment=lambda a, b: [0] * (len(a) - 1) + [1] * (len(b) + 1)),
            "the first [SEP] is B's",
            r"SEP",
        ),
        Slip(
            pair(wrap=lambda a, b, c, s: ([c, *a, s], [c, *b, s])),
            "[CLS] before B too",
            r"CLS|begin|once",
        ),
        Slip(pair(wrap=lambda a, b, c, s: ([c, *a, s], b)), "no [SEP] at the end", r"SEP"),
        Slip(pair(wrap=lambda a, b, c, s: ([c, *a], [*b, s])), "no [SEP] between", r"SEP"),
        Slip(pair(wrap=lambda a, b, c, s: ([*a, s], [*b, s])), "no [CLS]", r"CLS"),
        Slip(
            pair(parts=lambda document, cut, other: (document[:cut], document[cut:])),
            "other is not used",
            r"other|elsewhere",
        ),
        Slip(
            pair(
                parts=lambda document, cut, other: (
                    document[:cut],
                    document[cut:] if other is None else other[cut:],
                )
            ),
            "other is cut too",
            r"other|whole|all",
        ),
        Slip(
            pair(
                parts=lambda document, cut, other: (
                    document[:cut],
                    document[cut + 1 :] if other is None else other,
                )
            ),
            "a sentence is lost at the cut",
            r"cut|rest|sentence|missing|short",
        ),
        Slip(
            pair(
                parts=lambda document, cut, other: (
                    document[: cut + 1],
                    document[cut + 1 :] if other is None else other,
                )
            ),
            "one sentence too many in A",
            r"cut|first|sentence|A\b",
        ),
        Slip(
            pair(
                parts=lambda document, cut, other: (
                    document if other is not None else document[:cut],
                    document[cut:] if other is None else other,
                )
            ),
            "the whole document before another",
            r"cut|first|A\b",
        ),
        Slip(pair(segment=lambda a, b: [1] * len(a) + [2] * len(b)), "segments 1 and 2", r"0|segm"),
        Slip(pair(segment=lambda a, b: [0] * len(a + b)), "all in segment 0", r"segment|1|B\b"),
        Slip(pair_of_tensors, "class before segments", r"order|segments|class|list"),
    ],
)

# --- token_positions ---


def positions_by_sums(ids, pad_token):
    real = (ids != pad_token).long()
    return real.cumsum(1) * real + pad_token


def positions_by_loops(ids, pad_token):
    table = torch.full_like(ids, pad_token)
    for n, row in enumerate(ids.tolist()):
        number = pad_token
        for t, token in enumerate(row):
            if token != pad_token:
                number += 1
                table[n, t] = number
    return table


def positions_by_rows(ids, pad_token):
    out = torch.full(ids.shape, pad_token)
    for n in range(len(ids)):
        where = (ids[n] != pad_token).nonzero().flatten()
        out[n, where] = torch.arange(1, len(where) + 1) + pad_token
    return out


def positions_of_columns(ids, pad_token):
    columns = torch.arange(ids.shape[1]).expand(ids.shape) + pad_token + 1
    return torch.where(ids == pad_token, pad_token, columns)


def positions_as_columns(ids, pad_token):
    return torch.arange(ids.shape[1]).expand(ids.shape)


def positions(
    real=lambda ids, pad: (ids != pad).long(),
    number=lambda real: real.cumsum(1) * real,
    move=lambda numbers, pad: numbers + pad,
):
    """A right answer but for what counts as real, how it is numbered, or where numbering begins."""

    def token_positions(ids, pad_token):
        return move(number(real(ids, pad_token)), pad_token)

    return token_positions


TOKEN_POSITIONS = Answers(
    right=[positions_by_sums, positions_by_loops, positions_by_rows],
    wrong=[
        Slip(positions_of_columns, "columns are numbered", r"column|left|padding"),
        Slip(positions_as_columns, "columns from 0, padding too", r"column|padding|pad_token"),
        Slip(
            positions(number=lambda real: real.cumsum(1)),
            "padding keeps the running sum",
            r"padding",
        ),
        Slip(positions(move=lambda numbers, pad: numbers), "not moved up", r"pad_token|moved|from"),
        Slip(
            positions(move=lambda numbers, pad: numbers + pad - 1),
            "the first token is at pad_token",
            r"pad_token|one|from",
        ),
        Slip(
            positions(move=lambda numbers, pad: numbers + pad + 1),
            "all one too high",
            r"pad_token|one|padding",
        ),
        Slip(
            positions(number=lambda real: (real.cumsum(1) - 1) * real),
            "numbered from pad_token",
            r"pad_token|from",
        ),
        Slip(
            positions(number=lambda real: real.cumsum(0) * real),
            "summed along the batch",
            r"row|axis|batch",
        ),
        Slip(positions(real=lambda ids, pad: (ids != 0).long()), "padding is 0", r"pad_token|0"),
        Slip(
            positions(move=lambda numbers, pad: torch.where(numbers > 0, numbers + pad, 0)),
            "padding at 0",
            r"padding",
        ),
        Slip(
            positions(move=lambda numbers, pad: numbers + 1), "pad_token taken for 1", r"pad_token"
        ),
        Slip(
            positions(number=lambda real: real.flip(1).cumsum(1).flip(1) * real),
            "numbered from the right",
            r"right|end|revers|left",
        ),
        Slip(positions(real=lambda ids, pad: (ids == pad).long()), "padding numbered", r"padding"),
    ],
)

# --- cut_word ---


def cut_by_ends(word, pieces):
    found, start = [], 0
    while start < len(word):
        for end in range(len(word), start, -1):
            name = ("##" if start else "") + word[start:end]
            if name in pieces:
                found.append(name)
                start = end
                break
        else:
            return ["[UNK]"]
    return found


def cut_by_recursion(word, pieces):
    def cut(rest, mark):
        if not rest:
            return []
        for n in range(len(rest), 0, -1):
            if mark + rest[:n] in pieces:
                after = cut(rest[n:], "##")
                return None if after is None else [mark + rest[:n], *after]
        return None

    found = cut(word, "")
    return ["[UNK]"] if found is None else found


def cut_by_expressions(word, pieces):
    longest = sorted(pieces, key=len, reverse=True)
    first = [re.escape(p) for p in longest if not p.startswith("##")]
    inner = [re.escape(p[2:]) for p in longest if p.startswith("##")]
    found, at = [], 0
    while at < len(word):
        names = inner if at else first
        match = re.compile("|".join(names)).match(word, at) if names else None
        if not match:
            return ["[UNK]"]
        found.append(("##" if at else "") + match.group())
        at = match.end()
    return found


def cut(
    ends=lambda start, n: range(n, start, -1),
    mark=lambda start: "##" if start else "",
    shown=lambda name: name,
    lost=lambda found, rest: ["[UNK]"],
):
    """A right answer but for the ends tried, the mark, what is shown, or what a misfit gives."""

    def cut_word(word, pieces):
        found, start = [], 0
        while start < len(word):
            fitting = [e for e in ends(start, len(word)) if mark(start) + word[start:e] in pieces]
            if not fitting:
                return lost(found, word[start:])
            found.append(shown(mark(start) + word[start : fitting[0]]))
            start = fitting[0]
        return found

    return cut_word


def cut_backtracking(word, pieces):
    def cut(rest, mark):
        if not rest:
            return []
        for n in range(len(rest), 0, -1):
            if mark + rest[:n] in pieces:
                after = cut(rest[n:], "##")
                if after is not None:
                    return [mark + rest[:n], *after]
        return None

    return cut(word, "") or ["[UNK]"]


def cut_from_the_back(word, pieces):
    found, end = [], len(word)
    while end > 0:
        for start in range(end):
            name = ("##" if start else "") + word[start:end]
            if name in pieces:
                found.insert(0, name)
                end = start
                break
        else:
            return ["[UNK]"]
    return found


def cut_with_a_letter_lost(word, pieces):
    found, start = [], 0
    while start < len(word):
        for end in range(len(word), start, -1):
            name = ("##" if start else "") + word[start:end]
            if name in pieces:
                found.append(name)
                start = end
                break
        else:
            found.append("[UNK]")
            start += 1
    return found


def cut_once_only(word, pieces):
    for end in range(len(word), 0, -1):
        if word[:end] in pieces:
            rest = word[end:]
            if not rest:
                return [word]
            return [word[:end], "##" + rest] if "##" + rest in pieces else ["[UNK]"]
    return ["[UNK]"]


CUT_WORD = Answers(
    right=[cut_by_ends, cut_by_recursion, cut_by_expressions],
    wrong=[
        Slip(
            cut(ends=lambda start, n: range(start + 1, n + 1)),
            "the shortest match",
            r"longest|short",
        ),
        Slip(cut(mark=lambda start: ""), "never ##", r"##"),
        Slip(cut(mark=lambda start: "##"), "always ##", r"##|first|front"),
        Slip(cut(shown=lambda name: name.removeprefix("##")), "## not shown", r"##"),
        Slip(
            cut(lost=lambda found, rest: [*found, "[UNK]"]),
            "only the rest becomes [UNK]",
            r"UNK|whole word",
        ),
        Slip(cut_with_a_letter_lost, "[UNK] per letter", r"UNK|whole word"),
        Slip(cut(lost=lambda found, rest: found), "the rest is dropped", r"UNK|dropped|rest|lost"),
        Slip(cut(lost=lambda found, rest: []), "an empty list", r"UNK"),
        Slip(cut(lost=lambda found, rest: "[UNK]"), "text in place of a list", r"list|\["),
        Slip(cut_backtracking, "goes back for a better cut", r"greedy|back|longest|shorter|UNK"),
        Slip(cut_from_the_back, "from the back", r"front|back|end|behind"),
        Slip(cut_once_only, "two pieces at most", r"two|more|pieces|goes on|rest|left"),
        Slip(
            cut(ends=lambda start, n: range(n - 1 if start == 0 else n, start, -1)),
            "a whole word is not looked for",
            r"whole|last|longest|itself",
        ),
        Slip(
            cut(ends=lambda start, n: range(n, start + 1, -1)),
            "no piece of one letter",
            r"one letter|single|last",
        ),
    ],
)

# --- mean_pooling ---


def pool_by_weights(hidden, padding):
    real = (~padding).to(hidden.dtype)
    return torch.einsum("btc,bt->bc", hidden, real / real.sum(1, keepdim=True))


def pool_by_rows(hidden, padding):
    return torch.stack([x[~pad].mean(0) for x, pad in zip(hidden, padding, strict=True)])


def pool_by_filling(hidden, padding):
    total = hidden.masked_fill(padding.unsqueeze(-1), 0).sum(1)
    return total / padding.logical_not().sum(1, keepdim=True)


def pool(
    real=lambda padding: ~padding,
    total=lambda kept: kept.sum(1),
    divide=lambda total, real: total / real.sum(1),
):
    """A right answer but for the tokens counted, the sum, or the number divided by."""

    def mean_pooling(hidden, padding):
        counted = real(padding).float()[..., None]
        return divide(total(hidden * counted), counted)

    return mean_pooling


MEAN_POOLING = Answers(
    right=[pool_by_weights, pool_by_rows, pool_by_filling],
    wrong=[
        Slip(lambda hidden, padding: hidden.mean(1), "padding is averaged too", r"padding"),
        Slip(
            pool(divide=lambda total, real: total / real.shape[1]),
            "divided by all columns",
            r"divid|T\b|column|real",
        ),
        Slip(pool(real=lambda padding: padding), "the mean of the padding", r"padding"),
        Slip(pool(divide=lambda total, real: total), "a sum", r"sum|divid|mean"),
        Slip(lambda hidden, padding: hidden[:, 0], "the vector of [CLS]", r"CLS|first"),
        Slip(
            lambda hidden, padding: hidden[~padding].mean(0),
            "one vector for the batch",
            r"batch|row|shape|\(",
        ),
        Slip(
            pool(divide=lambda total, real: total / real.sum()),
            "divided by the tokens of the batch",
            r"divid|batch|row",
        ),
        Slip(
            pool(total=lambda kept: kept.amax(1), divide=lambda total, real: total),
            "the largest",
            r"max|mean|largest",
        ),
        Slip(
            lambda hidden, padding: functional.normalize(pool_by_rows(hidden, padding), dim=-1),
            "normed to length 1",
            r"length|norm",
        ),
        Slip(
            pool(divide=lambda total, real: total / real.sum(1).sqrt()),
            "divided by the root",
            r"root|divid|sqrt",
        ),
        Slip(
            pool(
                total=lambda kept: kept.sum(1, keepdim=True),
                divide=lambda t, r: t / r.sum(1)[:, None],
            ),
            "an axis too many",
            r"shape|axis|\(",
        ),
        Slip(
            lambda hidden, padding: hidden.masked_fill(padding[..., None], 0).mean(1),
            "zeros are averaged too",
            r"divid|column|real|padding",
        ),
        Slip(
            lambda hidden, padding: hidden.masked_fill(padding[..., None], 0).mean(-1),
            "a mean over the width",
            r"shape|axis|width|\(",
        ),
    ],
)

ANSWERS = {
    "corrupt_tokens": CORRUPT_TOKENS,
    "hidden_loss": HIDDEN_LOSS,
    "pair_row": PAIR_ROW,
    "token_positions": TOKEN_POSITIONS,
    "cut_word": CUT_WORD,
    "mean_pooling": MEAN_POOLING,
}
