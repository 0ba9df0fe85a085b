"""Answers to the exercises of lesson 20, written from their statements alone."""

from collections import Counter

import numpy as np
import torch
import torch.nn.functional as F

from tests.lab.checks.answers.table import Answers, Slip

# --- top_k_gates ---


def gates_by_loops(logits, n_chosen, normalise=False):
    chosen, weights = [], []
    for row in logits:
        powers = torch.exp(row - row.max())
        shares = powers / sum(powers)
        best = sorted(range(len(row)), key=lambda e: -shares[e])[:n_chosen]
        by = sum(shares[e] for e in best) if normalise else 1.0
        chosen.append(torch.tensor(best))
        weights.append(torch.stack([shares[e] / by for e in best]))
    return torch.stack(chosen), torch.stack(weights)


def gates_in_float64(logits, n_chosen, normalise=False):
    best = logits.double().topk(n_chosen)
    below = best.values if normalise else logits.double()
    return best.indices, torch.exp(best.values - below.logsumexp(1, keepdim=True))


def gates_in_numpy(logits, n_chosen, normalise=False):
    powers = np.exp(logits.detach().double().numpy())
    shares = powers / powers.sum(axis=1, keepdims=True)
    chosen = np.argsort(-shares, axis=1, kind="stable")[:, :n_chosen]
    weights = np.take_along_axis(shares, chosen, axis=1)
    if normalise:
        weights = weights / weights.sum(axis=1, keepdims=True)
    return chosen, weights


def gates_by_argsort(logits, n_chosen, normalise=False):
    affinities = F.softmax(logits, dim=-1)
    chosen = affinities.argsort(dim=-1, descending=True)[:, :n_chosen]
    weights = affinities.gather(1, chosen)
    return chosen, F.normalize(weights, p=1, dim=1) if normalise else weights


def gates(weigh=lambda logits: logits.softmax(-1), divide=None, largest=True):
    """A right answer but for the affinities, the division, or the end that is taken."""

    def top_k_gates(logits, n_chosen, normalise=False):
        weights, chosen = weigh(logits).topk(n_chosen, largest=largest)
        by_sum = divide or (lambda weights: weights / weights.sum(-1, keepdim=True))
        return chosen, by_sum(weights) if normalise else weights

    return top_k_gates


def gates_of_chosen(logits, n_chosen, normalise=False):
    best, chosen = logits.topk(n_chosen)
    return chosen, best.softmax(-1)


def gates_by_number(logits, n_chosen, normalise=False):
    chosen, weights = gates()(logits, n_chosen, normalise)
    chosen, order = chosen.sort(-1)
    return chosen, weights.gather(-1, order)


def gates_of_positive(logits, n_chosen, normalise=False):
    weights, chosen = logits.softmax(-1).topk(n_chosen)
    return chosen, weights / logits.softmax(-1).sum(-1, keepdim=True) if normalise else weights


TOP_K_GATES = Answers(
    right=[gates_by_loops, gates_in_float64, gates_by_argsort],
    wrong=[
        Slip(
            gates_in_numpy,
            "through numpy, where no gradient flows",
            r"gradient|detach",
            "softmax|order|normalise",
        ),
        Slip(
            lambda *args: gates()(*args)[::-1],
            "weights first, chosen second",
            r"order|first|swap|exchang|the other way",
            "softmax|normalis",
        ),
        Slip(
            gates_of_chosen,
            "softmax over the chosen logits alone",
            r"all experts|over the chosen|before|chosen (ones|logits|experts)",
            "axis|column|order",
        ),
        Slip(
            lambda logits, n, normalise=False: gates()(logits, n, True),
            "always divided by the sum",
            r"normalise|add up|sum|divid",
            "axis|column|order",
        ),
        Slip(
            lambda logits, n, normalise=False: gates()(logits, n),
            "never divided by the sum",
            r"normalise|add up|divid",
            "axis|column|order",
        ),
        Slip(
            gates(lambda logits: logits.softmax(0)),
            "softmax over the tokens",
            r"axis|column|token|down|last",
            "normalise|order",
        ),
        Slip(
            gates(divide=lambda weights: weights / weights.sum()),
            "divided by the sum of the whole table",
            r"whole|all tokens|each row|each token|per token|its own",
            "never|not divided|order",
        ),
        Slip(
            gates(divide=lambda weights: weights / weights.sum(0)),
            "divided by the sums of the columns",
            r"column|axis|row|token",
            "not divided|order|softmax",
        ),
        Slip(gates(lambda logits: logits), "logits as weights", r"softmax|affinit|logit", "axis"),
        Slip(gates(torch.sigmoid), "sigmoid in place of softmax", r"sigmoid|softmax", "axis|order"),
        Slip(gates(largest=False), "the lowest are chosen", r"lowest|small|worst|highest", "axis"),
        Slip(
            gates_by_number,
            "sorted by the experts' numbers",
            r"order|first choice|sorted|number",
            "softmax|axis|divid",
        ),
        Slip(
            gates(divide=lambda weights: weights / weights.shape[-1]),
            "divided by K",
            r"sum|add up|K\b|number of",
            "axis|order",
        ),
        Slip(
            gates_of_positive,
            "divided by the sum over all experts, which is 1",
            r"sum|add up|chosen|divid",
            "axis|order",
        ),
    ],
)

