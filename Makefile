# `make app` opens the app, `make test` runs the whole suite; both install what they need first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PORT ?= 8501

.PHONY: app test test-driving test-rest check machine-deps clean

# Opens a browser where there is a screen; `make app HEADLESS=true` never does.
HEADLESS ?= $(if $(or $(DISPLAY),$(WAYLAND_DISPLAY),$(filter Darwin,$(shell uname -s))),false,true)

app: $(VENV)/kernels.stamp
	$(BIN)/python -m streamlit run app.py --server.port $(PORT) --server.headless $(HEADLESS) --server.showEmailPrompt false

# Two runs side by side that take about as long: what drives a browser and measures, and everything else.
DRIVING := tests/browser tests/probes
LIGHTER := tests/probes/test_llama_engine.py
REST := $(filter-out $(DRIVING) %.pyc %__pycache__ %__init__.py,$(wildcard tests/*)) $(LIGHTER)

test: $(VENV)/dev.stamp $(VENV)/kernels.stamp machine-deps
	@$(MAKE) --no-print-directory -j2 test-driving test-rest

test-driving:
	$(BIN)/python -m pytest $(DRIVING) $(LIGHTER:%=--ignore=%)

test-rest:
	$(BIN)/python -m pytest $(REST)

check: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Programs that some tests drive. Where one cannot be installed, its tests are skipped, with the reason.
machine-deps:
	@if command -v apt-get >/dev/null 2>&1 && [ "$$(id -u)" = 0 ]; then \
	  want=""; \
	  command -v chromium >/dev/null 2>&1 || want="$$want chromium fonts-noto-cjk"; \
	  ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || want="$$want postgresql"; \
	  ldconfig -p | grep -q libpangoft2 || want="$$want libpango-1.0-0 libpangoft2-1.0-0"; \
	  if [ -n "$$want" ]; then apt-get update -qq && apt-get install -y -qq --no-install-recommends $$want >/dev/null; fi; \
	fi || echo "could not install:$$want; the tests that need them will be skipped"

$(VENV)/app.stamp: requirements.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check -r requirements.txt
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps -e .
	$(BIN)/python -m compileall -q advisor probes  # the first start would, and each one where Python writes no bytecode
	touch $@

# Compiles the simulator, again after an update of it: the first search on a page would wait half a minute.
$(VENV)/kernels.stamp: $(VENV)/app.stamp $(wildcard advisor/serving/kernel*.py advisor/serving/state*.py)
	$(BIN)/python -c "from advisor.serving.simulate import warm_up; warm_up()"
	touch $@

$(VENV)/dev.stamp: $(VENV)/app.stamp requirements-dev.txt requirements-fit.txt
	$(BIN)/python -m pip install -q --disable-pip-version-check -r requirements-dev.txt -r requirements-fit.txt
	touch $@

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .mypy_cache .import_linter_cache
