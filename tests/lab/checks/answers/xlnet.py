"""Answers to the exercises of lesson 16, written from their statements alone."""

import math

import torch

from tests.lab.checks.answers.table import Answers, Slip

# --- chain_probability ---


def chain_by_changing(conditional, words, order):
    seen, p = {}, 1.0
    for i in order:
        p *= conditional(i, seen)[words[i]]
        seen[i] = words[i]
    return p


def chain_by_recursion(conditional, words, order):
    if not order:
        return 1.0
    *before, last = order
    rest = chain_by_recursion(conditional, words, before)
    return rest * conditional(last, {i: words[i] for i in before})[words[last]]


def chain_by_logs(conditional, words, order):
    log_p = 0.0
    for n, i in enumerate(order):
        p = conditional(i, dict((j, words[j]) for j in order[:n]))[words[i]]
        log_p += math.log(p) if p else -math.inf
    return math.exp(log_p)


def factors(conditional, words, order, seen=None, word=None):
    """The factors of the chain, with other words in sight or another word asked for."""
    seen = seen or (lambda n: {i: words[i] for i in order[:n]})
    word = word or (lambda n, i: words[i])
    return [conditional(i, seen(n))[word(n, i)] for n, i in enumerate(order)]


def chain_seeing(seen):
    """The product, with `seen(words, order, n)` in sight at step n."""
    return lambda conditional, words, order: math.prod(
        factors(conditional, words, order, lambda n: seen(words, order, n))
    )


CHAIN_PROBABILITY = Answers(
    right=[
        chain_by_changing,
        chain_by_recursion,
        chain_by_logs,
        lambda conditional, words, order: math.prod(factors(conditional, words, order)),
    ],
    wrong=[
        Slip(
            chain_seeing(lambda words, order, n: {}),
            "nothing is ever seen",
            "seen|known|independent",
            "log|sum",
        ),
        Slip(
            chain_seeing(lambda words, order, n: {i: words[i] for i in order[: n + 1]}),
            "a word is seen before it is predicted",
            "itself|own|already|certain",
            "log|independent",
        ),
        Slip(
            lambda c, words, order: math.prod(factors(c, words, range(len(words)))),
            "always from left to right",
            "order|left to right",
            "log|independent",
        ),
        Slip(
            lambda c, words, order: math.prod(factors(c, words, order[::-1])),
            "the order backwards",
            "order|backward|revers|last",
            "log|independent",
        ),
        Slip(
            lambda *given: sum(factors(*given)),
            "factors added",
            "add|sum|product|multipl",
            "independent",
        ),
        Slip(
            lambda *given: math.log(math.prod(factors(*given))), "a logarithm", "log", "independent"
        ),
        Slip(
            chain_seeing(lambda words, order, n: {k: words[i] for k, i in enumerate(order[:n])}),
            "seen by step, not by position",
            "positions|keys",
            "log|independent",
        ),
        Slip(
            lambda c, words, order: math.prod(factors(c, words, order, word=lambda n, i: words[n])),
            "the n-th word asked for at the n-th step",
            r"position|words\[",
            "log|independent",
        ),
        Slip(
            chain_seeing(lambda words, order, n: {i: words[i] for i in order if i != order[n]}),
            "all other words in sight",
            "before|later|other|rest|both sides|come",
            "log|independent",
        ),
        Slip(
            chain_seeing(lambda words, order, n: {i: words[i] for i in order[:n][-1:]}),
            "the last word alone in sight",
            "all|only|seen|earlier|last",
            "log|independent",
        ),
        Slip(
            lambda *given: math.prod(factors(*given)[1:]),
            "the first factor left out",
            "first",
            "log|independent",
        ),
        Slip(
            lambda *given: factors(*given)[-1],
            "the last factor alone",
            "product|multipl|last|factor",
            "independent",
        ),
    ],
)

# --- unseen_in_order ---


def unseen_by_loops(rank):
    ranks = rank.tolist()
    return torch.tensor([[b >= 0 and b >= a for b in ranks] for a in ranks])


def unseen_by_sees(rank):
    row, column = rank.unsqueeze(0), rank.unsqueeze(1)
    return ~((row < column) | (row == -1))


def unseen_by_difference(rank):
    differences = rank.expand(len(rank), -1) - rank.view(-1, 1)
    return torch.where(rank < 0, False, differences >= 0)


