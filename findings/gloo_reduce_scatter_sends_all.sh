#!/usr/bin/env bash
# torch 2.13.0, gloo, 4 processes on one machine: a reduce-scatter sends as many bytes as an
# all-reduce of the same tensor, 2 (N - 1)/N of its size per rank, where (N - 1)/N would do. An
# all-gather sends (N - 1)/N. So ZeRO and FSDP cost more on gloo than by the papers' formulas. The
# bytes are Linux's own count for the process's TCP sockets (tcpi_bytes_sent).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder"
"$folder/bin/pip" install --quiet ${PIP_FLAGS:-} torch==2.13.0
cat > "$folder/count.py" <<'END'
import os, socket, stat, struct, sys, time
import torch
import torch.distributed as dist

rank, n, size = int(sys.argv[1]), 4, 1_000_000


def sent():
    total = 0
    for handle in map(int, os.listdir("/proc/self/fd")):
        try:
            if stat.S_ISSOCK(os.fstat(handle).st_mode):
                with socket.socket(fileno=os.dup(handle)) as one:
                    told = one.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
                total += struct.unpack_from("=Q", told, 200)[0]
        except (OSError, struct.error):
            pass
    return total


dist.init_process_group("gloo", init_method=f"file://{sys.argv[2]}", rank=rank, world_size=n)
x = torch.ones(size)
calls = {
    "all_reduce": lambda: dist.all_reduce(x.clone()),
    "reduce_scatter": lambda: dist.reduce_scatter(torch.empty(size // n), list(x.chunk(n))),
    "all_gather": lambda: dist.all_gather([torch.empty(size // n) for _ in range(n)], x[: size // n]),
}
vectors = {}
for name, call in calls.items():
    call()  # connections are made by the first use
    dist.barrier()
    time.sleep(0.2)
    before = sent()
    call()
    time.sleep(0.2)
    vectors[name] = (sent() - before) / (4 * size)
    dist.barrier()
if rank == 0:
    print("torch", torch.__version__, {name: round(v, 3) for name, v in vectors.items()}, "x the tensor")
    assert 1.49 < vectors["all_reduce"] < 1.6 and 0.74 < vectors["all_gather"] < 0.85
    assert 1.49 < vectors["reduce_scatter"] < 1.6, "this has changed"
dist.destroy_process_group()
END
for rank in 1 2 3; do
    "$folder/bin/python" -W ignore "$folder/count.py" $rank "$folder/meet" &
done
"$folder/bin/python" -W ignore "$folder/count.py" 0 "$folder/meet"
wait
