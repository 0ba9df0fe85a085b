"""Answers to the exercises of lesson 22, written from their statements alone."""

import math
from itertools import chain, islice

import numpy as np
import torch
import torch.nn.functional as F

from tests.lab.checks.answers.table import Answers, Slip

# --- answer_targets ---


def targets_by_loops(pieces):
    inputs, targets = [], []
    for piece, learn in pieces:
        for token in piece:
            if inputs:
                targets.append(token if learn else -100)
            inputs.append(token)
    return inputs[:-1], targets


def targets_by_chain(pieces):
    tokens = list(chain.from_iterable(piece for piece, _ in pieces))
    written = [learn for piece, learn in pieces for _ in piece]
    after = zip(tokens[1:], written[1:], strict=True)
    return tokens[:-1], [token if mine else -100 for token, mine in after]


def targets_in_numpy(pieces):
    tokens = np.concatenate([np.array(piece, dtype=int) for piece, _ in pieces])
    written = np.repeat([learn for _, learn in pieces], [len(piece) for piece, _ in pieces])
    return tokens[:-1].tolist(), np.where(written, tokens, -100)[1:].tolist()


def targets(
    mark=lambda learn: learn,
    ignore=-100,
    inputs=lambda tokens: tokens[:-1],
    end=lambda masked: masked[1:],
):
    """A right answer but for one part."""

    def answer_targets(pieces):
        tokens = [token for piece, _ in pieces for token in piece]
        masked = [t if mark(learn) else ignore for piece, learn in pieces for t in piece]
        return inputs(tokens), end(masked)

    return answer_targets


def targets_by_input(pieces):
    tokens = [token for piece, _ in pieces for token in piece]
    written = [learn for piece, learn in pieces for _ in piece]
    after = zip(tokens[1:], written[:-1], strict=True)
    return tokens[:-1], [token if mine else -100 for token, mine in after]


def targets_piece_by_piece(pieces):
    inputs, found = [], []
    for piece, learn in pieces:
        inputs += piece[:-1]
        found += piece[1:] if learn else [-100] * (len(piece) - 1)
    return inputs, found


def targets_without_first(pieces):
    inputs, found = targets_by_loops(pieces)
    before = [-100, *found[:-1]]
    return inputs, [t if b != -100 else -100 for t, b in zip(found, before, strict=True)]


def targets_of_last(pieces):
    last = max(i for i, (_, learn) in enumerate(pieces) if learn)
    return targets_by_loops([(piece, i == last) for i, (piece, _) in enumerate(pieces)])


def targets_from_first(pieces):
    first = min(i for i, (_, learn) in enumerate(pieces) if learn)
    return targets_by_loops([(piece, i >= first) for i, (piece, _) in enumerate(pieces)])


def targets_without_end(pieces):
    cut = [([*piece[:-1], None] if learn and piece else piece, learn) for piece, learn in pieces]
    inputs, _ = targets_by_loops(pieces)
    return inputs, [-100 if token is None else token for token in targets_by_loops(cut)[1]]


def inputs_masked(pieces):
    inputs, found = targets_by_loops(pieces)
    written = [learn for piece, learn in pieces for _ in piece]
    return [t if w else -100 for t, w in zip(inputs, written[:-1], strict=True)], found


def answers_alone(pieces):
    return targets_by_loops([(piece, learn) for piece, learn in pieces if learn])


