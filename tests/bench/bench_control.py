"""What a flood of requests costs the training that it is poured on.

    python tests/bench/bench_control.py [PAIRS]

One training, in blocks of steps: in every second one a requester sends as fast as it can. Told are
the time of a block by the clock and by the processor time of the training process, each as the
ratio of a pair, and how many requests were answered: at most 16 in 50 milliseconds, by design. The
machine's other processor does the sending.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import zmq

from gradtracer_schemas import (
    ControlRequest,
    ReportNow,
    decode_connection,
    encode_control,
)

SCRIPT = """
import os, sys, time
import torch
from torch import nn
import gradtracer
torch.set_num_threads(1)
net = nn.Sequential(nn.Embedding(20000, 64), nn.Flatten(), nn.Linear(64 * 20, 1))
optimizer = torch.optim.Adam(net.parameters())
run = gradtracer.watch(net, optimizer)
for line in sys.stdin:
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(int(line)):
        optimizer.zero_grad()
        net(torch.randint(0, 20000, (512, 20))).square().mean().backward()
        optimizer.step()
    print(time.perf_counter() - wall, time.process_time() - cpu, flush=True)
"""
STEPS = 100


def pour(folder: Path, on: threading.Event, over: threading.Event, answered: list[int]) -> None:
    connection = decode_connection((folder / "connection.json").read_bytes())
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.curve_publickey, socket.curve_secretkey = zmq.curve_keypair()
        socket.curve_serverkey = connection.control_key.encode()
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.SNDHWM, 64)
        socket.connect(connection.control)
        sent = 0
        while not over.is_set():
            if not on.wait(0.1):
                continue
            request = ControlRequest(
                protocol="1.0", run=connection.run, id=f"flood-{sent}", body=ReportNow()
            )
            try:
                socket.send_multipart(encode_control(request), zmq.NOBLOCK)
                sent += 1
            except zmq.Again:
                time.sleep(0.001)
            while socket.poll(0):
                socket.recv_multipart()
                answered[0] += 1


def main() -> None:
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else 8
    with tempfile.TemporaryDirectory() as root:
        (Path(root) / "train.py").write_text(SCRIPT, encoding="utf-8")
        training = subprocess.Popen(
            [sys.executable, "train.py"],
            cwd=root,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert training.stdin is not None and training.stdout is not None

        def block() -> tuple[float, float]:
            assert training.stdin is not None and training.stdout is not None
            print(STEPS, file=training.stdin, flush=True)
            wall, cpu = training.stdout.readline().split()
            return float(wall), float(cpu)

        block()
        (folder,) = (Path(root) / ".gradtracer" / "runs").iterdir()
        on, over, answered = threading.Event(), threading.Event(), [0]
        sender = threading.Thread(target=pour, args=(folder, on, over, answered))
        sender.start()
        walls: list[float] = []
        cpus: list[float] = []
        seconds = 0.0
        for _ in range(pairs):
            calm = block()
            on.set()
            poured = block()
            on.clear()
            seconds += poured[0]
            walls.append(poured[0] / calm[0])
            cpus.append(poured[1] / calm[1])
        over.set()
        sender.join()
        training.stdin.close()
        training.wait()
    for name, ratios in (("clock", walls), ("processor time", cpus)):
        low, middle, high = statistics.quantiles(ratios, n=4)
        print(f"{name:<16} x {middle:.3f}  quartiles {low:.3f} to {high:.3f}, {pairs} pairs")
    pace = answered[0] / seconds
    print(f"answered {answered[0]:,} requests in {seconds:.1f} s: {pace:.0f} a second")


if __name__ == "__main__":
    main()
