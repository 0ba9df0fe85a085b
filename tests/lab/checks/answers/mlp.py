"""Answers to the exercises of lesson 07, written from their statements alone."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from tests.lab.checks.answers.table import Answers, Slip

# --- head_writes ---


def writes_by_zeroing(mixed, W_O):
    H, T, D = mixed.shape
    writes = []
    for h in range(H):
        alone = torch.zeros_like(mixed)
        alone[h] = mixed[h]
        writes.append(alone.permute(1, 0, 2).reshape(T, H * D) @ W_O.T)
    return torch.stack(writes)


def writes_in_numpy(mixed, W_O):
    mixed, W_O = np.asarray(mixed, dtype=np.float64), np.asarray(W_O, dtype=np.float64)
    D = mixed.shape[-1]
    return np.stack([head @ W_O[:, h * D : (h + 1) * D].T for h, head in enumerate(mixed)])


def pieces_of(mixed, W_O):
    return torch.stack(W_O.split(mixed.shape[-1], dim=1))


def writes_of_rows(mixed, W_O):
    D = mixed.shape[-1]
    return torch.stack([head @ W_O[h * D : (h + 1) * D] for h, head in enumerate(mixed)])


def writes_interleaved(mixed, W_O):
    H = len(mixed)
    return torch.stack([head @ W_O[:, h::H].T for h, head in enumerate(mixed)])


def writes_shared_out(mixed, W_O):
    whole = mixed.transpose(0, 1).flatten(1) @ W_O.T
    return (whole / len(mixed)).expand(len(mixed), -1, -1)


HEAD_WRITES = Answers(
    right=[
        lambda mixed, W_O: torch.einsum("htd,chd->htc", mixed, W_O.unflatten(1, (len(mixed), -1))),
        writes_by_zeroing,
        writes_in_numpy,
    ],
    wrong=[
        Slip(
            lambda mixed, W_O: mixed @ W_O.reshape(len(mixed), len(W_O), -1).transpose(1, 2),
            "W_O viewed as (H, C, D)",
            r"column|view|reshap|piece|cut",
            "interleav|cumul",
        ),
        Slip(
            writes_of_rows,
            "rows of W_O in place of columns",
            r"row|column|transpos|shape|size",
            "interleav|cumul",
        ),
        Slip(
            writes_interleaved,
            "every H-th column",
            r"interleav|every|neighbour|first|apart|stride|next to",
            "cumul",
        ),
        Slip(
            lambda mixed, W_O: mixed.transpose(0, 1).flatten(1) @ W_O.T,
            "the sum of the heads",
            r"sum|each head|per head|one head|shape|add",
            "interleav|transpos",
        ),
        Slip(
            writes_shared_out,
            "the output shared out equally",
            r"same|each head|own|equal|shar|mean|alike",
            "interleav|transpos",
        ),
        Slip(
            lambda mixed, W_O: (mixed @ pieces_of(mixed, W_O).mT).transpose(0, 1),
            "tokens before heads",
            r"axes|axis|shape|order|transpos|swap|before",
            "interleav",
        ),
        Slip(
            lambda mixed, W_O: mixed @ W_O[:, : mixed.shape[-1]].T,
            "all heads use the first columns",
            r"own|first|same|head 0|piece",
            "interleav|transpos",
        ),
        Slip(
            lambda mixed, W_O: (mixed @ pieces_of(mixed, W_O).mT).cumsum(0),
            "the running sum over the heads",
            r"running|cumul|sum|before|earlier|own|alone",
            "interleav|transpos",
        ),
    ],
)

# --- write_facts ---


def facts_in_numpy(keys, values):
    keys, values = np.asarray(keys, dtype=np.float64), np.asarray(values, dtype=np.float64)
    return keys, 1 - keys.sum(axis=1), values.T


def facts_in_a_module(keys, values):
    N, C = keys.shape
    up, down = nn.Linear(C, N), nn.Linear(N, values.shape[1], bias=False)
    with torch.no_grad():
        up.weight.copy_(10 * keys)
        up.bias.fill_(-19)
        down.weight.copy_(values.T)
    return up.weight, up.bias, down.weight


def with_bias(bias):
    return lambda keys, values: (keys, torch.full((len(keys),), bias), values.T)


def one_hot_facts(keys, values):
    hot = F.one_hot(values.argmax(-1), values.shape[1]).float()
    return keys, -torch.ones(len(keys)), hot.T


WRITE_FACTS = Answers(
    right=[
        facts_in_numpy,
        facts_in_a_module,
        lambda keys, values: (keys.clone(), keys.new_full(keys.shape[:1], -1.5), 2 * values.t()),
    ],
    wrong=[
        Slip(with_bias(0.0), "no bias", r"bias|half|one word|single", "transpos|order"),
        Slip(
            with_bias(-2.0),
            "a bias of -2",
            r"bias|whole key|silent|never|-2|0 for",
            "transpos|half a key opens",
        ),
        Slip(
            lambda keys, values: (keys, torch.full((len(keys),), -1.0), values),
            "values not transposed",
            r"transpos|shape|\(O, N\)",
            "bias",
        ),
        Slip(
            lambda keys, values: (keys, torch.tensor([-1.0]), values.T),
            "one bias for all neurons",
            r"shape|one (bias )?(per|for each)|\(N,\)|bias",
            "transpos|half",
        ),
        Slip(with_bias(-1.5), "a bias of -1.5", r"bias|half|0\.5|-1", "transpos"),
        Slip(
            one_hot_facts,
            "values taken for one-hot",
            r"one.hot|any number|0 and 1",
            "transpos|bias",
        ),
        Slip(
            lambda keys, values: (keys / 2**0.5, torch.full((len(keys),), -1.0), values.T),
            "keys of length 1",
            r"key|sum|0\.41|instead of 1|activation|bias",
            "transpos",
        ),
        Slip(
            lambda keys, values: (keys, -torch.ones(len(keys)), values.T.squeeze()),
            "squeezed, so that one fact loses an axis",
            r"shape|\(1|one fact|axis|axes|dimension|squeez",
            "half|bias should",
        ),
    ],
)

# --- mlp_gradients ---


def gradients_by_einsum(x, W_up, W_down, grad_output):
    hidden = torch.einsum("tc,fc->tf", x, W_up).clamp(min=0)
    grad_hidden = torch.einsum("tc,cf->tf", grad_output, W_down) * hidden.sign()
    grad_up = torch.einsum("tf,tc->fc", grad_hidden, x)
    return [grad_up, torch.einsum("tc,tf->cf", grad_output, hidden)]


def gradients_by_tokens(x, W_up, W_down, grad_output):
    grad_up, grad_down = torch.zeros_like(W_up).double(), torch.zeros_like(W_down).double()
    for token, grad in zip(x.double(), grad_output.double(), strict=True):
        before = W_up.double() @ token
        grad_down = grad_down + torch.outer(grad, before.relu())
        grad_before = torch.where(before > 0, W_down.double().T @ grad, 0.0)
        grad_up = grad_up + torch.outer(grad_before, token)
    return grad_up, grad_down


def gradients_in_numpy(x, W_up, W_down, grad_output):
    x, W_up, W_down, grad = (np.asarray(a) for a in (x, W_up, W_down, grad_output))
    before = x @ W_up.T
    active = np.heaviside(before, 0)
    return ((grad @ W_down) * active).T @ x, grad.T @ (before * active)


def gradients(x, W_up, W_down, grad_output, open_=torch.gt, hidden=torch.relu):
    before = x @ W_up.T
    grad_before = (grad_output @ W_down) * open_(before, torch.zeros_like(before))
    return grad_before.T @ x, grad_output.T @ hidden(before)


def gradients_exchanged(x, W_up, W_down, grad_output):
    grad_up, grad_down = gradients(x, W_up, W_down, grad_output)
    return grad_down, grad_up


def gradients_unmasked(x, W_up, W_down, grad_output):
    return gradients(x, W_up, W_down, grad_output, open_=lambda before, zero: zero + 1)


def gradients_of_sums(x, W_up, W_down, grad_output):
    return gradients(x, W_up, W_down, grad_output, hidden=lambda before: before)


def gradients_transposed(x, W_up, W_down, grad_output):
    grad_up, grad_down = gradients(x, W_up, W_down, grad_output)
    return grad_up.T, grad_down.T


def gradients_open_at_zero(x, W_up, W_down, grad_output):
    return gradients(x, W_up, W_down, grad_output, open_=torch.ge)


def gradients_averaged(x, W_up, W_down, grad_output):
    return tuple(grad / len(x) for grad in gradients(x, W_up, W_down, grad_output))


def gradients_times_hidden(x, W_up, W_down, grad_output):
    return gradients(x, W_up, W_down, grad_output, open_=torch.maximum)


def gradients_without_down(x, W_up, W_down, grad_output):
    return gradients(x, W_up, W_up.T, grad_output)


MLP_GRADIENTS = Answers(
    right=[gradients_by_einsum, gradients_by_tokens, gradients_in_numpy],
    wrong=[
        Slip(
            gradients_exchanged,
            "the two gradients exchanged",
            r"order|swap|exchang|first|shape",
            "mean|at 0",
        ),
        Slip(
            gradients_unmasked,
            "ReLU is forgotten on the way back",
            r"relu|silent|zero|mask|above 0|\b0\b",
            "transpos|mean|order",
        ),
        Slip(
            gradients_of_sums,
            "W_down's gradient from the sums before ReLU",
            r"relu|activation|before|negative",
            "transpos|mean|order|at 0",
        ),
        Slip(
            gradients_transposed, "both gradients transposed", r"transpos|shape|order", "mean|relu"
        ),
        Slip(
            gradients_open_at_zero,
            "ReLU open at 0",
            r"at 0|exactly 0|0 and below|>=|\b0\b",
            "transpos|mean|order|forg",
        ),
        Slip(
            gradients_averaged,
            "the mean over tokens",
            r"mean|averag|sum|divid|\bT\b|number of tokens",
            "transpos|order|relu",
        ),
        Slip(
            gradients_times_hidden,
            "multiplied by the activation, not by ReLU's slope",
            r"activation|hidden|1 above|slope|> 0",
            "transpos|mean|order",
        ),
        Slip(
            gradients_without_down,
            "sent back through W_up",
            r"through W_|W_down (is|was) (missing|not)|forgot",
            "transpos|mean|order",
        ),
    ],
)

# --- swiglu ---


def swiglu_in_numpy(x, W_gate, W_up, W_down):
    x, W_gate, W_up, W_down = (np.asarray(a, dtype=float) for a in (x, W_gate, W_up, W_down))
    gate = x @ W_gate.T
    return (gate / (1 + np.exp(-gate)) * (x @ W_up.T)) @ W_down.T


def swiglu_by_tokens(x, W_gate, W_up, W_down):
    rows = (W_down @ (nn.SiLU()(W_gate @ token) * (W_up @ token)) for token in x)
    return torch.stack(list(rows))


class SwigluOfLinears:
    def __call__(self, x, W_gate, W_up, W_down):
        gate = F.linear(x, W_gate)
        return F.linear(gate * gate.sigmoid() * F.linear(x, W_up), W_down)


def gated(activation):
    return lambda x, W_gate, W_up, W_down: (activation(x @ W_gate.T) * (x @ W_up.T)) @ W_down.T


SWIGLU = Answers(
    right=[swiglu_in_numpy, swiglu_by_tokens, SwigluOfLinears()],
    wrong=[
        Slip(
            lambda x, W_gate, W_up, W_down: (x @ W_gate.T * F.silu(x @ W_up.T)) @ W_down.T,
            "SiLU on up in place of gate",
            r"gate|exchang|swap|\bup\b",
            "sigmoid|gelu|added",
        ),
        Slip(
            gated(torch.sigmoid),
            "sigmoid in place of SiLU",
            r"sigmoid|silu|\bGLU",
            "exchang|gelu|added|swap",
        ),
        Slip(
            lambda x, W_gate, W_up, W_down: F.silu(x @ W_gate.T * (x @ W_up.T)) @ W_down.T,
            "SiLU of the product",
            r"product|gate|before",
            "exchang|gelu|added|sigmoid",
        ),
        Slip(gated(F.gelu), "GELU in place of SiLU", r"gelu|silu", "exchang|added|sigmoid|swap"),
        Slip(
            lambda x, W_gate, W_up, W_down: (F.silu(x @ W_gate.T) + x @ W_up.T) @ W_down.T,
            "gate and up added",
            r"add|multipl|product|sum",
            "exchang|gelu|sigmoid",
        ),
        Slip(
            gated(lambda sums: sums),
            "no activation function",
            r"activation|silu|linear",
            "exchang|gelu|sigmoid|added",
        ),
        Slip(
            lambda x, W_gate, W_up, W_down: (F.silu(x @ W_gate.T) * F.silu(x @ W_up.T)) @ W_down.T,
            "SiLU on both",
            r"both|\bup\b|only|alone",
            "exchang|gelu|sigmoid|added",
        ),
        Slip(
            lambda x, W_gate, W_up, W_down: F.silu(x @ W_gate.T) * (x @ W_up.T),
            "not brought down",
            r"down|shape|\(T, C\)",
            "exchang|gelu|sigmoid|added",
        ),
    ],
)

# --- direct_logit_attribution ---


def attribution_by_zeroing(hidden, W_down, direction):
    hidden, W_down, direction = hidden.double(), W_down.double(), direction.double()
    whole, lower = direction @ (W_down @ hidden), []
    for i in range(len(hidden)):
        rest = hidden.clone()
        rest[i] = 0
        lower.append((whole - direction @ (W_down @ rest)).item())
    return torch.tensor(lower)


def attribution_by_autograd(hidden, W_down, direction):
    leaf = hidden.detach().clone().requires_grad_()
    (slope,) = torch.autograd.grad(direction @ (W_down @ leaf), leaf)
    return slope * hidden


def attribution_flipped(hidden, W_down, direction):
    return -hidden * (direction @ W_down)


def attribution_of_the_rest(hidden, W_down, direction):
    own = hidden * (direction @ W_down)
    return own.sum() - own


def attribution_of_a_unit(hidden, W_down, direction):
    return hidden * (direction / direction.norm() @ W_down)


def attribution_by_length(hidden, W_down, direction):
    return hidden * W_down.norm(dim=0)


DIRECT_LOGIT_ATTRIBUTION = Answers(
    right=[
        lambda hidden, W_down, direction: np.einsum("f,cf,c->f", hidden, W_down, direction),
        attribution_by_zeroing,
        attribution_by_autograd,
    ],
    wrong=[
        Slip(
            lambda hidden, W_down, direction: direction @ W_down,
            "activations are left out",
            r"activation|hidden|multipl",
            "sign|flip|unit|share",
        ),
        Slip(
            lambda hidden, W_down, direction: (hidden * (direction @ W_down)).abs(),
            "absolute values",
            r"sign|negative|abs",
            "flip|unit|share",
        ),
        Slip(
            attribution_flipped,
            "the change in place of the loss",
            r"sign|lower|minus|flip|negat|opposite|other way",
            "abs|unit|share",
        ),
        Slip(
            attribution_of_the_rest,
            "the logit that remains",
            r"remain|is left|the rest|lower|without",
            "sign|unit|share",
        ),
        Slip(
            lambda hidden, W_down, direction: direction[:, None] * W_down * hidden,
            "not summed over channels",
            r"shape|sum|channel|axis|axes",
            "flip|unit|share",
        ),
        Slip(
            attribution_of_a_unit,
            "the direction brought to length 1",
            r"length|norm|unit|cosin|scal|times",
            "flip|abs|share",
        ),
        Slip(
            lambda hidden, W_down, direction: hidden.relu() * (direction @ W_down),
            "activations below 0 are dropped",
            r"negative|sign|below 0|activation|relu",
            "flip|unit|share",
        ),
        Slip(
            attribution_by_length,
            "the length of what a neuron writes",
            r"direction|length|norm",
            "flip|unit|share",
        ),
    ],
)

ANSWERS = {
    "head_writes": HEAD_WRITES,
    "write_facts": WRITE_FACTS,
    "mlp_gradients": MLP_GRADIENTS,
    "swiglu": SWIGLU,
    "direct_logit_attribution": DIRECT_LOGIT_ATTRIBUTION,
}
