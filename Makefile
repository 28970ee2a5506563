# Every target sets up .venv by itself. PYTHON is the interpreter it is made from.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
NODE_INSTALLED := node_modules/.package-lock.json
HAS_APT := $(shell command -v apt-get 2>/dev/null)
EDITOR_PACKAGES := neovim emacs-nox elpa-eglot vim-nox vim-ale chromium
MISSING_EDITORS = $(shell for each in $(EDITOR_PACKAGES); do \
  dpkg-query -W -f='$${Status}' $$each 2>/dev/null | grep -q 'ok installed' || echo $$each; done)
# Tests wait for other processes most of the time
WORKERS ?= 2
HAS_NPM := $(shell command -v npm 2>/dev/null)
NPM_CHECK := $(if $(HAS_NPM),npm-test,npm-missing)

ifeq ($(origin GRADTRACER_DATA),undefined)
ifneq ($(wildcard ../shared/data/.),)
export GRADTRACER_DATA := $(abspath ../shared/data)
endif
endif
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1

.DEFAULT_GOAL := help
.PHONY: setup demo test editors lint vsix bench bench-sites bench-compression bench-vscode validate-autofix generate clean help npm-test npm-missing vscode vscode-screenshots

setup: $(INSTALLED)  ## Make .venv and install everything into it

demo: $(INSTALLED)  ## Train on MovieLens with a server beside it, and print what it finds
	$(BIN)/python examples/demo.py

test: lint $(NPM_CHECK) vscode  ## Lint, types and every test; the last lines say what was skipped and why
	$(BIN)/pytest -n $(WORKERS) --dist loadfile

# The distribution's editors, and the browser that shows VS Code, where this may install packages;
# the tests with what cannot be had are skipped
editors:
	@test ! -w /var/lib/dpkg -o -z "$(HAS_APT)" || test -z "$(MISSING_EDITORS)" || \
	  { echo "Installing" $(MISSING_EDITORS); apt-get update -qq >/dev/null 2>&1; \
	    for each in $(MISSING_EDITORS); do \
	      DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$each \
	        >/dev/null 2>&1 || echo "$$each could not be installed"; done; }

lint: $(INSTALLED)  ## Style and types, without tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

vsix: $(NODE_INSTALLED)  ## Package the VS Code extension
	npm run package --workspace client-vscode --loglevel=error

bench: $(INSTALLED)  ## Print the figures: medians, percentiles, ratios; of layers' places a sample
	@set -e; for file in $(filter-out %/bench_sites.py %/bench_compression.py,$(sort $(wildcard tests/bench/bench_*.py))); do \
	  echo "== $$file"; $(BIN)/python "$$file"; done
	@echo "== tests/bench/bench_sites.py --every 12"; $(BIN)/python tests/bench/bench_sites.py --every 12
	@echo "== tests/bench/bench_compression.py 1"; $(BIN)/python tests/bench/bench_compression.py 1

bench-sites: $(INSTALLED)  ## Print how many layers of RecBole, DeepCTR-Torch and transformers are on their own line
	$(BIN)/python tests/bench/bench_sites.py

bench-compression: $(INSTALLED)  ## Print what compression recipes are worth on three models, 10 seeds: an hour; goes on where it stopped
	$(BIN)/python tests/bench/bench_compression.py

bench-vscode: $(INSTALLED) $(NODE_INSTALLED) vscode  ## Print what the extension takes in a real VS Code
	$(BIN)/pytest -q -s tests/e2e/vscode/measure.py

vscode-screenshots: $(INSTALLED) $(NODE_INSTALLED) vscode  ## Make the pictures of the READMEs anew, by the tests in VS Code
	$(BIN)/pytest -q tests/e2e/vscode/test_live_training.py tests/e2e/vscode/test_runs_view.py \
	  tests/e2e/vscode/test_scripts_and_recipes.py
	$(BIN)/python tests/e2e/vscode/screenshots.py

validate-autofix: $(INSTALLED)  ## Train with and without Auto-Fix and test the difference; hours, goes on where it was stopped
	$(BIN)/python examples/validate_autofix.py --jobs $(WORKERS)

generate: $(INSTALLED)  ## Write the JSON Schema and the client's types anew
	$(BIN)/python schemas/generate.py

clean:  ## Remove what these targets made, except runs under .gradtracer
	rm -rf $(VENV) node_modules client-vscode/out client-vscode/dist build dist .pytest_cache .ruff_cache .hypothesis

help:  ## Say what each target does
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 26

npm-test: $(NODE_INSTALLED)
	npm test --loglevel=error

# A real VS Code for the tests; where it cannot be had they are skipped and say why
vscode: $(INSTALLED) editors
	@$(BIN)/python tests/e2e/vscode/code_server.py || true

npm-missing:
	@echo "npm is not installed: the checks of the TypeScript client are left out"

# torch goes in first and by exact pin: a range would let another package choose its build
$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(None if v >= (3, 11) else \
	  f"expected Python 3.11 or later, got {v.major}.{v.minor}: run make PYTHON=python3.11")'
	@echo "Setting up $(VENV): once, a few minutes with the download of torch"
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet "$$(grep '^torch==' constraints.txt)"
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev]"
	@touch $@

$(NODE_INSTALLED): package.json package-lock.json client-vscode/package.json
	npm ci --loglevel=error
	@touch $@