# --- mix_experts ---


def mix_by_tokens(x, chosen, weights, experts):
    rows = []
    for n in range(len(x)):
        pairs = zip(chosen[n].tolist(), weights[n], strict=True)
        rows.append(sum(weight * experts[e](x[n : n + 1])[0] for e, weight in pairs))
    return torch.stack(rows)


def mix_by_masks(x, chosen, weights, experts):
    out = torch.zeros_like(x)
    for e, expert in enumerate(experts):
        mine = (chosen == e).any(1)
        own = (weights * (chosen == e)).sum(1, keepdim=True)
        if mine.any():
            out[mine] += own[mine] * expert(x[mine])
    return out


def mix_in_float64(x, chosen, weights, experts):
    out = np.zeros(x.shape)
    for e, expert in enumerate(experts):
        for slot in range(chosen.shape[1]):
            mine = np.flatnonzero(chosen[:, slot].numpy() == e)
            if len(mine):
                found = expert(x[torch.from_numpy(mine)]).detach().double().numpy()
                out[mine] += weights[:, slot].detach().double().numpy()[mine, None] * found
    return out


def mix(
    weigh=lambda weights, token, slot, e: weights[token, slot, None],
    put=lambda out, token, rows: out.index_add(0, token, rows),
    start=torch.zeros_like,
    end=lambda out, weights: out,
):
    """A right answer but for one part."""

    def mix_experts(x, chosen, weights, experts):
        out = start(x)
        for e, expert in enumerate(experts):
            token, slot = (chosen == e).nonzero(as_tuple=True)
            if len(token):
                out = put(out, token, weigh(weights, token, slot, e) * expert(x[token]))
        return end(out, weights)

    return mix_experts


def put_over(out, token, rows):
    out[token] = rows
    return out


def mix_with_all(x, chosen, weights, experts):
    out = torch.zeros_like(x)
    for e, expert in enumerate(experts):
        out = out + (weights * (chosen == e)).sum(1, keepdim=True) * expert(x)
    return out


def mix_weighted_inputs(x, chosen, weights, experts):
    out = torch.zeros_like(x)
    for e, expert in enumerate(experts):
        token, slot = (chosen == e).nonzero(as_tuple=True)
        if len(token):
            out = out.index_add(0, token, expert(weights[token, slot, None] * x[token]))
    return out


def mix_in_place(x, chosen, weights, experts):
    before = x.clone()
    x.zero_()
    for e, expert in enumerate(experts):
        token, slot = (chosen == e).nonzero(as_tuple=True)
        if len(token):
            x.index_add_(0, token, weights[token, slot, None] * expert(before[token]))
    return x


def mix_swapped(x, chosen, weights, experts):
    out = torch.zeros_like(x)
    for e, expert in enumerate(experts):
        slot, token = (chosen == e).nonzero(as_tuple=True)
        if len(token):
            own = weights[slot, token, None]
            out = out.index_add(0, token, own * expert(x[token]))
    return out


