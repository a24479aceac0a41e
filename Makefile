# Everything sets itself up: Python 3.11 or newer and make are enough. `make help` lists what there is.

PYTHON ?= python3
VENV ?= .venv
EXTRAS ?= build,cache,crate,demo,graphviz,ipfs,node,png,prov
NOTEBOOKS ?= notebooks
ARGS ?=

bin := $(VENV)/bin
comma := ,
installed := $(VENV)/.installed-$(subst $(comma),-,$(EXTRAS))
developing := $(VENV)/.developing

.DEFAULT_GOAL := help
.PHONY: help demo lab test lint bench torture clean

# Unpack the notebooks into demo/ and run them all
demo: $(installed)
	$(bin)/ipvm demo demo/ --run

# Open JupyterLab on the notebooks
lab: $(installed)
	$(bin)/jupyter lab $(NOTEBOOKS)

# Run the tests; ARGS goes to pytest: make test ARGS="-k store -x"
test: $(developing)
	$(bin)/pytest $(ARGS)

# Check style, form, types, and who imports whom
lint: $(developing)
	$(bin)/ruff check .
	$(bin)/ruff format --check .
	$(bin)/mypy
	$(bin)/lint-imports

# Measure against the budgets, side by side with what else there is
bench: $(developing)
	$(bin)/python -m tests.benchmarks $(ARGS)

# Run the tests that take minutes: kills, full disks, 100,000 links
torture: $(developing)
	$(bin)/pytest -m torture --hypothesis-profile=search -o faulthandler_timeout=1800 $(ARGS)

# Remove what was built and installed here
clean:
	rm -rf $(VENV) build dist demo .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

# Print this list
help:
	@awk '/^# / { said = substr($$0, 3) } \
	      /^[a-z]+:/ && said { printf "  make %-10s%s\n", substr($$1, 1, index($$1, ":") - 1), said } \
	      !/^# / { said = "" }' $(firstword $(MAKEFILE_LIST))

# The stamps: an environment is right for the pyproject.toml that it was made from.
$(installed): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "ipvm needs Python 3.11 or newer; say make PYTHON=...")'
	@echo 'Setting up $(VENV), once: a minute or two.'
	@$(PYTHON) -m venv $(VENV) || { \
	  echo 'No environment. On Debian and Ubuntu: apt-get install python3-venv. Made by another Python: make clean.'; exit 1; }
	$(bin)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(bin)/python -m pip install --quiet --editable '.[$(EXTRAS)]'
	touch $@

$(developing): $(installed)
	$(bin)/python -m pip install --quiet --group dev
	touch $@
