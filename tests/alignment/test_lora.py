"""LoRA trains two thin matrices per layer and nothing else; merged, the model is a plain one that
says the same."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from course_lib.alignment.lora import (
    LoRALinear,
    add_lora,
    count_trainable_parameters,
    load_lora,
    merge_lora,
    save_lora,
)
from course_lib.alignment.sft import SFTExample, sft_settings, train_sft
from course_lib.inference.cache import KVCache
from course_lib.models.deepseek import DeepSeekSettings, DeepSeekV3
from course_lib.models.gpt2 import GPT2, GPT2Settings, count_parameters
from course_lib.models.llama import Llama, LlamaSettings
from course_lib.training.checkpoint import CheckpointError
from course_lib.training.optimizers import build_optimizers, split_parameters
from course_lib.training.resume import Checkpoints

IDS = torch.randint(11, (3, 7), generator=torch.Generator().manual_seed(1))
SOME = [SFTExample([0, 5, 6], [7, 8, 0]), SFTExample([0, 5, 9], [10, 0])]


def llama():
    return Llama(
        LlamaSettings(vocab_size=11, max_seq_len=24, d_model=8, n_layers=2, n_heads=2, n_kv_heads=1)
    )


def gpt2():
    return GPT2(GPT2Settings(vocab_size=11, max_seq_len=24, d_model=8, n_layers=2, n_heads=2))


def deepseek():
    return DeepSeekV3(
        DeepSeekSettings(
            vocab_size=11,
            max_seq_len=24,
            d_model=8,
            n_layers=2,
            n_heads=2,
            kv_lora_rank=4,
            q_lora_rank=6,
            qk_nope_head_dim=4,
            qk_rope_head_dim=4,
            v_head_dim=4,
            n_experts=4,
            n_chosen=2,
            d_expert=4,
            mtp=True,
        )
    )


MODELS = pytest.mark.parametrize("build", [llama, gpt2, deepseek])


def seeded(build):
    torch.manual_seed(0)
    return build()


def as_if_trained(model):
    """Give every change numbers of its own, as training would."""
    for module in model.modules():
        if isinstance(module, LoRALinear):
            nn.init.normal_(module.lora_B, std=0.3)


def changed(seed=0, rank=2, alpha=3.0, bias=True, dtype=torch.float64):
    """A layer with a change, and its pieces."""
    torch.manual_seed(seed)
    linear = nn.Linear(5, 4, bias=bias).to(dtype)
    layer = LoRALinear(linear, rank, alpha)
    nn.init.normal_(layer.lora_B)
    return layer, linear


def test_two_by_two_by_hand():
    linear = nn.Linear(2, 2)
    layer = LoRALinear(linear, rank=1, alpha=2.0)
    with torch.no_grad():
        linear.weight.copy_(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
        linear.bias.copy_(torch.tensor([0.5, -0.5]))
        layer.lora_A.copy_(torch.tensor([[1.0, -1.0]]))
        layer.lora_B.copy_(torch.tensor([[2.0], [3.0]]))
    # x = (1, 2): W x + b = (5.5, 10.5); A x = -1; 2 * B * -1 = (-4, -6)
    assert layer(torch.tensor([1.0, 2.0])).tolist() == [1.5, 4.5]
    assert layer.weight.tolist() == [[5.0, -2.0], [9.0, -2.0]]


@pytest.mark.parametrize("bias", [True, False])
def test_outputs_and_gradients_are_those_of_the_changed_matrix(bias):
    """Written out: y = x (W + s B A)^T + b; then dB = s dW A^T and dA = s B^T dW, where dW is the
    plain layer's."""
    layer, linear = changed(bias=bias)
    x = torch.randn(2, 3, 5, dtype=torch.float64)
    weight = (linear.weight + 3.0 / 2 * layer.lora_B @ layer.lora_A).detach().requires_grad_()
    y = F.linear(x, weight, linear.bias)
    torch.testing.assert_close(layer(x), y)
    slope = torch.randn_like(y)
    y.backward(slope)
    layer(x).backward(slope)
    torch.testing.assert_close(layer.lora_B.grad, 1.5 * weight.grad @ layer.lora_A.T)
    torch.testing.assert_close(layer.lora_A.grad, 1.5 * layer.lora_B.T @ weight.grad)
    assert linear.weight.grad is None


@pytest.mark.parametrize("what", ["outputs", "weight"])
def test_the_slopes_are_right_by_finite_differences(what):
    layer, _ = changed()
    x = torch.randn(3, 5, dtype=torch.float64)

    def of(x, A, B):
        del layer.lora_A, layer.lora_B  # plain tensors in their place, that gradcheck may move
        layer.lora_A, layer.lora_B = A, B
        return layer(x) if what == "outputs" else layer.weight

    parts = [part.detach().clone().requires_grad_() for part in (x, layer.lora_A, layer.lora_B)]
    assert torch.autograd.gradcheck(of, parts)