UNSEEN_IN_ORDER = Answers(
    right=[unseen_by_loops, unseen_by_sees, unseen_by_difference],
    wrong=[
        Slip(
            lambda rank: unseen_by_loops(rank).T,
            "rows and columns swapped",
            "row|column|transpos|turned",
            "diagonal",
        ),
        Slip(
            lambda rank: (rank[None] > rank[:, None]) & (rank >= 0),
            "a target sees itself",
            "itself|own|diagonal",
            "transpos",
        ),
        Slip(
            lambda rank: rank[None] >= rank[:, None],
            "context does not see context",
            "-1|context|not a target|no target",
            "transpos",
        ),
        Slip(
            lambda rank: ~unseen_by_loops(rank),
            "who sees whom",
            "not see|inver|opposite|unseen|hidden|may see",
            "transpos",
        ),
        Slip(
            lambda rank: (rank[None] >= rank[:, None]) & (rank[:, None] >= 0),
            "rows of targets kept in place of columns",
            "column|context|-1|row",
        ),
        Slip(
            lambda rank: (rank[None] <= rank[:, None]) & (rank >= 0),
            "the order backwards",
            "backward|before|after|revers|lower|earlier",
        ),
        Slip(
            lambda rank: torch.ones(len(rank), len(rank), dtype=torch.bool).triu(),
            "from left to right, whatever the ranks",
            "left to right|order|rank|position",
        ),
        Slip(
            lambda rank: (rank[None] >= rank[:, None]) & (rank > 0),
            "the first target is taken for context",
            "rank 0|first",
        ),
        Slip(
            lambda rank: torch.zeros(len(rank), len(rank)).masked_fill(
                unseen_by_loops(rank), -torch.inf
            ),
            "numbers to add to scores",
            "bool",
        ),
        Slip(
            lambda rank: (rank >= 0).expand(len(rank), -1),
            "no target is seen by anybody",
            "nobody|lower|earlier",
            "transpos",
        ),
        Slip(lambda rank: unseen_by_loops(rank)[None], "a batch of one", "shape|dimension|table"),
        Slip(
            lambda rank: unseen_by_loops(rank) & ~torch.eye(len(rank), dtype=torch.bool),
            "the diagonal cleared",
            "itself|own|diagonal",
        ),
        Slip(
            lambda rank: unseen_by_loops(rank) | (rank < 0)[:, None],
            "context sees nothing",
            "-1|context",
        ),
    ],
)

# --- query_sees ---


def query_by_comparing(content_sees, targets):
    return content_sees[targets] & (targets[:, None] != torch.arange(len(content_sees)))


def query_by_loop(content_sees, targets):
    rows = []
    for t in targets.tolist():
        row = content_sees[t].clone()
        row[t] = False
        rows.append(row)
    return torch.stack(rows)


def query_by_index(content_sees, targets):
    table = content_sees.index_select(0, targets)
    table[torch.arange(len(targets)), targets] = False
    return table


def cleared(content_sees):
    return content_sees & ~torch.eye(len(content_sees), dtype=torch.bool)


QUERY_SEES = Answers(
    right=[
        query_by_comparing,
        query_by_loop,
        query_by_index,
        lambda sees, targets: (sees ^ torch.eye(len(sees), dtype=torch.bool))[targets],
    ],
    wrong=[
        Slip(lambda sees, targets: sees[targets], "a query sees its token", "itself|own|leak"),
        Slip(
            lambda sees, targets: sees[targets] & ~torch.eye(len(targets), len(sees)).bool(),
            "the diagonal of the chosen rows cleared",
            "diagonal|own|before",
        ),
        Slip(
            lambda sees, targets: cleared(sees)[:, targets].T,
            "columns of the targets",
            "row|column",
        ),
        Slip(
            lambda sees, targets: cleared(sees)[:, targets],
            "columns of the targets, not turned",
            "row|column|shape",
        ),
        Slip(
            lambda sees, targets: sees.fill_diagonal_(False)[targets],
            "the given table is changed",
            "chang|copy|clone|in place|given",
        ),
        Slip(
            lambda sees, targets: cleared(sees),
            "a row for every token",
            "shape|row|each of the targets|targets",
        ),
        Slip(
            lambda sees, targets: sees[targets].index_fill(1, targets, False),
            "no query sees any target",
            "no query sees any",
        ),
        Slip(
            lambda sees, targets: cleared(sees)[targets.sort().values],
            "the targets sorted",
            "order|sort",
        ),
        Slip(
            lambda sees, targets: ~query_by_loop(sees, targets),
            "whom a query does not see",
            "hidden|inver|opposite",
        ),
        Slip(
            lambda sees, targets: torch.eye(len(sees), dtype=torch.bool)[targets],
            "a query sees itself alone",
            "itself|own",
        ),
        Slip(
            lambda sees, targets: torch.ones_like(sees).tril(-1)[targets],
            "what stands to the left",
            "content|left|position|order",
        ),
        Slip(
            lambda sees, targets: cleared(sees)[: len(targets)],
            "the first K rows",
            "targets|first|row",
        ),
        Slip(
            lambda sees, targets: ~torch.eye(len(sees), dtype=torch.bool)[targets],
            "everything but itself",
            "content",
        ),
    ],
)

# --- scores_by_key ---


