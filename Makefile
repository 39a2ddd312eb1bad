# `make demo` and `make test` need Python 3.11+ and make, nothing else; the first of them installs into .venv.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
FAST := tests/unit tests/contract
STUDY := search_spaces/demo.yaml

.PHONY: demo test lint lock slow reference

demo: $(READY)
	rm -rf runs/demo
	$(BIN)/tune-cmx data synth runs/synthetic --images 120 --sequences 12
	$(BIN)/tune-cmx search $(STUDY) --data runs/synthetic --output-dir runs

# Compiled tests are kept, whatever the environment says: compiling them again takes each process some seconds.
test: $(READY)
	PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto --dist worksteal -m "not slow" $(FAST)
	PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder \
		-m "not slow" tests/integration

slow: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow tests

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# docs/reference/*.md, from the typed models, the metric table and the command line.
reference: $(READY)
	$(BIN)/python scripts/reference.py

# The versions and hashes that are installed; needs uv.
lock:
	uv pip compile --universal --generate-hashes --all-extras --python-version 3.11 --no-header --no-annotate \
		--upgrade pyproject.toml -o requirements.lock

$(READY): requirements.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $(READY)
