# Two commands set everything up: `make demo` runs the main job on a real slide, `make test` passes the tests.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
TORCH  ?= torch==2.13.0
JOBS   ?= 3

.PHONY: demo test tools check docs clean

$(BIN)/wsi-segment: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(BIN)/.dev: $(BIN)/wsi-segment
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "$(TORCH)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[dev]"
	@touch $@

demo: $(BIN)/wsi-segment
	$(BIN)/wsi-segment "$$($(BIN)/python tests/demo_slide.py demo)" --out demo/mask.zarr --preview demo/preview.png --overwrite
	@echo "look at demo/preview.png; the mask is demo/mask.zarr"

test: $(BIN)/.dev
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder

tools:
	.ci/tools

docs: $(BIN)/.dev
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build
	@echo "open docs/_build/index.html"

check: $(BIN)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m build --wheel --outdir dist

clean:
	rm -rf $(VENV) demo dist docs/_build docs/reference/generated .pytest_cache .mypy_cache .ruff_cache .hypothesis
