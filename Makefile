# Two commands for newcomers: `make demo` and `make test`. Both set up their own environment in .venv.
PYTHON ?= python3
# On Linux this is the CUDA build where the package index offers one; name a CPU build here to save gigabytes.
TORCH  ?= torch==2.13.0
VENV   := .venv
BIN    := $(VENV)/bin

.PHONY: setup demo web test test-web lint clean

# Idempotent: does nothing when .venv is newer than what it is made from.
setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml
	@$(PYTHON) -c "import sys; assert sys.version_info >= (3, 10), 'Python 3.10 or newer is needed: make PYTHON=python3.12 setup'"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet "$(TORCH)"
	$(BIN)/python -m pip install --quiet --editable ".[slicer,test]"
	touch $@

demo: setup
	$(BIN)/maisi demo -o demo
	@echo "To go on with it in a browser: make web"

# The demo's scene in a browser, or the bare anatomy where `make demo` was not run; other cases: .venv/bin/maisi web CASE
web: setup
	$(BIN)/python -m pip install --quiet --editable ".[web]"
	$(BIN)/maisi web $(wildcard demo/scene.mrb)

test: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest

# The browser workbench with a real mouse, in the Chromium of the system
test-web: setup
	$(BIN)/python -m pip install --quiet --editable ".[test-web]"
	$(BIN)/python -m pytest Testing/web

lint: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) demo .pytest_cache .ruff_cache .hypothesis MAISISynth/*.egg-info
