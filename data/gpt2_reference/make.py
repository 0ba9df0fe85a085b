"""Let Hugging Face's GPT-2 read random tokens with random weights; keep the weights, the tokens and
the logits.

pip install -e '.[parity]'
python data/gpt2_reference/make.py
"""

from pathlib import Path

import safetensors.torch
import torch
import transformers

FOLDER = Path(__file__).parent
# numbers that are not powers of two, and all different, so that no two axes can be mixed up
SIZES = {
    "wide": {"vocab_size": 50, "n_positions": 16, "n_embd": 24, "n_layer": 2, "n_head": 4},
    "deep": {
        "vocab_size": 31,
        "n_positions": 12,
        "n_embd": 10,
        "n_layer": 5,
        "n_head": 5,
        "n_inner": 17,
    },
    "least": {"vocab_size": 7, "n_positions": 5, "n_embd": 6, "n_layer": 1, "n_head": 1},
    "words": {
        "vocab_size": 301,
        "n_positions": 33,
        "n_embd": 15,
        "n_layer": 3,
        "n_head": 3,
        "n_inner": 100,
    },
}


def main() -> None:
    """Make all of it anew."""
    for seed, (name, sizes) in enumerate(SIZES.items()):
        torch.manual_seed(seed)
        model = transformers.GPT2LMHeadModel(
            transformers.GPT2Config(**sizes, bos_token_id=None, eos_token_id=None)
        )
        for (
            parameter
        ) in model.parameters():  # biases and norms too, which a fresh model leaves at 0 and 1
            torch.nn.init.normal_(parameter, std=0.3)
        ids = torch.randint(sizes["vocab_size"], (3, sizes["n_positions"]))
        with torch.no_grad():
            logits = model.eval()(ids).logits
        model.save_pretrained(FOLDER / name)
        (FOLDER / name / "generation_config.json").unlink()
        safetensors.torch.save_file(
            {"ids": ids, "logits": logits}, FOLDER / name / "reading.safetensors"
        )


if __name__ == "__main__":
    main()
