"""Every objective of the course with an uneven batch, in float64: for the tests that cut a batch
and join it again."""

import torch

from course_lib.alignment.dpo import dpo_objective, pair_batch
from course_lib.alignment.preferences import PreferencePair
from course_lib.alignment.reward_model import RewardModel, choice_objective, pair_texts
from course_lib.alignment.sft import SFTExample, next_token_packed, pack_examples, sft_batch
from course_lib.models.deepseek import DeepSeekSettings, DeepSeekV2, DeepSeekV3
from course_lib.models.llama import Llama, LlamaSettings
from course_lib.text.batches import IGNORE_INDEX
from course_lib.training.deepseek_objective import deepseek_objective
from course_lib.training.objectives import (
    next_token_loss,
    next_token_objective,
    objective_of_logits,
)

EXAMPLES = [
    SFTExample([1, 2, 3][: 2 + n % 2], [4 + (n * k) % 7 for k in range(1 + n)]) for n in range(9)
]
PAIRS = [
    PreferencePair([1], [2, 3], [4]),
    PreferencePair([5, 6], [7] * 10 + [8], [9] * 12),
    PreferencePair([1, 2, 3], [4], [5, 6, 7, 8, 9]),
]
SIZES = {
    "vocab_size": 11,
    "max_seq_len": 24,
    "d_model": 12,
    "n_layers": 2,
    "n_heads": 3,
    "kv_lora_rank": 5,
    "qk_nope_head_dim": 4,
    "qk_rope_head_dim": 2,
    "v_head_dim": 3,
    "n_experts": 4,
    "n_chosen": 2,
    "d_expert": 4,
}


def llama():
    torch.manual_seed(0)
    return Llama(LlamaSettings(11, 24, d_model=12, n_layers=1, n_heads=2))


def deepseek(build=DeepSeekV3, **settings):
    torch.manual_seed(0)
    return build(DeepSeekSettings(**SIZES | settings))


def reward_model():
    return RewardModel(llama())


def shifted(model):
    """The same model, somewhat further on."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model


def uneven():
    """Four rows of which 1, 8, 0 and 5 targets count."""
    ids = torch.randint(11, (4, 9), generator=torch.Generator().manual_seed(2))
    inputs, targets = ids[:, :-1], ids[:, 1:].clone()
    for row, kept in enumerate((1, 8, 0, 5)):
        targets[row, kept:] = IGNORE_INDEX
    return inputs, targets


def case(name):
    """(model, objective, inputs, targets) by name."""
    v2 = {
        "expert over sequences": {"expert": 0.5},
        "expert over the batch": {"expert": 0.5, "over": "batch"},
    }
    v3 = {
        "sequence-wise": {"sequence": 0.5},
        "ahead": {"ahead": 0.3},
        "all of V3": {"sequence": 0.5, "ahead": 0.3},
    }
    if name in v2:
        model, objective, data = deepseek(DeepSeekV2), deepseek_objective(**v2[name]), uneven()
    elif name in v3:
        model, objective = deepseek(mtp="ahead" in v3[name]), deepseek_objective(**v3[name])
        data = uneven()
    elif name == "ahead of a dense V3 on chats":
        model, objective = deepseek(mtp=True, n_dense_layers=2), deepseek_objective(ahead=0.3)
        data = sft_batch(EXAMPLES)
    else:
        model = reward_model() if name == "reward model" else llama()
        objective, data = {
            "next token": lambda: (next_token_objective, uneven()),
            "loss of logits": lambda: (objective_of_logits(mean_of_counted), uneven()),
            "chats": lambda: (next_token_objective, sft_batch(EXAMPLES)),
            "packed chats": lambda: (next_token_packed, pack_examples(EXAMPLES, 14)),
            "dpo": lambda: (
                dpo_objective(llama().double().requires_grad_(False)),
                pair_batch(PAIRS),
            ),
            "reward model": lambda: (choice_objective, pair_texts(PAIRS)),
        }[name]()
    return shifted(model).double(), objective, *data


def mean_of_counted(logits, targets):
    return next_token_loss(logits, targets)


NAMES = (
    "next token",
    "loss of logits",
    "chats",
    "packed chats",
    "dpo",
    "reward model",
    "expert over sequences",
    "sequence-wise",
    "ahead",
    "all of V3",
    "ahead of a dense V3 on chats",
)
