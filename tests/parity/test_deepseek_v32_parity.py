"""Our DeepSeek-V3.2 against Hugging Face's, on random weights: same logits, same gradients, same
files, and the same tokens chosen."""

import json

import pytest
import torch

from course_lib.inference.cache import KVCache
from course_lib.models.deepseek import DeepSeekV32, DeepSeekV32Settings
from course_lib.models.hf_config import v32_config
from course_lib.models.hf_deepseek import deepseek_from_hf
from course_lib.models.hf_files import load_hf, save_hf
from tests.parity.test_deepseek_parity import as_on_disk

transformers = pytest.importorskip("transformers")

# sixteen index heads at least: with fewer, ReLU makes ties, which theirs breaks in any way
SETTINGS = {
    "few of many": DeepSeekV32Settings(
        50, 40, d_model=32, n_layers=3, n_heads=4, q_lora_rank=12, kv_lora_rank=8, index_top_k=6
    ),
    "one token": DeepSeekV32Settings(
        61, 17, d_model=24, n_layers=2, n_heads=3, q_lora_rank=9, n_dense_layers=0,
        route_scale=2.5, index_n_heads=32, index_top_k=1,
    ),
    "limited groups": DeepSeekV32Settings(
        40, 23, d_model=16, n_layers=2, n_heads=2, q_lora_rank=5, kv_lora_rank=6,
        qk_nope_head_dim=6, qk_rope_head_dim=4, v_head_dim=9, n_dense_layers=1, n_experts=12,
        n_chosen=3, n_shared=2, n_groups=4, n_limited_groups=2, d_expert=8, index_head_dim=7,
        index_n_heads=24, index_top_k=5,
    ),
    "index heads as wide as their rotary part": DeepSeekV32Settings(
        7, 30, d_model=21, n_layers=2, n_heads=1, q_lora_rank=11, kv_lora_rank=10,
        qk_nope_head_dim=4, qk_rope_head_dim=10, v_head_dim=7, d_ff=11, d_expert=9, n_experts=6,
        n_chosen=5, n_shared=3, rope_base=50.0, norm_eps=1e-3, tied=True, index_head_dim=10,
        index_top_k=4,
    ),
    "more than there are": DeepSeekV32Settings(
        30, 12, d_model=20, n_layers=2, n_heads=5, q_lora_rank=10, n_dense_layers=2,
        qk_rope_head_dim=2, index_top_k=64,
    ),
}  # fmt: skip
every = pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS.keys())


def hugging_face(settings: DeepSeekV32Settings):
    told = {k: v for k, v in v32_config(settings).items() if k not in ("architectures", "dtype")}
    config = transformers.DeepseekV32Config(**told | {"experts_implementation": "eager"})
    model = transformers.DeepseekV32ForCausalLM(config).eval()
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if "inv_freq" not in name:
            tensor.data.normal_(std=0.3)
    return model


def both(settings: DeepSeekV32Settings, seed: int):
    """In float64, so that no score is so near another that rounding chooses."""
    torch.manual_seed(seed)
    theirs, ours = hugging_face(settings).double(), DeepSeekV32(settings).double()
    ours.load_state_dict(deepseek_from_hf(as_on_disk(theirs.state_dict()), settings))
    return ours, theirs


@every
def test_logits_and_gradients_equal_hugging_face(settings):
    ours, theirs = both(settings, seed=0)
    ids = torch.randint(settings.vocab_size, (3, settings.max_seq_len))
    got, want = ours(ids), theirs(ids).logits
    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)
    got.logsumexp(-1).mean().backward()
    want.logsumexp(-1).mean().backward()
    gradients = deepseek_from_hf(
        as_on_disk(
            {n: p.grad if p.grad is not None else 0 * p.data for n, p in theirs.named_parameters()}
        ),
        settings,
    )
    for name, parameter in ours.named_parameters():
        if ".indexer." in name:
            assert parameter.grad is None and not gradients[name].any()
        else:
            torch.testing.assert_close(
                parameter.grad, gradients[name], rtol=1e-5, atol=1e-5, msg=name
            )


@every
def test_a_left_padded_batch_through_a_cache_equals_hugging_face(settings):
    ours, theirs = both(settings, seed=1)
    ids = torch.randint(settings.vocab_size, (2, 11))
    padding = torch.tensor([[True] * 3 + [False] * 8, [False] * 11])
    positions = ((~padding).cumsum(-1) - 1).clamp(min=0)
    want = theirs(ids, attention_mask=(~padding).long(), position_ids=positions).logits
    caches = [KVCache(11) for _ in range(settings.n_layers)]
    cuts = ((0, 4), (4, 9), (9, 10), (10, 11))
    got = torch.cat([ours(ids[:, a:b], caches, padding[:, :b]) for a, b in cuts], dim=1)
    torch.testing.assert_close(got[~padding], want[~padding], rtol=1e-5, atol=1e-5)


@every
def test_they_open_a_folder_of_ours_and_we_theirs(settings, tmp_path):
    torch.manual_seed(2)
    ours = DeepSeekV32(settings)
    for tensor in ours.state_dict().values():
        tensor.normal_(std=0.3)
    save_hf(ours, tmp_path / "ours")
    opened, told = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path / "ours", output_loading_info=True
    )
    assert not any(told[what] for what in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    ids = torch.randint(settings.vocab_size, (2, settings.max_seq_len))
    want = ours(ids)
    torch.testing.assert_close(opened.eval()(ids).logits, want, rtol=1e-4, atol=1e-4)
    opened.save_pretrained(tmp_path / "theirs")
    back = load_hf(tmp_path / "theirs")
    assert type(back) is DeepSeekV32 and back.settings == settings
    torch.testing.assert_close(back(ids), want)


@pytest.mark.parametrize(
    ("word", "value"),
    [("layer_types", ["full_attention"] * 3), ("mlp_layer_types", ["dense", "sparse", "dense"])],
)
def test_a_list_of_layers_that_says_other_than_the_numbers_is_refused(word, value, tmp_path):
    save_hf(DeepSeekV32(SETTINGS["few of many"]), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {word: value}))
    with pytest.raises(ValueError, match=f"{word} is "):
        load_hf(tmp_path)