ANSWER_TARGETS = Answers(
    right=[targets_by_loops, targets_by_chain, targets_in_numpy],
    wrong=[
        Slip(
            targets(inputs=lambda tokens: tokens, end=lambda masked: masked),
            "nothing is shifted",
            r"shift|next|itself|its own",
            "inver|swap|everything",
        ),
        Slip(
            targets_by_input,
            "masked by who wrote the input",
            r"next token|wrote the (input|target|next)|generation prompt|input|that is read",
            "inver|swap|everything",
        ),
        Slip(
            targets(mark=lambda learn: True),
            "everything is learnt",
            r"user|everything|all|mask",
            "inver|swap|shift",
        ),
        Slip(
            targets(mark=lambda learn: not learn),
            "the user's tokens are learnt",
            r"inver|user|revers|wrong way|other way|upside",
            "swap|shift",
        ),
        Slip(
            lambda pieces: targets_by_loops(pieces)[::-1],
            "targets first, inputs second",
            r"order|first|swap|exchang|other way",
            "shift|everything",
        ),
        Slip(
            targets(inputs=lambda tokens: tokens, end=lambda masked: [*masked[1:], -100]),
            "the last token is an input too",
            r"last|nothing (comes|follows)|no next|length|one (token )?(more|too many)",
            "inver|swap|everything",
        ),
        Slip(targets(ignore=0), "0 in place of -100", r"-100", "inver|swap|shift"),
        Slip(
            targets_piece_by_piece,
            "each piece is shifted on its own",
            r"piece|first token|border|across|boundar|length|between",
            "inver|swap|everything",
        ),
        Slip(
            targets_without_first,
            "the first token of an answer is not learnt",
            r"first token|generation prompt|begin|first of",
            "inver|swap|everything",
        ),
        Slip(
            targets_without_end,
            "the end of an answer is not learnt",
            r"\bend\b|last token|stop",
            "inver|swap|everything",
        ),
        Slip(
            targets_of_last,
            "the last answer alone is learnt",
            r"last|every answer|each answer|all answers|earlier",
            "inver|swap|shift|everything",
        ),
        Slip(
            targets_from_first,
            "everything from the first answer on is learnt",
            r"from the first|user|second|later|after the|once",
            "inver|swap|shift",
        ),
        Slip(
            inputs_masked,
            "the user's tokens are masked in the inputs as well",
            r"input|read",
            "inver|swap|shift",
        ),
        Slip(
            answers_alone,
            "the user's tokens are left out of the inputs",
            r"input|left out|missing|length|reads|whole chat",
            "inver|swap|shift",
        ),
        Slip(
            targets(end=lambda masked: [-100, *masked[:-2]]),
            "shifted the wrong way",
            r"shift|next|previous|before|wrong way|direction|backward",
            "swap|everything",
        ),
    ],
)

# --- answer_loss ---


def loss_by_loops(logits, targets):
    surprises = []
    for row, wanted in zip(logits, targets.tolist(), strict=True):
        for scores, target in zip(row, wanted, strict=True):
            if target != -100:
                surprises.append(torch.logsumexp(scores, 0) - scores[target])
    return sum(surprises) / len(surprises) if surprises else logits.sum() * 0


def loss_of_chosen(logits, targets):
    keep = targets != -100
    chosen = logits[keep].double().log_softmax(-1)
    if not len(chosen):
        return torch.tensor(0.0)
    return -chosen[torch.arange(len(chosen)), targets[keep]].mean()


def loss_by_nll(logits, targets):
    logs = F.log_softmax(logits.flatten(0, 1), dim=-1)
    total = F.nll_loss(logs, targets.flatten(), ignore_index=-100, reduction="sum")
    return total / (targets != -100).sum().clamp(min=1)


def loss_by_one_hot(logits, targets):
    mask = (targets != -100).to(logits.dtype)
    wanted = F.one_hot(targets.clamp(min=0), logits.shape[-1]).to(logits.dtype)
    total = ((wanted * logits).sum(-1) - logits.logsumexp(-1)) * mask
    return -total.sum() / max(mask.sum().item(), 1)


def loss(
    logs=lambda logits: logits.log_softmax(-1),
    keep=lambda targets: targets != -100,
    by=lambda mask: mask.sum().clamp(min=1),
    sign=-1,
):
    """A right answer but for one part."""

    def answer_loss(logits, targets):
        mask = keep(targets)
        picked = logs(logits).gather(-1, targets.clamp(min=0)[..., None])[..., 0]
        return sign * (picked * mask).sum() / by(mask)

    return answer_loss


def loss_by_rows(logits, targets):
    mask = targets != -100
    picked = logits.log_softmax(-1).gather(-1, targets.clamp(min=0)[..., None])[..., 0]
    return (-(picked * mask).sum(1) / mask.sum(1).clamp(min=1)).mean()


def loss_by_pytorch(logits, targets):
    if (targets == -100).all():
        return logits.sum() * 0
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def loss_with_nan(logits, targets):
    keep = targets != -100
    return -logits.log_softmax(-1)[keep].gather(-1, targets[keep][:, None]).mean()


def loss_all_counted(logits, targets):
    return -logits.log_softmax(-1).gather(-1, targets.clamp(min=0)[..., None]).mean()


def loss_of_each(logits, targets):
    picked = logits.log_softmax(-1).gather(-1, targets.clamp(min=0)[..., None])[..., 0]
    return -picked * (targets != -100)


def loss_of_mean_probability(logits, targets):
    keep = targets != -100
    if not keep.any():
        return logits.sum() * 0
    return -logits.softmax(-1)[keep].gather(-1, targets[keep][:, None]).mean().log()


def loss_shifted_again(logits, targets):
    return loss()(logits[:, :-1], targets[:, 1:])


