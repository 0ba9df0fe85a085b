"""Answers to the exercises of lesson 15, written from their statements alone."""

import torch
from torch.nn import functional

from tests.lab.checks.answers.table import Answers, Slip

# --- factorised_parameters ---


def count_by_products(n_vocab, d_model, d_embedding):
    return n_vocab * d_model, n_vocab * d_embedding + d_embedding * d_model


def count_by_tensors(n_vocab, d_model, d_embedding):
    with torch.device("meta"):
        one = torch.empty(n_vocab, d_model)
        two = torch.empty(n_vocab, d_embedding), torch.empty(d_embedding, d_model)
    return one.numel(), sum(table.numel() for table in two)


def count_in_a_list(n_vocab, d_model, d_embedding):
    return [n_vocab * d_model, (n_vocab + d_model) * d_embedding]


def counts(one=lambda v, d, e: v * d, two=lambda v, d, e: v * e + e * d):
    """Two counts, either of which may be wrong."""
    return lambda n_vocab, d_model, d_embedding: (
        one(n_vocab, d_model, d_embedding),
        two(n_vocab, d_model, d_embedding),
    )


FACTORISED_PARAMETERS = Answers(
    right=[count_by_products, count_by_tensors, count_in_a_list],
    wrong=[
        Slip(
            counts(two=lambda v, d, e: v * e),
            "the widening is left out",
            r"widen|second|E x d|matrix",
        ),
        Slip(counts(two=lambda v, d, e: e * d), "the narrow table is left out", r"table|vocab"),
        Slip(counts(two=lambda v, d, e: v * e + e * d + d), "a bias is counted", r"bias"),
        Slip(
            counts(two=lambda v, d, e: v * e + v * d),
            "the widening has a row per token",
            r"vocab|widen|row",
        ),
        Slip(counts(two=lambda v, d, e: v * e * e * d), "multiplied", r"multipl|add|product|sum"),
        Slip(
            lambda n_vocab, d_model, d_embedding: count_by_products(n_vocab, d_model, d_embedding)[
                ::-1
            ],
            "the two come first",
            r"order|first|turned|exchang",
        ),
        Slip(
            lambda n_vocab, d_model, d_embedding: n_vocab * d_embedding + d_embedding * d_model,
            "one count alone",
            r"two|both|pair|tuple",
        ),
        Slip(
            lambda n_vocab, d_model, d_embedding: (
                n_vocab * d_model,
                n_vocab * d_embedding,
                d_embedding * d_model,
            ),
            "three counts",
            r"two|both|three|add|sum|pair|3",
        ),
        Slip(
            counts(one=lambda v, d, e: v * e), "the full table counted narrow", r"one table|d_model"
        ),
        Slip(
            counts(two=lambda v, d, e: v * e + e * e),
            "a square that widens nothing",
            r"d_model|widen",
        ),
        Slip(counts(two=lambda v, d, e: v * d - v * e), "what is saved", r"saved|two|matri"),
        Slip(counts(one=lambda v, d, e: v + d), "a sum for the one table", r"one table|product|\*"),
    ],
)

# --- layer_group ---


def group_by_division(layer, n_layers, n_hidden_groups):
    return layer // (n_layers // n_hidden_groups)


def group_by_product(layer, n_layers, n_hidden_groups):
    return layer * n_hidden_groups // n_layers


def group_by_search(layer, n_layers, n_hidden_groups):
    size = n_layers // n_hidden_groups
    runs = [range(g * size, (g + 1) * size) for g in range(n_hidden_groups)]
    return next(g for g, run in enumerate(runs) if layer in run)


