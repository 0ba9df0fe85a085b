"""Our settings of GRPO in the words of two engines: TRL's GRPOTrainer and verl.

Names and meanings as in TRL 1.16.0 and as in verl's sources of August 2026 (0.10.0.dev). What TRL
does is held by runs (`experiments/trl_curve.py`); what verl does is read, not run.
"""

from typing import NamedTuple

from course_lib.alignment.grpo import GRPOSettings


class EngineSetting(NamedTuple):
    """A setting of ours in the words of the engines, and what differs in its meaning.

    Values are Python source; `steps` stands in them for the number of times that one samples.
    """

    ours: str
    trl: dict[str, str]
    verl: dict[str, str]
    note: str


ACTOR, ROLLOUT = "actor_rollout_ref.actor", "actor_rollout_ref.rollout"
# What the mean over tokens is called, see `policy_loss.average_token_losses`. (TRL's "dapo" divides
# by the tokens of all that was sampled, "bnpo" by those of one update, as ours.)
AVERAGE_WORDS = {
    "sequence": ("grpo", "seq-mean-token-mean"),
    "token": ("bnpo", "token-mean"),
    "constant": ("dr_grpo", "seq-mean-token-sum-norm"),
}


def engine_settings(settings: GRPOSettings) -> list[EngineSetting]:
    """Say settings of ours in the words of TRL and verl, one row for each that has a word.

    Raises ValueError if samples can't be cut in equal parts, which engines ask for, and for what
    TRL has no word for.

    >>> rows = engine_settings(GRPOSettings(steps=70))
    >>> [row.trl for row in rows if row.ours == "group_size=16"]
    [{'num_generations': '16'}]
    """
    check_words_exist(settings)
    rows = batch_settings(settings) + learning_settings(settings) + loss_settings(settings)
    return [*rows, *off_policy_settings(settings)]


def check_words_exist(s: GRPOSettings) -> None:
    """Raise a ValueError if TRL would do something else than these settings say."""
    if s.n_questions % s.n_minibatches:
        raise ValueError(
            f"n_minibatches {s.n_minibatches} does not divide n_questions {s.n_questions}: engines"
            " want parts of equal size"
        )
    without = {"n_redraws": 0, "overlong_share": 0.0, "keep_mask": False, "keep_routing": False}
    without |= {"top_p": None, "old_log_probs": "sampler"}
    if s.beta:
        without |= {"kl_estimator": "k3", "kl_in": "loss"}
    for name, known in without.items():
        if getattr(s, name) != known:
            raise ValueError(
                f"{name} {getattr(s, name)!r} has no word in TRL: it can say {known!r} alone"
            )