MIX_EXPERTS = Answers(
    right=[mix_by_tokens, mix_by_masks, mix_in_float64],
    wrong=[
        Slip(
            mix(lambda weights, token, slot, e: 1.0),
            "weights ignored",
            r"weight",
            "overwrit|slot|all tokens",
        ),
        Slip(
            mix_with_all,
            "every expert is given every token",
            r"only|every token|all tokens|given",
            "weight is|overwrit",
        ),
        Slip(
            mix(put=put_over),
            "a later expert overwrites an earlier one",
            r"overwrit|add|last|replac",
            "weights are|every token",
        ),
        Slip(
            mix(lambda weights, token, slot, e: weights[token, :1]),
            "the first choice's weight for all choices",
            r"slot|column|first|its own|which weight",
            "overwrit|every token",
        ),
        Slip(
            mix(lambda weights, token, slot, e: weights[token, e % weights.shape[1], None]),
            "weights looked up by the expert's number",
            r"slot|column|looked up|by the expert.s number",
            "overwrit|every token|ignored",
        ),
        Slip(
            mix(end=lambda out, weights: out / weights.sum(1, keepdim=True)),
            "divided by the sum of the weights",
            r"sum|normalis|divid",
            "overwrit|every token",
        ),
        Slip(
            mix(end=lambda out, weights: out / weights.shape[1]),
            "the mean over the choices",
            r"mean|divid|sum|K\b",
            "overwrit|every token|slot",
        ),
        Slip(
            mix(start=torch.clone),
            "starts from the tokens themselves",
            r"zero|residual|itself|x is|input|starts? ",
            "overwrit|slot|weight",
        ),
        Slip(
            mix_weighted_inputs,
            "the inputs are weighted, not the outputs",
            r"input|before|go in",
            "overwrit|every token|slot",
        ),
        Slip(mix_in_place, "writes into x", r"argument|chang|in place|leave", "weight|slot"),
        Slip(
            lambda x, chosen, weights, experts: mix()(x, chosen[:, :1], weights, experts),
            "only the first choice is visited",
            r"first|only one|choice|slot|second|others",
            "every token is|ignored",
        ),
        Slip(
            lambda x, chosen, weights, experts: mix()(x, chosen, weights, experts[:-1]),
            "the last expert is left out",
            r"last|expert \d|left out|range|misses",
            "overwrit|ignored|slot",
        ),
        Slip(
            mix_swapped,
            "rows and columns of the table swapped",
            r"row|column|swap|axis|token, slot|index",
            "overwrit|ignored",
        ),
    ],
)

# --- balance_loss ---


def loss_by_loops(scores, chosen):
    n_tokens, n_experts = scores.shape
    visits = Counter(e for row in chosen.tolist() for e in row)
    fair = chosen.numel() / n_experts
    total = scores.new_zeros(())
    for e in range(n_experts):
        total = total + visits[e] / fair * sum(scores[:, e]) / n_tokens
    return total


def loss_by_one_hot(scores, chosen):
    visited = F.one_hot(chosen, scores.shape[1]).sum(1).double()
    f = visited.mean(0) * scores.shape[1] / chosen.shape[1]
    return f @ scores.double().mean(dim=0)


def loss_by_scatter(scores, chosen):
    load = torch.zeros_like(scores).scatter_(1, chosen, 1.0)
    return torch.einsum("te,se->", load, scores) * scores.size(1) / (load.sum() * len(scores))


def loss(
    f=lambda load, tokens, k: load * len(load) / (k * tokens),
    p=lambda scores: scores.mean(0),
    end=torch.sum,
    count=lambda chosen: chosen,
):
    """A right answer but for one part."""

    def balance_loss(scores, chosen):
        load = torch.bincount(count(chosen).flatten(), minlength=scores.shape[1])
        return end(f(load, len(scores), chosen.shape[1]) * p(scores))

    return balance_loss


def loss_without_minlength(scores, chosen):
    f = torch.bincount(chosen.flatten()) * scores.shape[1] / chosen.numel()
    return (f * scores.mean(0)).sum()


def loss_of_counts(scores, chosen):
    f = torch.bincount(chosen.flatten(), minlength=scores.shape[1]) * scores.shape[1]
    f = f / chosen.numel()
    return (f * f).mean()


def loss_of_means(scores, chosen):
    return scores.shape[1] * scores.mean(0).square().sum()


