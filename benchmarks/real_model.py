"""SmolLM2-135M, decoding at batch 1: ours in float32 and packed, transformers, llama.cpp.

    OMP_NUM_THREADS=1 python -m benchmarks.real_model

Each contender is a process of its own, one after the other, in turns: new tokens per CPU second of
greedy writing on one thread, and the most memory that the process ever had, imports and loading
included. `transformers` gets our float32 weights by way of a folder. Needs `make models`; without
llama.cpp's wheel its row is left out.
"""

import importlib.util
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from statistics import median

os.environ |= {"COURSE_QUIET": "1", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
# freed memory goes back at once, in all contenders: else the peak is glibc's as much as theirs
os.environ["MALLOC_MMAP_THRESHOLD_"] = "1000000"

from course_lib import assets  # noqa: E402
from course_lib.files import markdown_table  # noqa: E402

QUESTION = [{"role": "user", "content": "Tell me about the sea, its tides and its ships."}]
NEW, REPEATS, TURNS = 48, 2, 2
# name in the table -> what the process is told
CONTENDERS = {
    "ours, float32": "plain",
    "ours, packed (the file's 4 and 8 bits)": "packed",
    "transformers, float32": "float32",
    "transformers, bfloat16": "bfloat16",
    "llama.cpp": "llama.cpp",
}


def prompt_ids() -> list[int]:
    """Give the prompt's tokens: the same for all."""
    from course_lib.text.bpe import gguf_tokenizer
    from course_lib.text.chat_template import ChatTemplate
    from course_lib.text.gguf import gguf_metadata

    metadata = gguf_metadata(assets.smollm2_file())
    return ChatTemplate.from_gguf(metadata, gguf_tokenizer(metadata)).prompt_ids(QUESTION)


def our_writer(kind: str, ids: list[int], folder: str) -> Callable[[], object]:
    """Make what writes `NEW` tokens by the course's code."""
    import torch

    from course_lib.inference.generate import generate
    from course_lib.inference.packed import load_packed_gguf
    from course_lib.models.gguf_files import load_gguf

    load = {"plain": load_gguf, "packed": load_packed_gguf}[kind]
    model = load(assets.smollm2_file()).model
    return lambda: generate(model, torch.tensor([ids]), NEW, temperature=0.0)


def their_writer(kind: str, ids: list[int], folder: str) -> Callable[[], object]:
    """Make what writes by Hugging Face's `generate`."""
    import torch
    import transformers

    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, kind))
    table = torch.tensor([ids])
    asked = {"max_new_tokens": NEW, "min_new_tokens": NEW, "do_sample": False, "pad_token_id": 0}
    return lambda: model.generate(table, attention_mask=torch.ones_like(table), **asked)


def llama_cpp_writer(kind: str, ids: list[int], folder: str) -> Callable[[], object]:
    """Make what writes by llama.cpp, from the file itself."""
    import xllamacpp

    asked = xllamacpp.CommonParams()
    asked.model.path = str(assets.smollm2_file())
    asked.n_ctx, asked.n_parallel, asked.warmup, asked.verbosity = 1024, 1, False, 0
    asked.cpuparams.n_threads = asked.cpuparams_batch.n_threads = 1
    server = xllamacpp.Server(asked)
    request = {"prompt": ids, "n_predict": NEW, "temperature": 0.0, "ignore_eos": True}
    return lambda: server.handle_completions(request | {"cache_prompt": False})


WRITERS = {"plain": our_writer, "packed": our_writer, "llama.cpp": llama_cpp_writer}


def measure_writer(kind: str, folder: str) -> None:
    """In a process of its own: print tokens per CPU second and the most memory, as JSON."""
    import torch

    torch.set_num_threads(1)
    write = WRITERS.get(kind, their_writer)(kind, prompt_ids(), folder)
    write()
    spent = []
    for _ in range(REPEATS):
        start = time.process_time()
        write()
        spent.append(time.process_time() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    print(json.dumps({"speed": NEW / min(spent), "megabytes": peak}))


def save_for_transformers(folder: str) -> None:
    """In a process of its own: write our float32 model as transformers' folder."""
    from course_lib.models.gguf_files import load_gguf
    from course_lib.models.hf_files import save_hf

    save_hf(load_gguf(assets.smollm2_file()).model, folder)


def ask_process(*arguments: str) -> str:
    """Run this file anew; return the line of JSON that it prints among others."""
    command = [sys.executable, "-m", "benchmarks.real_model", *arguments]
    made = subprocess.run(command, capture_output=True, text=True)
    if made.returncode:
        raise RuntimeError(f"{' '.join(arguments)} failed:\n{made.stderr[-2000:]}")
    return next((line for line in made.stdout.splitlines() if line.startswith("{")), "")


def main() -> str:
    """Measure all; return the table, or why there is none."""
    try:
        assets.smollm2_file()
    except assets.AssetError as missing:
        return f"SmolLM2-135M was not measured: {missing}".splitlines()[0]
    names = dict(CONTENDERS)
    if not importlib.util.find_spec("xllamacpp"):
        del names["llama.cpp"]
    results: dict[str, list[dict]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as folder:
        ask_process("save", folder)
        for _ in range(TURNS):
            for name, kind in names.items():
                results[name].append(json.loads(ask_process(kind, folder)))
    speed = {name: median(one["speed"] for one in some) for name, some in results.items()}
    memory = {name: median(one["megabytes"] for one in some) for name, some in results.items()}
    theirs = "transformers, float32"
    rows = [
        [name, f"{speed[name]:.1f}", f"{speed[name] / speed[theirs]:.2f}",
         f"{memory[name]:,.0f}", f"{memory[name] / memory[theirs]:.2f}"]
        for name in names
    ]  # fmt: skip
    header = ["SmolLM2-135M, batch 1", "tokens/CPU s", "by transformers", "peak MB", "of theirs"]
    return markdown_table(header, rows)


if __name__ == "__main__":
    told = sys.argv[1:]
    if not told:
        print(main())
    elif told[0] == "save":
        save_for_transformers(told[1])
    else:
        measure_writer(*told)
