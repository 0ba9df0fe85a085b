"""The bases of the experiments' recipes, written to a folder and opened by transformers."""

import pytest
import torch

from course_lib.experiments.r1 import LAPTOP_RECIPE
from course_lib.experiments.search import SEARCH_RECIPE
from course_lib.models.deepseek import DeepSeekSettings, DeepSeekV3
from course_lib.models.hf_files import save_hf

transformers = pytest.importorskip("transformers")


@pytest.mark.parametrize(
    "numbers", [LAPTOP_RECIPE.base, SEARCH_RECIPE.model], ids=["chains", "search"]
)
def test_the_base_of_a_recipe_opens_there_with_equal_logits(numbers, tmp_path):
    torch.manual_seed(0)
    ours = DeepSeekV3(DeepSeekSettings(50, 24, **numbers)).eval()
    for parameter in ours.parameters():
        parameter.data.normal_(std=0.3)
    save_hf(ours, tmp_path)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path, experts_implementation="eager"
    )
    ids = torch.randint(50, (2, 24))
    torch.testing.assert_close(ours(ids), theirs.eval()(ids).logits, rtol=1e-4, atol=1e-4)