BALANCE_LOSS = Answers(
    right=[loss_by_loops, loss_by_one_hot, loss_by_scatter],
    wrong=[
        Slip(
            loss(lambda load, tokens, k: load * len(load) / tokens),
            "a token makes one visit",
            r"\bK\b|visits|choices|fair",
            "gradient|minlength",
        ),
        Slip(
            loss(lambda load, tokens, k: load / (k * tokens)),
            "not multiplied by the number of experts",
            r"number of experts|\bE\b|fair|n_experts",
            "gradient|minlength",
        ),
        Slip(
            loss(lambda load, tokens, k: load),
            "the load itself for f",
            r"fair|divid|share|load",
            "gradient|minlength",
        ),
        Slip(
            loss_without_minlength,
            "bincount without minlength",
            r"minlength|no visit|last|not visited|how many experts",
            "gradient|fair",
        ),
        Slip(
            lambda scores, chosen: loss()(scores.detach(), chosen),
            "affinities detached",
            r"gradient|detach",
            "fair|minlength",
        ),
        Slip(loss_of_counts, "the counts squared", r"gradient|count|affinit|P\b", "minlength"),
        Slip(
            loss_of_means,
            "two mean affinities",
            r"count|visit|load|chosen|f\b",
            "minlength|detach|no gradient",
        ),
        Slip(
            loss(p=lambda scores: scores.sum(0)),
            "P summed over the tokens",
            r"mean|sum|divid|T\b",
            "gradient|minlength",
        ),
        Slip(
            loss(end=torch.mean),
            "the mean over the experts",
            r"mean|sum|number of experts",
            "gradient|minlength",
        ),
        Slip(
            loss(p=lambda scores: scores.mean(1)),
            "affinities averaged over the experts",
            r"axis|size|token|shape|dim",
            "minlength|no gradient",
        ),
        Slip(
            lambda scores, chosen: loss()(scores, chosen).item(),
            "a Python number",
            r"tensor|number|gradient|float|item",
            "fair|minlength",
        ),
        Slip(
            lambda scores, chosen: 0.03 * loss()(scores, chosen),
            "multiplied by alpha",
            r"α|alpha|times what",
            "gradient|minlength|fair load",
        ),
        Slip(
            loss(count=lambda chosen: chosen[:, 0]),
            "only first choices counted",
            r"first|all choices|visits|K\b|column",
            "gradient|minlength",
        ),
    ],
)

# --- allowed_experts ---


