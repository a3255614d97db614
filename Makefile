# `make serve` and `make test` are all that most people need: Python >= 3.11, a C compiler and make.
# Everything is made inside the checkout: .venv (Python packages), build/ (objects), llamatw/_lib (the engine).

PYTHON ?= python3
VENV ?= .venv
BUILD ?= build/make
JOBS ?= $(shell nproc 2>/dev/null || echo 2)
HOST ?= 127.0.0.1
PORT ?= 8080
MODEL ?=
ATTACKS ?= 10000
ARGS ?=

PY := $(VENV)/bin/python
SYSTEM_CMAKE := $(shell command -v cmake 2>/dev/null)
CMAKE := $(or $(SYSTEM_CMAKE),$(VENV)/bin/cmake)
# An editable install of the Python side only: the engine is built by the one rule below.
INSTALL := $(PY) -m pip install --quiet --disable-pip-version-check --config-settings wheel.cmake=false -e
EMULATOR ?= qemu-aarch64 -cpu max -L /usr/aarch64-linux-gnu
C_FILES = $(shell find clib/src tests/clib bench -name '*.c' -not -name '*_tables.c')

MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.PHONY: help serve test test-c lib vendor lint format hard arm attack schemas bench compare sweep threads startup http plot flags models compat size clean

help:
	@echo "make serve    serve the default model on http://$(HOST):$(PORT) (MODEL=path PORT=... ARGS='-c 4096')"
	@echo "make test     run all tests, the C tests included (ARGS='-k name')"
	@echo "make lib      build the engine into llamatw/_lib; then 'PYTHONPATH=. twistd -n llama' works from here"
	@echo "make vendor   the page's libraries into webroot/vendor, from npm; 'make serve' and pip do it too"
	@echo "make lint     ruff, mypy --strict, clang-format, C warnings as errors"
	@echo "make format   lay out the C files by .clang-format"
	@echo "make hard     C tests under AddressSanitizer + UBSan, at every kernel level (LT_CPU_MASK)"
	@echo "make arm      C tests of the engine for 64-bit ARM, under qemu, at every kernel level; its logits beside this machine's"
	@echo "make attack   send 10,000 bad requests to a real server that serves somebody else meanwhile (ATTACKS=...); Schemathesis"
	@echo "make schemas  hold answers of a real model to all test schemas, and have a validator look at them"
	@echo "make bench    measure the engine against this machine's roofline; CSV into bench/results"
	@echo "make compare  the same beside llama-cpp-python (compiles it first: minutes; ARGS='--tests pp512,b8,tg32@4096')"
	@echo "make sweep    rates by weight format, number of sequences, depth (ARGS='batch depth --peer'; all: half an hour)"
	@echo "make threads  which -t is fastest here, beside the number that the server has by itself"
	@echo "make startup  time and memory of a start, and what a decode step costs beside the forward pass"
	@echo "make http     drive a real server: latencies, crowds, clients that leave (ARGS='flood poisson:rate=8')"
	@echo "make plot     docs/speed.svg from bench/results"
	@echo "make flags    docs/flags.md from the table of flags"
	@echo "make models   docs/models.md from comparisons with reference models"
	@echo "make compat   docs/compat.md from tests/compat.txt"
	@echo "make size     lines per folder, long functions"
	@echo "make clean    remove what was built (not $(VENV))"

serve: $(VENV)/.ready lib
	$(PY) -m llamatw pull $(if $(MODEL),"$(MODEL)")
	exec $(VENV)/bin/twistd -n --pidfile= llama $(if $(MODEL),-m "$(MODEL)") --host $(HOST) --port $(PORT) $(ARGS)

test: $(VENV)/.ready-test lib test-c
	LLAMATW_C_TESTS=$(abspath $(BUILD))/tests $(PY) -m pytest $(ARGS)

lib: $(CMAKE)
	@$(CMAKE) -S . -B $(BUILD) -DLLAMATW_TESTS=ON >/dev/null
	@$(CMAKE) --build $(BUILD) --target llamatw -j$(JOBS)

vendor: | $(VENV)/bin/python
	$(INSTALL) .
	@$(PY) frontend/vendor.py

test-c: lib
	@$(CMAKE) --build $(BUILD) -j$(JOBS)

lint: $(VENV)/.ready-dev $(CMAKE)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/clang-format --dry-run -Werror $(C_FILES)
	@$(CMAKE) -S . -B $(BUILD)-lint -DLLAMATW_WERROR=ON >/dev/null
	@$(CMAKE) --build $(BUILD)-lint --target llamatw_objects -j$(JOBS)

format: $(VENV)/.ready-dev
	$(VENV)/bin/clang-format -i $(C_FILES)

