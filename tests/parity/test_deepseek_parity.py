"""Our DeepSeek-V2 and V3 against Hugging Face's, on random weights: same logits, same gradients,
same files."""

import json
from dataclasses import replace

import pytest
import torch

from course_lib.inference.cache import KVCache
from course_lib.models.deepseek import DeepSeekSettings, DeepSeekV2, DeepSeekV3
from course_lib.models.hf_deepseek import deepseek_from_hf, deepseek_to_hf
from course_lib.models.hf_files import load_hf, save_hf

transformers = pytest.importorskip("transformers")
from transformers.modeling_layers import MtpModel  # noqa: E402

SETTINGS = {  # their V2 wants even kv_lora_rank and qk_nope_head_dim, ours does not
    "queries compressed": DeepSeekSettings(
        50, 16, d_model=32, n_layers=2, n_heads=4, q_lora_rank=12, kv_lora_rank=8
    ),
    "queries whole": DeepSeekSettings(
        61, 11, d_model=24, n_layers=3, n_heads=3, n_dense_layers=2, route_scale=2.5
    ),
    "limited groups": DeepSeekSettings(
        40,
        9,
        d_model=16,
        n_layers=2,
        n_heads=2,
        q_lora_rank=5,
        kv_lora_rank=6,
        qk_nope_head_dim=6,
        qk_rope_head_dim=4,
        v_head_dim=9,
        n_dense_layers=0,
        n_experts=12,
        n_chosen=3,
        n_shared=2,
        n_groups=4,
        n_limited_groups=2,
        d_expert=8,
        route_scale=16.0,
    ),
    "one head, uneven": DeepSeekSettings(
        7,
        13,
        d_model=21,
        n_layers=2,
        n_heads=1,
        kv_lora_rank=10,
        qk_nope_head_dim=4,
        qk_rope_head_dim=10,
        v_head_dim=7,
        d_ff=11,
        d_expert=9,
        n_experts=6,
        n_chosen=5,
        n_shared=3,
        rope_base=50.0,
        norm_eps=1e-3,
        tied=True,
    ),
    "queries in a latent": DeepSeekSettings(  # as wide as a small R1
        64,
        20,
        d_model=64,
        n_layers=3,
        n_heads=4,
        q_lora_rank=64,
        kv_lora_rank=32,
        n_experts=16,
        d_expert=24,
        n_groups=2,
        n_limited_groups=2,
        tied=True,
    ),
    "dense": DeepSeekSettings(
        30, 8, d_model=20, n_layers=2, n_heads=5, n_dense_layers=2, qk_rope_head_dim=2
    ),
}
VERSIONS = {
    "V2": (DeepSeekV2, transformers.DeepseekV2Config, transformers.DeepseekV2ForCausalLM),
    "V3": (DeepSeekV3, transformers.DeepseekV3Config, transformers.DeepseekV3ForCausalLM),
}
LOOP = {"experts_implementation": "eager"}  # their grouped product wants sizes of whole 16 bytes
every = pytest.mark.parametrize(
    ("version", "settings"), [(v, s) for v in VERSIONS for s in SETTINGS.values()],
    ids=[f"{v}, {name}" for v in VERSIONS for name in SETTINGS],
)  # fmt: skip


def hugging_face(version: str, settings: DeepSeekSettings):
    limited = (
        {"topk_method": "group_limited_greedy" if settings.n_groups > 1 else "greedy"}
        if version == "V2"
        else {}
    )
    _, config, model = VERSIONS[version]
    model = model(
        config(
            vocab_size=settings.vocab_size,
            max_position_embeddings=settings.max_seq_len,
            hidden_size=settings.d_model,
            num_hidden_layers=settings.n_layers,
            num_attention_heads=settings.n_heads,
            intermediate_size=settings.d_ff,
            kv_lora_rank=settings.kv_lora_rank,
            q_lora_rank=settings.q_lora_rank,
            v_head_dim=settings.v_head_dim,
            qk_nope_head_dim=settings.qk_nope_head_dim,
            qk_rope_head_dim=settings.qk_rope_head_dim,
            first_k_dense_replace=settings.n_dense_layers,
            moe_intermediate_size=settings.d_expert,
            n_routed_experts=settings.n_experts,
            num_experts_per_tok=settings.n_chosen,
            n_shared_experts=settings.n_shared,
            n_group=settings.n_groups,
            topk_group=settings.n_limited_groups,
            routed_scaling_factor=settings.route_scale,
            rms_norm_eps=settings.norm_eps,
            num_key_value_heads=None,
            rope_parameters={"rope_type": "default", "rope_theta": settings.rope_base},
            tie_word_embeddings=settings.tied,
            bos_token_id=0,
            eos_token_id=0,
            **limited,
            **LOOP,
        )
    ).eval()
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if (
            "inv_freq" not in name
        ):  # the norms and the bias of the choice too, which start at 1 and 0
            tensor.data.normal_(std=0.3)
    return model