def test_peft_says_the_same():
    peft = pytest.importorskip("peft")
    torch.manual_seed(0)
    theirs = nn.Sequential(nn.Linear(5, 4))
    layer = LoRALinear(copy.deepcopy(theirs[0]), rank=2, alpha=3.0)
    theirs = peft.get_peft_model(theirs, peft.LoraConfig(r=2, lora_alpha=3.0, target_modules=["0"]))
    for name, parameter in theirs.named_parameters():
        if "lora_" in name:
            nn.init.normal_(parameter)
            getattr(layer, "lora_A" if "lora_A" in name else "lora_B").data = parameter.data.clone()
    x = torch.randn(3, 5)
    torch.testing.assert_close(layer(x), theirs(x))


@MODELS
def test_at_first_nothing_is_changed(build):
    model = seeded(build)
    before = model(IDS)
    places = add_lora(model, rank=2)
    assert torch.equal(model(IDS), before)
    assert places and not any("head" in place.split(".") for place in places)


def test_the_start_is_as_large_as_the_paper_needs_it():
    torch.manual_seed(0)
    layer = LoRALinear(nn.Linear(400, 300), rank=200, alpha=1.0)
    assert not layer.lora_B.any() and layer.lora_A.std().item() == pytest.approx(
        400**-0.5, rel=0.02
    )
    assert layer.lora_A.mean().abs() < 1e-3


@MODELS
def test_merged_a_model_is_plain_and_says_the_same(build):
    plain, model = seeded(build), seeded(build)
    places = add_lora(model, rank=2, alpha=4.0)
    as_if_trained(model)
    said = model(IDS)
    assert (said - plain(IDS)).abs().max() > 1e-3
    assert merge_lora(model) == places
    torch.testing.assert_close(model(IDS), said, atol=1e-6, rtol=1e-6)
    assert [(n, type(m)) for n, m in model.named_modules()] == [
        (n, type(m)) for n, m in plain.named_modules()
    ]
    assert all(parameter.requires_grad for parameter in model.parameters())
    for place in places:
        before, after = plain.get_submodule(place).weight, model.get_submodule(place).weight
        assert torch.linalg.matrix_rank((after - before).double(), atol=1e-6) == 2
    plain.load_state_dict(model.state_dict())  # the names are those of before
    assert torch.equal(plain(IDS), model(IDS))


