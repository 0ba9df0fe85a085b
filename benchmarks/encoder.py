"""Sentence vectors of passages of Shakespeare by all-MiniLM-L6-v2: ours beside transformers'.

    OMP_NUM_THREADS=1 python -m benchmarks.encoder

From text to vectors, on one thread, in turns: texts per CPU second. transformers' BertModel reads
batches of 32, padded, as its model card has it: once in the order of the plays, once sorted by
length. Needs `make models` and `make plays`.
"""

import os

os.environ |= {"COURSE_QUIET": "1", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}

import torch  # noqa: E402
import transformers  # noqa: E402

from benchmarks.measure import cpu_seconds  # noqa: E402
from course_lib import assets  # noqa: E402
from course_lib.files import markdown_table  # noqa: E402
from course_lib.inference.encode import MINILM_LENGTH, encode_texts, load_minilm  # noqa: E402
from course_lib.tasks.play_search import SEARCH_PLAYS  # noqa: E402
from course_lib.text.plays import play_passages  # noqa: E402

PASSAGES, BATCH, TURNS = 256, 32, 3


class TheirEncoder:
    """The model and the tokenizer as transformers reads them."""

    def __init__(self) -> None:
        folder = assets.minilm_folder()
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        self.model = transformers.BertModel.from_pretrained(folder, add_pooling_layer=False).eval()

    @torch.inference_mode()
    def encode(self, texts: list[str]) -> torch.Tensor:
        """Give the vectors of texts, batch by batch in their order."""
        return torch.cat(
            [self.encode_batch(texts[i : i + BATCH]) for i in range(0, len(texts), BATCH)]
        )

    def encode_batch(self, texts: list[str]) -> torch.Tensor:
        """Give the vectors of one padded batch: the mean over the tokens, of length 1."""
        options = {"padding": True, "truncation": True, "max_length": MINILM_LENGTH}
        inputs = self.tokenizer(texts, return_tensors="pt", **options)
        hidden, real = self.model(**inputs).last_hidden_state, inputs["attention_mask"][..., None]
        return torch.nn.functional.normalize((hidden * real).sum(1) / real.sum(1), dim=-1)


def main() -> str:
    """Measure all; return the table, or why there is none."""
    try:
        passages = play_passages(SEARCH_PLAYS)
        ours, theirs = load_minilm(), TheirEncoder()
    except assets.AssetError as missing:
        return f"MiniLM was not measured: {missing}".splitlines()[0]
    torch.set_num_threads(1)
    texts = [passage.text for passage in passages[:: len(passages) // PASSAGES][:PASSAGES]]
    by_length = sorted(texts, key=len)
    runs = {
        "ours": lambda: encode_texts(*ours, texts),
        "transformers, as the texts come": lambda: theirs.encode(texts),
        "transformers, sorted by length": lambda: theirs.encode(by_length),
    }
    torch.testing.assert_close(runs["ours"](), theirs.encode(texts), rtol=1e-5, atol=1e-5)
    seconds = cpu_seconds(runs, TURNS)
    rows = [
        [name, f"{len(texts) / spent:.1f}", f"{seconds['ours'] / spent:.2f}"]
        for name, spent in seconds.items()
    ]
    header = [f"MiniLM, {len(texts)} passages of plays", "texts/CPU s", "speed by ours"]
    return markdown_table(header, rows)


if __name__ == "__main__":
    print(main())