def as_on_disk(state: dict) -> dict:
    """What `save_pretrained` does with the experts, which are stacked in memory, done here by
    hand."""
    apart = {}
    for name, tensor in state.items():
        if name.endswith("experts.gate_up_proj"):
            for e, matrix in enumerate(tensor):
                gate, up = matrix.chunk(2)
                apart[name.replace("gate_up_proj", f"{e}.gate_proj.weight")] = gate
                apart[name.replace("gate_up_proj", f"{e}.up_proj.weight")] = up
        elif name.endswith("experts.down_proj"):
            apart |= {
                name.replace("down_proj", f"{e}.down_proj.weight"): matrix
                for e, matrix in enumerate(tensor)
            }
        else:
            apart[name] = tensor
    return apart


def both(version: str, settings: DeepSeekSettings, seed: int):
    torch.manual_seed(seed)
    theirs, ours = hugging_face(version, settings), VERSIONS[version][0](settings)
    ours.load_state_dict(deepseek_from_hf(as_on_disk(theirs.state_dict()), settings))
    return ours, theirs


@every
def test_logits_and_gradients_equal_hugging_face(version, settings):
    ours, theirs = both(version, settings, seed=0)
    ids = torch.randint(settings.vocab_size, (3, settings.max_seq_len))
    got, want = ours(ids), theirs(ids).logits
    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)
    got.logsumexp(-1).mean().backward()
    want.logsumexp(-1).mean().backward()
    gradients = deepseek_from_hf(
        as_on_disk({name: p.grad for name, p in theirs.named_parameters()}), settings
    )
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name], rtol=1e-5, atol=1e-5, msg=name)


@every
def test_a_left_padded_batch_through_a_cache_equals_hugging_face(version, settings):
    ours, theirs = both(version, settings, seed=1)
    ids = torch.randint(settings.vocab_size, (2, 7))
    padding = torch.tensor([[True] * 3 + [False] * 4, [False] * 7])
    positions = ((~padding).cumsum(-1) - 1).clamp(min=0)
    want = theirs(ids, attention_mask=(~padding).long(), position_ids=positions).logits
    caches = [KVCache(7) for _ in range(settings.n_layers)]
    got = torch.cat(
        [ours(ids[:, a:b], caches, padding[:, :b]) for a, b in ((0, 4), (4, 6), (6, 7))], dim=1
    )
    torch.testing.assert_close(got[~padding], want[~padding], rtol=1e-5, atol=1e-5)


@every
def test_they_open_a_folder_of_ours(version, settings, tmp_path):
    torch.manual_seed(2)
    ours = VERSIONS[version][0](settings)
    for buffer in ours.state_dict().values():
        buffer.normal_(std=0.3)  # the bias of the choice is no parameter, but it is in the file
    save_hf(ours, tmp_path)
    opened, told = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path, output_loading_info=True
    )
    assert not any(told[what] for what in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    ids = torch.randint(settings.vocab_size, (2, settings.max_seq_len))
    torch.testing.assert_close(opened.eval()(ids).logits, ours(ids), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS.keys())
def test_they_open_a_v3_that_looks_ahead(settings, tmp_path):
    """The extra layer is in the file, where they do not look for it: the rest gives the same
    logits."""
    torch.manual_seed(5)
    ours = DeepSeekV3(replace(settings, mtp=True))
    for buffer in ours.state_dict().values():
        buffer.normal_(std=0.3)
    save_hf(ours, tmp_path)
    opened, told = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path, output_loading_info=True
    )
    assert not told["missing_keys"] and not told["mismatched_keys"]
    assert all(
        name.startswith(f"model.layers.{settings.n_layers}.") for name in told["unexpected_keys"]
    )
    ids = torch.randint(settings.vocab_size, (2, settings.max_seq_len))
    torch.testing.assert_close(opened.eval()(ids).logits, ours(ids), rtol=1e-5, atol=1e-5)
    assert load_hf(tmp_path).settings == ours.settings


@every
def test_we_open_a_folder_of_theirs(version, settings, tmp_path):
    torch.manual_seed(3)
    theirs = hugging_face(version, settings)
    theirs.save_pretrained(tmp_path)
    ours = load_hf(tmp_path)
    assert type(ours) is VERSIONS[version][0] and ours.settings == settings
    ids = torch.randint(settings.vocab_size, (2, settings.max_seq_len))
    torch.testing.assert_close(ours(ids), theirs(ids).logits, rtol=1e-5, atol=1e-5)