def keys_by_slices(scores):
    T = len(scores)
    return torch.stack([scores[i, T - i : 2 * T - i] for i in range(T)])


def keys_by_index(scores):
    i = torch.arange(len(scores))[:, None]
    return scores[i, len(scores) - i + i.T]


def keys_by_reshape(scores):
    T = len(scores)
    return scores.reshape(-1)[T:].reshape(T, 2 * T - 1)[:, :T]


def keys_by_loops(scores):
    T = scores.shape[0]
    table = torch.empty(T, T, dtype=scores.dtype)
    for i in range(T):
        for j in range(T):
            table[i, j] = scores[i, T - (i - j)]
    return table


def keys_at(column):
    """The table with entry i, j taken from column `column(T, i, j)` of row i."""

    def answer(scores):
        T = len(scores)
        i, j = torch.arange(T)[:, None], torch.arange(T)
        return scores.gather(1, column(T, i, j).expand(T, T) % (2 * T))

    return answer


def padded(scores):
    T, P = scores.shape
    wider = torch.cat([scores.new_zeros(T, 1), scores], 1)
    return wider.view(P + 1, T)[1:].view(T, P)[:, :T]


SCORES_BY_KEY = Answers(
    right=[
        keys_by_slices,
        keys_by_index,
        keys_by_reshape,
        keys_by_loops,
        lambda scores: torch.stack([r.roll(i)[len(scores) :] for i, r in enumerate(scores)]),
    ],
    wrong=[
        Slip(lambda s: s[:, : len(s)], "the first T columns", "row|column|moved|shift|window"),
        Slip(lambda s: s[:, len(s) :], "the last T columns", "row|column|moved|shift|window"),
        Slip(
            keys_at(lambda T, i, j: T + i - j),
            "distance j - i",
            "sign|j - i|wrong way|other way|direction",
        ),
        Slip(keys_at(lambda T, i, j: T - 1 - i + j), "one column too early", "one|column|off"),
        Slip(keys_at(lambda T, i, j: T + 1 - i + j), "one column too late", "one|column|off"),
        Slip(padded, "a column of zeros in front, as in Transformer-XL", "one|column|off"),
        Slip(lambda s: keys_by_slices(s).T, "transposed", "transpos|row|turned"),
        Slip(keys_at(lambda T, i, j: i - j), "the distance itself as a column", "T - c|column|T"),
        Slip(lambda s: keys_by_slices(s[:1].expand_as(s)), "all from the first row", "row|query"),
        Slip(lambda s: keys_by_slices(s).tril(), "later keys are zero", "right|later|above|neg|-1"),
        Slip(
            keys_at(lambda T, i, j: T - (i - j).abs()), "distances without a sign", "sign|abs|neg"
        ),
        Slip(keys_at(lambda T, i, j: T + i + j), "rows moved the wrong way", "way|direction|moved"),
        Slip(lambda s: keys_by_slices(s.flip(1)), "columns reversed", "sign|way|revers|j - i"),
    ],
)

# --- partial_rank ---


def rank_by_loop(order, n_targets):
    rank = [-1] * len(order)
    for n, position in enumerate(order.tolist()[len(order) - n_targets :]):
        rank[position] = n
    return torch.tensor(rank)


def rank_by_argsort(order, n_targets):
    return (order.argsort() - (len(order) - n_targets)).clamp(min=-1)


def rank_by_scatter(order, n_targets):
    source = torch.cat([order.new_full((len(order) - n_targets,), -1), torch.arange(n_targets)])
    return torch.zeros_like(order).scatter(0, order, source)


def written(chosen, ranks, fill=-1):
    """The ranks with `ranks(n)` at the positions `chosen(order, n)`."""

    def answer(order, n):
        rank = torch.full_like(order, fill)
        rank[chosen(order, n)] = ranks(n)
        return rank

    return answer


def last(order, n):
    return order[-n:]


