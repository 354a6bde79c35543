"""What `nn.memory.keep_freed_memory` saves: a training step of a Transformer with and without it.

It holds for a whole process and cannot be taken back, so each side is a process of its own.
"""

import subprocess
import sys
from pathlib import Path
from statistics import median

PAIRS = 5
STEPS = """
import sys, types
sys.path.insert(0, {root!r})
if {without}:  # another module in its place
    nothing = types.SimpleNamespace(keep_freed_memory=lambda: None)
    sys.modules["scratchaudio.nn.memory"] = nothing
import numpy as np
from benchmarks.timing import seconds
from scratchaudio import nn

layer = nn.TransformerEncoder(256, 4, 2, 2048, rng=0)
optimizer = nn.Adam(layer.parameters())
x = np.random.default_rng(0).standard_normal((1, 345, 256)).astype(np.float32)

def step():
    layer.zero_grad()
    layer.backward(nn.mse(layer.forward(x), x)[1])
    optimizer.step()

print(sorted(seconds(step) for _ in range(20))[10])
"""


def run(without):
    """Median seconds of a step in a new process."""
    program = STEPS.format(root=str(Path(__file__).parent.parent), without=without)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    return float(done.stdout)


def main():
    ratios = [run(without=False) / run(without=True) for _ in range(PAIRS)]
    print(f"Transformer step, freed memory kept / given back: {median(ratios):.2f}")


if __name__ == "__main__":
    main()