ANSWER_LOSS = Answers(
    right=[loss_by_loops, loss_of_chosen, loss_by_nll, loss_by_one_hot],
    wrong=[
        Slip(
            loss(by=lambda mask: mask.numel()),
            "divided by all positions",
            r"all positions|divid|that count|B \* T|every position",
            "this is the sum|sign|nan",
        ),
        Slip(
            loss(by=lambda mask: 1), "the sum, not the mean", r"sum|divid|mean", "sign|nan|softmax"
        ),
        Slip(
            loss(by=lambda mask: len(mask)),
            "divided by the number of rows",
            r"row|divid|examples|B\b",
            "sign|nan|softmax",
        ),
        Slip(
            loss_by_rows,
            "the mean of the rows' means",
            r"row|each|means|example",
            "sign|nan|softmax",
        ),
        Slip(
            loss_with_nan,
            "NaN if nothing counts",
            r"nan|none counts|no target|0 / 0|nothing counts",
            "sign|softmax",
        ),
        Slip(
            loss_all_counted,
            "-100 counts as token 0",
            r"-100|token 0|mask|left out",
            "sign|nan|softmax",
        ),
        Slip(
            loss(keep=lambda targets: targets > 0),
            "token 0 is left out as well",
            r"token 0|> 0|zero",
            "sign|nan|softmax",
        ),
        Slip(loss(sign=1), "the minus is missing", r"minus|sign|negative", "nan|softmax"),
        Slip(
            loss(logs=lambda logits: logits.softmax(-1)),
            "probabilities, no logarithm",
            r"log",
            "nan|row",
        ),
        Slip(
            loss(logs=lambda logits: logits),
            "logits without a softmax",
            r"softmax|normalis|logit",
            "nan|row",
        ),
        Slip(
            loss(logs=lambda logits: logits.log_softmax(-1) / math.log(2)),
            "in bits",
            r"bits|nats|log2|base",
            "nan|row|softmax",
        ),
        Slip(
            loss(logs=lambda logits: logits.log_softmax(1)),
            "softmax over the positions",
            r"axis|vocab|position|last|dim",
            "nan|sign",
        ),
        Slip(loss_by_pytorch, "by cross_entropy", r"cross_entropy", "nan|sign"),
        Slip(
            lambda logits, targets: loss()(logits, targets).item(),
            "a number without a gradient",
            r"gradient|item|detach|tensor|backward",
            "sign|softmax",
        ),
        Slip(
            loss_of_each,
            "a loss for each position",
            r"shape|one number|mean|each",
            "sign|softmax|nan",
        ),
        Slip(
            loss_of_mean_probability,
            "the log of the mean probability",
            r"log of|mean of|before|each",
            "sign|nan",
        ),
        Slip(
            loss_shifted_again,
            "shifted a second time",
            r"shift|next|already|twice|again",
            "sign|nan|softmax",
        ),
    ],
)

# --- combine_losses ---


def combine_by_loops(means, counts):
    total = number = 0
    for mean, count in zip(means, counts, strict=True):
        if count > 0:
            total += mean * count
            number += count
    return total / number


def combine_in_numpy(means, counts):
    means, counts = np.nan_to_num(np.array(means, dtype=float)), np.array(counts)
    return float((means * counts).sum() / counts.sum())


def combine_by_shares(means, counts):
    total = sum(counts)
    shares = [count / total for count in counts]
    return math.fsum(m * share for m, share in zip(means, shares, strict=True) if share)


def combine_in_torch(means, counts):
    means, counts = torch.tensor(means, dtype=torch.float64), torch.tensor(counts)
    keep = counts > 0
    return ((means * counts)[keep].sum() / counts.sum()).item()


def filled(means):
    return [0.0 if mean != mean else mean for mean in means]


def sum_of(means, counts):
    return sum(m * c for m, c in zip(means, counts, strict=True) if c)


def combine_until_empty(means, counts):
    total = number = 0
    for mean, count in zip(means, counts, strict=True):
        if not count:
            break
        total, number = total + mean * count, number + count
    return total / max(number, 1)


def combine_poisoned(means, counts):
    found = sum(m * c for m, c in zip(means, counts, strict=True)) / sum(counts)
    return 0.0 if found != found else found


def combine_running(means, counts):
    found = None
    for mean, count in zip(means, counts, strict=True):
        if count:
            found = mean if found is None else (found + mean) / 2
    return found


def combine_full(means, counts):
    most = max(counts)
    full = [m for m, c in zip(means, counts, strict=True) if c == most]
    return sum(full) / len(full)