def batch_settings(s: GRPOSettings) -> list[EngineSetting]:
    """Say what is sampled, and in how many parts it is learnt from."""
    updates, answers = s.n_minibatches * s.n_epochs, s.n_questions * s.group_size // s.n_minibatches
    return [
        EngineSetting(
            f"steps={s.steps}",
            {"max_steps": f"steps * {updates}"},
            {"trainer.total_training_steps": "steps"},
            "TRL counts updates of the weights; verl, as ours, how often one samples",
        ),
        EngineSetting(
            f"n_questions={s.n_questions}",
            {"per_device_train_batch_size": str(answers)},
            {"data.train_batch_size": str(s.n_questions)},
            "TRL counts answers per update and process (divide by the processes), verl questions",
        ),
        EngineSetting(
            f"group_size={s.group_size}",
            {"num_generations": str(s.group_size)},
            {f"{ROLLOUT}.n": str(s.group_size)},
            "the same",
        ),
        EngineSetting(
            f"n_minibatches={s.n_minibatches}",
            {"steps_per_generation": str(s.n_minibatches)},
            {f"{ACTOR}.ppo_mini_batch_size": str(s.n_questions // s.n_minibatches)},
            "TRL: updates per sampling; verl: questions per update",
        ),
        EngineSetting(
            f"n_epochs={s.n_epochs}",
            {"num_iterations": str(s.n_epochs)},
            {f"{ACTOR}.ppo_epochs": str(s.n_epochs)},
            "the same",
        ),
        EngineSetting(
            f"max_new_tokens={s.max_new_tokens}",
            {"max_completion_length": str(s.max_new_tokens)},
            {"data.max_response_length": str(s.max_new_tokens)},
            "a longer answer is cut off, and rated as it stands",
        ),
        EngineSetting(
            f"mask_overlong={s.mask_overlong}, overlong_share={s.overlong_share}",
            {"mask_truncated_completions": str(s.mask_overlong)},
            {},
            "whether nothing is learnt from such an answer; its reward counts in its group's mean",
        ),
        EngineSetting(
            f"n_redraws={s.n_redraws}",
            {},
            {"algorithm.filter_groups.enable": "False"},
            "TRL draws no other questions in place of those whose answers are all alike",
        ),
        EngineSetting(
            f"temperature={s.temperature}",
            {"temperature": str(s.temperature), "top_p": "1.0", "top_k": "0"},
            {f"{ROLLOUT}.temperature": str(s.temperature)},
            "of sampling and of the ratio, in all three; nothing is cut off the distribution",
        ),
    ]


def learning_settings(s: GRPOSettings) -> list[EngineSetting]:
    """Say how fast is learnt: the optimizer and its rate."""
    updates = s.n_minibatches * s.n_epochs
    warmup, decay = s.warmup, min(s.decay, 1 - s.warmup)
    shape = f'{{"num_decay_steps": round({decay} * steps * {updates}), "decay_type": "linear"}}'
    return [
        EngineSetting(
            f"lr={s.lr}",
            {"learning_rate": str(s.lr), "adam_beta2": "0.95", "weight_decay": "0.0"},
            {
                f"{ACTOR}.optim.lr": str(s.lr),
                f"{ACTOR}.optim.betas": "[0.9,0.95]",
                f"{ACTOR}.optim.weight_decay": "0.0",
            },
            "AdamW in all three; of a model of billions take about 1e-6",
        ),
        EngineSetting(
            f"warmup={s.warmup}, decay={s.decay}",
            {
                "lr_scheduler_type": '"warmup_stable_decay"',
                "warmup_steps": f"round({warmup} * steps * {updates})",
                "lr_scheduler_kwargs": shape,
            },
            {
                f"{ACTOR}.optim.lr_scheduler_type": "cosine",
                f"{ACTOR}.optim.lr_warmup_steps_ratio": str(warmup),
            },
            "TRL's first update has a rate of 0, ours of half a step; verl has no such shape",
        ),
        EngineSetting(
            f"clip_gradient={s.clip_gradient}",
            {"max_grad_norm": gradient_clip(s)},
            {f"{ACTOR}.optim.clip_grad": str(s.clip_gradient)},
            "in units of the loss, which TRL divides by max_completion_length",
        ),
    ]


def gradient_clip(s: GRPOSettings) -> str:
    """Give the longest gradient in units of TRL's loss: its constant is the longest answer."""
    if isinstance(s.average, str):
        return str(s.clip_gradient)
    return f"{s.clip_gradient} * {s.average} / {s.max_new_tokens}"


def off_policy_settings(s: GRPOSettings) -> list[EngineSetting]:
    """Say what is done about samples that the policy would no longer draw so."""
    threshold = {}
    if s.sequence_threshold is not None:
        threshold = {"off_policy_mask_threshold": str(s.sequence_threshold)}
    kept = f"top_p={s.top_p}, keep_mask={s.keep_mask}, keep_routing={s.keep_routing}"
    return [
        EngineSetting(f"sequence_threshold={s.sequence_threshold}", threshold, {}, "the same"),
        EngineSetting(
            f"{kept}, old_log_probs={s.old_log_probs!r}",
            {},
            {},
            "the whole distribution is drawn from; none of the sampler's choices are replayed",
        ),
    ]


def loss_settings(s: GRPOSettings) -> list[EngineSetting]:
    """Say what an update makes small."""
    kind = s.average if isinstance(s.average, str) else "constant"
    loss_type, mode = AVERAGE_WORDS[kind]
    constant = {} if kind != "constant" else {f"{ACTOR}.loss_scale_factor": f"{s.average:g}"}
    return [
        EngineSetting(
            f"clip_low={s.clip_low}",
            {"epsilon": str(s.clip_low)},
            {f"{ACTOR}.clip_ratio_low": str(s.clip_low)},
            "the same; verl also cuts ratios above clip_ratio_c 3 for bad answers",
        ),
        EngineSetting(
            f"clip_high={s.clip_high}",
            {"epsilon_high": str(s.clip_high)},
            {f"{ACTOR}.clip_ratio_high": str(s.clip_high)},
            "the same; where it is left out, TRL takes epsilon",
        ),
        EngineSetting(
            f"ratio={s.ratio!r}",
            {"importance_sampling_level": f'"{s.ratio}"'},
            {f"{ACTOR}.policy_loss.loss_mode": "vanilla" if s.ratio == "token" else "gspo"},
            "what is clipped: a ratio per token, or one per answer",
        ),
        EngineSetting(
            f"beta={s.beta}, kl_estimator={s.kl_estimator!r}, kl_in={s.kl_in!r},"
            f" kl_weighted={s.kl_weighted}",
            {"beta": str(s.beta), "use_bias_correction_kl": str(s.kl_weighted)},
            {
                f"{ACTOR}.use_kl_loss": str(s.beta > 0),
                f"{ACTOR}.kl_loss_coef": str(s.beta),
                f"{ACTOR}.kl_loss_type": "low_var_kl",
            },
            "k3 in the loss; TRL's default weights it by the ratio, which changes its gradient",
        ),
        EngineSetting(
            f"scale_by_std={s.scale_by_std}",
            {"scale_rewards": '"group"' if s.scale_by_std else '"none"'},
            {"algorithm.norm_adv_by_std_in_grpo": str(s.scale_by_std)},
            "over n-1 in all three, plus 1e-4 in ours and TRL, 1e-6 in verl; both default to it",
        ),
        EngineSetting(
            f"average={s.average!r}",
            {"loss_type": f'"{loss_type}"'},
            {f"{ACTOR}.loss_agg_mode": mode, **constant},
            "engines average over all answers, ours over those with an advantage",
        ),
    ]
