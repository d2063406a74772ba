# make lab   opens the lab                make test      the tests (minutes)
# make check lint, types and advisories   make test-all  the tests, and then the slow ones
# make test-lowest the tests of models with the oldest transformers that is admitted
# make test-browser the tests that drive a browser, alone; make test runs them too where Chromium is installed
#
# make notebooks   runs the notebooks in place and keeps what they show; NOTEBOOKS="notebooks/06*.ipynb" some of them
# make site        the notebooks, the README and the documented names as a web site, in build/site
# make wheelhouse  gathers everything that `make lab` installs, for a room without network; there: make lab WHEELHOUSE=wheelhouse
#
# make model-table checks every architecture and writes the README's table of them
#
# The first run builds .venv; later runs find it ready. PYTHON=python3.12 picks another interpreter.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# One torch thread in each of the two test processes; more only fight over the cores.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest
PIP := $(BIN)/python -m pip
INSTALL := $(PIP) install --quiet --disable-pip-version-check
ifdef WHEELHOUSE
INSTALL += --no-index --find-links $(WHEELHOUSE)
endif
# Shares all of .venv but what constraints-lowest.txt names.
LOWEST := .venv-lowest
MODEL_TESTS := $(addprefix tests/test_,$(addsuffix .py,patch patch_inputs patch_slots grouped_cache inputs faults architectures \
	observe describe demo passkey perplexity retrieval divergence))

.PHONY: help venv lab test test-browser test-slow test-all test-lowest check notebooks site wheelhouse model-table format clean clean-all
.DEFAULT_GOAL := help

help:
	@sed -n 's/^# make/make/p' Makefile

venv: | $(VENV)/pyvenv.cfg

lab: $(VENV)/lab.stamp
	$(BIN)/selfextend-viz lab notebooks/00_lab.ipynb

test: $(VENV)/dev.stamp
	$(PYTEST) -n 2

test-browser: $(VENV)/dev.stamp
	$(PYTEST) -m browser

test-slow: $(VENV)/dev.stamp
	$(PYTEST) -m slow

# Asked for together in one make, `test` runs once.
test-all: test test-slow

test-lowest: $(LOWEST)/lowest.stamp
	OMP_NUM_THREADS=1 $(LOWEST)/bin/python -m pytest -n 2 $(MODEL_TESTS)

check: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	@$(BIN)/python .ci/audit.py

# Needs Chromium or Chrome, which draws the PNGs.
notebooks: $(VENV)/dev.stamp
	OMP_NUM_THREADS=1 $(BIN)/python docs/execute_notebooks.py $(NOTEBOOKS)

site: $(VENV)/dev.stamp
	OMP_NUM_THREADS=1 $(BIN)/python docs/build_site.py build/site

# hatchling and editables build the package itself. The wheels are for this system and this version of Python.
wheelhouse: | $(VENV)/pyvenv.cfg
	$(PIP) wheel --quiet --disable-pip-version-check -c constraints.txt -w wheelhouse ".[lab]" hatchling editables
	@echo "wheelhouse/ is ready; with no network: make lab WHEELHOUSE=wheelhouse"

model-table: $(VENV)/dev.stamp
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/model_table.py --json benchmarks/results/models.json
	$(BIN)/python benchmarks/readme_tables.py

format: $(VENV)/dev.stamp
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf build dist .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find . -path ./$(VENV) -prune -o -name __pycache__ -type d -exec rm -rf {} +

clean-all: clean
	rm -rf $(VENV) $(LOWEST) .venv-audit

$(VENV)/pyvenv.cfg:
	@$(PYTHON) -c 'import sys; v = sys.version_info; \
	v >= (3, 11) or sys.exit(f"selfextend_viz needs Python 3.11 or newer, but $(PYTHON) is {v[0]}.{v[1]}; say make PYTHON=python3.11 (or newer)")'
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	{ echo "$(PYTHON) cannot make virtual environments; on Debian or Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(VENV)/lab.stamp: pyproject.toml constraints.txt | $(VENV)/pyvenv.cfg
	$(INSTALL) -c constraints.txt -e ".[lab]"
	@touch $@

# dev brings lab with it, so one install serves both.
$(VENV)/dev.stamp: pyproject.toml constraints.txt | $(VENV)/pyvenv.cfg
	$(INSTALL) -c constraints.txt -e ".[dev]"
	@touch $(VENV)/lab.stamp $@

# --ignore-installed: what lies in .venv is read, and must not be uninstalled.
$(LOWEST)/lowest.stamp: constraints-lowest.txt $(VENV)/dev.stamp
	$(BIN)/python -m venv --clear $(LOWEST)
	@there=$$($(LOWEST)/bin/python -c 'import site; print(site.getsitepackages()[0])'); \
	$(BIN)/python -c 'import site; print(f"import site; site.addsitedir({site.getsitepackages()[0]!r})")' > "$$there/all_else.pth"
	$(LOWEST)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --ignore-installed -r constraints-lowest.txt
	@touch $@