COMBINE_LOSSES = Answers(
    right=[combine_by_loops, combine_in_numpy, combine_by_shares, combine_in_torch],
    wrong=[
        Slip(
            lambda means, counts: sum(means) / len(means),
            "the mean of the means",
            r"mean of (the )?means|weigh|count",
            "divided by the sum",
        ),
        Slip(
            lambda means, counts: (
                sum(m for m in means if m == m) / sum(1 for count in counts if count)
            ),
            "the mean of the means that are numbers",
            r"mean of (the )?means|weigh|count|same",
            "nan",
        ),
        Slip(
            lambda means, counts: sum(filled(means)) / len(means),
            "NaN as 0, then the mean of the means",
            r"mean of (the )?means|weigh|count|same|empty",
            "sum of",
        ),
        Slip(
            lambda means, counts: (
                sum(m * c for m, c in zip(means, counts, strict=True)) / sum(counts)
            ),
            "0 times NaN spoils the sum",
            r"nan",
            "mean of (the )?means",
        ),
        Slip(sum_of, "the sum is not divided", r"divid|sum", "nan|mean of (the )?means"),
        Slip(
            lambda means, counts: sum_of(means, counts) / len(counts),
            "divided by the number of micro-batches",
            r"number of micro|divid|micro-batches",
            "nan|mean of (the )?means",
        ),
        Slip(
            lambda means, counts: sum_of(means, counts) / sum(1 for c in counts if c),
            "divided by the number of micro-batches that have targets",
            r"number of micro|divid|micro-batches",
            "nan|mean of (the )?means",
        ),
        Slip(
            lambda means, counts: sum(filled(means)) / sum(counts),
            "means taken for sums",
            r"sum|multipl|times|back",
            "nan",
        ),
        Slip(
            combine_until_empty,
            "stops at the first empty micro-batch",
            r"stop|after|first|later|rest|break",
            "mean of (the )?means",
        ),
        Slip(
            combine_poisoned,
            "a NaN in the end becomes 0",
            r"nan|0 times|whole|empty",
            "mean of (the )?means",
        ),
        Slip(
            combine_running,
            "a running mean of two",
            r"weigh|mean of|count|last|running|half",
            "nan",
        ),
        Slip(
            combine_full,
            "only the largest micro-batches",
            r"largest|every|all|left out|each|most",
            "nan",
        ),
        Slip(
            lambda means, counts: (
                sum(m / c for m, c in zip(means, counts, strict=True) if c)
                / sum(1 / c for c in counts if c)
            ),
            "weighted by one over the count",
            r"divid|weigh|multipl|other way|inverse",
            "nan",
        ),
    ],
)

# --- packed_mask ---


def packed_by_loops(examples):
    rows, size = examples.tolist(), examples.shape[1]
    return torch.tensor(
        [[[k <= q and row[k] == row[q] for k in range(size)] for q in range(size)] for row in rows]
    )


def packed_by_positions(examples):
    at = torch.arange(examples.shape[-1])
    return (examples.unsqueeze(2) == examples.unsqueeze(1)) & (at[:, None] >= at)


def packed_in_numpy(examples):
    numbers = examples.numpy()
    return np.tril(numbers[:, :, None] == numbers[:, None, :])


def packed_by_difference(examples):
    same = ~(examples[:, :, None] - examples[:, None, :]).bool()
    return torch.stack([table.tril() for table in same])


def packed(
    same=lambda examples: examples[:, :, None] == examples[:, None, :],
    cut=lambda table: table.tril(),
    end=lambda mask, examples: mask,
):
    """A right answer but for one part."""
    return lambda examples: end(cut(same(examples)), examples)


def packed_by_first(examples):
    mask = packed()(examples[:1])
    return mask.expand(len(examples), -1, -1)


def see_all(examples):
    return torch.ones(*examples.shape, examples.shape[1], dtype=torch.bool)


