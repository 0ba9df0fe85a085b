"""Answers to the exercises of lesson 08, the transformer."""

import copy
import functools
import math
import re

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from course_lib.models.gpt2 import GPT2, GPT2Settings
from tests.lab.checks.answers.table import Answers, Slip

# transformer_block(x, norm_1, attention, norm_2, mlp)


def block_of_a_clone(x, norm_1, attention, norm_2, mlp):
    stream = x.clone()
    stream += attention(norm_1(x))
    stream += mlp(norm_2(stream))
    return stream


def block_as_a_fold(x, norm_1, attention, norm_2, mlp):
    pairs = ((norm_1, attention), (norm_2, mlp))
    return functools.reduce(lambda stream, pair: pair[1](pair[0](stream)).add(stream), pairs, x)


class BlockOfTwoSums:
    def __call__(self, x, norm_1, attention, norm_2, mlp):
        middle = torch.stack([x, attention(norm_1(x))]).sum(0)
        return torch.einsum("nbtc->btc", torch.stack([middle, mlp(norm_2(middle))]))


def mlp_reads_the_old_stream(x, norm_1, attention, norm_2, mlp):
    return x + attention(norm_1(x)) + mlp(norm_2(x))


def mlp_replaces_the_stream(x, norm_1, attention, norm_2, mlp):
    x = x + attention(norm_1(x))
    return mlp(norm_2(x))


def norms_after_the_sums(x, norm_1, attention, norm_2, mlp):
    x = norm_1(x + attention(x))
    return norm_2(x + mlp(x))


def block_in_place(x, norm_1, attention, norm_2, mlp):
    x += attention(norm_1(x))
    x += mlp(norm_2(x))
    return x


def first_norm_twice(x, norm_1, attention, norm_2, mlp):
    x = x + attention(norm_1(x))
    return x + mlp(norm_1(x))


def stream_is_normed(x, norm_1, attention, norm_2, mlp):
    x = norm_1(x)
    x = x + attention(x)
    x = norm_2(x)
    return x + mlp(x)


def mlp_reads_without_a_norm(x, norm_1, attention, norm_2, mlp):
    x = x + attention(norm_1(x))
    return x + mlp(x)


def mlp_before_attention(x, norm_1, attention, norm_2, mlp):
    x = x + mlp(norm_2(x))
    return x + attention(norm_1(x))


def only_what_is_written(x, norm_1, attention, norm_2, mlp):
    x = attention(norm_1(x))
    return mlp(norm_2(x))


# init_weights(model)


@torch.no_grad()
def init_by_copies(model):
    small = 0.02 / math.sqrt(2 * model.settings.n_layers)
    for name, parameter in model.named_parameters():
        if "bias" in name:
            parameter.copy_(torch.zeros_like(parameter))
        elif parameter.dim() > 1:
            writes = "attention.out" in name or "mlp.down" in name
            parameter.copy_(torch.randn_like(parameter) * (small if writes else 0.02))


def init_by_parts(model):
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            module.weight.data.normal_(0, 0.02)
        if getattr(module, "bias", None) is not None:
            module.bias.data.fill_(0)
    for block in model.blocks:
        for linear in (block.attention.out, block.mlp.down):
            linear.weight.data.div_((2 * len(model.blocks)) ** 0.5)


class InitFromNumpy:
    def __call__(self, model):
        draw = np.random.default_rng(5).normal
        for name, parameter in dict(model.named_parameters()).items():
            if name.split(".")[-1] == "bias":
                parameter.data = torch.zeros(parameter.shape)
            elif len(parameter.shape) == 2:
                writes = re.search(r"(attention\.out|mlp\.down)\.weight$", name)
                std = 0.02 * (2 * model.settings.n_layers) ** (-0.5 if writes else 0)
                parameter.data = torch.tensor(draw(0, std, parameter.shape)).float()


def init_unless(model, std_of_writers, ends=("attention.out.weight", "mlp.down.weight")):
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(parameter)
        elif parameter.ndim == 2:
            writes = name.endswith(ends)
            nn.init.normal_(parameter, std=std_of_writers if writes else 0.02)


def equal_writers(model):
    init_unless(model, 0.02)


def root_of_layers(model):
    init_unless(model, 0.02 / model.settings.n_layers**0.5)


def no_root(model):
    init_unless(model, 0.02 / (2 * model.settings.n_layers))


def layers_of_the_lesson(model):
    init_unless(model, 0.02 / 6**0.5)