hard: $(CMAKE)
	@$(CMAKE) -S . -B $(BUILD)-hard -DLLAMATW_TESTS=ON -DLLAMATW_SANITIZE=ON >/dev/null
	@$(CMAKE) --build $(BUILD)-hard -j$(JOBS)
	@set -e; for mask in ref avx2 avx512vnni avx512bf16; do for test in $(BUILD)-hard/tests/test_*; do \
	  echo "$$mask: $$test"; LT_CPU_MASK=$$mask $$test; done; done

# Debian: gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user
ARM_TOOLS := aarch64-linux-gnu-gcc $(firstword $(EMULATOR))
ON_ARM := LLAMATW_C_TESTS=$(abspath $(BUILD))-arm/tests LLAMATW_EMULATOR="$(EMULATOR)" $(PY) -m pytest $(ARGS)

arm: $(VENV)/.ready-test lib
	@for tool in $(ARM_TOOLS); do command -v $$tool >/dev/null || { echo "make arm: skipped, as there is no $$tool"; exit 0; }; done; set -e; \
	$(CMAKE) -S . -B $(BUILD)-arm -DCMAKE_TOOLCHAIN_FILE=$(CURDIR)/clib/aarch64.cmake -DLLAMATW_TESTS=ON -DLLAMATW_WERROR=ON >/dev/null; \
	$(CMAKE) --build $(BUILD)-arm -j$(JOBS); \
	LT_CPU_MASK=ref $(ON_ARM) tests/test_clib.py; $(ON_ARM) tests/test_clib.py tests/test_emulated.py

attack: $(VENV)/.ready-test lib
	LLAMATW_ATTACKS=$(ATTACKS) LLAMATW_CASES=150 $(PY) -m pytest -s tests/test_bad_requests.py tests/test_schemathesis.py $(ARGS)

schemas: $(VENV)/.ready-test lib
	LLAMATW_SCHEMAS=all $(PY) -m pytest -s tests/test_constrained.py -k "valid or bit" $(ARGS)

bench: $(VENV)/.ready lib
	$(PY) -m bench.engine $(ARGS)

compare: $(VENV)/.ready-bench lib
	$(PY) -m bench.compare $(ARGS)

sweep: $(VENV)/.ready-bench lib
	$(PY) -m bench.sweep $(ARGS)

threads: $(VENV)/.ready lib
	$(PY) -m bench.threads $(ARGS)

startup: $(VENV)/.ready-bench lib
	$(PY) -m bench.startup $(ARGS)
	$(PY) -m bench.steptax $(ARGS)

http: $(VENV)/.ready lib
	$(PY) -m bench.http $(ARGS)

plot: $(VENV)/.ready
	$(PY) -m bench.plot $(ARGS)

flags: $(VENV)/.ready
	@$(PY) -c 'from llamatw.flags.help import markdown; print(markdown(), end="")' > docs/flags.md.new
	@mv docs/flags.md.new docs/flags.md

models: $(VENV)/.ready-test lib
	rm -rf $(BUILD)/models
	LLAMATW_MODELS=$(BUILD)/models $(PY) -m pytest -q tests/test_oracles.py tests/test_golden_models.py -k logits
	$(PY) -m tests.references $(BUILD)/models > docs/models.md.new
	@mv docs/models.md.new docs/models.md

compat:
	@$(PYTHON) -m tests.compat > docs/compat.md.new
	@mv docs/compat.md.new docs/compat.md

size:
	@$(PYTHON) -m bench.size

clean:
	rm -rf build llamatw/_lib/*.so webroot/vendor .pytest_cache .mypy_cache .ruff_cache .hypothesis twisted/plugins/dropin.cache
	find llamatw twisted tests bench -name __pycache__ -prune -exec rm -rf {} +

# One stamp for each set of packages: made again when pyproject.toml or the page's libraries change.  pip builds those
# libraries as well, quietly, so vendor.py is asked once more: it does nothing, or says why the page goes without.
INSTALLED := pyproject.toml $(wildcard frontend/*.*)

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "llamatw needs Python 3.11 or newer (make PYTHON=...)")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.ready: $(INSTALLED) | $(VENV)/bin/python
	$(INSTALL) .
	@$(PY) frontend/vendor.py || true
	@touch $@

$(VENV)/.ready-%: $(INSTALLED) | $(VENV)/bin/python
	$(INSTALL) '.[$*]'
	@$(PY) frontend/vendor.py || true
	@touch $@ $(VENV)/.ready

$(VENV)/bin/cmake: | $(VENV)/bin/python
	$(PY) -m pip install --quiet --disable-pip-version-check 'cmake>=3.22'
