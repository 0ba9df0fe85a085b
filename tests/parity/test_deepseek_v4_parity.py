"""Our DeepSeek-V4 against Hugging Face's, on random weights: same logits, same gradients, same
files; and its caches against itself.

Theirs breaks ties of the indexer in any way, so there are sixteen index heads at least.
"""

import itertools

import pytest
import torch

from course_lib.inference.cache import make_caches
from course_lib.layers.moe import random_hash_table
from course_lib.layers.position import YaRN
from course_lib.models.deepseek import count_active_parameters
from course_lib.models.deepseek_v4 import (
    DEEPSEEK_V4_FLASH,
    DEEPSEEK_V4_PRO,
    DeepSeekV4,
    DeepSeekV4Settings,
    v4_cache_bytes_per_token,
)
from course_lib.models.gpt2 import count_parameters
from course_lib.models.hf_deepseek_v4 import respell_v4, v4_config, v4_from_hf, v4_to_hf
from course_lib.models.hf_files import load_hf, save_hf

transformers = pytest.importorskip("transformers")

SETTINGS = {
    "all kinds": DeepSeekV4Settings(
        50, 75, d_model=32, n_heads=4, index_top_k=3, window=15, d_expert=16, q_lora_rank=12
    ),
    "all experts by table": DeepSeekV4Settings(
        61, 37, d_model=24, n_heads=3, layer_types=("HCA", "CSA", "CSA"), n_hash_layers=3,
        head_dim=12, qk_rope_head_dim=6, q_lora_rank=9, o_groups=3, o_lora_rank=5, window=7,
        hca_rate=8, csa_rate=3, index_n_heads=32, index_head_dim=7, index_top_k=2, d_expert=8,
    ),
    "two streams, one round": DeepSeekV4Settings(
        40, 50, d_model=16, n_heads=2, layer_types=("CSA", "HCA"), n_streams=2,
        sinkhorn_iterations=1, hc_eps=1e-3, n_hash_layers=0, head_dim=10, qk_rope_head_dim=4,
        q_lora_rank=5, o_groups=1, window=9, hca_rate=5, csa_rate=2, index_top_k=4,
        index_n_heads=24, n_experts=12, n_chosen=5, route_scale=2.5, swiglu_limit=0.3, d_expert=8,
    ),
    "stretched, tied": DeepSeekV4Settings(
        37, 64, d_model=20, n_heads=5, layer_types=("sliding", "CSA", "HCA"), head_dim=8,
        qk_rope_head_dim=2, q_lora_rank=7, o_groups=5, o_lora_rank=3, window=16, n_streams=3,
        index_top_k=5, rope_base=50.0, compressed_rope_base=300.0, norm_eps=1e-3, tied=True,
        rope_scaling=YaRN(factor=8.0, trained_length=8), index_head_dim=9, d_expert=9,
    ),
    "window alone": DeepSeekV4Settings(
        30, 21, d_model=8, n_heads=1, layer_types=("sliding",) * 2, head_dim=6, qk_rope_head_dim=6,
        q_lora_rank=3, o_groups=2, o_lora_rank=4, window=1, n_streams=2, d_expert=4, n_experts=3,
        n_chosen=3,
    ),
}  # fmt: skip
every = pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS.keys())


def randomise(weights: dict[str, torch.Tensor], n_experts: int) -> None:
    """Numbers large enough that every branch matters; distinct experts in tables."""
    for name, tensor in weights.items():
        if name.endswith(("tid2eid", "table")):
            tensor.copy_(random_hash_table(*tensor.shape[:1], n_experts, tensor.shape[1], seed=3))
        elif "inv_freq" not in name:
            tensor.normal_(mean=float("norm" in name), std=0.3)