def allowed_by_loops(scores, n_groups, n_limited_groups):
    size = scores.shape[1] // n_groups
    mask = []
    for row in scores.tolist():
        best = [max(row[g * size : (g + 1) * size]) for g in range(n_groups)]
        kept = sorted(range(n_groups), key=best.__getitem__, reverse=True)[:n_limited_groups]
        mask.append([e // size in kept for e in range(len(row))])
    return torch.tensor(mask)


def allowed_in_numpy(scores, n_groups, n_limited_groups):
    scores = scores.double().numpy()
    best = scores.reshape(len(scores), n_groups, -1).max(axis=2)
    rank = (-best).argsort(axis=1).argsort(axis=1)
    return np.repeat(rank < n_limited_groups, scores.shape[1] // n_groups, axis=1)


def allowed_by_one_hot(scores, n_groups, n_limited_groups):
    best = torch.stack([group.max(1).values for group in scores.chunk(n_groups, dim=1)], dim=1)
    kept = F.one_hot(best.topk(n_limited_groups).indices, n_groups).sum(1) > 0
    return kept[:, :, None].expand(-1, -1, scores.shape[1] // n_groups).flatten(1)


def allowed(
    rank=lambda groups: groups.amax(-1),
    tables=lambda scores, n: scores.view(len(scores), n, -1),
    spread=lambda kept, size: kept.repeat_interleave(size, dim=1),
    off=0,
    largest=True,
):
    """A right answer but for one part."""

    def allowed_experts(scores, n_groups, n_limited_groups):
        best = rank(tables(scores, n_groups))
        kept = torch.zeros_like(best, dtype=torch.bool)
        found = best.topk(n_limited_groups + off, largest=largest).indices
        return spread(kept.scatter(1, found, True), scores.shape[1] // n_groups)

    return allowed_experts


def allowed_by_best_experts(scores, n_groups, n_limited_groups):
    size = scores.shape[1] // n_groups
    owner = scores.topk(n_limited_groups).indices // size
    kept = torch.zeros(len(scores), n_groups, dtype=torch.bool).scatter(1, owner, True)
    return kept.repeat_interleave(size, dim=1)


def allowed_for_all(scores, n_groups, n_limited_groups):
    best = scores.view(len(scores), n_groups, -1).amax((0, 2))
    kept = torch.zeros(n_groups, dtype=torch.bool)
    kept[best.topk(n_limited_groups).indices] = True
    return kept.repeat_interleave(scores.shape[1] // n_groups).expand_as(scores)


def allowed_in_place(scores, n_groups, n_limited_groups):
    mask = allowed()(scores, n_groups, n_limited_groups)
    scores[~mask] = -torch.inf
    return mask


ALLOWED_EXPERTS = Answers(
    right=[allowed_by_loops, allowed_in_numpy, allowed_by_one_hot],
    wrong=[
        Slip(
            allowed(lambda groups: groups.mean(-1)),
            "a device is as good as its mean",
            r"mean|best|largest|maxim",
            "neighbour|inver",
        ),
        Slip(
            allowed(lambda groups: groups.topk(min(2, groups.shape[-1])).values.sum(-1)),
            "devices ranked by their two best",
            r"two|best expert|V3|single",
            "neighbour|inver|mean",
        ),
        Slip(
            allowed(
                lambda groups: groups.amax(1),
                tables=lambda scores, n: scores.view(len(scores), -1, n),
                spread=lambda kept, size: kept.repeat(1, size),
            ),
            "experts dealt out to the devices in turn",
            r"neighbour|turn|order|interleav|view",
            "mean|inver",
        ),
        Slip(
            allowed(spread=lambda kept, size: kept.repeat(1, size)),
            "marks tiled, not repeated in place",
            r"neighbour|repeat|interleav|order",
            "mean|inver",
        ),
        Slip(
            allowed_by_best_experts,
            "the devices of the best M experts",
            r"devices|fewer|same device|experts?, not",
            "mean|inver|neighbour",
        ),
        Slip(
            allowed(largest=False), "the worst devices", r"worst|lowest|small|best", "mean|neighb"
        ),
        Slip(
            lambda scores, *args: scores.masked_fill(~allowed()(scores, *args), -torch.inf),
            "masked affinities in place of a mask",
            r"mask|bool|True|affinit",
            "neighbour|mean of",
        ),
        Slip(
            lambda *args: ~allowed()(*args),
            "True for those ruled out",
            r"inver|revers|opposite|ruled out|exchang|other way|True (for|where)|not allowed",
            "neighbour|mean of",
        ),
        Slip(
            allowed_for_all,
            "the same devices for all tokens",
            r"each token|token's own|per token|every token|all tokens",
            "neighbour|mean of|inver",
        ),
        Slip(allowed(off=-1), "one device too few", r"few|n_limited|how many", "neigh|mean of"),
        Slip(
            allowed(spread=lambda kept, size: kept),
            "a mark for each device",
            r"shape|each expert|every expert|repeat",
            "mean of|inver",
        ),
        Slip(
            lambda scores, n_groups, n_limited: allowed()(
                scores, scores.shape[1] // n_groups, n_limited
            ),
            "number of devices and size of a device exchanged",
            r"n_groups|experts on each|exchang|swap",
            "mean of|inver",
        ),
        Slip(
            allowed_in_place,
            "affinities overwritten",
            r"argument|chang|in place|leave",
            "mean of|neighbour",
        ),
    ],
)

# --- kept_visits ---


def kept_by_counter(chosen, n_experts, capacity):
    seen, kept = Counter(), []
    for expert in chosen.tolist():
        kept.append(seen[expert] < capacity)
        seen[expert] += kept[-1]
    return kept


def kept_by_cumsum(chosen, n_experts, capacity):
    visits = F.one_hot(chosen, n_experts)
    return (visits.cumsum(0) * visits).sum(1) <= capacity


def kept_in_numpy(chosen, n_experts, capacity):
    chosen, kept = chosen.numpy(), np.zeros(len(chosen), dtype=bool)
    for expert in range(n_experts):
        kept[np.flatnonzero(chosen == expert)[:capacity]] = True
    return kept


def kept_up_to(chosen, n_experts, capacity):
    load, kept = [0] * n_experts, []
    for expert in chosen.tolist():
        kept.append(load[expert] <= capacity)
        load[expert] += 1
    return torch.tensor(kept)


def kept_if_not_full(chosen, n_experts, capacity):
    return torch.bincount(chosen, minlength=n_experts)[chosen] <= capacity


def kept_by_runs(chosen, n_experts, capacity):
    kept, last, run = [], None, 0
    for expert in chosen.tolist():
        run = run + 1 if expert == last else 1
        kept.append(run <= capacity)
        last = expert
    return torch.tensor(kept, dtype=torch.bool)


def kept_by_experts(chosen, n_experts, capacity):
    counts = torch.bincount(chosen, minlength=n_experts).tolist()
    return torch.tensor([i < capacity for count in counts for i in range(count)])


def kept_of_next(chosen, n_experts, capacity):
    load, kept = [0] * n_experts, []
    for expert in chosen.tolist():
        load[expert] += 1
        kept.append(load[expert] < capacity)
    return torch.tensor(kept)


KEPT_VISITS = Answers(
    right=[kept_by_counter, kept_by_cumsum, kept_in_numpy],
    wrong=[
        Slip(
            kept_up_to,
            "room for one more than the capacity",
            r"one (visit )?(more|too many)|one more|<=|too many",
            "last|invert|sorted",
        ),
        Slip(
            kept_of_next,
            "counted before compared",
            r"one (visit )?(fewer|less|too few)|too few|before|after|counts? itself|<=",
            "too many|sorted|invert",
        ),
        Slip(
            lambda chosen, e, c: kept_by_cumsum(chosen.flip(0), e, c).flip(0),
            "last come, first served",
            r"last|revers|first come|from the end|backward",
            "too many|too few|invert",
        ),
        Slip(
            lambda chosen, e, c: torch.arange(len(chosen)) < c,
            "one room for all experts",
            r"each expert|its own|per expert|all experts|every expert",
            "last come|sorted|invert",
        ),
        Slip(
            lambda chosen, e, c: torch.arange(len(chosen)) < c * e,
            "the room of all experts together",
            r"each expert|its own|per expert|all experts|together|every expert",
            "last come|sorted|invert",
        ),
        Slip(
            kept_if_not_full,
            "an expert with too many visits loses all",
            r"all (visits|of them|its)|until|the first|every visit|none",
            "last come|sorted|invert",
        ),
        Slip(
            lambda *args: kept_by_cumsum(*args).nonzero().flatten(),
            "positions of the kept visits",
            r"mask|bool|shape|position|index|indices",
            "too few|last come",
        ),
        Slip(
            lambda *args: ~kept_by_cumsum(*args),
            "True for those dropped",
            r"dropped|invert|revers|opposite|upside|exchang|other way round",
            "too many|last come",
        ),
        Slip(kept_by_experts, "sorted by expert", r"order|sorted", "too many|last come|invert"),
        Slip(
            lambda chosen, e, c: kept_by_cumsum(chosen, e, max(c, 1)),
            "room for at least one",
            r"capacity (of )?(is )?0|no room|zero",
            "last come|sorted|invert",
        ),
        Slip(
            kept_by_runs,
            "counter starts again when the expert changes",
            r"again|reset|in a row|between|counter|later",
            "last come|sorted|invert",
        ),
        Slip(
            lambda chosen, e, c: torch.tensor(
                [chosen[:i].tolist().count(expert) for i, expert in enumerate(chosen.tolist())]
            ),
            "the load found, in place of a mask",
            r"mask|bool|True",
            "last come|sorted|invert",
        ),
    ],
)

# --- upcycle ---


def upcycle_by_stack(gate, up, down, n_experts):
    both = torch.vstack((gate, up))
    return torch.stack([both] * n_experts), torch.stack([down for _ in range(n_experts)])


def upcycle_by_clone(gate, up, down, n_experts):
    both = torch.cat([gate, up], dim=0)
    return both.expand(n_experts, -1, -1).clone(), down[None].expand(n_experts, -1, -1).clone()


def upcycle_by_loops(gate, up, down, n_experts):
    f, c = gate.shape
    gate_up, downs = torch.empty(n_experts, 2 * f, c), torch.empty(n_experts, c, f)
    for e in range(n_experts):
        gate_up[e, :f], gate_up[e, f:], downs[e] = gate, up, down
    return gate_up, downs


def upcycle_by_views(gate, up, down, n_experts):
    both = torch.cat([gate, up])
    return both.expand(n_experts, -1, -1), down.expand(n_experts, -1, -1)


def upcycle_down_by_views(gate, up, down, n_experts):
    return torch.cat([gate, up]).repeat(n_experts, 1, 1), down.expand(n_experts, -1, -1)


def upcycle_in_turn(gate, up, down, n_experts):
    both = torch.stack([gate, up], dim=1).flatten(0, 1)
    return both.repeat(n_experts, 1, 1), down.repeat(n_experts, 1, 1)


def upcycle_divided(gate, up, down, n_experts):
    gate_up, downs = upcycle_by_stack(gate, up, down, n_experts)
    return gate_up, downs / n_experts


def upcycle_with_noise(gate, up, down, n_experts):
    gate_up, downs = upcycle_by_stack(gate, up, down, n_experts)
    return gate_up + 0.01 * torch.randn_like(gate_up), downs + 0.01 * torch.randn_like(downs)


def upcycle_flat(gate, up, down, n_experts):
    return torch.cat([gate, up]).repeat(n_experts, 1), down.repeat(n_experts, 1)


def upcycle_wide(gate, up, down, n_experts):
    both = torch.cat([gate, up], dim=1)
    return both.repeat(n_experts, 1, 1), down.repeat(n_experts, 1, 1)


def upcycle_cut(gate, up, down, n_experts):
    gate_up, downs = upcycle_by_stack(gate, up, down, n_experts)
    return gate_up, downs.transpose(1, 2).contiguous()


def upcycle_first(gate, up, down, n_experts):
    gate_up, downs = upcycle_by_stack(gate, up, down, n_experts)
    gate_up[1:], downs[1:] = torch.randn_like(gate_up[1:]), torch.randn_like(downs[1:])
    return gate_up, downs


UPCYCLE = Answers(
    right=[upcycle_by_stack, upcycle_by_clone, upcycle_by_loops],
    wrong=[
        Slip(
            upcycle_by_views,
            "views of one matrix",
            r"view|expand|part|memory|same numbers|copies",
            "order|shape|first",
        ),
        Slip(
            upcycle_down_by_views,
            "views of down alone",
            r"view|expand|part|memory|same numbers|copies",
            "order|shape|first|gate_up",
        ),
        Slip(
            lambda gate, up, down, n: upcycle_by_stack(up, gate, down, n),
            "up above gate",
            r"first|above|order|swap|exchang",
            "view|expand|shape",
        ),
        Slip(
            lambda *args: upcycle_by_stack(*args)[::-1],
            "down first, gate_up second",
            r"order|first|swap|exchang|shape",
            "view|expand|transpos",
        ),
        Slip(upcycle_wide, "gate beside up", r"shape|above|beside|axis|dim", "view|expand"),
        Slip(
            upcycle_in_turn,
            "rows of gate and up in turn",
            r"turn|above|order|interleav|row",
            "view|expand|shape|up first",
        ),
        Slip(
            upcycle_divided,
            "down divided by the number of experts",
            r"divid|scale|copy|copies|down",
            "view|expand|gate first",
        ),
        Slip(
            upcycle_with_noise,
            "noise added",
            r"noise|copy|copies|equal|differ|exact",
            "view|expand|order",
        ),
        Slip(
            upcycle_flat,
            "experts below each other in one table",
            r"shape|axis|dim|repeat",
            "view|expand|gate first",
        ),
        Slip(upcycle_cut, "down transposed", r"shape|transpos", "view|expand|gate first"),
        Slip(
            upcycle_first,
            "only expert 0 is a copy",
            r"copy|copies|expert \d|every|each|all",
            "view|expand|order|gate first",
        ),
        Slip(
            lambda gate, up, down, n: (
                torch.cat([gate, gate]).repeat(n, 1, 1),
                down.repeat(n, 1, 1),
            ),
            "gate twice",
            r"\bup\b|twice",
            "view|expand|order",
        ),
    ],
)

ANSWERS = {
    "top_k_gates": TOP_K_GATES,
    "mix_experts": MIX_EXPERTS,
    "balance_loss": BALANCE_LOSS,
    "allowed_experts": ALLOWED_EXPERTS,
    "kept_visits": KEPT_VISITS,
    "upcycle": UPCYCLE,
}
