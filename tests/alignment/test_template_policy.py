"""A published model practises in its own template: what is asked, taught, frozen and resumed."""

from dataclasses import replace

import pytest
import torch

from course_lib.alignment.grpo import GRPOSettings, train_grpo
from course_lib.alignment.lora import add_lora
from course_lib.alignment.rl_task import Question
from course_lib.alignment.template_policy import (
    answer_by_template,
    ask_after,
    template_example,
    template_sampler,
)
from course_lib.models.gguf_files import GGUFModel, load_gguf
from course_lib.tasks.tagged_sums import (
    tagged_metrics,
    tagged_reward,
    tagged_sum_questions,
    tagged_sum_task,
)
from course_lib.training.resume import Checkpoints
from tests.models.tiny_gguf import PAIRS, gguf_bytes, tiny_tensors

SETTINGS = GRPOSettings(2, n_questions=2, group_size=4, max_new_tokens=4, beta=0.0)


@pytest.fixture
def tiny(tmp_path) -> GGUFModel:
    pairs = PAIRS | {"llama.context_length": 256}
    (tmp_path / "tiny.gguf").write_bytes(gguf_bytes(pairs, tiny_tensors()))
    return load_gguf(tmp_path / "tiny.gguf")


def test_an_example_ends_with_the_stop_token(tiny):
    chat = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]
    prompt, completion = template_example(tiny.template, chat)
    assert tiny.tokenizer.decode(prompt).endswith("<|im_start|>assistant\n")
    assert tiny.tokenizer.decode(completion) == "Ho<|im_end|>"
    with pytest.raises(ValueError, match="1 messages that do not end with an answer"):
        template_example(tiny.template, chat[:1])


def test_greedy_answers_are_those_of_generate(tiny):
    from course_lib.inference.generate import generate

    chats = [ask_after((), Question(text, None)) for text in ("Hi", "Hello there")]
    texts, _ = answer_by_template(tiny.model, tiny.template, chats, 6, temperature=0.0)
    for chat, text in zip(chats, texts, strict=True):
        ids = torch.tensor([tiny.template.prompt_ids(chat)])
        out = generate(tiny.model, ids, 6, temperature=0.0, stop_token=2)[0, ids.shape[1] :]
        assert tiny.tokenizer.decode([i for i in out.tolist() if i != 2]) == text


def practise(tiny: GGUFModel, settings: GRPOSettings, folder=None):
    torch.manual_seed(0)
    add_lora(tiny.model, 2, 4.0)
    kept = {n: p.clone() for n, p in tiny.model.named_parameters() if not p.requires_grad}
    task = replace(tagged_sum_task(), reward=lambda asked, texts: [len(t) / 9 for t in texts])
    history = train_grpo(
        tiny.model, tiny.tokenizer, task, settings, sample=template_sampler(tiny.template),
        checkpoints=Checkpoints(folder, every=1) if folder else None,
    )  # fmt: skip
    for name, before in kept.items():
        assert torch.equal(dict(tiny.model.named_parameters())[name], before)
    return history, {n: p.detach() for n, p in tiny.model.named_parameters() if p.requires_grad}


def test_practice_changes_the_low_rank_parts_alone(tiny):
    history, learnt = practise(tiny, SETTINGS)
    assert len(history.loss) == 2 and any(p.any() for n, p in learnt.items() if "lora_B" in n)


def test_checkpoints_hold_the_low_rank_parts_alone_and_go_on(tiny, tmp_path):
    _, want = practise(tiny, SETTINGS, tmp_path / "run")
    sizes = [file.stat().st_size for file in (tmp_path / "run").glob("*.safetensors")]
    assert max(sizes) < 16 * sum(p.numel() for p in want.values()) + 20_000
    for file in (tmp_path / "run").glob("step-0000002*"):
        file.unlink()
    again = load_gguf(tmp_path / "tiny.gguf")
    _, got = practise(again, SETTINGS, tmp_path / "run")
    for name, parameter in want.items():
        torch.testing.assert_close(got[name], parameter, msg=name)


def test_a_sampler_of_ones_own_draws_once(tiny):
    with pytest.raises(ValueError, match="n_redraws 1"):
        train_grpo(
            tiny.model, tiny.tokenizer, tagged_sum_task(), replace(SETTINGS, n_redraws=1),
            sample=template_sampler(tiny.template),
        )  # fmt: skip


def test_sums_are_held_out_in_both_orders_and_rated_by_form_and_number():
    practice, held_out = tagged_sum_questions(False), tagged_sum_questions(True)
    assert len(practice) + len(held_out) == 79 and not {*practice} & {*held_out}
    turned = {" ".join((w := q.text.split())[:2] + [w[4][:-1], "+", w[2] + "?"]) for q in held_out}
    assert turned == {q.text for q in held_out}
    assert [tagged_reward("5", t) for t in ("<answer>5</answer>", "<answer>6</answer>", "5")] == [
        1.0,
        0.3,
        0.0,
    ]
    answers = ["<answer>5</answer>", "<answer>7</answer>", "5", "<answer>x</answer>"]
    asked = [Question("What is 2 + 3?", "5")] * 4
    assert tagged_metrics(asked, answers) == {"format": 0.5, "accuracy": 0.25}