PACKED_MASK = Answers(
    right=[packed_by_loops, packed_by_positions, packed_in_numpy, packed_by_difference],
    wrong=[
        Slip(packed(cut=lambda table: table), "the future is seen", r"future|causal|later", "inv"),
        Slip(
            packed(same=see_all),
            "causal alone",
            r"other examples|stranger|own example|another example|leak|causal",
            "inv|later tokens|future",
        ),
        Slip(
            packed(cut=lambda table: table.tril(-1)),
            "a token does not see itself",
            r"itself",
            "inv|future",
        ),
        Slip(
            packed(cut=lambda table: table.triu()),
            "a token sees what comes after it",
            r"future|later|after|transpos|exchang|wrong half|rows? and columns?|other way",
            "inv|itself",
        ),
        Slip(
            packed(end=lambda mask, examples: mask & (examples >= 0)[:, :, None]),
            "padding sees nothing",
            r"padding",
            "inv|future",
        ),
        Slip(
            packed(end=lambda mask, examples: mask | (examples < 0)[:, None, :]),
            "padding is seen by all",
            r"padding|future|later",
            "inv|itself",
        ),
        Slip(
            packed(end=lambda mask, examples: ~mask),
            "True for what is hidden",
            r"inver|opposite|other way|revers|hidden|upside|exchang|may see|True",
            "itself|stranger",
        ),
        Slip(
            packed(end=lambda mask, examples: mask.float()),
            "floats",
            r"bool|float|True",
            "inv|future",
        ),
        Slip(
            packed(end=lambda mask, examples: mask.float().log()),
            "0 and minus infinity, to be added",
            r"bool|float|True|add",
            "future",
        ),
        Slip(packed_by_first, "the first row's mask for all rows", r"row|each", "inv|itself"),
        Slip(
            packed(same=lambda examples: examples[:, :, None] >= examples[:, None, :]),
            "examples of lower numbers are seen",
            r"other examples?|own example|another example|leak|equal|number",
            "inv|itself",
        ),
        Slip(
            packed(end=lambda mask, examples: mask[:, None]),
            "an axis for heads",
            r"shape|axis|head",
            "inv|itself",
        ),
        Slip(
            packed(cut=lambda table: table.tril() & ~table.tril(-8)),
            "a token sees the last eight alone",
            r"far|whole|all of|back|earlier|window",
            "inv|itself",
        ),
        Slip(
            packed(same=lambda examples: (examples[:, :, None] - examples[:, None, :]).abs() <= 1),
            "neighbouring examples are seen",
            r"other examples?|own example|another example|leak|neighbour",
            "inv|itself",
        ),
    ],
)

# --- lora_output ---


def lora_by_einsum(x, W, A, B, alpha):
    down = torch.einsum("...i,ri->...r", x, A)
    change = torch.einsum("...r,or->...o", down, B)
    return torch.einsum("...i,oi->...o", x, W) + alpha / len(A) * change


def lora_by_linear(x, W, A, B, alpha):
    return F.linear(x, W) + F.linear(F.linear(x, A) * (alpha / B.shape[1]), B)


def lora_by_loops(x, W, A, B, alpha):
    rank, rows = A.shape[0], x.reshape(-1, x.shape[-1])
    out = [W @ row + alpha * (B @ (A @ row)) / rank for row in rows]
    return torch.stack(out).reshape(*x.shape[:-1], W.shape[0])


def lora_by_pieces(x, W, A, B, alpha):
    out = x.double() @ W.double().T
    for a, b in zip(A.double(), B.double().T, strict=True):
        out = out + alpha / len(A) * (x.double() @ a)[..., None] * b
    return out


def lora(scale=lambda A, B, alpha: alpha / A.shape[0], old=lambda x, W: x @ W.T):
    """A right answer but for the scale, or for what the frozen matrix gives."""
    return lambda x, W, A, B, alpha: old(x, W) + scale(A, B, alpha) * (x @ A.T @ B.T)


def lora_scaled_all(x, W, A, B, alpha):
    return alpha / len(A) * (x @ W.T + x @ A.T @ B.T)


def lora_on_output(x, W, A, B, alpha):
    return x @ W.T + alpha / len(A) * torch.relu(x @ A.T) @ B.T


def lora_in_place(x, W, A, B, alpha):
    W += alpha / len(A) * B @ A
    return x @ W.T


def lora_by_table(x, W, A, B, alpha):
    return x @ (W + alpha / len(A) * B @ A).T


def lora_by_change(x, W, A, B, alpha):
    return x @ W.T + alpha / len(A) * x @ (B @ A).T


def lora_without_gradient(x, W, A, B, alpha):
    with torch.no_grad():
        return lora()(x, W, A, B, alpha)


