"""The main job of `make demo`: train a detector for about a minute, compare, write the page.

    python examples/demo.py

You will see the training, a line a pass, then the measures of four methods: the network trained
just now, the one that ships with the package (trained for longer), and the two energy detectors.
The page out/index.html lets you see and hear what each one finds.
"""

import os

# The other core makes the examples: BLAS threads would only take turns with it.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import time
from pathlib import Path

from evaluate_vad import evaluate, show, write_page
from train_vad import train

from scratchaudio import plot
from scratchaudio.models import load_pretrained

# %% Settings
CHECKPOINT = Path("out/vad_demo.npz")
PAGE = Path("out/index.html")
EPOCHS = 14
MAX_SECONDS = 85
SEED = 0


def main():
    start = time.perf_counter()
    model, history = train(
        CHECKPOINT, epochs=EPOCHS, max_seconds=MAX_SECONDS, seed=SEED, overwrite=True
    )
    seconds = time.perf_counter() - start

    def opening(page):
        page.heading("A minute of learning")
        page.text(
            f"This detector was trained just now, on this machine, in {seconds:.0f} s. Each epoch "
            "hears every training voice once, each time in another room and another noise. The "
            "detector that ships with the package learned the same way for longer."
        )
        _, ax = plot.subplots(height=2.4)
        plot.training_curves(history, ("loss",), "cross-entropy (nats per frame)", ax=ax)
        show(
            page,
            ax,
            "A healthy training curve: steep at first, then slower and noisier.",
            f"Training loss over {len(history)} epochs.",
        )

    networks = {"network trained just now": model, "shipped network": load_pretrained("vad")}
    test, scores, thresholds, results = evaluate(networks)
    write_page(PAGE, test, scores, thresholds, results, opening)
    print(f"open {PAGE.resolve()} in a browser")


if __name__ == "__main__":
    main()
