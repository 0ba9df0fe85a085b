"""A GGUF file written by hand, as the format's description says: a Llama of two small layers."""

import struct

import numpy as np

from course_lib.text.bpe import printable_bytes

F32, Q4_0, Q4_1, Q8_0 = 0, 2, 3, 8
BLOCK_BYTES = {F32: (1, 4), 1: (1, 2), Q4_0: (32, 18), Q4_1: (32, 20), Q8_0: (32, 34), 30: (1, 2)}
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *(f"<|{i}|>" for i in range(11))]
TEMPLATE = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content']"
    " + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def as_text(string: str) -> bytes:
    return struct.pack("<Q", len(string.encode())) + string.encode()


def as_value(value) -> bytes:
    """The type of a value and the value."""
    if isinstance(value, str):
        return struct.pack("<I", 8) + as_text(value)
    if isinstance(value, float):
        return struct.pack("<If", 6, value)
    if isinstance(value, int):
        return struct.pack("<II", 4, value)
    body = b"".join(as_value(item)[4:] for item in value)
    kind = struct.unpack("<I", as_value(value[0])[:4])[0] if value else 4
    return struct.pack("<IIQ", 9, kind, len(value)) + body


def gguf_bytes(pairs: dict, tensors: dict) -> bytes:
    """The whole file; `tensors` is name -> (shape as in torch, format, bytes)."""
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(pairs))
    head += b"".join(as_text(key) + as_value(value) for key, value in pairs.items())
    data = b""
    for name, (shape, kind, content) in tensors.items():
        data += bytes(-len(data) % 32)
        axes = struct.pack(f"<{len(shape)}Q", *shape[::-1])
        head += as_text(name) + struct.pack("<I", len(shape)) + axes
        head += struct.pack("<IQ", kind, len(data))
        data += content
    return head + bytes(-len(head) % 32) + data


def random_blocks(rng: np.random.Generator, kind: int, n_weights: int) -> bytes:
    """Stored weights: small scales, and any codes."""
    weights, n_bytes = BLOCK_BYTES[kind]
    n = n_weights // weights
    if kind == F32:
        return (1 + 0.1 * rng.standard_normal(n)).astype("<f4").tobytes()
    blocks = rng.integers(0, 256, (n, n_bytes), dtype=np.uint8)
    n_halves = 2 if kind == Q4_1 else 1
    size = 0.001 if kind == Q8_0 else 0.02
    halves = size * rng.standard_normal((n, n_halves)).astype("<f2")
    blocks[:, : 2 * n_halves] = halves.astype("<f2").view(np.uint8)
    return blocks.tobytes()


PAIRS = {
    "general.architecture": "llama",
    "llama.block_count": 2,
    "llama.context_length": 64,
    "llama.embedding_length": 64,
    "llama.feed_forward_length": 96,
    "llama.attention.head_count": 4,
    "llama.attention.head_count_kv": 2,
    "llama.rope.freq_base": 1000.0,
    "llama.attention.layer_norm_rms_epsilon": 1e-5,
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.pre": "smollm",
    "tokenizer.ggml.tokens": [*SPECIAL, *printable_bytes(), "ab", "abc"],
    "tokenizer.ggml.token_type": [3] * len(SPECIAL) + [1] * 258,
    "tokenizer.ggml.merges": ["a b", "ab c"],
    "tokenizer.ggml.eos_token_id": 2,
    "tokenizer.chat_template": TEMPLATE,
}


def tiny_tensors(matrix: int = Q4_1) -> dict:
    """The tensors of such a model: the table in Q8_0, norms in F32, the others as asked."""
    rng = np.random.default_rng(0)
    shapes = {"token_embd": (272, 64), "output_norm": (64,)}
    for i in range(2):
        shapes |= {f"blk.{i}.attn_norm": (64,), f"blk.{i}.ffn_norm": (64,)}
        shapes |= {f"blk.{i}.attn_q": (64, 64), f"blk.{i}.attn_output": (64, 64)}
        shapes |= {f"blk.{i}.attn_k": (32, 64), f"blk.{i}.attn_v": (32, 64)}
        shapes |= {f"blk.{i}.ffn_{kind}": (96, 64) for kind in ("gate", "up")}
        shapes |= {f"blk.{i}.ffn_down": (64, 96)}
    found = {}
    for name, shape in shapes.items():
        kind = F32 if len(shape) == 1 else Q8_0 if name == "token_embd" else matrix
        found[f"{name}.weight"] = (shape, kind, random_blocks(rng, kind, int(np.prod(shape))))
    return found
