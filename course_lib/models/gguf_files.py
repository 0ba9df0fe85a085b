"""Published weights from a GGUF file: blocks of whole numbers and scales, made a Llama of ours."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from course_lib.layers.position import halves_order
from course_lib.models.hf_weights import rename_weights
from course_lib.models.llama import Llama, LlamaSettings
from course_lib.text.bpe import Tokenizer, gguf_tokenizer
from course_lib.text.chat_template import ChatTemplate
from course_lib.text.gguf import TensorPlace, gguf_header

Blocks = UInt8[Tensor, "N B"]  # one block of stored weights per row
BLOCK_WEIGHTS = 32  # in a block of a quantised format

FROM_GGUF_NAMES = {  # theirs -> ours; {} is the number of the layer
    "token_embd": "token_embedding",
    "output_norm": "norm",
    "output": "head",
    "blk.{}.attn_norm": "blocks.{}.norm_1",
    "blk.{}.ffn_norm": "blocks.{}.norm_2",
    "blk.{}.attn_q": "blocks.{}.attention.q",
    "blk.{}.attn_k": "blocks.{}.attention.k",
    "blk.{}.attn_v": "blocks.{}.attention.v",
    "blk.{}.attn_output": "blocks.{}.attention.out",
    "blk.{}.ffn_gate": "blocks.{}.mlp.gate",
    "blk.{}.ffn_up": "blocks.{}.mlp.up",
    "blk.{}.ffn_down": "blocks.{}.mlp.down",
}


def read_halves(blocks: Blocks, at: int) -> Float[Tensor, "N 1"]:
    """Read the float16 number that stands at byte `at` of each block."""
    return blocks[:, at : at + 2].contiguous().view(torch.float16).float()


def read_nibbles(blocks: Blocks, at: int) -> UInt8[Tensor, "N 32"]:
    """Read the 32 codes of 4 bits from byte `at` on: the low halves of 16 bytes, then the high."""
    codes = blocks[:, at : at + 16]
    return torch.cat([codes & 15, codes >> 4], -1)


def dequantize_q4_0(blocks: Blocks) -> Float[Tensor, "N 32"]:
    """Give the weights of 18-byte blocks: a scale and 32 codes of 4 bits, less 8."""
    return read_halves(blocks, 0) * (read_nibbles(blocks, 2).float() - 8)


def dequantize_q4_1(blocks: Blocks) -> Float[Tensor, "N 32"]:
    """Give the weights of 20-byte blocks: a scale, the least weight, and 32 codes of 4 bits."""
    return read_halves(blocks, 0) * read_nibbles(blocks, 4).float() + read_halves(blocks, 2)


def dequantize_q8_0(blocks: Blocks) -> Float[Tensor, "N 32"]:
    """Give the weights of 34-byte blocks: a scale and 32 whole numbers from -128 to 127."""
    return read_halves(blocks, 0) * blocks[:, 2:].contiguous().view(torch.int8).float()


def dequantize_plain(dtype: torch.dtype) -> Callable[[Blocks], Float[Tensor, "N 1"]]:
    """Make what reads weights that are stored as numbers, one for each "block"."""
    return lambda blocks: blocks.contiguous().view(dtype).float()


class GGUFFormat(NamedTuple):
    """How weights are stored: in blocks of so many weights and bytes, and how these are read."""

    name: str
    weights: int
    bytes: int
    dequantize: Callable[[Blocks], Float[Tensor, "N W"]]


GGUF_FORMATS = {
    0: GGUFFormat("F32", 1, 4, dequantize_plain(torch.float32)),
    1: GGUFFormat("F16", 1, 2, dequantize_plain(torch.float16)),
    2: GGUFFormat("Q4_0", BLOCK_WEIGHTS, 18, dequantize_q4_0),
    3: GGUFFormat("Q4_1", BLOCK_WEIGHTS, 20, dequantize_q4_1),
    8: GGUFFormat("Q8_0", BLOCK_WEIGHTS, 34, dequantize_q8_0),
    30: GGUFFormat("BF16", 1, 2, dequantize_plain(torch.bfloat16)),
}


class StoredTensor(NamedTuple):
    """A tensor as the file holds it: a row of bytes for each row of weights."""

    format: GGUFFormat
    rows: UInt8[Tensor, "O R"]
    shape: tuple[int, ...]

    @property
    def blocks(self) -> Blocks:
        """Give the blocks, one after the other."""
        return self.rows.reshape(-1, self.format.bytes)

    def dequantize(self) -> Float[Tensor, "..."]:
        """Give the weights in float32."""
        return self.format.dequantize(self.blocks).reshape(self.shape)


def read_gguf_tensors(path: str | Path) -> dict[str, StoredTensor]:
    """Read all tensors of a file, as stored and under the file's names.

    Raises ValueError, naming tensor and numbers, for a file that is cut off, or a format not known
    here.
    """
    _, places = gguf_header(path)
    return _stored_tensors(path, places)


def _stored_tensors(path: str | Path, places: Mapping[str, TensorPlace]) -> dict[str, StoredTensor]:
    return {name: _stored(path, name, place) for name, place in places.items()}


def _stored(path: str | Path, name: str, place: TensorPlace) -> StoredTensor:
    if place.kind not in GGUF_FORMATS:
        known = ", ".join(f"{kind} ({f.name})" for kind, f in GGUF_FORMATS.items())
        raise ValueError(f"{path}: {name} is stored in format {place.kind}; known are {known}")
    form, width, n_rows = GGUF_FORMATS[place.kind], place.shape[-1], 1
    for length in place.shape[:-1]:
        n_rows *= length
    if width % form.weights:
        raise ValueError(f"{path}: {name} has rows of {width} weights, no {form.name} blocks of 32")
    row_bytes = width // form.weights * form.bytes
    end, n_bytes = place.start + n_rows * row_bytes, Path(path).stat().st_size
    if end > n_bytes:
        raise ValueError(f"{path} is cut off: {name} ends at byte {end:,}, of {n_bytes:,}")
    rows = np.fromfile(path, np.uint8, n_rows * row_bytes, offset=place.start)
    return StoredTensor(form, torch.from_numpy(rows).view(n_rows, row_bytes), place.shape)


def unpermute_rotary(rows: Tensor, n_heads: int) -> Tensor:
    """Carry rows of queries or keys from neighbouring pairs to halves, as `rotate_halves` pairs.

    llama.cpp rotates number 2i of a head with 2i + 1, so its files hold rows in that order.
    """
    d_head = len(rows) // n_heads
    return rows.unflatten(0, (n_heads, d_head))[:, halves_order(d_head)].flatten(0, 1)


def gguf_llama_settings(metadata: Mapping[str, Any], tied: bool) -> LlamaSettings:
    """Read our settings out of the pairs of a file.

    Raises ValueError for another architecture, a missing pair, or settings that ours can't run.
    """
    if (architecture := metadata.get("general.architecture")) != "llama":
        raise ValueError(f"the architecture is {architecture!r} there; only 'llama' is read here")
    if scaling := [key for key in metadata if key.startswith("llama.rope.scaling")]:
        raise ValueError(
            f"rotary positions are scaled there ({scaling[0]}), which is not read here"
        )
    try:
        found = LlamaSettings(
            vocab_size=len(metadata["tokenizer.ggml.tokens"]),
            max_seq_len=metadata["llama.context_length"],
            d_model=metadata["llama.embedding_length"],
            n_layers=metadata["llama.block_count"],
            n_heads=(n_heads := metadata["llama.attention.head_count"]),
            n_kv_heads=metadata.get("llama.attention.head_count_kv", n_heads),
            d_ff=metadata["llama.feed_forward_length"],
            rope_base=metadata.get("llama.rope.freq_base", 10_000.0),
            # stored in float32: 1e-5 is 9.999999747378752e-06 there
            norm_eps=float(f"{metadata['llama.attention.layer_norm_rms_epsilon']:.6g}"),
            tied=tied,
        )
    except KeyError as error:
        raise ValueError(f"the file does not say {error.args[0]}") from None
    turned = metadata.get("llama.rope.dimension_count", found.d_head)
    if turned != found.d_head:
        raise ValueError(f"{turned} of {found.d_head} numbers of a head are rotated there")
    return found


def stored_llama(
    path: str | Path, unpermute: bool = True
) -> tuple[LlamaSettings, dict[str, StoredTensor], dict[str, Any]]:
    """Read settings, stored weights under our names, and all pairs of a file.

    Queries, keys and values are one matrix, as in our `SelfAttention`; with `unpermute` their rows
    are in our order, see `unpermute_rotary`. Raises ValueError for weights that are missing, too
    many, of another shape, or of which queries and keys are stored in different formats.
    """
    metadata, places = gguf_header(path)
    tied = "output.weight" not in places
    try:
        settings = gguf_llama_settings(metadata, tied)
        tensors = _stored_tensors(path, places)
        ours = {rename_weights(name, FROM_GGUF_NAMES): t for name, t in tensors.items()}
        for layer in range(settings.n_layers):
            _join_qkv(ours, f"blocks.{layer}.attention.", settings, unpermute)
        _check_shapes(ours, settings)
    except ValueError as error:
        raise ValueError(f"{path} is no Llama that can be read: {error}") from None
    return settings, ours, metadata


def _join_qkv(
    tensors: dict[str, StoredTensor], stem: str, settings: LlamaSettings, unpermute: bool
) -> None:
    names = [f"{stem}{part}.weight" for part in "qkv"]
    if missing := [name for name in names if name not in tensors]:
        raise ValueError(f"it has no {missing[0]}")
    q, k, v = (tensors.pop(name) for name in names)
    if (
        len({part.format.name for part in (q, k, v)}) > 1
        or len({p.shape[-1] for p in (q, k, v)}) > 1
    ):
        raise ValueError(f"queries, keys and values of {stem} differ in format or width")
    rows = [q.rows, k.rows, v.rows]
    if unpermute:
        rows[0] = unpermute_rotary(rows[0], settings.n_heads)
        rows[1] = unpermute_rotary(rows[1], settings.n_kv_heads)
    joined = torch.cat(rows)
    tensors[f"{stem}qkv.weight"] = StoredTensor(q.format, joined, (len(joined), q.shape[-1]))


def _check_shapes(tensors: Mapping[str, StoredTensor], settings: LlamaSettings) -> None:
    """Raise a ValueError unless these are the weights of such a model, no more and no fewer."""
    with torch.device("meta"):
        wanted = {name: tuple(t.shape) for name, t in Llama(settings).state_dict().items()}
    if odd := sorted(set(wanted) ^ set(tensors)):
        raise ValueError(f"{len(odd)} weights are missing or too many: {', '.join(odd[:3])}")
    for name, tensor in tensors.items():
        if tensor.shape != wanted[name]:
            raise ValueError(f"{name} has the shape {tensor.shape} there, not {wanted[name]}")


class GGUFModel(NamedTuple):
    """A published model, ready to talk: the model, its tokenizer, and how it is spoken to."""

    model: Llama
    tokenizer: Tokenizer
    template: ChatTemplate


def published_parts(
    path: str | Path, unpermute: bool = True
) -> tuple[LlamaSettings, dict[str, StoredTensor], Tokenizer, ChatTemplate]:
    """Read settings, stored weights (see `stored_llama`), tokenizer and chat template of a file."""
    settings, stored, metadata = stored_llama(path, unpermute)
    try:
        tokenizer = gguf_tokenizer(metadata)
        return settings, stored, tokenizer, ChatTemplate.from_gguf(metadata, tokenizer)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def load_gguf(path: str | Path, unpermute: bool = True) -> GGUFModel:
    """Make our Llama of a GGUF file, in float32, with its tokenizer and its chat template.

    `unpermute=False` leaves the rows of queries and keys as they are stored, which is wrong, and
    what lesson 28 looks at. Raises ValueError, naming the file, for all that is not read here.
    """
    settings, stored, tokenizer, template = published_parts(path, unpermute)
    with torch.device("meta"):  # nothing is drawn, and no memory is taken twice
        model = Llama(settings)
    weights = {name: stored.pop(name).dequantize() for name in list(stored)}
    model.load_state_dict(weights, assign=True)
    return GGUFModel(model.eval(), tokenizer, template)
