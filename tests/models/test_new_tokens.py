"""New rows change nothing for the old tokens."""

import pytest
import torch

from course_lib.models.deepseek import DeepSeekSettings, DeepSeekV3
from course_lib.models.llama import Llama, LlamaSettings
from course_lib.models.new_tokens import add_token_rows

SIZES = {"d_model": 12, "n_layers": 2, "n_heads": 3}
MODELS = [
    lambda: Llama(LlamaSettings(11, 16, **SIZES)),
    lambda: Llama(LlamaSettings(11, 16, tied=True, **SIZES)),
    lambda: DeepSeekV3(DeepSeekSettings(11, 16, kv_lora_rank=5, qk_rope_head_dim=4, **SIZES)),
]


@pytest.mark.parametrize("build", MODELS)
def test_old_tokens_keep_their_scores_and_new_ones_get_the_mean(build):
    torch.manual_seed(0)
    model = build()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    grown, ids = add_token_rows(model, 13), torch.tensor([[3, 1, 4, 1, 10]])
    old, new = model(ids), grown(ids)
    assert new.shape == (1, 5, 13)
    torch.testing.assert_close(new[..., :11], old)
    torch.testing.assert_close(new[..., 11:], old.mean(-1, keepdim=True).expand(-1, -1, 2))
    assert grown.settings.vocab_size == 13
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_the_copy_learns_alone():
    torch.manual_seed(0)
    model = MODELS[0]()
    before = model(torch.tensor([[1, 2]]))
    grown = add_token_rows(model, 12)
    with torch.no_grad():
        for parameter in grown.parameters():
            parameter.add_(1.0)
    assert torch.equal(model(torch.tensor([[1, 2]])), before)


@pytest.mark.parametrize("n", [0, 10, 11])
def test_a_model_does_not_shrink(n):
    with pytest.raises(ValueError, match=f"vocab_size {n} must be above the model's 11"):
        add_token_rows(MODELS[0](), n)
