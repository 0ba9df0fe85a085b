"""One model of each kind that can leave the course, small and lively, for tests of exports."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from course_lib.experiments.trained_models import TrainedModel, find_trained_model
from course_lib.layers.moe.routing import SigmoidRouter
from course_lib.layers.position import YaRN
from course_lib.models.deepseek import DeepSeekSettings, DeepSeekV2, DeepSeekV3
from course_lib.models.gpt2 import GPT2, GPT2Settings
from course_lib.models.llama import Llama, LlamaSettings
from course_lib.tasks.arithmetic import held_out_arithmetic
from course_lib.text import bpe
from course_lib.text.chat import END_OF_TEXT, SPECIAL_TOKENS, render_chat

SIZES = {"vocab_size": 512, "max_seq_len": 128, "d_model": 32, "n_layers": 2, "n_heads": 4}
LATENT = SIZES | {"q_lora_rank": 16, "kv_lora_rank": 24}
GROUPS = LATENT | {"n_groups": 4, "n_limited_groups": 2, "route_scale": 2.5, "mtp": True}
V3_STRETCH = YaRN(4.0, 32, mscale=1.0, mscale_all_dim=1.0)
DRAWN: dict[str, Callable[[], nn.Module]] = {
    "gpt2": lambda: GPT2(GPT2Settings(**SIZES)),
    "llama": lambda: Llama(LlamaSettings(**SIZES, n_kv_heads=2)),
    "llama-yarn": lambda: Llama(LlamaSettings(**SIZES, tied=True, rope_scaling=YaRN(4.0, 32))),
    "v2": lambda: DeepSeekV2(DeepSeekSettings(**LATENT, route_scale=2.0, n_dense_layers=0)),
    "v3": lambda: DeepSeekV3(DeepSeekSettings(**GROUPS)),
    "v3-yarn": lambda: DeepSeekV3(DeepSeekSettings(**LATENT, rope_scaling=V3_STRETCH)),
}
SHIPPED = ["r1", "student"]


def exported_model(name: str) -> TrainedModel:
    """Give a shipped model, or one whose drawn weights are large enough to say many things."""
    if name not in DRAWN:
        return find_trained_model(name)
    torch.manual_seed(0)
    model = DRAWN[name]().eval()
    for module in model.modules():
        if isinstance(module, SigmoidRouter):
            module.bias.normal_(std=0.2)
    for parameter in model.parameters():
        parameter.data.add_(torch.randn_like(parameter) * 0.15)
    return TrainedModel(name, model, find_trained_model("r1").tokenizer)


def prompts_of(tokenizer: bpe.Tokenizer, n: int = 30) -> list[list[int]]:
    """Give prompts as ids: questions as chats."""
    chats = [[{"role": "user", "content": q.text}] for q in held_out_arithmetic(n)]
    texts = [END_OF_TEXT + render_chat(chat, True) for chat in chats]
    return [tokenizer.encode(text, allowed_special="all") for text in texts]


def greedy_ids(
    model: nn.Module, prompt: list[int], n: int, end: int, banned: list[int]
) -> tuple[list[int], Tensor]:
    """Give the likeliest tokens, one after the other up to the end, and all log-probabilities.

    Without a cache: nothing of what is tested decides it.
    """
    ids, rows = list(prompt), []
    with torch.no_grad():
        while len(rows) < n and ids[-1] != end or not rows:
            logits = model(torch.tensor([ids]))[0, -1]
            rows.append(logits.log_softmax(-1))
            allowed = logits.clone()
            allowed[banned] = -torch.inf
            ids.append(int(allowed.argmax()))
    return ids[len(prompt) :], torch.stack(rows)


def hard_to_print(tokenizer: bpe.Tokenizer) -> list[int]:
    """Give the tokens whose bytes are no whole ASCII text: llama.cpp holds half characters back."""
    odd = [i for token, i in tokenizer.ranks.items() if not token.isascii()]
    return odd + [tokenizer.special_tokens[name] for name in SPECIAL_TOKENS[1:]]
