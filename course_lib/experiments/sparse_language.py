"""A small DeepSeek-V3.2 on the plays: what it loses when each token attends to few.

Trained dense, then the indexers alone: the warm-up. Measured with each choice of few tokens.
"""

from functools import cache

import torch
import torch.nn.functional as F
from jaxtyping import Int
from torch import Tensor

from course_lib.experiments.indexers import CHOICES, chosen_by, layer_recall
from course_lib.experiments.ladder import ladder_corpus
from course_lib.experiments.needles import indexer_optimizer
from course_lib.models.deepseek import DeepSeekV32, DeepSeekV32Settings
from course_lib.text.batches import shuffled_windows
from course_lib.training.settings import TrainSettings
from course_lib.training.trainer import train_to_the_end

PLAY_CONTEXT, PLAY_BATCH, PLAY_WINDOWS = 128, 8, 16
PLAY_TOP_K = 16
PLAY_TOP_KS = (2, 4, 8, 16)
PLAY_DENSE_STEPS, PLAY_WARMUP_STEPS = 150, 60
PLAY_INDEXER_RATE = 3e-3


def play_settings(vocab_size: int) -> DeepSeekV32Settings:
    """Give the settings of a V3.2 without experts: attention is what is tried here."""
    return DeepSeekV32Settings(
        vocab_size, PLAY_CONTEXT, d_model=64, n_layers=3, n_heads=4, tied=True, n_dense_layers=3,
        kv_lora_rank=32, q_lora_rank=32, qk_nope_head_dim=16, qk_rope_head_dim=16, v_head_dim=16,
        index_n_heads=4, index_head_dim=16, index_top_k=PLAY_TOP_K,
    )  # fmt: skip


@cache
def windows_of_held_out_plays() -> Int[Tensor, "N T"]:
    """Cut windows of `PLAY_CONTEXT + 1` tokens from the plays that nobody trains on."""
    corpus = ladder_corpus("plays")
    ids = torch.tensor([i for play in corpus.held_out for i in corpus.tokenizer.encode(play)])
    every = ids.unfold(0, PLAY_CONTEXT + 1, PLAY_CONTEXT)
    return every[:: len(every) // PLAY_WINDOWS][:PLAY_WINDOWS]


def train_plays(seed: int, steps: int = PLAY_DENSE_STEPS) -> DeepSeekV32:
    """Train a model whose tokens attend to all before them."""
    torch.manual_seed(seed)
    model = DeepSeekV32(play_settings(ladder_corpus("plays").tokenizer.n_vocab))
    with chosen_by(model, "dense", None):
        windows = shuffled_windows(ladder_corpus("plays").tokens, PLAY_BATCH, PLAY_CONTEXT, seed)
        train_to_the_end(model, windows, TrainSettings(steps, muon_lr=0.04, adam_lr=0.02))
    return model


def warm_up_indexers(model: DeepSeekV32, seed: int, steps: int = PLAY_WARMUP_STEPS) -> list[float]:
    """Teach the indexers alone where dense attention looks; return the losses of all layers."""
    optimizer, losses = indexer_optimizer(model, PLAY_INDEXER_RATE), []
    tokens = ladder_corpus("plays").tokens
    windows = shuffled_windows(tokens, PLAY_BATCH, PLAY_CONTEXT, 100 + seed)
    with chosen_by(model, "dense", None):
        for _, (ids, _) in zip(range(steps), windows, strict=False):
            optimizer.zero_grad()
            loss = model.indexer_loss(ids)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return losses


@torch.no_grad()
def measure_plays(model: DeepSeekV32, choice: str, top_k: int | None) -> dict:
    """Give the bits per token of held-out windows, and each layer's recall of attention."""
    windows = windows_of_held_out_plays()
    torch.manual_seed(7)
    nats, recalls = 0.0, []
    with chosen_by(model, choice, top_k):
        for rows in windows.split(8):
            x = model.token_embedding(rows[:, :-1])
            for block in model.blocks:
                if choice != "dense":
                    normed = block.norm_1(x)
                    recalls.append(layer_recall(block.attention, normed)[:, top_k:].mean().item())
                x = block(x)
            logits = model.logits(model.norm(x))
            nats += F.cross_entropy(logits.mT, rows[:, 1:]).item() * len(rows)
    bits = nats / len(windows) / torch.log(torch.tensor(2.0)).item()
    layers = torch.tensor(recalls).unflatten(0, (-1, len(model.blocks))).mean(0).tolist()
    return {"bits_per_token": bits} | ({"recall": layers} if choice != "dense" else {})


def measure_choices(model: DeepSeekV32, choices, **told) -> list[dict]:
    """Measure these choices for each number of tokens in `PLAY_TOP_KS`."""
    return [
        told | {"choice": choice, "top_k": k} | measure_plays(model, choice, k)
        for choice in choices
        for k in PLAY_TOP_KS
    ]


def run_plays(seed: int) -> dict:
    """Train and measure one seed, both stages."""
    model = train_plays(seed)
    dense = measure_plays(model, "dense", None)
    rows = measure_choices(model, (*CHOICES, "indexer"), stage="dense")
    losses = warm_up_indexers(model, seed)
    rows += measure_choices(model, ["indexer"], stage="warm-up")
    return {"dense": dense, "losses": [losses[0], losses[-1]], "rows": rows}
