"""Our rotary positions against those of transformers' Llama."""

import pytest
import torch

from course_lib.layers.position import RotaryPosition

pytest.importorskip("transformers")
from transformers.models.llama.configuration_llama import LlamaConfig  # noqa: E402
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding, apply_rotary_pos_emb  # noqa: E402


@pytest.mark.parametrize(
    ("d_head", "n_heads", "base", "start"),
    [(6, 3, 10_000.0, 0), (64, 9, 100_000.0, 0), (10, 1, 500.0, 13)],
)
def test_rotary_equals_llamas(d_head, n_heads, base, start):
    config = LlamaConfig(
        hidden_size=d_head * n_heads, num_attention_heads=n_heads, head_dim=d_head,
        rope_parameters={"rope_type": "default", "rope_theta": base},
    )  # fmt: skip
    q, k = torch.randn(2, 2, n_heads, 11, d_head, generator=torch.Generator().manual_seed(0))
    cos, sin = LlamaRotaryEmbedding(config)(q, torch.arange(start, start + 11)[None])
    want_q, want_k = apply_rotary_pos_emb(q, k, cos, sin)
    ours = RotaryPosition(d_head, base)
    torch.testing.assert_close(ours(q, start), want_q, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(ours(k, start), want_k, rtol=1e-5, atol=1e-6)
