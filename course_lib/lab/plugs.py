"""Where each exercise stands in the library when the pipeline runs on the learner's own lines.

An adapter gives a part what its exercise's statement promises, and the library what its function
promised. What an adapter computes itself is what no exercise asks for. `PLUGS` is the table.
"""

import copy
from collections.abc import Callable
from functools import cache, partial

import torch
import torch.nn.functional as F
from torch import Tensor

from course_lib.alignment.policy_loss import capped_exponent
from course_lib.inference.generate import apply_temperature
from course_lib.lab.parts import Lift, Part, Plug, over_rows, remembered
from course_lib.layers.attention import visible_keys
from course_lib.layers.moe.experts import gated_silu
from course_lib.layers.moe.routing import Routing
from course_lib.models.llama import Llama
from course_lib.text.batches import IGNORE_INDEX
from course_lib.text.bpe.patterns import checked_pattern, cut_long_text
from course_lib.text.problems import ChainProblem
from course_lib.training.objectives import LossSum


def as_it_is(library: Callable, part: Part) -> Callable:
    """Let a part take the library's arguments as they come."""
    return lambda *args: part(*args)


# Text
# --------------------------------------------------------------------------------------------------


def plug_encode(library: Callable, encode_piece: Part) -> Callable:
    def encode(tokenizer, text, allowed_special=()):
        known = vars(tokenizer).setdefault("_own_pieces", {})  # words repeat

        def once(piece: bytes) -> list[int]:
            if piece not in known:
                known[piece] = list(encode_piece(piece, tokenizer.ranks))
            return known[piece]

        parts = cut_long_text(checked_pattern(text), tokenizer._allowed(allowed_special))
        return tokenizer._encode_parts(parts, once)

    return encode


def plug_left_padding(library: Callable, left_pad: Part) -> Callable:
    def pad(sequences, pad_token, side="right", length=None):
        if side != "left" or pad_token != 0 or length is not None:
            return library(sequences, pad_token, side, length)
        ids, padding, _ = left_pad(sequences)
        return ids, ~padding

    return pad


# Layers
# --------------------------------------------------------------------------------------------------


class TableLookUp(torch.autograd.Function):
    """Rows of a table as products with one-hot vectors; the gradient by hand."""

    @staticmethod
    def forward(ctx, table: Tensor, ids: Tensor, one_hot: Part, backward: Part) -> Tensor:
        ctx.save_for_backward(ids)
        ctx.backward_part, ctx.n_rows = backward, len(table)
        if not one_hot.active:
            return F.embedding(ids, table)
        return (one_hot(ids.flatten(), len(table)) @ table).unflatten(0, ids.shape)

    @staticmethod
    def backward(ctx, upstream: Tensor) -> tuple:
        (ids,) = ctx.saved_tensors
        found = ctx.backward_part(ids.flatten(), upstream.flatten(0, -2), ctx.n_rows)
        return found, None, None, None


def plug_embedding(library: Callable, one_hot: Part, backward: Part) -> Callable:
    return lambda table, ids: TableLookUp.apply(table.weight, ids, one_hot, backward)