@MODELS
def test_a_cache_sees_the_change_too(build):
    """Latent attention reads the matrix `kv_up` itself, in two forms."""
    model = seeded(build)
    add_lora(model, rank=2)
    as_if_trained(model)
    caches = [KVCache(7) for _ in range(2)]
    parts = [model(IDS[:, :4], caches), *(model(IDS[:, i : i + 1], caches) for i in range(4, 7))]
    torch.testing.assert_close(torch.cat(parts, dim=1), model(IDS), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@MODELS
def test_only_the_thin_matrices_learn(build, optimizer):
    model = seeded(build)
    places = add_lora(model, rank=2)
    before = copy.deepcopy(model.state_dict())
    history = train_sft(
        model,
        SOME,
        sft_settings(40, optimizer=optimizer, adam_lr=5e-2, weight_decay=0.1),
        batch_size=4,
    )
    assert history.loss[-1] < history.loss[0] - 0.05  # the frozen head is small: it cannot say much
    for name, tensor in model.state_dict().items():
        still = torch.equal(tensor, before[name])
        mtp = name.startswith("mtp.")  # no part of this loss
        assert still != ("lora_" in name and not mtp), name
    assert count_trainable_parameters(model) == sum(
        2 * sum(model.get_submodule(place).linear.weight.shape) for place in places
    )


def test_all_linear_layers_but_the_head_or_those_with_a_name():
    assert add_lora(llama(), 2) == [f"blocks.{i}.{n}" for i in range(2) for n in (
        "attention.qkv", "attention.out", "mlp.gate", "mlp.up", "mlp.down",
    )]  # fmt: skip
    model = llama()
    assert add_lora(model, 2, names=["head", "qkv"]) == [
        "blocks.0.attention.qkv",
        "blocks.1.attention.qkv",
        "head",
    ]
    # qkv: 8 -> 8 + 2 * 4; head: 8 -> 11
    assert count_trainable_parameters(model) == 2 * (2 * (8 + 16) + (8 + 11))
    assert count_parameters(model) == count_parameters(llama()) + count_trainable_parameters(model)


def test_the_experts_that_a_router_chooses_from_are_left_alone():
    model = deepseek()
    places = add_lora(model, 2)
    moe = model.blocks[1].mlp
    assert not any("experts" in place or "router" in place for place in places)
    assert "blocks.1.mlp.shared.up" in places and "mtp.join" in places
    assert not any(p.requires_grad for p in [*moe.experts.parameters(), *moe.router.parameters()])


def test_muon_gets_none_of_it():
    model = deepseek()
    add_lora(model, 2)
    hidden, rest = split_parameters(model)
    assert not any(parameter.requires_grad for parameter in hidden)
    assert sum(
        parameter.numel() for parameter in rest if parameter.requires_grad
    ) == count_trainable_parameters(model)
    adam = build_optimizers(model)[-1]
    held = {id(parameter) for group in adam.param_groups for parameter in group["params"]}
    assert all(
        id(parameter) in held for name, parameter in model.named_parameters() if "lora_" in name
    )


def test_a_change_of_rank_one_is_found_and_one_of_rank_two_is_not():
    torch.manual_seed(0)
    base, x = nn.Linear(6, 5, bias=False), torch.randn(200, 6)
    U, S, V = torch.linalg.svd(torch.randn(5, 6), full_matrices=False)
    losses = {}
    for rank in (1, 2):
        target = x @ (base.weight + (U[:, :rank] * 2) @ V[:rank]).T.detach()
        layer = LoRALinear(copy.deepcopy(base), rank=1, alpha=1.0)
        optimizer = torch.optim.Adam([layer.lora_A, layer.lora_B], lr=0.05)
        for _ in range(300):
            loss = F.mse_loss(layer(x), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        losses[rank] = loss.item()
    assert losses[1] < 1e-6 and losses[2] > 0.1


def test_a_stopped_run_goes_on_with_its_changes(tmp_path):
    settings, ended = sft_settings(6), []
    checkpoints = Checkpoints(tmp_path, every=3)
    for _ in range(2):
        model = seeded(llama)
        add_lora(model, 2)
        history = train_sft(model, SOME, settings, batch_size=4, checkpoints=checkpoints)
        ended.append((history.loss, model(IDS)))
        checkpoints.path(6).unlink()  # as if killed in step 6
    assert ended[0][0] == ended[1][0] and torch.equal(ended[0][1], ended[1][1])


def test_a_copy_can_be_merged_while_the_model_goes_on():
    model = seeded(llama)
    add_lora(model, 2)
    as_if_trained(model)
    plain = copy.deepcopy(model)
    merge_lora(plain)
    torch.testing.assert_close(plain(IDS), model(IDS), atol=1e-6, rtol=1e-6)
    assert count_trainable_parameters(model) < count_trainable_parameters(plain)


@pytest.mark.parametrize("options, says", [
    ({"rank": 0}, "rank 0 for a matrix of 16 x 8: it must be from 1 to 8"),
    # `kv_up`; the others have room
    ({"rank": 5}, "rank 5 for a matrix of 16 x 4: it must be from 1 to 4"),
    ({"alpha": 0.0}, "alpha 0.0 must be a number above 0"),
    ({"names": ["qkv", "q_proj"]},
     r"\['q_proj', 'qkv'\] must be some of the linear layers down, gate, head, out, qkv"),
    ({"names": []}, r"names \[\] must be some of"),
])  # fmt: skip
def test_what_cannot_be_is_refused_and_the_model_stays_as_it_was(options, says):
    model = llama() if options.get("rank") != 5 else deepseek()
    with pytest.raises(ValueError, match=says):
        add_lora(model, **options)
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert not any(isinstance(module, LoRALinear) for module in model.modules())


def test_twice_is_refused_and_so_is_a_merge_of_nothing():
    model = llama()
    with pytest.raises(ValueError, match="no LoRA layers to merge"):
        merge_lora(model)
    add_lora(model, 2)
    with pytest.raises(ValueError, match="LoRA layers already"):
        add_lora(model, 2)
    merge_lora(model)
    assert len(add_lora(model, 2)) == 10


# Files
# --------------------------------------------------------------------------------------------------


@MODELS
def test_saved_changes_come_back_without_the_model(build, tmp_path):
    model, other = seeded(build), seeded(build)
    places = add_lora(model, rank=2, alpha=3.0)
    as_if_trained(model)
    save_lora(tmp_path / "change.json", model)
    assert load_lora(tmp_path / "change.json", other) == places
    assert torch.equal(model(IDS), other(IDS))
    assert count_trainable_parameters(other) == count_trainable_parameters(model)
    (written,) = tmp_path.glob("*.safetensors")
    assert written.stat().st_size < 4 * count_trainable_parameters(model) + 20_000


def test_changes_that_do_not_fit_are_refused_and_the_model_stays_as_it_was(tmp_path):
    model, path = seeded(llama), tmp_path / "change.json"
    with pytest.raises(ValueError, match="no LoRA layers to save"):
        save_lora(path, model)
    add_lora(model, rank=2)
    save_lora(path, model)
    other = seeded(deepseek)
    with pytest.raises(CheckpointError, match="the model has no linear layer there"):
        load_lora(path, other)
    assert all(parameter.requires_grad for parameter in other.parameters())
    wider = Llama(LlamaSettings(vocab_size=11, max_seq_len=24, d_model=16, n_layers=2, n_heads=2))
    with pytest.raises(CheckpointError, match=r"the model has \(\d+, 16\) there"):
        load_lora(path, wider)
    with pytest.raises(ValueError, match="already"):
        load_lora(path, model)
    (written,) = tmp_path.glob("*.safetensors")
    written.write_bytes(b"x" + written.read_bytes()[1:])
    with pytest.raises(CheckpointError, match="damaged"):
        load_lora(path, seeded(llama))