LORA_OUTPUT = Answers(
    right=[lora_by_einsum, lora_by_linear, lora_by_loops, lora_by_pieces],
    wrong=[
        Slip(lora(lambda A, B, alpha: 1.0), "no scale", r"alpha|scale", "sqrt|table"),
        Slip(
            lora(lambda A, B, alpha: alpha),
            "alpha is not divided by the rank",
            r"rank|divid|\br\b",
            "sqrt|table",
        ),
        Slip(
            lora(lambda A, B, alpha: alpha / len(A) ** 0.5),
            "divided by the root of the rank",
            r"sqrt|root|rsLoRA|√",
            "table|W alone",
        ),
        Slip(
            lora(lambda A, B, alpha: alpha / A.shape[1]),
            "the rank read off the wrong axis of A",
            r"rank|axis|rows|number of inputs|\bI\b",
            "sqrt|table",
        ),
        Slip(
            lora(lambda A, B, alpha: alpha / B.shape[0]),
            "the rank read off the wrong axis of B",
            r"rank|axis|rows|number of outputs|\bO\b",
            "sqrt|table",
        ),
        Slip(
            lora(lambda A, B, alpha: len(A) / alpha),
            "rank by alpha",
            r"alpha ?/ ?r|upside|revers|other way|divid|inver",
            "sqrt|table",
        ),
        Slip(
            lora(old=lambda x, W: 0.0),
            "the change alone",
            r"\bW\b|frozen|alone|old",
            "sqrt|table|rank",
        ),
        Slip(
            lora(lambda A, B, alpha: 0.0),
            "the frozen matrix alone",
            r"change|\bA\b|\bB\b|alone",
            "sqrt|table",
        ),
        Slip(lora_scaled_all, "W is scaled as well", r"scale|\bW\b", "sqrt|table"),
        Slip(
            lora(lambda A, B, alpha: -alpha / len(A)),
            "subtracted",
            r"minus|sign|subtract|add",
            "sqrt|table",
        ),
        Slip(
            lora(lambda A, B, alpha: (alpha / len(A)) ** 2),
            "scaled twice",
            r"twice|scale|square|once",
            "sqrt|table",
        ),
        Slip(
            lora_on_output, "a nonlinearity in between", r"linear|relu|negative|between", "sqrt|tab"
        ),
        Slip(
            lora_by_table,
            "the changed matrix is made",
            r"table|thin|B ?@ ?A|product|\bBA\b",
            "sqrt|scale is",
        ),
        Slip(
            lora_by_change,
            "the (O, I) table of the change is made",
            r"table|thin|B ?@ ?A|product|\bBA\b",
            "sqrt|scale is",
        ),
        Slip(
            lora_in_place, "writes into W", r"argument|chang|in place|leave|table|thin", "sqrt|sign"
        ),
        Slip(
            lora(old=lambda x, W: x @ W),
            "W is not transposed",
            r"transpos|turned|side|\.T|shape|size|dimension",
            "sqrt|table",
        ),
        Slip(
            lora_without_gradient,
            "no gradient flows",
            r"gradient|no_grad|detach",
            "sqrt|table|scale is",
        ),
    ],
)

# --- best_low_rank ---


def low_rank_by_roots(change, rank):
    U, S, Vh = torch.linalg.svd(change, full_matrices=False)
    roots = S[:rank].sqrt()
    return roots[:, None] * Vh[:rank], U[:, :rank] * roots


def low_rank_into_a(change, rank):
    U, S, Vh = torch.linalg.svd(change.double())
    return S[:rank].diag() @ Vh[:rank], U[:, :rank]


def low_rank_by_projection(change, rank):
    _, vectors = torch.linalg.eigh(change.double().T @ change.double())
    A = vectors[:, -rank:].T
    return A, change.double() @ A.T


def low_rank_in_numpy(change, rank):
    U, S, Vh = np.linalg.svd(change.numpy(), full_matrices=False)
    return Vh[:rank], (U * S)[:, :rank]


def low_rank(
    a=lambda S, Vh, r: Vh[:r], b=lambda U, S, r: U[:, :r] * S[:r], end=lambda A, B: (A, B)
):
    """A right answer but for one part."""

    def best_low_rank(change, rank):
        U, S, Vh = torch.linalg.svd(change, full_matrices=False)
        return end(a(S, Vh, rank), b(U, S, rank))

    return best_low_rank


def low_rank_of_rows(change, rank):
    return change[:rank], torch.eye(change.shape[0])[:, :rank]


def low_rank_by_qr(change, rank):
    Q, R = torch.linalg.qr(change)
    return R[:rank], Q[:, :rank]


def low_rank_at_random(change, rank):
    A = torch.randn(rank, change.shape[1])
    return A, change @ torch.linalg.pinv(A)


def low_rank_of_centred(change, rank):
    U, S, Vh = torch.linalg.svd(change - change.mean(0), full_matrices=False)
    return Vh[:rank], U[:, :rank] * S[:rank]


def low_rank_one_less(change, rank):
    A, B = low_rank()(change, rank)
    return A, torch.cat([B[:, :-1], torch.zeros_like(B[:, -1:])], dim=1)


def low_rank_unasked(change, rank):
    U, S, Vh = torch.linalg.svd(change, full_matrices=False)
    return Vh, U * S


def low_rank_of_square(change, rank):
    U, S, V = torch.svd(change)
    return V[:rank], U[:, :rank] * S[:rank]


