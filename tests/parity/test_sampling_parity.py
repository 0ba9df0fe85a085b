"""Our filters of the next token, padded batches and judgement of drafts against those of
transformers."""

import pytest
import torch

from course_lib.inference.generate import (
    apply_temperature,
    keep_min_p,
    keep_top_k,
    keep_top_p,
    next_token_probs,
    penalize_repeats,
)
from course_lib.inference.rollout import sample_completions
from course_lib.inference.speculative import count_accepted, residual_probs
from course_lib.models.deepseek import DeepSeekSettings, DeepSeekV3
from course_lib.models.gpt2 import GPT2, GPT2Settings
from course_lib.models.hf_files import save_hf
from course_lib.models.llama import Llama, LlamaSettings
from course_lib.text.batches import pad_rows

transformers = pytest.importorskip("transformers")
from transformers.generation import utils  # noqa: E402
from transformers.generation.logits_process import (  # noqa: E402
    LogitsProcessorList,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

IDS = torch.randint(50, (4, 9), generator=torch.Generator().manual_seed(1))
LOGITS = torch.randn(4, 50, generator=torch.Generator().manual_seed(0)) * 3


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (lambda logits, p=p: penalize_repeats(logits, IDS, p), RepetitionPenaltyLogitsProcessor(p))
        for p in (0.7, 1.3)
    ]
    + [
        (lambda logits, t=t: apply_temperature(logits, t), TemperatureLogitsWarper(t))
        for t in (0.3, 1.7)
    ]
    + [(lambda logits, k=k: keep_top_k(logits, k), TopKLogitsWarper(k)) for k in (1, 7, 60)]
    + [(lambda logits, p=p: keep_top_p(logits, p), TopPLogitsWarper(p)) for p in (0.05, 0.5, 0.93)]
    + [(lambda logits, p=p: keep_min_p(logits, p), MinPLogitsWarper(p)) for p in (0.0, 0.03, 0.4)],
)
def test_each_filter_equals_theirs(ours, theirs):
    torch.testing.assert_close(ours(LOGITS).softmax(-1), theirs(IDS, LOGITS.clone()).softmax(-1))


@pytest.mark.parametrize("top_p", [0.6, 0.95])
@pytest.mark.parametrize("min_p", [0.02, 0.3])
def test_all_knobs_together_act_in_their_order(top_p, min_p):
    chain = LogitsProcessorList([
        RepetitionPenaltyLogitsProcessor(1.4), TemperatureLogitsWarper(1.5), TopKLogitsWarper(20),
        TopPLogitsWarper(top_p), MinPLogitsWarper(min_p),
    ])  # fmt: skip
    ours = next_token_probs(LOGITS, 1.5, 20, top_p, min_p, repetition_penalty=1.4, ids=IDS)
    torch.testing.assert_close(ours, chain(IDS, LOGITS.clone()).softmax(-1))


SIZE = {"vocab_size": 11, "max_seq_len": 20, "d_model": 24, "n_layers": 2, "n_heads": 2}
MODELS = [
    (GPT2, GPT2Settings(**SIZE)),
    (Llama, LlamaSettings(**SIZE)),
    (DeepSeekV3, DeepSeekSettings(**SIZE)),
]


@pytest.mark.parametrize(("kind", "settings"), MODELS, ids=["GPT2", "Llama", "DeepSeekV3"])
def test_a_padded_batch_writes_what_theirs_writes(kind, settings, tmp_path):
    torch.manual_seed(0)
    ours = kind(settings)
    for parameter in ours.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    save_hf(ours, tmp_path)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    prompts = [[3, 1, 4, 1, 5], [2], [7, 1], [8, 2, 8, 1], [9, 9], [10, 3, 3]]
    ids, real = pad_rows(prompts, pad_token=0, side="left")
    n_finished = 0
    for stop in range(11):
        got = sample_completions(ours, prompts, 12, temperature=0.0, stop_token=stop)
        want = theirs.generate(
            ids,
            attention_mask=real.long(),
            max_new_tokens=12,
            do_sample=False,
            eos_token_id=stop,
            pad_token_id=0,
        )
        cut = [row[: row.index(stop) + 1] if stop in row else row for row in want[:, 5:].tolist()]
        assert got.completions == cut
        n_finished += got.finished.sum().item()
    assert n_finished > 5


def test_drafts_are_judged_as_theirs_are(monkeypatch):
    """Same chances and random numbers: as many drafted tokens stand, and the next one comes from
    the same chances."""
    generator, drawn_from, counts = torch.Generator().manual_seed(0), [], set()
    for _ in range(200):
        # the model's, the draft's
        ours, theirs = (torch.randn(1, n, 6, generator=generator) for n in (4, 3))
        p, q = ours[0].softmax(-1), theirs[0].softmax(-1)
        drafted, uniform = (
            q.multinomial(1, generator=generator)[:, 0],
            torch.rand(3, generator=generator),
        )
        monkeypatch.setattr(
            torch, "rand_like", lambda ratio, uniform=uniform: uniform.view_as(ratio)
        )
        monkeypatch.setattr(
            torch,
            "multinomial",
            lambda p, num_samples: drawn_from.append(p) or p.argmax(-1)[:, None],
        )
        _, n_matches = utils._speculative_sampling(drafted[None], theirs, 3, ours)
        stood = count_accepted(p[:-1], q, drafted, uniform)
        assert stood == n_matches
        torch.testing.assert_close(
            p[-1] if stood == 3 else residual_probs(p[stood], q[stood]), drawn_from[-1][0]
        )
        counts.add(stood)
    assert counts == {0, 1, 2, 3}
