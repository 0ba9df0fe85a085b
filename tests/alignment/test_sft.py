"""Fine-tuning learns the answers, all of them, and nothing else; packing changes nothing but the
time."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib.alignment.rl_task import question_prompt_ids
from course_lib.alignment.sft import (
    SFTExample,
    examples_that_fit,
    first_fit_decreasing,
    next_token_packed,
    pack_examples,
    sft_batch,
    sft_batches,
    sft_examples,
    sft_settings,
    train_sft,
)
from course_lib.inference.cache import KVCache
from course_lib.models.deepseek import DeepSeekSettings, DeepSeekV3
from course_lib.models.gpt2 import GPT2, GPT2Settings
from course_lib.models.llama import Llama, LlamaSettings
from course_lib.text import bpe
from course_lib.text.batches import IGNORE_INDEX
from course_lib.text.chat import CHAT_TEMPLATE, END_OF_TEXT, SPECIAL_TOKENS, render_chat
from course_lib.training.objectives import next_token_objective
from course_lib.training.resume import Checkpoints
from course_lib.training.settings import TrainSettings

CORPUS = ["User: 7+5-3=?\nAssistant: first 7+5=12, so 9. User: Assistant: "] * 3
TOKENIZER = bpe.train_bpe(CORPUS, 285, bpe.WORD_PATTERN, SPECIAL_TOKENS)
END = TOKENIZER.special_tokens[END_OF_TEXT]


def dialogue(*contents):
    return [
        {"role": ("user", "assistant")[i % 2], "content": content}
        for i, content in enumerate(contents)
    ]


def llama(**numbers):
    torch.manual_seed(0)
    sizes = {
        "vocab_size": 11,
        "max_seq_len": 24,
        "d_model": 8,
        "n_layers": 2,
        "n_heads": 2,
    } | numbers
    return Llama(LlamaSettings(**sizes, n_kv_heads=1))


def gpt2():
    torch.manual_seed(0)
    return GPT2(GPT2Settings(vocab_size=11, max_seq_len=24, d_model=8, n_layers=2, n_heads=2))


def deepseek():
    torch.manual_seed(0)
    return DeepSeekV3(
        DeepSeekSettings(
            vocab_size=11,
            max_seq_len=24,
            d_model=8,
            n_layers=2,
            n_heads=2,
            kv_lora_rank=4,
            qk_nope_head_dim=4,
            qk_rope_head_dim=4,
            v_head_dim=4,
            n_experts=4,
            n_chosen=2,
            d_expert=4,
        )
    )


ROTARY = pytest.mark.parametrize("build", [llama, deepseek])
MODELS = pytest.mark.parametrize("build", [llama, gpt2, deepseek])


def random_examples(n=7, longest=9, vocab_size=11, seed=1):
    generator = torch.Generator().manual_seed(seed)

    def some():
        size = int(torch.randint(1, longest, (), generator=generator))
        return torch.randint(vocab_size, (size,), generator=generator).tolist()

    return [SFTExample(some(), some()) for _ in range(n)]


def test_an_example_is_a_prompt_as_practice_asks_it_and_an_answer_with_its_end():
    [example] = sft_examples(
        TOKENIZER, [dialogue("7+5-3=?", "<think>7+5=12</think><answer>9</answer>")]
    )
    assert example.prompt == question_prompt_ids(TOKENIZER, "7+5-3=?")
    assert (
        TOKENIZER.decode(example.completion)
        == "<think>7+5=12</think><answer>9</answer><|endoftext|>"
    )
    assert (
        example.completion[0] == TOKENIZER.special_tokens["<think>"]
        and example.completion[-1] == END
    )


def test_every_answer_is_learnt_once_with_all_before_it_as_prompt():
    messages = dialogue("7+5=?", "<think>5</think>12", "so 9?", "9.", "Q: ?")
    first, second = sft_examples(TOKENIZER, [messages])
    whole = [END, *TOKENIZER.encode(render_chat(messages[:4]), allowed_special="all")]
    assert [*second.prompt, *second.completion] == whole
    assert [*first.prompt, *first.completion] == whole[: len(first.prompt) + len(first.completion)]
    assert TOKENIZER.decode(first.completion) == "<think>5</think>12<|endoftext|>"
    assert TOKENIZER.decode(second.completion) == "9.<|endoftext|>"


def test_hugging_face_learns_the_same_tokens():
    """`return_assistant_tokens_mask` of the tokenizer as transformers knows it, over two answers in
    one chat."""
    transformers = pytest.importorskip("transformers")
    messages = dialogue("7+5-3=?", "<think>7+5=12</think><answer>9</answer>", "so 9?", "first 9.")
    theirs = transformers.PreTrainedTokenizerFast(tokenizer_object=as_hugging_face(TOKENIZER))
    said = "{{ 'Assistant: ' + message.content + eos_token }}"
    marked = (
        "{{ 'Assistant: ' }}{% generation %}{{ message.content + eos_token }}{% endgeneration %}"
    )
    assert said in CHAT_TEMPLATE
    encoded = theirs.apply_chat_template(
        messages,
        chat_template=CHAT_TEMPLATE.replace(said, marked),
        eos_token=END_OF_TEXT,
        return_dict=True,
        return_assistant_tokens_mask=True,
    )
    ids, learnt = encoded["input_ids"], torch.zeros(len(encoded["input_ids"]), dtype=torch.long)
    for example in sft_examples(TOKENIZER, [messages]):
        inputs, targets = sft_batch([example])
        assert inputs[0, 1:].tolist() == ids[: example.size - 1]
        learnt[: example.size][targets[0] != IGNORE_INDEX] += 1
    assert learnt.tolist() == encoded["assistant_masks"]


def as_hugging_face(tokenizer):
    """Our tokenizer in the library of Hugging Face, which also finds characters for tokens."""
    tokenizers = pytest.importorskip("tokenizers")
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    sign = {bytes([byte]): character for byte, character in bytes_to_unicode().items()}

    def name(token):
        return "".join(sign[bytes([byte])] for byte in token)

    vocabulary = {name(token): rank for token, rank in tokenizer.ranks.items()}
    merges = []
    for token in sorted(tokenizer.ranks, key=tokenizer.ranks.get):
        if len(token) > 1:
            older = bpe.Tokenizer(
                {t: r for t, r in tokenizer.ranks.items() if r < tokenizer.ranks[token]}, r"[\s\S]+"
            )
            left, right = older.encode_piece(token)
            merges.append((name(older.token_bytes(left)), name(older.token_bytes(right))))
    theirs = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, merges))
    theirs.pre_tokenizer = tokenizers.pre_tokenizers.Sequence(
        [
            tokenizers.pre_tokenizers.Split(tokenizers.Regex(tokenizer.pattern), "isolated"),
            tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    theirs.add_special_tokens(sorted(tokenizer.special_tokens, key=tokenizer.special_tokens.get))
    assert all(theirs.token_to_id(name) == i for name, i in tokenizer.special_tokens.items())
    return theirs


@MODELS
def test_the_loss_is_the_mean_surprise_at_the_answers_one_by_one(build):
    model, some = build(), random_examples()
    total, count = 0.0, 0
    for read, said in some:
        text = list(read)
        for token in said:
            logits = model(torch.tensor([text]))[0, -1].double()
            total, count = total - logits.log_softmax(-1)[token].item(), count + 1
            text.append(token)
    assert next_token_objective(model, *sft_batch(some)).mean.item() == pytest.approx(
        total / count, abs=1e-6
    )


def test_an_empty_answer_teaches_to_stop():
    inputs, targets = sft_batch([SFTExample([5, 6], [0])])
    assert inputs.tolist() == [[5, 6]] and targets.tolist() == [[IGNORE_INDEX, 0]]


def test_draws_can_be_taken_up_anywhere():
    some = random_examples()
    from_the_start, later, other = (
        sft_batches(some, 4, seed=3),
        sft_batches(some, 4, seed=3, start_step=5),
        sft_batches(some, 4, seed=4),
    )
    batches = [next(from_the_start) for _ in range(7)]
    for got, want in zip([next(later), next(later)], batches[5:], strict=True):
        assert torch.equal(got[0], want[0]) and torch.equal(got[1], want[1])
    assert not all(torch.equal(next(other)[1], targets) for _, targets in batches)
    few = next(sft_batches(some[:1], 4))
    assert len(few[0]) == 4  # with replacement: a batch may be larger than the data


def test_draws_are_fair():
    some = [SFTExample([i], [i]) for i in range(5)]
    drawn = torch.cat(
        [
            targets.flatten()
            for _, (_, targets) in zip(range(100), sft_batches(some, 10), strict=False)
        ]
    )
    counts = torch.bincount(drawn, minlength=5)
    assert counts.sum() == 1000 and ((counts - 200).abs() < 4 * (1000 * 0.2 * 0.8) ** 0.5).all()


@MODELS
def test_a_model_learns_its_answers(build):
    model = build()
    some = [SFTExample([0, 5, 6], [7, 8, 0]), SFTExample([0, 5, 9], [10, 0])]
    history = train_sft(model, some, sft_settings(60, adam_lr=2e-2), batch_size=4)
    assert (
        history.ended == "finished"
        and len(history.loss) == 60
        and history.loss[-1] < 0.1 < history.loss[0]
    )
    for read, said in some:
        text = list(read)
        for token in said:
            assert model(torch.tensor([text]))[0, -1].argmax() == token
            text.append(token)


def test_a_run_that_was_stopped_ends_in_the_same_numbers(tmp_path):
    some, settings = random_examples(), sft_settings(8)
    whole = llama()
    wanted = train_sft(whole, some, settings, batch_size=4, seed=2)
    checkpoints = Checkpoints(tmp_path, every=3)
    train_sft(llama(), some, settings, batch_size=4, seed=2, checkpoints=checkpoints)
    assert checkpoints.steps() == [6, 8]
    checkpoints.path(8).unlink()  # as if killed in step 8
    again = llama()
    history = train_sft(again, some, settings, batch_size=4, seed=2, checkpoints=checkpoints)
    assert len(history.loss) == 8 and history.loss == wanted.loss
    assert all(
        torch.equal(a, b) for a, b in zip(whole.parameters(), again.parameters(), strict=True)
    )


def test_the_recipe():
    assert sft_settings(150) == TrainSettings(
        150, optimizer="adamw", adam_lr=2e-3, warmup=10 / 150, decay=0.4
    )
    assert (
        sft_settings(4).warmup == 1
        and sft_settings(600, optimizer="muon", muon_lr=0.01).optimizer == "muon"
    )


def test_what_does_not_fit_is_an_error_or_left_out():
    short, long = SFTExample([1] * 20, [2] * 5), SFTExample([1] * 20, [2] * 6)
    with pytest.raises(
        ValueError, match=r'example 1 of 2 has 25 tokens, more than 24; too_long="skip"'
    ):
        train_sft(llama(), [short, long], sft_settings(1))
    assert train_sft(llama(), [short, long], sft_settings(1), too_long="skip").ended == "finished"
    assert examples_that_fit([short, long], 24, "skip") == [short]


@pytest.mark.parametrize("given, options, says", [
    ([], {}, "no examples to learn from: 0 given"),
    ([SFTExample([1] * 30, [2])], {"too_long": "skip"}, "1 given, 1 of more than 24 tokens"),
    ([SFTExample([1], [2])], {"too_long": "cut"}, "'error' or 'skip', not 'cut'"),
    ([SFTExample([1], [2]), SFTExample([], [2])], {},
     "example 1 of 2 has a prompt of 0 tokens and a completion of 1"),
    ([SFTExample([1], [])], {}, "a prompt of 1 tokens and a completion of 0"),
    ([SFTExample([1], [2])], {"batch_size": 0}, "1 examples and batch_size 0"),
    ([SFTExample([1, 11], [2])], {}, "11"),
])  # fmt: skip
def test_what_cannot_be_learnt_is_refused(given, options, says):
    with pytest.raises(ValueError, match=says):
        train_sft(llama(), given, sft_settings(1), **options)


@given(st.lists(st.integers(1, 12), min_size=1, max_size=20), st.integers(12, 30))
@settings(deadline=None)
def test_every_example_is_in_one_row_and_no_row_overflows(sizes, length):
    rows = first_fit_decreasing(sizes, length)
    assert sorted(i for row in rows for i in row) == list(range(len(sizes)))
    filled = [sum(sizes[i] for i in row) for row in rows]
    # two half-empty rows were one
    assert max(filled) <= length and sum(2 * total <= length for total in filled) <= 1


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5)), min_size=1, max_size=8))
@settings(deadline=None)
def test_packed_rows_tell_their_examples_apart(sizes):
    # each example of its own token
    some = [SFTExample([i] * read, [i] * said) for i, (read, said) in enumerate(sizes)]
    inputs, targets = pack_examples(some, length=20)
    targets, numbers = targets.unbind(1)
    real = numbers != -1
    assert torch.equal(inputs[real], numbers[real])
    assert inputs[real].bincount().tolist() == [example.size for example in some]
    learnt = targets != IGNORE_INDEX
    assert torch.equal(targets[learnt], numbers[learnt])
    assert targets[learnt].bincount().tolist() == [said for _, said in sizes]
    for i in range(len(some)):  # an example stands in one row, in one piece
        rows, columns = (numbers == i).nonzero().T
        assert len(rows.unique()) == 1 and (columns.diff() == 1).all()


@ROTARY
def test_packed_losses_and_gradients_are_those_one_by_one(build):
    model, some = build().double(), random_examples(12)
    count = sum(len(said) for _, said in some)
    one_by_one = sum(next_token_objective(model, *sft_batch([each])).total for each in some) / count
    one_by_one.backward()
    wanted = [parameter.grad.clone() for parameter in model.parameters()]
    for length in (17, 24):
        model.zero_grad()
        inputs, targets = pack_examples(some, length)
        assert len(inputs) < len(some) and inputs.shape[1] > max(each.size for each in some)
        loss = next_token_packed(model, inputs, targets).mean
        loss.backward()
        assert loss.item() == pytest.approx(one_by_one.item(), abs=1e-9)
        for parameter, gradient in zip(model.parameters(), wanted, strict=True):
            torch.testing.assert_close(parameter.grad, gradient, atol=1e-9, rtol=1e-6)
        unmasked = next_token_objective(model, inputs, targets[:, 0]).mean
        assert unmasked.item() != pytest.approx(loss.item(), abs=1e-6)


@ROTARY
def test_a_packed_example_is_blind_to_its_neighbours(build):
    model, seen = build(), []
    rows = [SFTExample([1, 2, 3], [4, 5, 0]), SFTExample([6, 7], [8, 0])]
    others = [SFTExample([9, 9, 9], [9, 9, 9]), rows[1]]
    for some in (rows, others):
        inputs, targets = pack_examples(some, length=8)
        number = targets[:, 1]
        seen.append(model(inputs, padding=number[:, :, None] != number[:, None])[0])
    torch.testing.assert_close(seen[0][5:], seen[1][5:], atol=0, rtol=0)
    # and its places are right
    torch.testing.assert_close(seen[0][5:], model(torch.tensor([[6, 7, 8]]))[0])
    assert not torch.allclose(seen[0][:5], seen[1][:5])


def test_a_mask_for_each_token_covers_the_cache_too():
    model, ids = llama(), torch.randint(11, (2, 6), generator=torch.Generator().manual_seed(1))
    hidden = torch.rand(2, 6, 6, generator=torch.Generator().manual_seed(2)) < 0.4
    caches = [KVCache(6) for _ in range(2)]
    parts = [model(ids[:, :4], caches, hidden[:, :4, :4]), model(ids[:, 4:], caches, hidden[:, 4:])]
    torch.testing.assert_close(torch.cat(parts, dim=1), model(ids, None, hidden))


def test_packed_training_takes_the_same_steps():
    some = random_examples()
    padded, packed = llama(), llama()
    histories = [
        train_sft(padded, some, sft_settings(12), batch_size=6, seed=5),
        train_sft(packed, some, sft_settings(12), batch_size=6, seed=5, row_length=20),
    ]
    assert histories[0].loss == pytest.approx(histories[1].loss, abs=1e-5)
    assert histories[1].tokens[-1] < histories[0].tokens[-1]  # fewer, since less of them is padding
    for a, b in zip(padded.parameters(), packed.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)


def test_what_cannot_be_packed_is_refused():
    some = [SFTExample([1, 2], [3])]
    with pytest.raises(ValueError, match="example 0 of 1 has 2 tokens; a row has 1"):
        pack_examples(some[:1], length=1)
    with pytest.raises(ValueError, match="example 0 of 1 has 2 tokens, more than 0"):
        train_sft(llama(), some[:1], sft_settings(1), row_length=0)
    with pytest.raises(
        (ValueError, TypeError), match="padding"
    ):  # GPT-2 counts its places from the row's start
        train_sft(gpt2(), some[:1], sft_settings(1), row_length=9)


def test_dialogues_that_teach_nothing_are_refused():
    with pytest.raises(ValueError, match="dialogue 1 of 2 has no answer"):
        sft_examples(TOKENIZER, [dialogue("a", "b"), dialogue("a")])
    with pytest.raises(ValueError, match=r"message 1 \(assistant\) is blank"):
        sft_examples(TOKENIZER, [dialogue("a", " ")])
    assert sft_examples(TOKENIZER, []) == []