def attention_out_forgotten(model):
    init_unless(model, 0.02 / (2 * model.settings.n_layers) ** 0.5, "mlp.down.weight")


def norms_zeroed(model):
    std = 0.02 / (2 * model.settings.n_layers) ** 0.5
    for name, parameter in model.named_parameters():
        if parameter.ndim == 2:
            writes = name.endswith(("attention.out.weight", "mlp.down.weight"))
            nn.init.normal_(parameter, std=std if writes else 0.02)
        else:
            nn.init.zeros_(parameter)


def biases_left(model):
    std = 0.02 / (2 * model.settings.n_layers) ** 0.5
    for name, parameter in model.named_parameters():
        if name.endswith(("attention.out.weight", "mlp.down.weight")):
            nn.init.normal_(parameter, std=std)
        elif parameter.ndim == 2:
            nn.init.normal_(parameter, std=0.02)


def std_given_as_mean(model):
    std = 0.02 / (2 * model.settings.n_layers) ** 0.5
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(parameter)
        elif parameter.ndim == 2:
            writes = name.endswith(("attention.out.weight", "mlp.down.weight"))
            nn.init.normal_(parameter, std if writes else 0.02)


def names_are_rebound(model):
    std = 0.02 / (2 * model.settings.n_layers) ** 0.5
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            parameter = torch.zeros_like(parameter)
        elif parameter.ndim == 2:
            writes = name.endswith(("attention.out.weight", "mlp.down.weight"))
            parameter = torch.randn_like(parameter) * (std if writes else 0.02)


def embeddings_left(model):
    std = 0.02 / (2 * model.settings.n_layers) ** 0.5
    for name, parameter in model.blocks.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(parameter)
        elif parameter.ndim == 2:
            writes = name.endswith(("attention.out.weight", "mlp.down.weight"))
            nn.init.normal_(parameter, std=std if writes else 0.02)


# n_parameters(V, T, C, L)


def count_on_meta(V, T, C, L):
    with torch.device("meta"):
        model = GPT2(GPT2Settings(V, max_seq_len=T, d_model=C, n_layers=L, n_heads=1))
    return sum(parameter.numel() for parameter in model.parameters())


def count_by_shapes(V, T, C, L):
    norm = [(C,), (C,)]
    matrices = [(3 * C, C), (C, C), (4 * C, C), (C, 4 * C)]
    block = [*norm, *norm, *matrices, *((rows,) for rows, _ in matrices)]
    return sum(math.prod(shape) for shape in [(V, C), (T, C), *norm, *(L * block)])


def count_in_numpy(V, T, C, L):
    return np.dot(np.array([V + T + 2, 13 * L, 12 * L * C]), np.array([C, C, C]))


def count_with(V, T, C, L, block, outside=2):
    return V * C + T * C + L * block + outside * C


# from_hf(theirs)

PIECES = {
    "wte": "token_embedding",
    "wpe": "position_embedding",
    "ln_f": "norm",
    "h.": "blocks.",
    "ln_": "norm_",
    "attn.c_attn": "attention.qkv",
    "attn.c_proj": "attention.out",
    "mlp.c_fc": "mlp.up",
    "mlp.c_proj": "mlp.down",
}


def our_name(name, pieces=None):
    for old, new in pieces or PIECES.items():
        name = name.replace(old, new)
    return name


def dict_of_clones(theirs):
    return {
        our_name(name.removeprefix("transformer.")): (
            tensor.t() if tensor.dim() == 2 and ".h." in "." + name else tensor
        ).clone()
        for name, tensor in theirs.items()
        if name != "lm_head.weight"
    }


def renamed_by_search(theirs):
    ours = {}
    for name in sorted(set(theirs) - {"lm_head.weight"}):
        new = re.sub(r"^transformer\.", "", name)
        new = functools.reduce(lambda text, old: text.replace(old, PIECES[old]), PIECES, new)
        matrix = new.endswith(("qkv.weight", "out.weight", "up.weight", "down.weight"))
        ours[new] = torch.einsum("io->oi", theirs[name]) if matrix else theirs[name]
    return ours


class ByNumpy:
    def __call__(self, theirs):
        left = ((k, v.numpy()) for k, v in theirs.items() if not k.startswith("lm_head"))
        cut = ((k[12:] if k.startswith("transformer.") else k, v) for k, v in left)
        turned = ((k, v.T.copy() if v.ndim == 2 and k[0] == "h" else v.copy()) for k, v in cut)
        return dict((our_name(k), torch.from_numpy(v)) for k, v in turned)


