# Needs make and Python 3.11 or newer, nothing else. Paths are relative and no script of
# the environment is called by its name, so the directory may have spaces in its path.

SHELL := /bin/sh
PYTHON ?= python3
VENV ?= .venv
AREA ?=
REPORT ?= steepest-report.html
PYTEST ?=

RUN = $(VENV)/bin/python
PIP = $(RUN) -m pip --disable-pip-version-check --quiet install --no-compile --prefer-binary -c constraints.txt

# Whether an environment belongs to this directory: one that was copied or moved with
# it would import the package from its old place.
ifneq ($(shell cat $(VENV)/place 2>/dev/null),$(CURDIR))
$(shell rm -f $(VENV)/ready $(VENV)/ready-*)
endif

.PHONY: help checkup test test-all other-end lint docs bench clean

help:  ## show this list
	@echo "make checkup   check the default training program; writes $(REPORT)"
	@echo "make test      the fast tests and the examples in docstrings"
	@echo "make test-all  every test, at both ends of the supported Python and JAX versions"
	@echo "make lint      ruff, pyright and the import contract"
	@echo "make docs      the documentation, in site/"
	@echo "make bench     the benchmarks; AREA=training for one of them"
	@echo "make clean     remove what the others made"
	@echo
	@echo "PYTHON=python3.12 chooses another Python, VENV=.venv-312 another environment,"
	@echo "PYTEST='-k capture' gives options to pytest."

# The default program is a sick one: findings (status 1) are what is expected of it.
checkup: $(VENV)/ready
	@rm -f '$(REPORT)'
	@$(RUN) -m steepest check --html '$(REPORT)' || [ $$? -eq 1 ]
	@test -s '$(REPORT)' || { echo "make checkup: no report was written." >&2; exit 2; }
	@echo
	@echo "The report: $(CURDIR)/$(REPORT)"

test: $(VENV)/ready-test
	$(RUN) -m pytest -m "not slow" -n auto --dist loadfile $(PYTEST)

# A pyenv shim exists for versions that do not run: a Python is one that starts.
test-all: $(VENV)/ready-test
	$(RUN) -m pytest $(PYTEST)
	@case $$($(RUN) -c 'import sys; print(sys.version_info < (3, 13))') in \
	  True) other=3.13 ;; *) other=3.11 ;; esac; found=; \
	for candidate in python$$other "$$HOME"/.pyenv/versions/$$other*/bin/python; do \
	  if "$$candidate" -c '' 2>/dev/null; then found=$$candidate; fi; \
	done; \
	if [ -n "$$found" ]; then \
	  echo "The other end: $$("$$found" --version), with the JAX that goes with it."; \
	  $(MAKE) other-end PYTHON="$$found" VENV=.venv-$$(echo $$other | tr -d .); \
	else \
	  echo "SKIPPED: the other end of the range, because no Python $$other was found."; \
	fi

other-end: $(VENV)/ready-test
	$(RUN) -c 'import jax, sys; print("Python", sys.version.split()[0], "JAX", jax.__version__)'
	$(RUN) -m pytest $(PYTEST)

lint: $(VENV)/ready-test $(VENV)/ready-lint
	$(RUN) -m ruff check
	$(RUN) -m ruff format --check
	$(RUN) -m pyright --pythonpath $(RUN)
	$(RUN) -c 'from importlinter.cli import lint_imports; raise SystemExit(lint_imports())'

docs: $(VENV)/ready-docs
	NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs build --strict --quiet

bench: $(VENV)/ready-test
	$(RUN) -m benchmarks $(AREA)

clean:
	rm -rf .venv .venv-31? site .jax_cache .pytest_cache .ruff_cache .hypothesis
	rm -f steepest-report*.html

$(VENV)/pyvenv.cfg:
	@'$(PYTHON)' -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "steepest needs Python 3.11 or newer: make PYTHON=/path/to/python3.11" >&2; exit 2; }
	'$(PYTHON)' -m venv $(VENV)

$(VENV)/ready: pyproject.toml constraints.txt | $(VENV)/pyvenv.cfg
	$(PIP) -e .
	@echo "$(CURDIR)" > $(VENV)/place
	@touch $@

$(VENV)/ready-test: $(VENV)/ready
	$(PIP) -e '.[test]'
	@touch $@

$(VENV)/ready-lint: $(VENV)/ready
	$(PIP) -e '.[lint]'
	@touch $@

$(VENV)/ready-docs: $(VENV)/ready
	$(PIP) -e '.[docs]'
	@touch $@
