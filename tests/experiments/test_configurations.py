"""The page on real configurations: our counts beside what was printed, and torch's own counter."""

import json
import re
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import DeepseekV32Config

from course_lib.experiments import configurations
from course_lib.models.deepseek import DeepSeekSettings, DeepSeekV2, DeepSeekV3
from course_lib.models.llama import Llama, LlamaSettings

V4_WORDS = {
    "d_model": "hidden_size", "n_heads": "num_attention_heads", "n_chosen": "num_experts_per_tok",
    "n_experts": "n_routed_experts", "n_shared": "n_shared_experts", "vocab_size": "vocab_size",
    "d_expert": "moe_intermediate_size", "q_lora_rank": "q_lora_rank",
    "index_n_heads": "index_n_heads", "index_head_dim": "index_head_dim",
    "index_top_k": "index_topk", "qk_rope_head_dim": "qk_rope_head_dim",
    "n_layers": "num_hidden_layers",
}  # fmt: skip
V32_WORDS = V4_WORDS | {"kv_lora_rank": "kv_lora_rank", "d_ff": "intermediate_size"}
ROOT = Path(__file__).parents[2]
T = 8
LLAMA = LlamaSettings(11, T, d_model=12, n_layers=2, n_heads=3, n_kv_heads=1, d_ff=20)
DEEPSEEK = DeepSeekSettings(
    11, T, d_model=12, n_layers=3, n_heads=3, d_ff=20, kv_lora_rank=6, qk_nope_head_dim=4,
    qk_rope_head_dim=2, v_head_dim=6, d_expert=5, n_experts=6, n_chosen=2, n_shared=1,
)  # fmt: skip


@pytest.fixture(scope="module")
def counted():
    return {c.published.name: c for c in configurations.count_published_models()}


def agrees(number, printed):
    """Whether the number rounds to what was printed, which may have been cut instead."""
    digit = Decimal(1).scaleb(Decimal(printed).as_tuple().exponent)
    return -Decimal("0.5") <= (Decimal(number) - Decimal(printed)) / digit < 1


def test_rounded_or_cut_numbers_agree_and_no_others():
    assert agrees(36.63, "37") and agrees(2.45, "2.4") and agrees(6.91, "6.9")
    assert not agrees(36.4, "37") and not agrees(2.51, "2.4") and not agrees(38, "37")


def test_parameters_are_those_that_were_printed(counted):
    for c in counted.values():
        assert agrees(c.parameters / 1e9, c.published.parameters)
        active = c.active + (c.embedding if c.published.kind is Llama else 0)
        assert agrees(active / 1e9, c.published.active)
    assert counted["V3"].ahead == pytest.approx(11.6e9, rel=0.002)


def test_caches_are_those_that_were_printed(counted):
    assert counted["V1 67B"].cache == 2 * 8 * 128 * 95
    printed = {"V2-Lite": 1e-3, "V2": 1e-3, "V3": 2e-3}
    assert printed.keys() == {name for name, c in counted.items() if c.published.cache}
    for name, unit in printed.items():
        number = counted[name].published.cache[0].split()[0]
        assert agrees(counted[name].cache * unit, number)


def test_those_after_r1_are_counted_as_printed_and_as_their_files_say():
    counted = {c.published.name: c for c in configurations.count_sparse_models()}
    for c in counted.values():
        assert agrees(c.parameters / 1e9, c.published.parameters)
        assert agrees(c.active / 1e9, c.published.active)
    first = counted["V3.2"].cache_bytes
    for name in ("V4-Flash", "V4-Pro"):
        percent = counted[name].published.cache[0].split()[0]
        assert agrees(100 * counted[name].cache_bytes / first, percent)
    theirs = DeepseekV32Config()  # its defaults are those of the release
    s = counted["V3.2"].published.settings
    for ours, word in V32_WORDS.items():
        assert getattr(s, ours) == getattr(theirs, word), word
    file = json.loads((ROOT / "data/published_configs/deepseek-v4-flash.json").read_text())
    s, kinds = counted["V4-Flash"].published.settings, {0: "sliding", 4: "CSA", 128: "HCA"}
    assert s.layer_types == tuple(kinds[rate] for rate in file["compress_ratios"])
    for ours, word in V4_WORDS.items():
        assert getattr(s, ours) == file[word], word


def test_operations_are_those_that_were_printed(counted):
    printed = {n: c.published.train_gflops for n, c in counted.items() if c.published.train_gflops}
    assert printed.keys() == {"V2", "V3"}
    for name, (gflops, _) in printed.items():
        assert agrees(counted[name].flops.train / 1e9, gflops)
    for name, tflops in configurations.PUBLISHED_4K_TFLOPS.items():
        per_token = configurations.v1_formula_flops(counted[name].published.settings)
        assert agrees(per_token * 4096 / 1e12, tflops)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (Llama, LLAMA),
        (Llama, replace(LLAMA, tied=True)),
        (DeepSeekV2, DEEPSEEK),
        (DeepSeekV3, replace(DEEPSEEK, q_lora_rank=5, mtp=True)),
    ],
    ids=["shared keys", "tied", "latents", "compressed queries"],
)
def test_the_count_is_that_of_torch(kind, settings):
    """Attention written out computes the whole table. float64 sends each token to its experts
    alone, one product per expert."""
    model, ids = kind(settings).double(), torch.arange(4096 * T).view(-1, T) % 11
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter, torch.no_grad():
        model(ids)
    flops = configurations.forward_flops_per_token(model)
    assert counter.get_total_flops() == ids.numel() * (flops.matrices + 2 * flops.attention)
    assert flops.train == 3 * (flops.matrices + flops.attention)


def test_the_page_holds_the_tables_of_the_code(counted):
    text = (ROOT / "book/configurations.md").read_text()
    made = configurations.configuration_tables()
    assert set(re.findall(r"%([A-Z0-9_]+)%", text)) == set(made)
    assert made["CACHE"].count("70,272") == 2 and "| 250.4 | 250 |" in made["FLOPS"]
    # the page's sentences say so
    shares = {name: c.flops.attention / sum(c.flops) for name, c in counted.items()}
    assert min(shares["V2"], shares["V3"]) > max(shares["V1 7B"], shares["V1 67B"])
    hours = {n: c.published.gpu_hours for n, c in counted.items() if c.published.gpu_hours}
    rate = {name: counted[name].flops.train / hours[name][0] for name in hours}
    assert rate["V2"] < rate["V1 67B"] and hours["V2"] < hours["V1 67B"]
    assert counted["R1"][1:] == counted["V3"][1:]


def test_the_command_prints_every_table(capsys):
    configurations.main()
    printed = capsys.readouterr().out
    assert all(made in printed for made in configurations.configuration_tables().values())
