#!/usr/bin/env bash
# trl 1.16.0 (with transformers 5.23.0, torch 2.13.0, datasets 5.2.0, accelerate 1.15.0,
# tokenizers 0.23.3): without `ref_model`, DPOTrainer says that the reference is
# "the model state before DPO training starts". It is not, for a model that was changed
# since it was read: the weights are read again from where its config says it came from. Somebody who
# fine-tunes a model and gives it to DPOTrainer in the same program is held to the model *before*
# fine-tuning, without a warning; the loss does not begin at log 2.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder"
"$folder/bin/pip" install --quiet ${PIP_FLAGS:-} trl==1.16.0 transformers==5.23.0 torch==2.13.0 datasets==5.2.0 accelerate==1.15.0 tokenizers==0.23.3
cd "$folder"
"$folder/bin/python" -W ignore - <<'END'
import copy

import torch
import transformers
import trl
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

words = {word: i for i, word in enumerate(["<pad>", "<eos>", "who", "me", "you"])}
plain = Tokenizer(models.WordLevel(words, unk_token="<pad>"))
plain.pre_tokenizer = pre_tokenizers.Whitespace()
tokenizer = PreTrainedTokenizerFast(
    tokenizer_object=plain, pad_token="<pad>", eos_token="<eos>", unk_token="<pad>"
)
torch.manual_seed(0)
LlamaForCausalLM(LlamaConfig(
    vocab_size=5, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1,
)).save_pretrained("old")
model = AutoModelForCausalLM.from_pretrained("old")
with torch.no_grad():  # fine-tuned, say
    for weight in model.parameters():
        weight.add_(torch.randn_like(weight))
pairs = Dataset.from_list([{"prompt": "who", "chosen": " me", "rejected": " you"}] * 4)


def first_loss(reference):
    settings = trl.DPOConfig(
        output_dir="out", max_steps=1, per_device_train_batch_size=4, learning_rate=0.0,
        logging_steps=1, report_to=[], use_cpu=True, bf16=False, gradient_checkpointing=False,
    )
    trainer = trl.DPOTrainer(
        model, ref_model=reference, args=settings, train_dataset=pairs, processing_class=tokenizer
    )
    trainer.train()
    same = torch.equal(trainer.ref_model.lm_head.weight, model.lm_head.weight)
    loss = next(row["loss"] for row in trainer.state.log_history if "loss" in row)
    return same, loss


print("trl", trl.__version__, "transformers", transformers.__version__)
copied, silent = first_loss(copy.deepcopy(model)), first_loss(None)
print("reference given as a copy: equal to the model", copied[0], "first loss", round(copied[1], 4))
print("no reference given:        equal to the model", silent[0], "first loss", round(silent[1], 4))
assert copied[0] and abs(copied[1] - 0.6931) < 1e-3
assert not silent[0] and abs(silent[1] - 0.6931) > 1e-3, "this has changed: mend the lesson"
END