PARTIAL_RANK = Answers(
    right=[
        rank_by_loop,
        rank_by_argsort,
        rank_by_scatter,
        lambda order, n: (
            (order[None, -n:] == torch.arange(len(order))[:, None]).long() @ torch.arange(1, n + 1)
            - 1
        ),
    ],
    wrong=[
        Slip(
            written(lambda order, n: order[:n], torch.arange),
            "the first of the order",
            "last|first|end",
        ),
        Slip(
            lambda order, n: torch.where(order.argsort() >= len(order) - n, order.argsort(), -1),
            "ranks do not begin at 0",
            "begin|start|0",
        ),
        Slip(
            lambda order, n: (order - (len(order) - n)).clamp(min=-1),
            "the order taken for ranks",
            "index|order|inver|position",
        ),
        Slip(
            lambda order, n: torch.cat([torch.full_like(order[n:], -1), torch.arange(n)]),
            "the last positions of the text",
            "order|position|text",
        ),
        Slip(written(last, torch.arange, fill=0), "0 for all others", "-1"),
        Slip(
            written(last, lambda n: torch.arange(n).flip(0)),
            "ranks backwards",
            "backward|revers|order|last|first",
        ),
        Slip(written(last, lambda n: torch.arange(1, n + 1)), "ranks from 1", "0|from 1"),
        Slip(
            written(lambda order, n: order[-n:].sort().values, torch.arange),
            "targets from left to right",
            "order|left to right|sort",
        ),
        Slip(lambda order, n: torch.arange(n), "the ranks alone", "shape|position|each"),
        Slip(written(last, lambda n: 0), "rank 0 for all targets", "none sees another|same"),
        Slip(lambda order, n: order.argsort() - (len(order) - n), "ranks below -1", "-1|below"),
        Slip(lambda order, n: order.argsort(), "all are targets", "-1|only|last|n_targets"),
        Slip(lambda order, n: last(order, n), "the targets' positions", "shape|position|each"),
        Slip(
            lambda order, n: rank_by_argsort(order, n - 1) if n > 1 else -torch.ones_like(order),
            "one target too few",
            "n_targets|last|target",
        ),
    ],
)

# --- next_memory ---


def memory_without_graph(memory, states, length):
    with torch.no_grad():
        both = states if memory is None else torch.vstack((memory, states))
        return both[max(0, len(both) - length) :].clone()


def memory_by_parts(memory, states, length):
    missing = length - len(states)
    if memory is None or missing <= 0:
        return states[-length:].detach()
    return torch.cat([memory[-missing:].detach(), states.detach()])


def memory_of_nothing(memory, states, length):
    memory = states.new_empty(0, states.shape[1]) if memory is None else memory
    return torch.cat((memory, states), dim=0).detach()[-length:]


def joined(memory, states):
    return states if memory is None else torch.cat([memory, states])


NEXT_MEMORY = Answers(
    right=[memory_without_graph, memory_by_parts, memory_of_nothing],
    wrong=[
        Slip(lambda m, s, n: joined(m, s)[-n:], "the gradient flows", "gradient|detach"),
        Slip(lambda m, s, n: joined(m, s)[:n].detach(), "the oldest kept", "new|old|end"),
        Slip(
            lambda m, s, n: (s if m is None else torch.cat([s, m]))[-n:].detach(),
            "the memory behind the states",
            "order|behind|front|before|read",
        ),
        Slip(lambda m, s, n: s[-n:].detach(), "the old memory is dropped", "memory|both|join"),
        Slip(
            lambda m, s, n: joined(m if m is None else m.detach(), s)[-n:],
            "the memory alone is cut from the graph",
            "gradient|detach|states",
        ),
        Slip(
            lambda m, s, n: joined(m, s.detach())[-n:],
            "the states alone are cut from the graph",
            "gradient|detach",
        ),
        Slip(lambda m, s, n: joined(m, s).detach(), "all is kept", "length|newest|too many|long"),
        Slip(
            lambda m, s, n: joined(m if m is None else m[-n:], s[-n:]).detach(),
            "the newest of each",
            "length|both together|newest|too many|long|of both",
        ),
        Slip(
            lambda m, s, n: (
                torch.cat([s.new_zeros(max(0, n - len(s)), s.shape[1]), s])[-n:].detach()
                if m is None
                else joined(m, s)[-n:].detach()
            ),
            "zeros for what is missing",
            "zero|shape|None|as many|invent|only",
        ),
        Slip(
            lambda m, s, n: joined(m, s)[-n:].flip(0).detach(),
            "the newest first",
            "order|revers|backward",
        ),
        Slip(
            lambda m, s, n: joined(m, s)[-n - 1 : -1].detach(),
            "the newest state is lost",
            "new|last",
        ),
        Slip(
            lambda m, s, n: s[-n:].detach() if m is None else m[-n:].detach(),
            "the new states are dropped",
            "new|states",
        ),
        Slip(
            lambda m, s, n: joined(m, s)[:-n].detach(),
            "what should be forgotten",
            "new|end|last|keep|kept|length",
        ),
        Slip(
            lambda m, s, n: (
                joined(m, s).roll(n, 0)[:n].detach()
                if n <= len(joined(m, s))
                else joined(m, s).detach().repeat(n, 1)[-n:]
            ),
            "repeated up to the length",
            "shape|as many|repeat|only|fewer",
        ),
    ],
)

ANSWERS = {
    "chain_probability": CHAIN_PROBABILITY,
    "unseen_in_order": UNSEEN_IN_ORDER,
    "query_sees": QUERY_SEES,
    "scores_by_key": SCORES_BY_KEY,
    "partial_rank": PARTIAL_RANK,
    "next_memory": NEXT_MEMORY,
}
