"""What lesson 22 says of trl 1.16.0 and transformers 5.23.0, tried on a tiny model: what their
fine-tuning learns by default, how it packs and how it averages."""

import pytest
import torch

from course_lib.alignment.sft import SFTExample, next_token_packed, pack_examples, sft_batch
from course_lib.models.llama import Llama, LlamaSettings
from course_lib.text.batches import IGNORE_INDEX
from course_lib.training.objectives import next_token_objective

transformers = pytest.importorskip("transformers")
trl = pytest.importorskip("trl")
datasets = pytest.importorskip("datasets")
tokenizers = pytest.importorskip("tokenizers")

TEMPLATE = (
    "{% for m in messages %}{% if m.role == 'user' %}{{ 'u' + m.content }}{% else %}"
    "{{ 'a' }}{% generation %}{{ m.content + 'e' }}{% endgeneration %}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'a' }}{% endif %}"
)
SIGNS = "eua1234p"
MESSAGES = [{"role": "user", "content": "12"}, {"role": "assistant", "content": "34"}]


def tokenizer():
    words = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({sign: i for i, sign in enumerate(SIGNS)}, unk_token="e")
    )
    words.pre_tokenizer = tokenizers.pre_tokenizers.Split(tokenizers.Regex(r"[\s\S]"), "isolated")
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=words, eos_token="e", pad_token="p", chat_template=TEMPLATE
    )


def llama():
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=8, hidden_size=16, intermediate_size=24, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=2, max_position_embeddings=64,
        eos_token_id=0, bos_token_id=0, pad_token_id=7,
    )  # fmt: skip
    return transformers.LlamaForCausalLM(config)


def trainer(rows, folder, **options):
    config = trl.SFTConfig(
        output_dir=str(folder), use_cpu=True, bf16=False, report_to=[], **options
    )
    return trl.SFTTrainer(
        model=llama(), args=config, train_dataset=datasets.Dataset.from_list(rows),
        processing_class=tokenizer(),
    )  # fmt: skip


def learnt(rows, folder, **options):
    """The tokens that count in the first batch, as text."""
    batch = next(iter(trainer(rows, folder, **options).get_train_dataloader()))
    return "".join(SIGNS[t] for t in batch["labels"][0].tolist() if t != IGNORE_INDEX)


def test_the_default_loss_depends_on_the_form_of_the_data(tmp_path):
    answer, whole = "34e", "u12a34e"
    assert learnt([{"messages": MESSAGES}], tmp_path) == whole
    pair = {"prompt": MESSAGES[:1], "completion": MESSAGES[1:]}
    assert learnt([pair], tmp_path) == answer
    assert learnt([{"messages": MESSAGES}], tmp_path, assistant_only_loss=True) == answer
    assert learnt([pair], tmp_path, completion_only_loss=False) == whole


def test_defaults_of_the_settings(tmp_path):
    config = trl.SFTConfig(output_dir=str(tmp_path), use_cpu=True, bf16=False)
    assert (config.packing, config.packing_strategy, config.max_length) == (False, "bfd", 1024)
    assert (config.completion_only_loss, config.assistant_only_loss) == (None, False)
    assert config.learning_rate == 2e-5 and config.loss_type == "nll"


def test_packed_rows_of_trl_do_not_leak_even_without_flash_attention(tmp_path):
    """Positions that start anew tell transformers where an example ends; ours says the same."""
    other = [MESSAGES[0], {"role": "assistant", "content": "4"}]
    made = trainer([{"messages": MESSAGES}, {"messages": other}], tmp_path, packing=True,
                   max_length=32)  # fmt: skip
    batch = next(iter(made.get_train_dataloader()))
    assert batch["input_ids"].shape[0] == 1 and "attention_mask" not in batch
    starts = (batch["position_ids"][0] == 0).nonzero()[:, 0].tolist()
    assert len(starts) == 2
    model = made.model.eval()
    inputs = {name: batch[name] for name in ("input_ids", "position_ids")}
    before = model(**inputs).logits
    changed = inputs["input_ids"].clone()
    changed[0, 1] = 6  # in the first example
    after = model(**inputs | {"input_ids": changed}).logits
    same = (before - after).abs().amax(-1)[0]
    assert same[1] > 1e-4 and same[starts[1] :].max() < 1e-6
    leaking = model(input_ids=changed).logits - model(input_ids=inputs["input_ids"]).logits
    assert leaking.abs().amax(-1)[0, starts[1] :].max() > 1e-4


@pytest.mark.parametrize("accumulate", [1, 2])
def test_accumulated_steps_average_over_all_tokens(tmp_path, accumulate):
    """Two examples with 7 and 4 targets: the gradient is that of the mean over 11, cut or not."""
    rows = [{"input_ids": [1, 3, 4, 2, 5, 6, 0, 3]}, {"input_ids": [1, 4, 2, 6, 0]}]
    made = trainer(rows, tmp_path, per_device_train_batch_size=2 // accumulate,
                   gradient_accumulation_steps=accumulate, max_steps=1, max_grad_norm=0.0,
                   optim="sgd", learning_rate=1.0, lr_scheduler_type="constant",
                   gradient_checkpointing=False)  # fmt: skip
    start = {name: p.detach().clone() for name, p in made.model.named_parameters()}
    made.train()
    model, total, count = llama(), 0.0, 0
    for row in rows:
        ids = torch.tensor([row["input_ids"]])
        logits = model(input_ids=ids).logits[0, :-1]
        total = total - logits.log_softmax(-1).gather(-1, ids[0, 1:, None]).sum()
        count += ids.shape[1] - 1
    (total / count).backward()
    for name, parameter in model.named_parameters():
        moved = start[name] - dict(made.model.named_parameters())[name]
        torch.testing.assert_close(moved, parameter.grad, atol=1e-5, rtol=1e-3)


def test_ours_is_a_mean_over_all_tokens_packed_or_not():
    torch.manual_seed(0)
    model = Llama(
        LlamaSettings(vocab_size=11, max_seq_len=24, d_model=8, n_layers=2, n_heads=2, n_kv_heads=1)
    )
    some = [SFTExample([0, 5, 6], [7, 8, 9, 0]), SFTExample([0, 5], [10, 0])]
    padded = next_token_objective(model, *sft_batch(some))
    packed = next_token_packed(model, *pack_examples(some, 12))
    assert padded.count == packed.count == 6
    torch.testing.assert_close(padded.mean, packed.mean)