def converted(theirs, cut=None, name_of=our_name, turn=None, skipped=("lm_head.weight",)):
    """An answer with one part of it exchanged."""
    cut = cut or (lambda name: name.removeprefix("transformer."))
    turn = turn or (lambda name, t: t.T if "blocks" in name and t.ndim == 2 else t)
    ours = {}
    for name, tensor in theirs.items():
        if name not in skipped:
            new = name_of(cut(name))
            ours[new] = turn(new, tensor)
    return ours


def pops_the_head(theirs):
    theirs.pop("lm_head.weight", None)
    return converted(theirs)


def first_replacement_only(name):
    for old, new in PIECES.items():
        if old in name:
            return name.replace(old, new)
    return name


def norm_pieces_first(name):
    return our_name(name, sorted(PIECES.items()))


def square_left(name, tensor):
    if "blocks" in name and tensor.ndim == 2 and len(tensor) != tensor.shape[1]:
        return tensor.T
    return tensor


def reshaped(name, tensor):
    if "blocks" in name and tensor.ndim == 2:
        return tensor.reshape(tensor.shape[1], tensor.shape[0])
    return tensor


# overfit_batch(model, rows, steps, lr)


def batch_by_classes(model, rows, steps, lr):
    optimizer, losses = torch.optim.AdamW(model.parameters(), lr), []
    while len(losses) < steps:
        logits = model(rows[:, :-1]).transpose(1, 2)
        loss = nn.CrossEntropyLoss()(logits, rows[:, 1:])
        losses.append(loss.detach().item())
        optimizer.zero_grad(set_to_none=False)
        loss.backward()
        optimizer.step()
    return losses


def batch_by_gather(model, rows, steps, lr):
    optimizer = torch.optim.AdamW(list(model.parameters()), lr=lr)

    def closure():
        for parameter in model.parameters():
            parameter.grad = None
        log_probs = model(rows[:, :-1]).log_softmax(-1)
        loss = -log_probs.gather(2, rows[:, 1:, None]).mean()
        loss.backward()
        return loss

    return [optimizer.step(closure).item() for _ in range(steps)]


class BatchOfDifferences:
    def __call__(self, model, rows, steps, lr):
        return list(self.train(model, rows, torch.optim.AdamW(model.parameters(), lr=lr), steps))

    def train(self, model, rows, optimizer, steps):
        for _ in range(steps):
            logits, targets = model(rows[:, :-1]), rows[:, 1:].long()
            right = torch.einsum(
                "btv,btv->bt", logits, F.one_hot(targets, logits.shape[-1]).to(logits)
            )
            loss = (logits.logsumexp(-1) - right).sum() / right.numel()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            yield loss.item()


