# Every command of the project, the same for developers and for continuous integration.
# Each target makes or refreshes the environment it needs; `make help` lists them.

BIN := .venv/bin
STAMP := .venv/.foreswap-stamp

# Passed on to the command of the target: make demo ARGS=--once, make test ARGS="-k contention".
ARGS ?=
# Two test processes suit the smallest machine that CI uses.
WORKERS ?= 2

# The test processes are the parallelism: without the limit each would start as many OpenMP threads
# as there are cores, and all of them would wait for one another.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest -n $(WORKERS) --dist worksteal

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo lint format types imports kernels lab browser pictures test test-all bench docs lock clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## Make or refresh the environment in .venv
	@echo "Ready: $(BIN)/foreswap"

$(STAMP): requirements.lock pyproject.toml .ci/setup
	@.ci/setup

demo: $(STAMP) ## Watch a simulated cluster being balanced, then in a browser (ARGS=--once: one cycle, a report)
	@$(BIN)/foreswap demo $(ARGS)

lint: $(STAMP) ## Check style and format
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

format: $(STAMP) ## Put every file into the house format, sorting imports
	@$(BIN)/ruff check --select I --fix .
	@$(BIN)/ruff format .

types: $(STAMP) ## Check types
	@$(BIN)/mypy $(ARGS)

imports: $(STAMP) ## Check that imports keep to the contracts in pyproject.toml
	@$(BIN)/lint-imports

# Before the tests, none of which is meant to last as long as compiling does on a slow machine.
kernels: $(STAMP) ## Compile the search, once a version and machine
	@$(BIN)/python -c "from solver.search.warm import warm_up; warm_up()"

lab: $(STAMP) ## Install what tests on real hosts need, where that is allowed
	@.ci/lab

browser: $(STAMP) ## Install what tests in a browser need, where that is allowed
	@.ci/browser

pictures: kernels browser ## Take the README's pictures of the web pages anew
	@.ci/pictures

test: kernels lab browser ## Run all tests but the slow ones
	@$(PYTEST) -m "not slow" $(ARGS)

test-all: kernels lab browser ## Run all tests, with many more generated examples
	@$(PYTEST) --hypothesis-profile=thorough --timeout=3600 $(ARGS)

bench: $(STAMP) ## List the benchmarks, or run one (BENCH=name ARGS="its arguments")
	@$(BIN)/python -m benchmarks $(BENCH) $(ARGS)

docs: $(STAMP) ## Check the links, commands and figures of the documentation
	@$(BIN)/pytest -q tests/house/test_docs.py

# PyPI alone, whatever this machine is set to use, so that everyone gets the same lock.
PIP_COMPILE := env -u PIP_FIND_LINKS -u PIP_INDEX_URL -u PIP_EXTRA_INDEX_URL \
  PIP_CONFIG_FILE=/dev/null CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/pip-compile --quiet \
  --generate-hashes --strip-extras --allow-unsafe --no-emit-index-url --no-emit-trusted-host \
  --no-emit-find-links

lock: $(STAMP) ## Pin the dependencies again (ARGS=--upgrade: to their newest versions)
	@$(PIP_COMPILE) --extra dev --output-file requirements.lock $(ARGS) pyproject.toml
	@cp requirements.lock requirements-service.lock
	@$(PIP_COMPILE) --extra postgresql --build-deps-for wheel --output-file requirements-service.lock \
	  pyproject.toml
	@echo libvirt-python | $(PIP_COMPILE) --output-file requirements-libvirt.lock $(ARGS) -

clean: ## Remove caches and build products (.venv stays)
	@rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis \
	  .import_linter_cache
	@find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
