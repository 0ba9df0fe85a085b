"""Let Hugging Face's Llama read random tokens with random weights; keep the weights, the tokens and
the logits.

pip install -e '.[parity]'
python data/llama_reference/make.py
"""

from pathlib import Path

import safetensors.torch
import torch
import transformers

FOLDER = Path(__file__).parent
# their words; numbers that are all different, so that no two axes can be mixed up
SIZES = {
    "grouped": {
        "vocab_size": 70,
        "max_position_embeddings": 20,
        "hidden_size": 36,
        "intermediate_size": 50,
        "num_hidden_layers": 3,
        "num_attention_heads": 6,
        "num_key_value_heads": 2,
        "rms_norm_eps": 1e-5,
        "rope_parameters": {"rope_type": "default", "rope_theta": 500.0},
    },
    "tied": {
        "vocab_size": 41,
        "max_position_embeddings": 12,
        "hidden_size": 30,
        "intermediate_size": 17,
        "num_hidden_layers": 2,
        "num_attention_heads": 3,
        "num_key_value_heads": 1,
        "tie_word_embeddings": True,
    },
}


def main() -> None:
    """Make all of it anew."""
    for seed, (name, sizes) in enumerate(SIZES.items()):
        torch.manual_seed(seed)
        config = transformers.LlamaConfig(**sizes, bos_token_id=None, eos_token_id=None)
        model = transformers.LlamaForCausalLM(config).eval()
        for parameter in model.parameters():  # norms too, which a fresh model leaves at 1
            torch.nn.init.normal_(parameter, std=0.3)
        ids = torch.randint(sizes["vocab_size"], (3, sizes["max_position_embeddings"]))
        with torch.no_grad():
            logits = model(ids).logits
        model.save_pretrained(FOLDER / name)
        (FOLDER / name / "generation_config.json").unlink()
        reading = {"ids": ids, "logits": logits}
        safetensors.torch.save_file(reading, FOLDER / name / "reading.safetensors")


if __name__ == "__main__":
    main()