def plug_rotary_tables(library: Callable, rotary: Part) -> Callable:
    """Let her turn (1, 0) in each pair: cosine and sine are what comes out."""

    @cache
    @torch.inference_mode(False)
    def tables(start, end, width, base, dtype, device, scaling=None):
        if scaling is not None:
            return library(start, end, width, base, dtype, device, scaling)
        ones = torch.ones(end, width // 2)
        turned = rotary(torch.cat([ones, torch.zeros_like(ones)], 1), base)
        cos, sin = turned[start:].to(device, dtype).chunk(2, 1)
        return torch.cat([cos, cos], -1), torch.cat([-sin, sin], -1)

    return tables


def plug_rms_norm(library: Callable, rms_norm: Part) -> Callable:
    return lambda norm, x: rms_norm(x, norm.weight, norm.eps)


def plug_swiglu(library: Callable, swiglu: Part) -> Callable:
    return lambda mlp, x: swiglu(x, mlp.gate.weight, mlp.up.weight, mlp.down.weight)


def plug_heads(library: Callable, split_heads: Part) -> Callable:
    def project(layer, x, start=0):
        groups = [layer.n_heads, layer.n_kv_heads, layer.n_kv_heads]
        heads = split_heads(layer.qkv(x), sum(groups))
        q, k, v = heads.split(groups, dim=1)
        if layer.position is not None:
            q, k = layer.position(q, start), layer.position(k, start)
        return q, k, v

    return project


def attention_table(scores: Tensor, padding: Tensor | None, causal: Part, softmax: Part) -> Tensor:
    """Turn scores into weights: hers where all may see the past, else over the visible keys."""
    T, S = scores.shape[-2:]
    if padding is None and T == S:
        return causal(scores)
    visible = visible_keys(T, S, padding=padding, device=scores.device)
    return softmax(scores.masked_fill(~visible, -torch.inf))


def mixed_values(weights: Tensor, v: Tensor, weighted_sum: Part) -> Tensor:
    return weighted_sum(weights.flatten(0, 1), v.flatten(0, 1)).unflatten(0, v.shape[:2])


def plug_attention(
    library: Callable, scaled_scores: Part, causal: Part, softmax: Part, weighted_sum: Part
) -> Callable:
    def attend(q, k, v, window=None, padding=None):
        if window is not None or q.shape[1] != k.shape[1]:
            return library(q, k, v, window, padding)
        scores = scaled_scores(q.flatten(0, 1), k.flatten(0, 1)).unflatten(0, q.shape[:2])
        return mixed_values(attention_table(scores, padding, causal, softmax), v, weighted_sum)

    return attend


def plug_latent_attention(
    library: Callable, decoupled: Part, causal: Part, softmax: Part, weighted_sum: Part
) -> Callable:
    def attend(q_content, q_rotary, latent, k_rotary, up_k, up_v, padding=None):
        kv = torch.einsum("bsr,hdr->bhsd", latent, torch.cat([up_k, up_v], 1))
        k_content, v = kv.split([up_k.shape[1], up_v.shape[1]], dim=-1)
        scores = decoupled(q_content, q_rotary, k_content, k_rotary)
        return mixed_values(attention_table(scores, padding, causal, softmax), v, weighted_sum)

    return attend


def plug_absorbed_attention(library: Callable, absorbed_scores: Part, softmax: Part) -> Callable:
    def attend(q_content, q_rotary, latent, k_rotary, up_k, up_v, padding=None):
        T, S = q_content.shape[2], latent.shape[1]
        scale = (q_content.shape[-1] + q_rotary.shape[-1]) ** -0.5
        by_content = absorbed_scores((q_content * scale).transpose(1, 2), latent, up_k)
        by_place = (q_rotary * scale).flatten(1, 2) @ k_rotary.mT
        scores = by_content.transpose(1, 2) + by_place.unflatten(1, (-1, T))
        visible = visible_keys(T, S, padding=padding, device=scores.device)
        weights = softmax(scores.masked_fill(~visible, -torch.inf))
        mixed = (weights.flatten(1, 2) @ latent).unflatten(1, (-1, T))
        return torch.einsum("bhtr,hdr->bhtd", mixed, up_v)

    return attend


def plug_block(library: Callable, transformer_block: Part) -> Callable:
    def block(layer, x, cache=None, padding=None):
        attention = remembered(lambda y: layer.attention(y, cache, padding))
        others = remembered(layer.norm_2), remembered(layer.mlp)
        # a wrong one would fill the cache twice: it is compared where there is none
        return transformer_block(
            x, remembered(layer.norm_1), attention, *others, compare=cache is None
        )

    return block


def without_cache(layer, x, cache=None, padding=None) -> tuple | None:
    return ((layer, x, None, padding), {}) if cache is None else None


def plug_init(library: Callable, init_weights: Part) -> Callable:
    """Let her draw the weights of a model without stacks of matrices, as the small one is."""

    def init(module, n_layers):
        if type(module) is not Llama:
            return library(module, n_layers)
        drawn = init_weights(module)
        with torch.no_grad():
            for parameter, numbers in zip(module.parameters(), drawn, strict=True):
                parameter.copy_(numbers)

    return init


def drawn_weights(function: Callable) -> Callable:
    """Let a function that fills a model in place fill a copy, from the dice as they lie."""

    def draw(module) -> list[Tensor]:
        twin, dice = copy.deepcopy(module), torch.get_rng_state()
        try:
            function(twin)
            return [parameter.detach() for parameter in twin.parameters()]
        finally:
            torch.set_rng_state(dice)

    return draw


def weights_difference(got: list[Tensor], want: list[Tensor]) -> str:
    """Compare draws by their spread alone: in another order they are other numbers."""
    for number, (mine, theirs) in enumerate(zip(got, want, strict=True)):
        if theirs.ndim < 2 and not torch.equal(mine, theirs):
            return f"parameter {number}, which is no matrix, was changed"
        ratio = (mine.std() / theirs.std()).item() if theirs.ndim >= 2 else 1.0
        if not 0.6 < ratio < 1.6:
            return f"the numbers of parameter {number} were spread {ratio:.2f} times as far"
    return ""


# Experts
# --------------------------------------------------------------------------------------------------


def plug_routing(library: Callable, gates: Part) -> Callable:
    def route(logits, bias, n_chosen, n_groups=1, n_limited_groups=1, scale=1.0):
        if n_groups != n_limited_groups:
            return library(logits, bias, n_chosen, n_groups, n_limited_groups, scale)
        scores = logits.sigmoid()
        table = gates(scores.flatten(0, -2), bias, n_chosen).view_as(scores)
        weights, chosen = table.topk(n_chosen)
        return Routing(scores, chosen, scale * weights)

    return route


def plug_experts(library: Callable, mix_experts: Part) -> Callable:
    def mix(stack, x, routing):
        tables = [table.flatten(0, -2) for table in (x, routing.chosen, routing.weights)]
        experts = [
            partial(one_expert, gate_up, down)
            for gate_up, down in zip(stack.gate_up, stack.down, strict=True)
        ]
        return mix_experts(*tables, experts).view_as(x)

    return mix


def one_expert(gate_up: Tensor, down: Tensor, x: Tensor) -> Tensor:
    return gated_silu(x @ gate_up.T) @ down.T


def plug_balance(library: Callable, balance_loss: Part) -> Callable:
    def loss(routing, reduction="mean"):
        best = routing.scores.topk(routing.chosen.shape[-1]).indices
        shares = routing.scores / routing.scores.sum(-1, keepdim=True)
        pairs = zip(shares.flatten(0, -3), best.flatten(0, -3), strict=True)
        if shares.ndim == 2:
            pairs = [(shares, best)]
        losses = torch.stack([balance_loss(*pair) for pair in pairs]).view(shares.shape[:-2])
        return losses if reduction == "none" else losses.mean()

    return loss


def plug_bias(library: Callable, moved_bias: Part) -> Callable:
    return lambda bias, load, speed: bias.copy_(moved_bias(bias, load.float(), speed))


# Training
# --------------------------------------------------------------------------------------------------


class SummedLoss(torch.autograd.Function):
    """The sum of the losses of all tokens; the gradient by hand."""

    @staticmethod
    def forward(ctx, logits: Tensor, targets: Tensor, losses: Part, gradient: Part) -> Tensor:
        ctx.save_for_backward(logits, targets)
        ctx.gradient_part = gradient
        return losses(logits, targets).sum()

    @staticmethod
    def backward(ctx, upstream: Tensor) -> tuple:
        logits, targets = ctx.saved_tensors
        found = ctx.gradient_part(logits, targets)  # of the mean
        return upstream * len(targets) * found, None, None, None


def plug_loss(library: Callable, token_losses: Part, logit_gradient: Part) -> Callable:
    def loss(logits, targets):
        count = targets != IGNORE_INDEX
        pair = logits[count], targets[count]
        if not count.any():
            return library(logits, targets)
        if logit_gradient.active:
            return LossSum(SummedLoss.apply(*pair, token_losses, logit_gradient), count.sum())
        return LossSum(token_losses(*pair).sum(), count.sum())

    return loss


def plug_log_probs(library: Callable, token_losses: Part) -> Callable:
    return lambda logits, ids: -token_losses(logits.flatten(0, 1), ids.flatten()).view(ids.shape)


def plug_schedule(library: Callable, wsd_rate: Part) -> Callable:
    """Read the rate off a run of a million steps, whose ramps are whole numbers of them."""

    def rate(progress, warmup=0.05, decay=0.5):
        if not warmup or not decay:
            return library(progress, warmup, decay)
        step, up, down = (max(1, round(share * 1_000_000)) for share in (progress, warmup, decay))
        return wsd_rate(step, 1_000_000, 1.0, up, down)

    return rate


def plug_clip(library: Callable, clip_gradients: Part) -> Callable:
    def clip(parameters, max_norm, total_norm):
        gradients = [p.grad for p in parameters if p.grad is not None]
        for gradient, clipped in zip(gradients, clip_gradients(gradients, max_norm), strict=True):
            gradient.copy_(clipped)

    return clip


def copies_with_gradients(parameters, max_norm, total_norm) -> tuple[tuple, dict]:
    parameters = list(parameters)
    twins = [torch.nn.Parameter(p.detach().clone()) for p in parameters]
    for twin, p in zip(twins, parameters, strict=True):
        twin.grad = None if p.grad is None else p.grad.clone()
    return (twins, max_norm, total_norm), {}


def plug_adamw(library: Callable, adamw_step: Part) -> Callable:
    @torch.no_grad()
    def step(optimizer, closure=None):
        groups = optimizer.param_groups
        if any(group["betas"] != (0.9, 0.95) or group["eps"] != 1e-8 for group in groups):
            return library(optimizer, closure)
        for group in groups:
            for theta in group["params"]:
                if theta.grad is not None:
                    step_own(theta, optimizer.state[theta], group, adamw_step)

    return step


def step_own(theta: Tensor, state: dict, group: dict, adamw_step: Part) -> None:
    """Step one parameter; the averages are kept where torch's AdamW keeps them."""
    if not state:
        state["step"] = torch.zeros((), device=theta.device)
        state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(theta), torch.zeros_like(theta)
    m, v, t = state["exp_avg"], state["exp_avg_sq"], int(state["step"]) + 1
    rates = group["lr"], group["weight_decay"]
    news = adamw_step(theta.detach(), theta.grad, m, v, t, *rates)
    for old, new in zip((theta, m, v), news, strict=True):
        old.copy_(new)
    state["step"] += 1


def optimizer_copy(optimizer, closure=None) -> tuple[tuple, dict]:
    twin = copy.deepcopy(optimizer)
    for one, other in zip(optimizer.param_groups, twin.param_groups, strict=True):
        for p, q in zip(one["params"], other["params"], strict=True):
            q.grad = None if p.grad is None else p.grad.clone()
    return (twin,), {}


def plug_orthogonal(library: Callable, newton_schulz: Part) -> Callable:
    """Give her the matrices of a stack; one of zeros has no direction, and stays as it is.

    Her exercise has one polynomial: steps with V4's second one stay the library's.
    """

    def orthogonal(update, steps=5, polish=0):
        if polish:
            return library(update, steps, polish)
        tall = update.shape[-2] > update.shape[-1]
        stack = (update.mT if tall else update).reshape(-1, *sorted(update.shape[-2:]))
        empty = (stack == 0).all(-1).all(-1)[:, None, None]
        found = newton_schulz(torch.where(empty, 1.0, stack), steps).masked_fill(empty, 0.0)
        return (found.mT if tall else found).reshape(update.shape)

    return orthogonal


# Alignment
# --------------------------------------------------------------------------------------------------


def plug_answer_tokens(place: int) -> Callable:
    """Make the adapter for inputs (place 0) or targets (1) of a chat's answer."""

    def adapt(library: Callable, answer_targets: Part) -> Callable:
        return lambda example: answer_targets(
            [(list(example.prompt), False), (list(example.completion), True)]
        )[place]

    return adapt


def plug_answer_loss(library: Callable, answer_loss: Part) -> Callable:
    def objective(model, inputs, targets):
        count = (targets != IGNORE_INDEX).sum()
        return LossSum(answer_loss(model(inputs), targets) * count, count)

    return objective


def plug_rejection(library: Callable, keep_answers: Part) -> Callable:
    def sample(questions, answers, good):
        n = len(answers) // len(questions) if questions else 0
        if not n or len(answers) % len(questions):
            return library(questions, answers, good)
        groups = [answers[i : i + n] for i in range(0, len(answers), n)]
        return keep_answers(questions, groups, good, 1)

    return sample


def plug_advantages(library: Callable, advantages_of_groups: Part) -> Callable:
    def advantages(rewards, group_size, scale_by_std=False):
        if scale_by_std:
            return library(rewards, group_size, scale_by_std)
        return advantages_of_groups(rewards, group_size)

    return advantages


def plug_surrogate(library: Callable, clipped_objective: Part) -> Callable:
    def surrogate(log_probs, old_log_probs, advantages, clip_low=0.2, clip_high=0.2):
        log_ratio = capped_exponent(log_probs - old_log_probs)  # exp of more would be infinite
        of_tokens = advantages.expand_as(log_ratio)
        return clipped_objective(
            log_ratio, torch.zeros_like(log_ratio), of_tokens, clip_low, clip_high
        )

    return surrogate


class DivergenceByHand(torch.autograd.Function):
    """k3 of each token; the gradient by hand."""

    @staticmethod
    def forward(ctx, log_probs: Tensor, reference_log_probs: Tensor, k3: Part) -> Tensor:
        value, gradient = k3(log_probs, reference_log_probs)
        ctx.save_for_backward(gradient)
        return value

    @staticmethod
    def backward(ctx, upstream: Tensor) -> tuple:
        return upstream * ctx.saved_tensors[0], None, None


def plug_divergence(library: Callable, k3_and_gradient: Part) -> Callable:
    return lambda log_probs, reference: DivergenceByHand.apply(
        log_probs, reference, k3_and_gradient
    )


def plug_average(library: Callable, group_loss: Part) -> Callable:
    def average(values, mask, how="token"):
        gains = torch.where(mask, values, 0.0)
        name, longest = (how, mask.shape[1]) if isinstance(how, str) else ("constant", how)
        return -group_loss(gains, mask, name, longest)

    return average


def plug_accuracy(library: Callable, rule_accuracy: Part) -> Callable:
    def rate(problem, text):
        if not isinstance(problem, ChainProblem):
            return library(problem, text)
        return rule_accuracy(text, problem.answer)

    return rate


def plug_format(library: Callable, rule_format: Part) -> Callable:
    return lambda problem, text: rule_format(text)


def plug_sampling(library: Callable, softmax: Part) -> Callable:
    def probs(logits, temperature, top_k, top_p, min_p):
        if not temperature or not top_k is top_p is min_p is None:
            return library(logits, temperature, top_k, top_p, min_p)
        scaled = logits if temperature == 1 else apply_temperature(logits, temperature)
        policy = softmax(scaled)
        return policy, policy

    return probs


# The table
# --------------------------------------------------------------------------------------------------

LIFTS: dict[str, Lift] = {
    "attention.scaled_scores": lambda f: over_rows(f, 0, 0),
    "attention.causal_weights": lambda f: over_rows(over_rows(f, 0), 0),
    "latent_attention.decoupled_scores": lambda f: over_rows(f, 0, 0, 0, 0),
    "latent_attention.absorbed_scores": (
        lambda f: over_rows(over_rows(f, 0, None, None), 0, 0, None)
    ),
    "pretraining.newton_schulz": lambda f: over_rows(f, 0, None),
    "transformer.init_weights": drawn_weights,
}
DIFFERENCES = {"transformer.init_weights": weights_difference}
TABLE_OF_WEIGHTS = ("attention.causal_weights", "output.stable_softmax", "pytorch.weighted_sum")

PLUGS = [
    Plug("course_lib.text.bpe.training.count_token_pairs", ("bpe.count_pairs",), as_it_is),
    Plug("course_lib.text.bpe.tokenizer.merge_pair", ("bpe.merge",), as_it_is),
    Plug("course_lib.text.bpe.tokenizer.Tokenizer.encode", ("bpe.encode_piece",), plug_encode),
    Plug(
        "course_lib.text.batches.pad_rows",
        ("inference.left_pad",),
        plug_left_padding,
        only_in="course_lib.inference.rollout",
    ),
    Plug(
        "course_lib.layers.embedding.Embedding.forward",
        ("embedding.one_hot", "embedding.embedding_backward"),
        plug_embedding,
    ),
    Plug("course_lib.layers.position.rotary_tables", ("embedding.rotary",), plug_rotary_tables),
    Plug("course_lib.layers.norm.RMSNorm.forward", ("layer_norm.rms_norm",), plug_rms_norm),
    Plug("course_lib.layers.mlp.SwiGLU.forward", ("mlp.swiglu",), plug_swiglu),
    Plug(
        "course_lib.layers.attention.SelfAttention.project", ("attention.split_heads",), plug_heads
    ),
    Plug(
        "course_lib.layers.attention.causal_attention",
        ("attention.scaled_scores", *TABLE_OF_WEIGHTS),
        plug_attention,
    ),
    Plug(
        "course_lib.layers.mla.naive_attention",
        ("latent_attention.decoupled_scores", *TABLE_OF_WEIGHTS),
        plug_latent_attention,
    ),
    Plug(
        "course_lib.layers.mla.absorbed_attention",
        ("latent_attention.absorbed_scores", "output.stable_softmax"),
        plug_absorbed_attention,
    ),
    Plug(
        "course_lib.models.llama.LlamaBlock.forward",
        ("transformer.transformer_block",),
        plug_block,
        again=without_cache,
    ),
    Plug(
        "course_lib.models.llama.init_llama_weights",
        ("transformer.init_weights",),
        plug_init,
        again=lambda module, n_layers: ((copy.deepcopy(module), n_layers), {}),
    ),
    Plug(
        "course_lib.layers.moe.routing.route_sigmoid",
        ("balance_and_prediction.gates",),
        plug_routing,
    ),
    Plug(
        "course_lib.layers.moe.experts.Experts.forward",
        ("mixture_of_experts.mix_experts",),
        plug_experts,
    ),
    Plug(
        "course_lib.layers.moe.balance.sequence_balance_loss",
        ("mixture_of_experts.balance_loss",),
        plug_balance,
    ),
    Plug(
        "course_lib.layers.moe.balance.update_bias",
        ("balance_and_prediction.moved_bias",),
        plug_bias,
        again=lambda bias, load, speed: ((bias.clone(), load, speed), {}),
    ),
    Plug(
        "course_lib.training.objectives.next_token_loss_sum",
        ("output.token_losses", "output.logit_gradient"),
        plug_loss,
    ),
    Plug("course_lib.inference.rollout.token_log_probs", ("output.token_losses",), plug_log_probs),
    Plug(
        "course_lib.inference.rollout.policy_and_filtered_probs",
        ("output.stable_softmax",),
        plug_sampling,
    ),
    Plug(
        "course_lib.training.schedules.warmup_stable_decay",
        ("pretraining.wsd_rate",),
        plug_schedule,
    ),
    Plug(
        "torch.nn.utils.clip_grads_with_norm_",
        ("pretraining.clip_gradients",),
        plug_clip,
        again=copies_with_gradients,
    ),
    Plug("torch.optim.AdamW.step", ("pretraining.adamw_step",), plug_adamw, again=optimizer_copy),
    Plug(
        "course_lib.training.optimizers.orthogonalize",
        ("pretraining.newton_schulz",),
        plug_orthogonal,
    ),
    Plug(
        "course_lib.alignment.sft.example_inputs",
        ("supervised_fine_tuning.answer_targets",),
        plug_answer_tokens(0),
    ),
    Plug(
        "course_lib.alignment.sft.example_targets",
        ("supervised_fine_tuning.answer_targets",),
        plug_answer_tokens(1),
    ),
    Plug(
        "course_lib.training.objectives.next_token_objective",
        ("supervised_fine_tuning.answer_loss",),
        plug_answer_loss,
        only_in="course_lib.alignment.sft",
    ),
    Plug(
        "course_lib.tasks.arithmetic.rejection_sample",
        ("supervised_fine_tuning.keep_answers",),
        plug_rejection,
    ),
    Plug(
        "course_lib.alignment.reward_model.bradley_terry_loss",
        ("human_feedback.bradley_terry",),
        as_it_is,
    ),
    Plug(
        "course_lib.alignment.grpo.group_advantages",
        ("grpo.advantages_of_groups",),
        plug_advantages,
    ),
    Plug(
        "course_lib.alignment.policy_loss.clipped_surrogate",
        ("grpo.clipped_objective",),
        plug_surrogate,
    ),
    Plug(
        "course_lib.alignment.policy_loss.k3_kl_divergence",
        ("grpo.k3_and_gradient",),
        plug_divergence,
    ),
    Plug(
        "course_lib.alignment.policy_loss.average_token_losses", ("grpo.group_loss",), plug_average
    ),
    Plug(
        "course_lib.alignment.rewards.accuracy_reward.rate",
        ("r1_zero.rule_accuracy",),
        plug_accuracy,
    ),
    Plug("course_lib.alignment.rewards.format_reward.rate", ("r1_zero.rule_format",), plug_format),
    Plug("course_lib.tasks.at_k.pass_at_k", ("r1_zero.pass_at_k",), as_it_is),
]
EXERCISES = tuple(dict.fromkeys(key for plug in PLUGS for key in plug.exercises))