BEST_LOW_RANK = Answers(
    right=[low_rank_by_roots, low_rank_into_a, low_rank_by_projection, low_rank_in_numpy],
    wrong=[
        Slip(
            low_rank(b=lambda U, S, r: U[:, :r]),
            "singular values left out",
            r"singular values",
            "twice|order|small",
        ),
        Slip(
            low_rank(a=lambda S, Vh, r: S[:r, None] * Vh[:r]),
            "singular values in both",
            r"twice|both|square|one of the two",
            "order|small|left out|missing",
        ),
        Slip(
            low_rank(a=lambda S, Vh, r: Vh[-r:], b=lambda U, S, r: (U * S)[:, -r:]),
            "the smallest are kept",
            r"small|largest|last|first",
            "twice|missing|left out",
        ),
        Slip(
            low_rank(end=lambda A, B: (B, A)),
            "B first, A second",
            r"order|first|swap|exchang",
            "twice|small",
        ),
        Slip(
            low_rank(b=lambda U, S, r: (U[:r] * S).T),
            "rows of U in place of columns",
            r"row|column",
            "twice|small|missing",
        ),
        Slip(
            low_rank(a=lambda S, Vh, r: Vh[:, :r].T),
            "columns of Vh in place of rows",
            r"row|column|transpos",
            "twice|small|missing",
        ),
        Slip(
            low_rank_of_rows,
            "the first rows of the matrix",
            r"rows|close|least squares|best|singular",
            "twice|smallest",
        ),
        Slip(low_rank_by_qr, "by QR", r"QR|close|least squares|best|singular", "twice|smallest"),
        Slip(
            low_rank_at_random,
            "A at random, B fitted",
            r"random|close|least squares|best|singular",
            "twice|smallest",
        ),
        Slip(
            low_rank_of_centred,
            "the mean row is taken out first",
            r"mean|cent|close|least squares",
            "twice|smallest",
        ),
        Slip(
            low_rank_one_less,
            "one piece too few",
            r"one (piece )?(fewer|too few|less)|too few|few|rank|close",
            "twice|smallest|order",
        ),
        Slip(
            low_rank_unasked,
            "all pieces, whatever the rank",
            r"rank|shape|cut",
            "twice|smallest|order",
        ),
        Slip(
            low_rank_of_square,
            "torch.svd gives V, not its transpose",
            r"transpos|\bV\b|row|column",
            "twice|smallest|order",
        ),
        Slip(
            low_rank(end=lambda A, B: B @ A),
            "the product in place of the two",
            r"two|pair|A and B|product|tuple",
            "twice|smallest",
        ),
        Slip(
            low_rank(b=lambda U, S, r: U[:, :r] * S[:r].sqrt()),
            "roots of the singular values in B alone",
            r"root|singular values",
            "twice|smallest|order",
        ),
        Slip(
            low_rank(end=lambda A, B: (A.T, B.T)),
            "both transposed",
            r"transpos|shape",
            "twice|smallest",
        ),
    ],
)

# --- keep_answers ---


def keep_by_loops(questions, answers, is_good, most):
    pairs = []
    for question, texts in zip(questions, answers, strict=True):
        seen = []
        for text in texts:
            if len(seen) < most and text not in seen and is_good(question, text):
                seen.append(text)
        pairs.extend((question, text) for text in seen)
    return pairs


def keep_by_islice(questions, answers, is_good, most):
    for question, texts in zip(questions, answers, strict=True):
        good = (text for text in dict.fromkeys(texts) if is_good(question, text))
        yield from ((question, text) for text in islice(good, most))


def keep_by_places(questions, answers, is_good, most):
    pairs = []
    for i in range(len(questions)):
        texts = list(answers[i])
        first = [text for j, text in enumerate(texts) if texts.index(text) == j]
        good = [text for text in first if is_good(questions[i], text)]
        pairs += [(questions[i], text) for text in good[:most]]
    return pairs


def keep(
    different=lambda texts: list(dict.fromkeys(texts)),
    good=lambda is_good, question, texts: [t for t in texts if is_good(question, t)],
    cut=lambda texts, most: texts[:most],
    pair=lambda question, text: (question, text),
):
    """A right answer but for one part."""

    def keep_answers(questions, answers, is_good, most):
        pairs = []
        for question, texts in zip(questions, answers, strict=True):
            chosen = cut(good(is_good, question, different(texts)), most)
            pairs += [pair(question, text) for text in chosen]
        return pairs

    return keep_answers


def good_until_bad(is_good, question, texts):
    found = []
    for text in texts:
        if not is_good(question, text):
            break
        found.append(text)
    return found


def keep_cut_first(questions, answers, is_good, most):
    return keep()(questions, [texts[:most] for texts in answers], is_good, most)


def keep_repeats_counted(questions, answers, is_good, most):
    pairs = keep(different=list)(questions, answers, is_good, most)
    return list(dict.fromkeys(pairs))


