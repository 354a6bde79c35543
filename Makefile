# All set-up happens in .venv, made by the first command that needs it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# Each stamp is one set of packages; it is made again when pyproject.toml changes.
TEST := $(VENV)/.installed-test
DEV := $(VENV)/.installed-dev
PEERS := $(VENV)/.installed-peers

.PHONY: demo test check format peers browser bench train-vad clean

demo: $(TEST) ## train on the bundled sounds for a minute, compare, write out/index.html
	$(BIN)/python examples/demo.py

test: $(TEST) ## all tests that need nothing but the library
	$(BIN)/python -m pytest -q --ignore=tests/peers --ignore=tests/browser

check: $(DEV) ## lint and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(DEV)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

peers: $(PEERS) ## the same numbers as torch, librosa and scikit-learn
	$(BIN)/python -m pytest -q tests/peers

browser: $(TEST) ## open the page in headless Chromium (Debian: apt-get install chromium)
	SCRATCHAUDIO_PAGE=out/index.html $(BIN)/python -m pytest -q tests/browser

bench: $(PEERS) ## speed beside the peers, as ratios
	$(BIN)/python benchmarks/run.py

train-vad: $(TEST) ## make the shipped checkpoint again
	$(BIN)/python examples/train_vad.py --weights scratchaudio/models/pretrained/vad.npz

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(TEST): pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install -q -e ".[test]"
	touch $@

$(DEV): pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install -q -e ".[dev]"
	touch $@

$(PEERS): pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install -q -e ".[test,peers]"
	touch $@

clean:
	rm -rf $(VENV) out