def both(settings: DeepSeekV4Settings, seed: int):
    """In float64, so that no score is so near another that rounding chooses."""
    torch.manual_seed(seed)
    told = {k: v for k, v in v4_config(settings).items() if k not in ("architectures", "dtype")}
    config = transformers.DeepseekV4Config(**told | {"experts_implementation": "eager"})
    theirs = transformers.DeepseekV4ForCausalLM(config).eval().double()
    ours = DeepSeekV4(settings).double()
    with torch.no_grad():
        randomise(
            dict(theirs.named_parameters()) | dict(theirs.named_buffers()), settings.n_experts
        )
    ours.load_state_dict(v4_from_hf(in_release(theirs.state_dict()), settings))
    return ours, theirs


def in_release(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Their class's names in the release's words, by hand; experts cut apart."""
    leaves = {
        "q_a_proj": "wq_a", "q_a_norm": "q_norm", "q_b_proj": "wq_b", "kv_proj": "wkv",
        "gate_proj": "wgate", "o_a_proj": "wo_a", "o_b_proj": "wo_b", "sinks": "attn_sink",
        "position_bias": "ape", "input_layernorm": "attn_norm", "self_attn": "attn", "mlp": "ffn",
        "post_attention_layernorm": "ffn_norm", "e_score_correction_bias": "bias",
    }  # fmt: skip
    shared, found = {"gate_proj": "w1", "up_proj": "w3", "down_proj": "w2"}, {}
    for name, tensor in weights.items():
        parts = name.removeprefix("model.").split(".")
        if "indexer" in parts:
            parts.remove("compressor")
            parts = [p for p in parts if p != "scorer"]
            if parts[-2] in ("kv_proj", "gate_proj", "kv_norm") or parts[-1] == "position_bias":
                parts.insert(parts.index("indexer") + 1, "compressor")
        if "compressor" in parts:
            parts = ["norm" if p == "kv_norm" else p for p in parts]
        table = shared if "shared_experts" in parts else leaves
        spelt = ".".join(table.get(p, leaves.get(p, p)) for p in parts)
        for connection in ("attn", "ffn"):
            spelt = spelt.replace(f"{connection}_hc.", f"hc_{connection}_")
        if spelt.endswith("experts.gate_up_proj"):
            for e, (gate, up) in enumerate(t.chunk(2) for t in tensor):
                found[spelt.replace("gate_up_proj", f"{e}.w1.weight")] = gate
                found[spelt.replace("gate_up_proj", f"{e}.w3.weight")] = up
        elif spelt.endswith("experts.down_proj"):
            for e, down in enumerate(tensor):
                found[spelt.replace("down_proj", f"{e}.w2.weight")] = down
        else:
            found[spelt] = tensor
    return respell_v4(found)


@every
def test_logits_and_all_gradients_equal_hugging_face(settings):
    ours, theirs = both(settings, seed=0)
    ids = torch.randint(settings.vocab_size, (3, settings.max_seq_len))
    got, want = ours(ids), theirs(ids, use_cache=False).logits
    assert want.std() > 0.1
    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)
    direction = torch.randn_like(got)
    for logits in (got, want):
        (logits * direction).mean().backward()
    slopes = {
        n: torch.zeros_like(p) if p.grad is None else p.grad for n, p in theirs.named_parameters()
    }
    slopes = v4_from_hf(in_release(slopes), settings)
    for name, parameter in ours.named_parameters():
        if ".indexer." in name:
            assert parameter.grad is None and not slopes[name].any()
        else:
            # relative to the parameter's largest; theirs computes the maps of mHC in float32
            size = slopes[name].abs().max().item()
            torch.testing.assert_close(
                parameter.grad, slopes[name], rtol=1e-5, atol=1e-5 * size + 1e-8, msg=name
            )
    met = [n for n, p in ours.named_parameters() if p.grad is not None and p.grad.any()]
    assert any("attention_connection.weight" in n for n in met)


@every
@pytest.mark.parametrize("cuts", [(0, 1), (0, 4, 9, 10), (0, 17, 18), "steps"])
def test_any_split_through_caches_is_the_whole_text(settings, cuts):
    torch.manual_seed(1)
    model = DeepSeekV4(settings).double()
    with torch.no_grad():
        randomise(model.state_dict(), settings.n_experts)
    T = settings.max_seq_len
    ids, caches = torch.randint(settings.vocab_size, (2, T)), make_caches(model, T)
    ends = range(T + 1) if cuts == "steps" else (*cuts, T)
    with torch.no_grad():
        pieces = [model(ids[:, a:b], caches) for a, b in itertools.pairwise(ends)]
        torch.testing.assert_close(torch.cat(pieces, 1), model(ids), rtol=1e-8, atol=1e-8)


@every
@pytest.mark.parametrize("mtp", [False, True])
def test_they_open_a_folder_of_ours_and_we_theirs(settings, mtp, tmp_path):
    torch.manual_seed(2)
    ours = DeepSeekV4(DeepSeekV4Settings(**vars(settings) | {"mtp": mtp}))
    with torch.no_grad():
        randomise(ours.state_dict(), settings.n_experts)
    save_hf(ours, tmp_path / "ours")
    opened, told = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path / "ours", output_loading_info=True
    )
    assert not any(told[what] for what in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    ids = torch.randint(settings.vocab_size, (2, settings.max_seq_len))
    want = ours(ids)
    torch.testing.assert_close(opened.eval()(ids).logits, want, rtol=1e-3, atol=1e-3)
    back = load_hf(tmp_path / "ours")
    assert back.settings == ours.settings and torch.equal(back(ids), want)
    opened.save_pretrained(tmp_path / "theirs")
    back = load_hf(tmp_path / "theirs")
    assert type(back) is DeepSeekV4 and back.settings == settings
    torch.testing.assert_close(back(ids), want, rtol=1e-5, atol=1e-5)


def test_a_fresh_model_of_theirs_with_its_table_of_zeros_is_refused(tmp_path):
    told = {k: v for k, v in v4_config(SETTINGS["all kinds"]).items() if k != "architectures"}
    config = transformers.DeepseekV4Config(**told)
    transformers.DeepseekV4ForCausalLM(config).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"experts \[0, 0\]: they must be distinct"):
        load_hf(tmp_path)


def test_what_is_written_and_read_is_the_same_by_every_name():
    torch.manual_seed(0)
    settings = DeepSeekV4Settings(**vars(SETTINGS["all kinds"]) | {"mtp": True})
    model = DeepSeekV4(settings)
    back = v4_from_hf(v4_to_hf(model.state_dict(), settings), settings)
    assert back.keys() == model.state_dict().keys()
    assert all(torch.equal(back[name], tensor) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize(
    ("settings", "total", "active"),
    [(DEEPSEEK_V4_FLASH, 284.332, 13.800), (DEEPSEEK_V4_PRO, 1572.997, 49.779)],
)
def test_published_sizes(settings, total, active):
    """In billions, the embedding's table counted as active; as transformers' class has it."""
    with torch.device("meta"):
        model = DeepSeekV4(DeepSeekV4Settings(**vars(settings) | {"mtp": False}))
        told = {k: v for k, v in v4_config(settings).items() if k != "architectures"}
        theirs = transformers.DeepseekV4ForCausalLM(transformers.DeepseekV4Config(**told))
    assert count_parameters(model) == sum(p.numel() for p in theirs.parameters())
    assert round(count_parameters(model) / 1e9, 3) == total
    met = count_active_parameters(model) + count_parameters(model.token_embedding)
    assert round(met / 1e9, 3) == active


def test_the_cache_is_a_tenth_and_a_fourteenth_of_v32s():
    v32 = 61 * (512 + 2 * 64 + 128)  # FP8, BF16 where rotated, an index key in FP8
    for settings, share in ((DEEPSEEK_V4_PRO, 0.105), (DEEPSEEK_V4_FLASH, 0.074)):
        assert abs(v4_cache_bytes_per_token(settings) / v32 - share) < 0.001
