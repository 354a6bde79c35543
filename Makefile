# All set-up happens in .venv, made by the first command that needs it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PRETRAINED := scratchaudio/models/pretrained

PAGES := out/index.html:out/enhance_one_clip.html:out/separate_nmf.html

# Each stamp is one set of packages; it is made again when pyproject.toml changes.
TEST := $(VENV)/.installed-test
DEV := $(VENV)/.installed-dev
PEERS := $(VENV)/.installed-peers

.PHONY: demo test check format peers browser bench clean
.PHONY: train-vad train-enhancer train-nmf train-separators

demo: $(TEST) ## the three stories: index.html, enhance_one_clip.html and separate_nmf.html in out
	$(BIN)/python examples/demo.py
	$(BIN)/python examples/enhance_one_clip.py --overwrite
	$(BIN)/python examples/separate_nmf.py --overwrite

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

browser: $(TEST) ## open the pages in headless Chromium (Debian: apt-get install chromium)
	SCRATCHAUDIO_PAGES=$(PAGES) $(BIN)/python -m pytest -q tests/browser

bench: $(PEERS) ## speed beside the peers, as ratios
	$(BIN)/python benchmarks/run.py

train-vad: $(TEST) ## make the shipped detector again
	$(BIN)/python examples/train_vad.py --weights $(PRETRAINED)/vad.npz

train-enhancer: $(TEST) ## train an enhancer as the shipped one was
	$(BIN)/python examples/train_enhancer.py
	$(BIN)/python examples/train_enhancer.py --begin-with out/enhancer.npz --epochs 30 --lr 5e-4 \
		--seed 1 --checkpoint out/second.npz --weights $(PRETRAINED)/enhancer.npz

train-nmf: $(TEST) ## make the shipped dictionaries again
	$(BIN)/python examples/train_nmf.py --checkpoint $(PRETRAINED)/nmf.npz --overwrite

train-separators: $(TEST) ## train the three shipped networks for songs again
	$(BIN)/python examples/train_separator.py --model open_unmix --weights $(PRETRAINED)/open_unmix.npz
	$(BIN)/python examples/train_separator.py --model unet --weights $(PRETRAINED)/unet.npz
	$(BIN)/python examples/train_separator.py --model conv_tasnet --weights $(PRETRAINED)/conv_tasnet.npz

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