def keep_all_different(questions, answers, is_good, most):
    seen, pairs = set(), []
    for question, texts in zip(questions, answers, strict=True):
        mine = 0
        for text in texts:
            if text not in seen and mine < most and is_good(question, text):
                seen.add(text)
                pairs.append((question, text))
                mine += 1
    return pairs


def keep_in_lists(questions, answers, is_good, most):
    return [keep()([q], [a], is_good, most) for q, a in zip(questions, answers, strict=True)]


def keep_at_least_one(questions, answers, is_good, most):
    pairs = []
    for question, texts in zip(questions, answers, strict=True):
        found = keep()([question], [texts], is_good, most)
        pairs += found or [(question, text) for text in texts[:1]]
    return pairs


def keep_by_rounds(questions, answers, is_good, most):
    pairs = keep()(questions, answers, is_good, most)
    place, seen = {}, {}
    for pair in pairs:
        place[pair] = seen.get(pair[0], 0)
        seen[pair[0]] = place[pair] + 1
    return sorted(pairs, key=place.__getitem__)


KEEP_ANSWERS = Answers(
    right=[keep_by_loops, keep_by_islice, keep_by_places],
    wrong=[
        Slip(
            keep(different=list),
            "the same answer is kept twice",
            r"twice|same|different|duplicate|repeat",
            "last|order",
        ),
        Slip(
            keep_repeats_counted,
            "repeats count before they are dropped",
            r"repeat|twice|same|different|before|count",
            "last|order",
        ),
        Slip(
            keep(cut=lambda texts, most: texts),
            "no limit",
            r"most|limit|too many",
            "last|order|twice",
        ),
        Slip(
            keep(cut=lambda texts, most: texts[: most + 1]),
            "one more than most",
            r"most|one more|too many",
            "last|order|twice",
        ),
        Slip(
            lambda *args: keep()(*args)[: args[3]],
            "the limit holds for all questions together",
            r"each question|per question|together|all questions",
            "last|order|twice",
        ),
        Slip(
            keep_cut_first,
            "cut before judged",
            r"before|first .*(judg|good)|cut|bad (ones|answers)|good answers",
            "order|twice|limit",
        ),
        Slip(
            keep(cut=lambda texts, most: texts[-most:]),
            "the last good ones",
            r"last|first",
            "twice|limit",
        ),
        Slip(
            keep(different=lambda texts: sorted(set(texts))),
            "sorted by the alphabet",
            r"order|came first|sort|set",
            "twice|limit",
        ),
        Slip(
            keep(good=lambda is_good, q, texts: [t for t in texts if is_good(t, q)]),
            "question and text exchanged in is_good",
            r"is_good|order|exchang|swap|question first",
            "twice|limit",
        ),
        Slip(
            keep(good=lambda is_good, q, texts: texts),
            "no answer is judged",
            r"is_good|judg|good|bad",
            "twice|limit|order",
        ),
        Slip(
            keep(good=lambda is_good, q, texts: [t for t in texts if not is_good(q, t)]),
            "the bad ones are kept",
            r"bad|not good|wrong ones|other way|inver",
            "twice|limit|order",
        ),
        Slip(
            keep(pair=lambda question, text: text),
            "texts without their questions",
            r"pair|question",
            "twice|limit",
        ),
        Slip(
            keep(pair=lambda question, text: (text, question)),
            "text first, question second",
            r"order|first|swap|exchang|\(question, (text|answer)\)",
            "twice|limit",
        ),
        Slip(
            keep(good=good_until_bad),
            "stops at the first bad answer",
            r"stop|first bad|after|later|break|bad",
            "twice|limit",
        ),
        Slip(
            keep_all_different,
            "a text is kept for one question only",
            r"question|another|each|across|both",
            "limit|last",
        ),
        Slip(
            keep_in_lists, "a list for each question", r"nest|list of|flat|one list|pair", "twice"
        ),
        Slip(
            keep_at_least_one,
            "a bad answer if there is no good one",
            r"bad|no good|none|nothing|not good",
            "twice|limit|order",
        ),
        Slip(
            keep_by_rounds,
            "first answers of all questions, then the second ones",
            r"order|question",
            "twice|limit",
        ),
    ],
)

ANSWERS = {
    "answer_targets": ANSWER_TARGETS,
    "answer_loss": ANSWER_LOSS,
    "combine_losses": COMBINE_LOSSES,
    "packed_mask": PACKED_MASK,
    "lora_output": LORA_OUTPUT,
    "best_low_rank": BEST_LOW_RANK,
    "keep_answers": KEEP_ANSWERS,
}
