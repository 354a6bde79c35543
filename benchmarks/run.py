"""Run every benchmark of this folder: `make bench`, or `python benchmarks/run.py lstm` for one."""

import importlib
import os
import sys
from pathlib import Path

# Two threads for everybody, unless the caller says otherwise, before any library starts its own.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "2")

FOLDER = Path(__file__).parent


def main():
    sys.path.insert(0, str(FOLDER.parent))
    names = sorted(path.stem.removeprefix("bench_") for path in FOLDER.glob("bench_*.py"))
    chosen = sys.argv[1:] or names
    unknown = [name for name in chosen if name not in names]
    if unknown:
        sys.exit(f"no benchmark {unknown}; there are {names}")
    for name in chosen:
        print(f"== {name}", flush=True)
        importlib.import_module(f"benchmarks.bench_{name}").main()


if __name__ == "__main__":
    main()