LAYER_GROUP = Answers(
    right=[group_by_division, group_by_product, group_by_search],
    wrong=[
        Slip(
            lambda layer, n, groups: layer % groups, "groups in turn", r"neighbour|turn|cycl|run|%"
        ),
        Slip(
            lambda layer, n, groups: layer // groups,
            "divided by the number of groups",
            r"how many layers|n_hidden_groups|size|divid",
        ),
        Slip(
            lambda layer, n, groups: layer % (n // groups),
            "the place in the group",
            r"place|within|in its group|inside|remainder|%",
        ),
        Slip(
            lambda layer, n, groups: layer // (n // groups) + 1,
            "groups from 1",
            r"from 0|from 1|count",
        ),
        Slip(
            lambda layer, n, groups: (layer - 1) // (n // groups),
            "layers from 1",
            r"from 0|from 1|layers",
        ),
        Slip(lambda layer, n, groups: layer / (n // groups), "not rounded", r"round|whole|//|\.\d"),
        Slip(
            lambda layer, n, groups: round(layer / (n / groups)),
            "rounded to the nearest",
            r"round|down|nearest",
        ),
        Slip(lambda layer, n, groups: -(-layer // (n // groups)), "rounded up", r"round|up|down"),
        Slip(
            lambda layer, n, groups: groups - 1 - layer // (n // groups),
            "counted from the end",
            r"first|last|end|back|turned",
        ),
        Slip(
            lambda layer, n, groups: n // groups,
            "how many layers a group has",
            r"how many|size|layer",
        ),
        Slip(lambda layer, n, groups: 0, "one group", r"group|layer"),
    ],
)

# --- shared_forward ---


def forward_by_layers(x, blocks, n_layers):
    size = n_layers // len(blocks)
    for layer in range(n_layers):
        x = blocks[layer // size](x)
    return x


def forward_by_blocks(x, blocks, n_layers):
    for block in blocks:
        for _ in range(n_layers // len(blocks)):
            x = block(x)
    return x


def forward_by_recursion(x, blocks, n_layers):
    if not blocks:
        return x
    first, *rest = blocks
    size = n_layers // len(blocks)
    for _ in range(size):
        x = first(x)
    return forward_by_recursion(x, rest, n_layers - size)


def forward(order=lambda blocks, n: [blocks[i // (n // len(blocks))] for i in range(n)]):
    """A right answer but for the blocks in the order of their calls."""

    def shared_forward(x, blocks, n_layers):
        for block in order(list(blocks), n_layers):
            x = block(x)
        return x

    return shared_forward


def forward_from_the_start(x, blocks, n_layers):
    out = x
    for layer in range(n_layers):
        out = blocks[layer // (n_layers // len(blocks))](x)
    return out


def forward_with_residual(x, blocks, n_layers):
    for layer in range(n_layers):
        x = x + blocks[layer // (n_layers // len(blocks))](x)
    return x


def forward_in_a_list(x, blocks, n_layers):
    states = []
    for layer in range(n_layers):
        x = blocks[layer // (n_layers // len(blocks))](x)
        states.append(x)
    return states


def forward_without_return(x, blocks, n_layers):
    for layer in range(n_layers):
        x = blocks[layer // (n_layers // len(blocks))](x)


SHARED_FORWARD = Answers(
    right=[forward_by_layers, forward_by_blocks, forward_by_recursion],
    wrong=[
        Slip(
            forward(lambda blocks, n: [blocks[i % len(blocks)] for i in range(n)]),
            "blocks in turn",
            r"turn|neighbour|cycl|run|order|%",
        ),
        Slip(forward(lambda blocks, n: blocks), "each block once", r"once|n_layers|times|calls?"),
        Slip(
            forward(lambda blocks, n: [blocks[0]] * n),
            "the first block alone",
            r"first|group|block",
        ),
        Slip(
            forward(lambda blocks, n: [block for block in blocks for _ in range(n)]),
            "each block for all layers",
            r"n_layers|times|calls?|too (many|often)",
        ),
        Slip(forward_from_the_start, "each block reads the input", r"x =|before|output|input|last"),
        Slip(forward_with_residual, "x is added again", r"add|residual|stream"),
        Slip(
            forward(
                lambda blocks, n: [blocks[i // (n // len(blocks))] for i in reversed(range(n))]
            ),
            "the last group first",
            r"order|last|first|back|revers",
        ),
        Slip(
            forward(lambda blocks, n: [blocks[i // (n // len(blocks))] for i in range(n - 1)]),
            "a layer too few",
            r"n_layers|times|calls?|few|last",
        ),
        Slip(
            forward(lambda blocks, n: [b for b in blocks for _ in range(len(blocks))]),
            "as often as there are blocks",
            r"n_layers|times|calls?",
        ),
        Slip(forward_in_a_list, "all states", r"list|last|tensor"),
        Slip(forward_without_return, "nothing is returned", r"return|None|nothing"),
    ],
)

# --- order_pair ---


def order_by_slices(sentences, cut, swapped):
    first = [token for sentence in sentences[:cut] for token in sentence]
    second = [token for sentence in sentences[cut:] for token in sentence]
    return (second, first, 1) if swapped else (first, second, 0)


def order_by_sums(sentences, cut, swapped):
    texts = [sum(sentences[:cut], []), sum(sentences[cut:], [])]
    if swapped:
        texts.reverse()
    return *texts, int(swapped)


def order_by_loops(sentences, cut, swapped):
    texts = ([], [])
    for number, sentence in enumerate(sentences):
        texts[(number >= cut) != swapped].extend(sentence)
    return [texts[0], texts[1], 1 if swapped else 0]


def order(
    split=lambda sentences, cut: (sentences[:cut], sentences[cut:]),
    join=lambda sentences: [token for sentence in sentences for token in sentence],
    exchange=lambda first, second: (second, first),
    label=int,
):
    """A right answer but for the cut, the joining, the exchange or the label."""

    def order_pair(sentences, cut, swapped):
        first, second = map(join, split(sentences, cut))
        if swapped:
            first, second = exchange(first, second)
        return first, second, label(swapped)

    return order_pair


def order_of_sentences_turned(sentences, cut, swapped):
    if swapped:
        sentences = sentences[::-1]
    first = [token for sentence in sentences[:cut] for token in sentence]
    second = [token for sentence in sentences[cut:] for token in sentence]
    return first, second, int(swapped)


def order_in_place(sentences, cut, swapped):
    first, second = sentences[0], sentences[cut]
    for sentence in sentences[1:cut]:
        first += sentence
    for sentence in sentences[cut + 1 :]:
        second += sentence
    return (second, first, 1) if swapped else (first, second, 0)


ORDER_PAIR = Answers(
    right=[order_by_slices, order_by_sums, order_by_loops],
    wrong=[
        Slip(order(label=lambda swapped: int(not swapped)), "labels turned", r"label|class|turned"),
        Slip(order(label=lambda swapped: 0), "the label is always 0", r"label"),
        Slip(
            order(exchange=lambda first, second: (first, second)),
            "not exchanged",
            r"exchang|swap|order",
        ),
        Slip(order(join=list), "sentences are not joined", r"join|list"),
        Slip(
            order(split=lambda sentences, cut: (sentences[:cut], sentences[cut + 1 :])),
            "a sentence is lost",
            r"cut|lost|missing|sentence|others",
        ),
        Slip(
            order(split=lambda sentences, cut: (sentences[: cut + 1], sentences[cut + 1 :])),
            "one sentence too many in the first",
            r"cut|first|sentence",
        ),
        Slip(
            order(split=lambda sentences, cut: (sentences[:cut], sentences[cut : cut + 1])),
            "the second text is one sentence",
            r"others|all|rest|sentence|second",
        ),
        Slip(
            order(split=lambda sentences, cut: (sentences[cut - 1 : cut], sentences[cut:])),
            "the first text is one sentence",
            r"first|all|sentence",
        ),
        Slip(
            order(exchange=lambda first, second: (second[::-1], first[::-1])),
            "the tokens are turned too",
            r"token|turned|within|revers",
        ),
        Slip(order_of_sentences_turned, "the sentences are turned", r"sentence|texts|within"),
        Slip(order_in_place, "the passage is changed", r"chang|passage|sentences|stay|copy"),
        Slip(
            order(exchange=lambda first, second: (second, second)),
            "one text twice",
            r"twice|exchang|first|second|same",
        ),
        Slip(
            lambda sentences, cut, swapped: order_by_slices(sentences, cut, swapped)[:2],
            "no label",
            r"label|three|3",
        ),
        Slip(
            order(
                split=lambda sentences, cut: (
                    [[token for sentence in sentences for token in sentence][:cut]],
                    [[token for sentence in sentences for token in sentence][cut:]],
                )
            ),
            "cut between tokens",
            r"sentence|token|cut",
        ),
    ],
)

# --- soft_loss ---


def loss_by_kl_div(student, teacher, temperature):
    own = functional.log_softmax(student / temperature, dim=-1)
    p = functional.softmax(teacher / temperature, dim=-1)
    return temperature**2 * functional.kl_div(own, p, reduction="batchmean")


def loss_by_formula(student, teacher, temperature):
    p = torch.softmax(teacher / temperature, dim=1)
    q = torch.softmax(student / temperature, dim=1)
    return (p * (p.log() - q.log())).sum() / len(student) * temperature * temperature


def loss_by_entropies(student, teacher, temperature):
    p = (teacher / temperature).softmax(-1)
    cross = functional.cross_entropy(student / temperature, p)
    return temperature**2 * (cross - torch.distributions.Categorical(probs=p).entropy().mean())


def softened(
    divide=lambda temperature: (temperature, temperature),
    weigh=lambda p, q: p,
    ratio=lambda p, q: p.log() - q.log(),
    factor=lambda temperature: temperature**2,
    reduce=lambda table: table.sum(-1).mean(),
    axis=-1,
):
    """A right answer but for the temperatures, the weight, the ratio, the factor, or the mean."""

    def soft_loss(student, teacher, temperature):
        first, second = divide(temperature)
        q, p = (student / first).softmax(axis), (teacher / second).softmax(axis)
        return factor(temperature) * reduce(weigh(p, q) * ratio(p, q))

    return soft_loss


def loss_of_multiplied(student, teacher, temperature):
    return loss_by_kl_div(student * temperature, teacher * temperature, 1.0) * temperature**2


def loss_of_probabilities_divided(student, teacher, temperature):
    p, q = teacher.softmax(-1) / temperature, student.softmax(-1) / temperature
    return temperature**2 * (p * (p.log() - q.log())).sum(-1).mean()


def loss_as_number(student, teacher, temperature):
    return loss_by_formula(student, teacher, temperature).item()


def loss_of_squares(student, teacher, temperature):
    p, q = (teacher / temperature).softmax(-1), (student / temperature).softmax(-1)
    return temperature**2 * (p - q).square().sum(-1).mean()


SOFT_LOSS = Answers(
    right=[loss_by_kl_div, loss_by_formula, loss_by_entropies],
    wrong=[
        Slip(softened(factor=lambda t: 1.0), "no factor", r"T\^2|T\*\*2|factor|squared"),
        Slip(
            softened(factor=lambda t: t), "the factor is not squared", r"T\^2|T\*\*2|squar|factor"
        ),
        Slip(
            softened(factor=lambda t: 1 / t**2), "divided by T squared", r"T\^2|T\*\*2|squar|factor"
        ),
        Slip(
            softened(weigh=lambda p, q: q, ratio=lambda p, q: q.log() - p.log()),
            "the reverse divergence",
            r"revers|other way|turned|weigh|exchang|direction",
        ),
        Slip(softened(weigh=lambda p, q: q), "weighed by the student", r"weigh|teacher's"),
        Slip(
            softened(ratio=lambda p, q: q.log() - p.log()),
            "the sign turned",
            r"sign|negativ|minus|turned",
        ),
        Slip(
            softened(ratio=lambda p, q: -q.log()),
            "the cross-entropy",
            r"entropy|ln p|log p|equal|same|own",
        ),
        Slip(softened(reduce=lambda x: x.mean()), "a mean over tokens too", r"sum|mean|vocab|V\b"),
        Slip(softened(reduce=lambda x: x.sum()), "a sum over rows", r"mean|row|N\b"),
        Slip(softened(reduce=lambda x: x.sum(-1)), "a loss per row", r"mean|shape|row|one number"),
        Slip(softened(divide=lambda t: (1.0, t)), "only the teacher softened", r"student|both"),
        Slip(softened(divide=lambda t: (t, 1.0)), "only the student softened", r"teacher|both"),
        Slip(
            softened(divide=lambda t: (1.0, 1.0)), "nothing softened", r"temperature|divid|soften"
        ),
        Slip(loss_of_multiplied, "multiplied by the temperature", r"multipl|divid|temperature"),
        Slip(
            loss_of_probabilities_divided,
            "probabilities divided, not logits",
            r"logits|before|softmax|temperature",
        ),
        Slip(softened(axis=0), "softmax over rows", r"axis|row|vocab|last"),
        Slip(loss_as_number, "a number without gradients", r"tensor|gradient|float"),
        Slip(loss_of_squares, "squares of differences", r"diverg|log|ln|square"),
    ],
)

# --- student_weights ---


def weights_by_loops(teacher, layers):
    student = {name: w for name, w in teacher.items() if not name.startswith("blocks.")}
    for number, layer in enumerate(layers):
        prefix = f"blocks.{layer}."
        for name, w in teacher.items():
            if name.startswith(prefix):
                student[f"blocks.{number}.{name[len(prefix) :]}"] = w
    return student


def weights_by_splitting(teacher, layers):
    student = {}
    for name, w in teacher.items():
        parts = name.split(".")
        if parts[0] != "blocks":
            student[name] = w.clone()
        elif int(parts[1]) in layers:
            parts[1] = str(layers.index(int(parts[1])))
            student[".".join(parts)] = w.clone()
    return student


def weights_by_union(teacher, layers):
    rest = {n: w for n, w in teacher.items() if n.partition(".")[0] != "blocks"}
    moved = {
        f"blocks.{new}." + n.removeprefix(f"blocks.{old}."): w
        for new, old in enumerate(layers)
        for n, w in teacher.items()
        if n.startswith(f"blocks.{old}.")
    }
    return rest | moved


def weights(
    rest=lambda name: not name.startswith("blocks."),
    prefix=lambda layer: f"blocks.{layer}.",
    number=lambda number, layer: number,
    chosen=lambda layers: layers,
    value=lambda w: w,
):
    """A right answer but for the other names, the prefix, the number, the layers or the tensors."""

    def student_weights(teacher, layers):
        student = {name: value(w) for name, w in teacher.items() if rest(name)}
        for new, old in enumerate(chosen(layers)):
            for name, w in teacher.items():
                if name.startswith(prefix(old)):
                    tail = name.split(".", 2)[2]
                    student[f"blocks.{number(new, old)}.{tail}"] = value(w)
        return student

    return student_weights


def weights_by_replace(teacher, layers):
    student = dict(teacher)
    for new, old in enumerate(layers):
        for name in teacher:
            if name.startswith(f"blocks.{old}."):
                student[f"blocks.{new}." + name.split(".", 2)[2]] = teacher[name]
    return student


def weights_popped(teacher, layers):
    student = weights_by_loops(teacher, layers)
    for name in [name for name in teacher if name.startswith("blocks.")]:
        del teacher[name]
    return student


STUDENT_WEIGHTS = Answers(
    right=[weights_by_loops, weights_by_splitting, weights_by_union],
    wrong=[
        Slip(
            weights(number=lambda new, old: old),
            "the old numbers",
            r"number|new order|counted from 0|renam",
        ),
        Slip(weights(rest=lambda name: False), "no tables and head", r"table|head"),
        Slip(
            weights(rest=lambda name: name.startswith("embedding")),
            "tables without the head",
            r"head",
        ),
        Slip(
            weights(rest=lambda name: True), "the teacher's layers are kept too", r"layer|too many"
        ),
        Slip(weights_by_replace, "the teacher's last layers stay", r"layer|too many|stay|left"),
        Slip(
            weights(prefix=lambda layer: f"blocks.{layer}"),
            "blocks.1 also begins a name of layer 11",
            r"1[0-9]|prefix|begin|dot",
        ),
        Slip(
            weights(chosen=lambda layers: range(len(layers))),
            "the first layers",
            r"first|chosen|layers",
        ),
        Slip(
            weights(number=lambda new, old: new + 1),
            "layers from 1",
            r"from 0|from 1|number|missing blocks.0",
        ),
        Slip(weights(chosen=sorted), "layers are sorted", r"order|sort"),
        Slip(
            weights(number=lambda new, old: old // 2),
            "half the old number",
            r"number|order|place|half",
        ),
        Slip(weights_popped, "the teacher loses its layers", r"teacher|chang|copy|stay"),
        Slip(weights(value=lambda w: w.shape), "shapes for tensors", r"shape|tensor|Size|weight"),
        Slip(weights(value=torch.zeros_like), "zeros", r"0|value|weights|differ|tensor"),
        Slip(
            lambda teacher, layers: list(weights_by_loops(teacher, layers)),
            "the names alone",
            r"dict|names",
        ),
        Slip(
            weights(chosen=lambda layers: layers[:1]), "one layer alone", r"layer|missing|all|lack"
        ),
    ],
)

ANSWERS = {
    "factorised_parameters": FACTORISED_PARAMETERS,
    "layer_group": LAYER_GROUP,
    "shared_forward": SHARED_FORWARD,
    "order_pair": ORDER_PAIR,
    "soft_loss": SOFT_LOSS,
    "student_weights": STUDENT_WEIGHTS,
}