def test_looking_ahead_equals_hugging_face(tmp_path):
    """Their module looks for its weights behind layer 60, as in the published file: hence so deep a
    model."""
    torch.manual_seed(4)
    settings = DeepSeekSettings(
        30,
        9,
        d_model=16,
        n_layers=61,
        n_heads=2,
        q_lora_rank=6,
        kv_lora_rank=8,
        qk_nope_head_dim=4,
        qk_rope_head_dim=6,
        v_head_dim=5,
        n_dense_layers=58,
        n_experts=6,
        n_groups=3,
        n_limited_groups=2,
        mtp=True,
    )
    ours = DeepSeekV3(settings)
    for name, tensor in ours.state_dict().items():
        if "norm" in name or name.startswith("mtp") or name.endswith("bias"):
            tensor.normal_(std=0.5)
    save_hf(ours, tmp_path)
    main = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, **LOOP).eval()
    theirs = MtpModel.from_pretrained(main).eval()
    ids = torch.randint(30, (2, 9))
    hidden = main.model(ids).last_hidden_state[:, :-1]
    ahead = theirs.forward_layer(0, hidden, torch.arange(8)[None], None, input_ids=ids[:, 1:])
    got = ours.predict_ahead(ours.hidden(ids)[:, :-1], ids[:, 1:])
    torch.testing.assert_close(got, theirs._project_to_logits(ahead), rtol=1e-5, atol=1e-5)
    assert load_hf(tmp_path).settings == settings


def test_all_weights_survive_the_way_there_and_back():
    """The module for looking ahead, which their class leaves out of a folder, is in ours."""
    for settings in SETTINGS.values():
        ours = DeepSeekV3(replace(settings, mtp=True))
        back = deepseek_from_hf(deepseek_to_hf(ours.state_dict(), ours.settings), ours.settings)
        assert back.keys() == ours.state_dict().keys()
        assert all(torch.equal(back[name], tensor) for name, tensor in ours.state_dict().items())


@pytest.mark.parametrize(
    ("version", "change", "message"),
    [
        ("V2", {"d_model": 20, "n_heads": 3}, "d_model 20 is not divisible by n_heads 3"),
        ("V2", {"kv_lora_rank": 7}, "kv_lora_rank 7 is odd"),
        ("V2", {"qk_nope_head_dim": 5}, "qk_nope_head_dim 5 is odd"),
        ("V3", {"n_groups": 8, "n_limited_groups": 4}, "n_experts 8 in n_groups 8"),
        ("V3", {"n_experts": 1, "n_chosen": 1}, "n_experts 1 in n_groups 1"),
    ],
)
def test_what_theirs_cannot_run_is_refused_and_what_it_can_is_not(
    version, change, message, tmp_path
):
    """That they can't is shown with a model of theirs; the other version runs the same numbers."""
    small = DeepSeekSettings(30, 16, d_model=24, n_layers=2, n_heads=2)
    settings, other = replace(small, **change), "V3" if version == "V2" else "V2"
    with pytest.raises(ValueError, match=message):
        save_hf(VERSIONS[version][0](settings), tmp_path)
    with pytest.raises(Exception, match=r"."):
        hugging_face(version, settings)(torch.arange(9)[None])
    save_hf(VERSIONS[other][0](settings), tmp_path)
    assert (
        transformers.AutoModelForCausalLM.from_pretrained(tmp_path)(torch.arange(9)[None])
        .logits.isfinite()
        .all()
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"q_norm": True}, "q_norm True: theirs does not norm"),
        ({"n_shared": 0}, "n_shared 0: theirs has a shared expert"),
    ],
)
def test_what_theirs_lacks_is_refused(change, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        save_hf(DeepSeekV3(replace(SETTINGS["queries whole"], **change)), tmp_path)


def test_a_v2_that_does_not_tell_its_method_is_greedy(tmp_path):
    torch.manual_seed(6)
    settings = SETTINGS["limited groups"]
    hugging_face("V2", settings).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    del config["topk_method"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    theirs, ours = (
        transformers.AutoModelForCausalLM.from_pretrained(tmp_path, **LOOP),
        load_hf(tmp_path),
    )
    ids = torch.randint(settings.vocab_size, (2, settings.max_seq_len))
    torch.testing.assert_close(ours(ids), theirs(ids).logits, rtol=1e-5, atol=1e-5)
    limited = type(ours)(settings)
    limited.load_state_dict(ours.state_dict())
    assert (limited(ids) - ours(ids)).abs().max() > 1e-3  # so the word matters here
