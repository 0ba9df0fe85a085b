"""Everything that a run of the pipeline learns by, in a second: pre-training of both models,
fine-tuning, a reward model, reinforcement learning, sampling, and a vocabulary."""

import zlib

import torch

from course_lib.alignment import reward_model, sft
from course_lib.alignment.grpo import GRPOSettings, train_grpo
from course_lib.alignment.preferences import PreferencePair
from course_lib.alignment.rewards import weighted_reward
from course_lib.alignment.rl_task import RLTask
from course_lib.experiments.r1 import SHIPPED_R1
from course_lib.experiments.stages import balanced_training, pretraining_settings
from course_lib.models.deepseek import DeepSeekSettings, DeepSeekV3
from course_lib.models.llama import Llama, LlamaSettings
from course_lib.tasks import arithmetic, at_k
from course_lib.tasks.demonstrations import as_dialogue
from course_lib.text import bpe
from course_lib.training.trainer import train

CHATS = [("7+5=?", "<answer>12</answer>"), ("3+4-2=?", "<think>3+4=7</think><answer>5</answer>")]
RULES = weighted_reward({"accuracy": 1.0, "format": 0.5})


def pay_by_letters(questions, answers):
    """Rewards that differ within every group, above what the rules give: 0 of a new model."""
    rules = [RULES(question.truth, text) for question, text in zip(questions, answers, strict=True)]
    return [paid + zlib.crc32(text.encode()) % 5 for paid, text in zip(rules, answers, strict=True)]


def learn_everything():
    """Give all that is learnt, as tensors by name, from nothing but fixed seeds."""
    tokenizer = SHIPPED_R1.tokenizer()
    learnt = {"tokenizer": sorted(bpe.train_bpe("low lower lowest slow " * 3, 262).ranks.items())}
    models = {}
    sizes = {"d_model": 16, "n_layers": 2, "n_heads": 2, "rope_base": 100.0}
    for name, make in {
        "base": lambda: DeepSeekV3(DeepSeekSettings(512, 96, q_lora_rank=16, **sizes)),
        "small": lambda: Llama(LlamaSettings(512, 96, **sizes)),
    }.items():
        torch.manual_seed(0)
        model = models[name] = make()
        ids = torch.randint(512, (3, 4, 25), generator=torch.Generator().manual_seed(1))
        targets = ids[..., 1:].clone()
        targets[:, 0, -5:] = -100
        settings = pretraining_settings(3)
        balance = balanced_training(settings) if name == "base" else {}
        train(model, zip(ids[..., :-1], targets, strict=True), settings, **balance)
        examples = sft.sft_examples(tokenizer, [as_dialogue(*chat) for chat in CHATS])
        sft.train_sft(model, examples, sft.sft_settings(2), batch_size=3)
    pairs = [
        PreferencePair([5, 6], tokenizer.encode(one), tokenizer.encode(other))
        for one, other in (("Lima", "Lima, duh"), ("Oslo", "no"), ("Paris", "Rome"), ("a", "b"))
    ]
    judge = reward_model.train_reward_model(models["base"], pairs, steps=2, batch_size=3).model
    task = RLTask(arithmetic.draw_arithmetic_question, pay_by_letters)
    practice = GRPOSettings(2, n_questions=3, group_size=4, max_new_tokens=12, beta=0.05)
    for model in models.values():
        train_grpo(model, tokenizer, task, practice)
    questions = arithmetic.held_out_arithmetic(3)
    kept = arithmetic.rejection_sample(
        questions, ["a", "b"] * 3, lambda question, text: text == "b"
    )
    learnt["kept"] = kept
    learnt["pass"] = at_k.pass_at_k(8, 3, 4)
    for name, model in (models | {"judge": judge}).items():
        learnt |= {f"{name}.{key}": value for key, value in model.state_dict().items()}
    return learnt


def same_bits(one, other):
    """Whether all that was learnt is the same to the last bit."""
    return all(
        torch.equal(one[key], other[key]) if hasattr(one[key], "shape") else one[key] == other[key]
        for key in one
    )


def largest_difference(one, other):
    """The largest difference of two numbers of a tensor, by the tensor's own largest number."""
    tables = [(one[key], other[key]) for key in one if hasattr(one[key], "shape")]
    return max(((a - b).abs().max() / a.abs().max().clamp(min=1e-3)).item() for a, b in tables)