def next_token_loss(model, rows):
    return F.cross_entropy(model(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten())


def fitted(model, rows, steps, lr, loss_of=next_token_loss, optimizer_class=torch.optim.AdamW):
    """An answer with one part of it exchanged."""
    optimizer, losses = optimizer_class(model.parameters(), lr=lr), []
    for _ in range(steps):
        loss = loss_of(model, rows)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def gradients_add_up(model, rows, steps, lr):
    optimizer, losses = torch.optim.AdamW(model.parameters(), lr=lr), []
    for _ in range(steps):
        loss = next_token_loss(model, rows)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def loss_after_the_step(model, rows, steps, lr):
    optimizer, losses = torch.optim.AdamW(model.parameters(), lr=lr), []
    for _ in range(steps):
        optimizer.zero_grad()
        next_token_loss(model, rows).backward()
        optimizer.step()
        losses.append(next_token_loss(model, rows).item())
    return losses


def optimizer_in_the_loop(model, rows, steps, lr):
    losses = []
    for _ in range(steps):
        losses += fitted(model, rows, 1, lr)
    return losses


def trains_a_copy(model, rows, steps, lr):
    return fitted(copy.deepcopy(model), rows, steps, lr)


def own_learning_rate(model, rows, steps, lr):
    return fitted(model, rows, steps, 1e-3)


def gradients_zeroed_too_late(model, rows, steps, lr):
    optimizer, losses = torch.optim.AdamW(model.parameters(), lr=lr), []
    for _ in range(steps):
        loss = next_token_loss(model, rows)
        loss.backward()
        optimizer.zero_grad()
        optimizer.step()
        losses.append(loss.item())
    return losses


def predicts_itself(model, rows):
    return F.cross_entropy(model(rows).flatten(0, 1), rows.flatten())


def summed_loss(model, rows):
    logits = model(rows[:, :-1]).flatten(0, 1)
    return F.cross_entropy(logits, rows[:, 1:].flatten(), reduction="sum")


def last_position_only(model, rows):
    return F.cross_entropy(model(rows[:, :-1])[:, -1], rows[:, -1])


def logits_reshaped(model, rows):
    logits = model(rows[:, :-1])
    return F.cross_entropy(logits.reshape(len(rows), logits.shape[2], -1), rows[:, 1:])


def one_step_less(model, rows, steps, lr):
    return fitted(model, rows, steps - 1, lr)


ANSWERS = {
    "transformer_block": Answers(
        right=[block_of_a_clone, block_as_a_fold, BlockOfTwoSums()],
        wrong=[
            Slip(
                mlp_reads_the_old_stream,
                "the MLP reads the stream that came in",
                r"came in|parallel|before attention|attention has added|added to|incoming|old",
            ),
            Slip(
                mlp_replaces_the_stream,
                "the MLP's result is not added",
                r"not added|add.* (to|back)|replac|residual|skip|lost",
            ),
            Slip(
                norms_after_the_sums,
                "norms after the sums",
                r"after the (sum|add)|norm.*(before|after|copy|stream)|post.?norm",
            ),
            Slip(block_in_place, "x is changed", r"unchanged|in place|chang"),
            Slip(first_norm_twice, "norm_1 serves both", r"norm_[12]"),
            Slip(
                stream_is_normed,
                "the stream itself is normed",
                r"norm.*(copy|stream|itself)|stream.*norm|straight",
            ),
            Slip(mlp_reads_without_a_norm, "the MLP reads without a norm", r"norm_2|norm"),
            Slip(mlp_before_attention, "the MLP comes first", r"first|order|before"),
            Slip(
                only_what_is_written, "nothing is added at all", r"add|residual|skip|replac|stream"
            ),
        ],
    ),
    "init_weights": Answers(
        right=[init_by_copies, init_by_parts, InitFromNumpy()],
        wrong=[
            Slip(equal_writers, "the writers get 0.02 too", r"smaller|√|sqrt|2 ?L"),
            Slip(root_of_layers, "divided by √L", r"two writes|writes twice|√\(?2|2 ?L"),
            Slip(norms_zeroed, "the norms' weights become 0", r"norm"),
            Slip(biases_left, "the biases stay", r"bias"),
            Slip(no_root, "divided by 2L", r"root|√|sqrt"),
            Slip(
                layers_of_the_lesson,
                "√6, whatever the number of layers",
                r"n_layers|layers|√\(?2 ?·? ?L",
            ),
            Slip(std_given_as_mean, "0.02 is the mean", r"mean|std ?="),
            Slip(
                names_are_rebound,
                "nothing is changed in place",
                r"in place|(no|not) .*chang|unchanged|nothing|as (it|they) (was|were)",
            ),
            Slip(embeddings_left, "the embeddings stay", r"embedding", never=r"equal numbers"),
            Slip(
                attention_out_forgotten,
                "of the writers only mlp.down is smaller",
                r"attention\.out",
                never=r"mlp\.down start",
            ),
        ],
    ),
    "n_parameters": Answers(
        right=[count_on_meta, count_by_shapes, count_in_numpy],
        wrong=[
            Slip(
                lambda V, T, C, L: count_with(2 * V, T, C, L, 12 * C**2 + 13 * C),
                "the head counts too",
                r"head|tied|twice",
            ),
            Slip(
                lambda V, T, C, L: count_with(V, T, C, L, 12 * C**2 + 13 * C, 0),
                "no last norm",
                r"(last|final|one more) norm|after the last block",
            ),
            Slip(
                lambda V, T, C, L: count_with(V, T, C, L, 12 * C**2 + 4 * C),
                "no biases of the matrices",
                r"bias",
                never=r"last norm",
            ),
            Slip(
                lambda V, T, C, L: count_with(V, T, C, L, 12 * C**2 + 11 * C, 1),
                "norms have a weight only",
                r"norm",
            ),
            Slip(
                lambda V, T, C, L: count_with(V, 0, C, L, 12 * C**2 + 13 * C),
                "no position embedding",
                r"position",
            ),
            Slip(
                lambda V, T, C, L: count_with(V, T, C, L, 12 * C**2 + 11 * C),
                "biases as long as the input",
                r"bias",
                never=r"too few: .*norm(?!.*bias.*output)",
            ),
            Slip(
                lambda V, T, C, L: count_with(V, T, C, L, 10 * C**2 + 13 * C),
                "qkv goes from C to C",
                r"qkv|matri|C²|C\*\*2|C \* C",
                never=r"bias",
            ),
            Slip(
                lambda V, T, C, L: float(count_with(V, T, C, L, 12 * C**2 + 13 * C)),
                "a float",
                r"float|int|whole",
            ),
            Slip(
                lambda V, T, C, L: count_with(V, T, C, 1, 12 * C**2 + 13 * C),
                "one block, not L",
                r"block|layer|\bL\b",
            ),
        ],
    ),
    "from_hf": Answers(
        right=[dict_of_clones, renamed_by_search, ByNumpy()],
        wrong=[
            Slip(
                lambda theirs: converted(theirs, turn=lambda name, tensor: tensor),
                "nothing is transposed",
                r"transpos|\.T\b",
            ),
            Slip(
                lambda theirs: converted(
                    theirs, turn=lambda name, tensor: tensor.T if tensor.ndim == 2 else tensor
                ),
                "the embeddings are transposed too",
                r"embedding",
            ),
            Slip(lambda theirs: converted(theirs, skipped=()), "the head is kept", r"head"),
            Slip(
                lambda theirs: converted(theirs, cut=lambda name: name[len("transformer.") :]),
                "names without the prefix are cut too",
                r"prefix|transformer\.|without",
            ),
            Slip(pops_the_head, "the argument loses its head", r"theirs|unchanged|argument|chang"),
            Slip(
                lambda theirs: converted(theirs, name_of=first_replacement_only),
                "only one replacement per name",
                r"replace|all|rename|name|missing",
            ),
            Slip(
                lambda theirs: converted(theirs, name_of=norm_pieces_first),
                "ln_ is replaced before ln_f",
                r"order|ln_f|norm_f",
            ),
            Slip(
                lambda theirs: converted(theirs, turn=square_left),
                "square matrices are not transposed",
                r"square|attention\.out|transpos",
            ),
            Slip(
                lambda theirs: converted(theirs, turn=reshaped),
                "reshaped, not transposed",
                r"reshap|view|transpos|\.T\b",
            ),
        ],
    ),
    "overfit_batch": Answers(
        right=[batch_by_classes, batch_by_gather, BatchOfDifferences()],
        wrong=[
            Slip(gradients_add_up, "no zero_grad", r"zero_grad|add up|accumul|pile|sum of"),
            Slip(
                lambda model, rows, steps, lr: fitted(model, rows, steps, lr, predicts_itself),
                "each token is asked to predict itself",
                r"itself|shift|next|same token|all but the first|target",
            ),
            Slip(loss_after_the_step, "each loss is taken after its step", r"before|after"),
            Slip(
                optimizer_in_the_loop,
                "a new optimizer in each step",
                r"optimizer|once|anew|forget|moment",
            ),
            Slip(trains_a_copy, "a copy is trained", r"copy|itself|did(n't| not) change|unchanged"),
            Slip(
                lambda model, rows, steps, lr: fitted(
                    model, rows, steps, lr, optimizer_class=torch.optim.Adam
                ),
                "Adam without weight decay",
                r"decay|\bAdam\b|Adam,",
            ),
            Slip(own_learning_rate, "a learning rate of its own", r"\blr\b|learning rate"),
            Slip(
                gradients_zeroed_too_late,
                "zero_grad between backward and step",
                r"zero_grad|did(n't| not) (change|learn|move)|unchanged|learn|chang",
            ),
            Slip(
                lambda model, rows, steps, lr: fitted(model, rows, steps, lr, summed_loss),
                "the sum of the losses",
                r"mean|sum",
            ),
            Slip(
                lambda model, rows, steps, lr: fitted(model, rows, steps, lr, last_position_only),
                "the last position only",
                r"last (position|token)|(every|all) positions?",
            ),
            Slip(
                lambda model, rows, steps, lr: fitted(model, rows, steps, lr, logits_reshaped),
                "logits reshaped, not transposed, to (B, V, T)",
                r"reshap|transpos|axis|axes|flatten|view|ln V",
            ),
            Slip(one_step_less, "one step less", r"steps|losses|one number per step"),
        ],
    ),
}
