"""What an update of TRL learns from a batch, with the exported settings, beside ours."""

import json
from random import Random

import pytest
import torch

from course_lib.alignment.grpo import GRPOSettings, group_advantages, grpo_loss
from course_lib.alignment.rl_loop import sample_rollouts
from course_lib.experiments.r1 import SHIPPED_R1
from course_lib.experiments.rl_export import export_rl
from course_lib.inference.rollout import completion_log_probs
from course_lib.models.hf_deepseek import llama_to_hf
from course_lib.tasks.arithmetic import ZERO_REWARDS, arithmetic_task

trl = pytest.importorskip("trl")
import datasets  # noqa: E402
import transformers  # noqa: E402

PRACTICE = {"n_questions": 4, "group_size": 8, "max_new_tokens": 40, "n_minibatches": 1}
KINDS = {  # settings, and by what their loss is smaller: ours divides by 20, theirs by 40 tokens
    "the course's": ({"beta": 0.5}, 20 / 40),
    "GRPO": ({"average": "sequence", "scale_by_std": True}, 1.0),
    "all tokens alike": ({"average": "token", "scale_by_std": True}, 1.0),
    "whole sequences": ({"average": "sequence", "ratio": "sequence", "beta": 0.0}, 1.0),
    "weighted KL": ({"kl_weighted": True, "beta": 0.5}, 20 / 40),
    "bad answers far off masked": ({"sequence_threshold": 0.01, "beta": 0.5}, 20 / 40),
}


def trainer_of(folder, monkeypatch):
    """TRL's trainer as the exported script makes it."""
    monkeypatch.syspath_prepend(str(folder))
    for name in ("train_trl", "rewards"):
        monkeypatch.delitem(__import__("sys").modules, name, raising=False)
    import train_trl  # noqa: PLC0415

    prompts = [json.loads(line) for line in (folder / "train.jsonl").open()]
    return trl.GRPOTrainer(
        str(folder / "model"),
        [train_trl.accuracy_reward, train_trl.format_reward],
        train_trl.config(folder / "runs", 2, 0),
        train_dataset=datasets.Dataset.from_list(prompts),
    )


@pytest.mark.parametrize(("changed", "scale"), KINDS.values(), ids=KINDS)
def test_loss_and_gradient_of_an_update_are_ours(changed, scale, tmp_path, monkeypatch):
    transformers.logging.disable_progress_bar()
    settings = GRPOSettings(2, **PRACTICE | changed)
    folder = export_rl(tmp_path / "export", "student", 16, 4, settings)
    theirs, ours = trainer_of(folder, monkeypatch), SHIPPED_R1.load("student")
    reference = SHIPPED_R1.load("student")
    # Samples of the student; then all three policies differ: sampler, policy, reference
    drawn = sample_rollouts(
        ours, SHIPPED_R1.tokenizer(), arithmetic_task(ZERO_REWARDS), settings, Random(0),
        torch.Generator().manual_seed(0),
    )  # fmt: skip
    advantages = group_advantages(torch.randn(32, generator=torch.Generator().manual_seed(1)), 8)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter += 0.02 * torch.randn(parameter.shape, generator=generator)
    weights = llama_to_hf(ours.state_dict(), ours.settings)
    theirs.model.load_state_dict(weights, strict=False)

    part = drawn.completions
    log_probs = completion_log_probs(ours, part)
    with torch.no_grad():
        by_reference = completion_log_probs(reference, part)
    loss, _ = grpo_loss(
        log_probs, by_reference if settings.beta else None, part, advantages, settings
    )
    loss.backward()

    T = part.completion_mask.shape[1]
    theirs.current_gradient_accumulation_steps = 1
    their_loss = theirs._compute_loss(
        theirs.model.train(),
        {
            "prompt_ids": part.ids[:, :-T],
            "prompt_mask": (~part.padding[:, :-T]).long(),
            "completion_ids": part.ids[:, -T:],
            "completion_mask": part.completion_mask.long(),
            "advantages": advantages,
            "old_per_token_logps": part.log_probs,
            "ref_per_token_logps": by_reference,
        },
    )
    their_loss.backward()
    torch.testing.assert_close(their_loss, scale * loss, rtol=1e-4, atol=1e-6)
    gradients = {name: parameter.grad for name, parameter in ours.named_parameters()}
    wanted = llama_to_hf(gradients, ours.settings)
    for name, parameter in theirs.model.named_parameters():
        torch.testing.assert_close(parameter.grad, scale * wanted[name], rtol=1e-3, atol=1e-4)
    assert theirs.args.max_grad_norm == pytest.approx(scale * settings.clip_gradient)
