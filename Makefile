# make chat       install into .venv what is needed, then chat (make chat MODEL=path/to/model.gguf)
# make test       ruff, mypy and the tests but for the slow ones
# make test-fast  ruff and the quick tests, on all processors: a minute and a half on two
# make test-slow  the slow tests; then what computes, but for tests of seconds, under each weaker instruction set. .ci/run: make test test-slow fuzz test-clients
# make models     fetch the models that some tests need (350 MB, once); without them those tests are skipped
# make reference  compare with Hugging Face transformers, fetched with torch into .venv (300 MB, once); else these tests are skipped
# make test-clients  clients' packages and programs of others on this library, fetched into .venv; else these tests are skipped.
#                 CLIENT_TABLE=write: the table in docs/serving.md by the tests that pass
# make test-cluster  Ray and Dask on this machine, fetched into .venv (400 MB); else these tests are skipped
# make fuzz       under address and undefined-behaviour sanitizers: what broke a parser once, and fuzzing of each parser
#                 for SECONDS=20 (TARGETS=text: of one; SANITIZED=tests/kernels: other tests before it; ISAS=: all instruction sets)
# make races      the scheduler with many clients, on C code with ThreadSanitizer
# make check      ruff and mypy only
# make dev        editable installation: changed C and Cython files are rebuilt on import
# make clean      forget .venv and build/
# Set-up speaks on stderr, so that `echo question | make -s chat` prints just the answer.

PYTHON ?= python3
MODEL ?= smollm2
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile
TORCH ?= torch --index-url https://download.pytorch.org/whl/cpu
SECONDS ?= 20
ISAS ?= avx2,neon
SANITIZED ?= tests/fuzz
CLIENT_TABLE ?= check
WITH_TESTS := -Csetup-args=-Dtests=true
PIP := $(BIN)/python -m pip -qq --disable-pip-version-check
SOURCES := $(shell find cli kernels models runtime -name '*.py' -o -name '*.py[xi]' -o -name '*.pxi' -o -name '*.[ch]' -o -name '*.def*' \
	-o -name 'meson.build') __init__.py __init__.pyi errors.py meson.build meson.options pyproject.toml

.PHONY: chat test test-fast test-slow test-clients test-cluster models reference fuzz races check dev clean
.NOTPARALLEL:
.DELETE_ON_ERROR:

chat: .venv/installed
	@$(BIN)/subbyte chat "$(MODEL)"

test: .venv/testable check
	@$(PYTEST) -m "not slow"

test-fast: .venv/testable .venv/tools
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check --quiet
	@$(PYTEST) -q -m "not slow and not thorough and not model"

# Tests of kernels go through all instruction sets by themselves; the others are run under the strongest one, then under the rest.
# The hostile matrix is one file, whose tests go to any worker.
test-slow: .venv/testable .venv/tools
	@$(PYTEST) -m slow --ignore tests/hostile
	@$(PYTEST) -m slow --dist load tests/hostile
	@for isa in $$($(BIN)/python -c 'from subbyte.kernels import isas; print(*isas()[:-1])'); do \
		echo "$$isa:"; SUBBYTE_ISA=$$isa $(PYTEST) -q -m "computes and not slow and not thorough and not model" || exit; \
	done

models: .venv/testable
	@$(BIN)/subbyte pull smollm2 >/dev/null
	@$(BIN)/subbyte pull gemma3-270m >/dev/null

reference: .venv/testable .venv/tools .venv/reference
	@$(BIN)/python -m pytest -k transformers

test-clients: .venv/testable .venv/tools .venv/clients
	@$(PYTEST) tests/clients --client-table $(CLIENT_TABLE)

# One after another: each starts a cluster of its own.
test-cluster: .venv/testable .venv/tools .venv/cluster
	@$(BIN)/python -m pytest tests/cluster

# Python has no sanitizers in it, so gcc's are loaded before it. Left out are tests of what can't live with them: ThreadSanitizer,
# and processes with little memory. Without atheris the rest is done all the same.
UNDER_SANITIZERS = LD_PRELOAD="$$($(CC) -print-file-name=libasan.so) $$($(CC) -print-file-name=libubsan.so)" \
	ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1:quarantine_size_mb=16 UBSAN_OPTIONS=print_stacktrace=1 \
	.venv/fuzz/bin/python

fuzz: .venv/fuzz/subbyte
	@$(UNDER_SANITIZERS) -m pytest -q -n 2 -p no:cacheprovider $(SANITIZED) -m "not slow and not model" \
		-k "not data_races and not chat_prompt and not every_way_to_a_result"
	@if .venv/fuzz/bin/python -c 'import atheris' 2>/dev/null; then \
		$(UNDER_SANITIZERS) tests/fuzz/fuzz.py --seconds $(SECONDS) $(TARGETS); \
	else \
		echo "no atheris for this Python; nothing was fuzzed" >&2; \
	fi

# What a thread of Python hands to another goes through locks that ThreadSanitizer knows, though Python itself has none of it.
races: .venv/races/subbyte
	@LD_PRELOAD="$$($(CC) -print-file-name=libtsan.so)" TSAN_OPTIONS=halt_on_error=1:exitcode=66:report_signal_unsafe=0 \
		.venv/races/bin/python -m pytest -q -p no:cacheprovider tests/scheduler/test_many_clients.py -m "not slow"

check: .venv/installed .venv/tools
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check --quiet
	@$(BIN)/mypy

dev: .venv/tools
	@. .venv/env; $(PIP) install -e . --no-build-isolation $(WITH_TESTS) >&2 </dev/null
	@touch .venv/editable .venv/installed .venv/testable

clean:
	rm -rf .venv build

.venv/env: .ci/venv
	@.ci/venv "$(PYTHON)" </dev/null

# An editable installation follows the sources by itself. What is testable is installed, too.
.venv/installed: $(if $(wildcard .venv/editable),,.venv/env $(SOURCES))
	@echo "Building and installing subbyte ..." >&2
	@. .venv/env; $(PIP) install . >&2 </dev/null
	@touch $@

.venv/testable: $(if $(wildcard .venv/editable),,.venv/env $(SOURCES))
	@echo "Building and installing subbyte, with what tests need ..." >&2
	@. .venv/env; $(PIP) install . $(WITH_TESTS) >&2 </dev/null
	@touch $@ .venv/installed

.venv/tools: .venv/env pyproject.toml
	@echo "Installing the test tools ..." >&2
	@. .venv/env; $(PIP) install --group dev >&2 </dev/null
	@touch $@

.venv/clients: .venv/env pyproject.toml
	@echo "Installing clients and programs that run on subbyte ..." >&2
	@. .venv/env; $(PIP) install --group clients >&2 </dev/null
	@touch $@

.venv/cluster: .venv/env pyproject.toml
	@echo "Installing Ray and Dask ..." >&2
	@. .venv/env; $(PIP) install --group cluster >&2 </dev/null
	@touch $@

.venv/fuzz/tools: .venv/env pyproject.toml
	@echo "Installing the fuzzer ..." >&2
	@. .venv/env; $(BIN)/python -m venv --clear --without-pip .venv/fuzz && $(PIP) --python .venv/fuzz/bin/python install --group dev >&2
	@$(PIP) --python .venv/fuzz/bin/python install --only-binary :all: --group fuzz >&2 </dev/null || \
		echo "could not install atheris; going on without it" >&2
	@touch $@

# By default one instruction set besides scalar, and little optimization: code with sanitizers takes long to compile.
.venv/fuzz/subbyte: .venv/fuzz/tools $(SOURCES)
	@echo "Building subbyte with sanitizers ..." >&2
	@. .venv/env; PATH="$$PWD/.venv/fuzz/bin:$$PATH" $(PIP) --python .venv/fuzz/bin/python install . --no-build-isolation \
		-Cbuild-dir=build/fuzz $(WITH_TESTS) -Csetup-args=-Disas=$(ISAS) -Csetup-args=-Db_sanitize=address,undefined \
		-Csetup-args=-Db_lundef=false -Csetup-args=-Doptimization=1 -Csetup-args=-Ddebug=false \
		-Csetup-args=-Dc_args="-fno-sanitize-recover=undefined --param=asan-instrumentation-with-call-threshold=0" >&2 </dev/null
	@touch $@

.venv/races/subbyte: .venv/env pyproject.toml $(SOURCES)
	@echo "Building subbyte with ThreadSanitizer ..." >&2
	@. .venv/env; $(BIN)/python -m venv --clear --without-pip .venv/races && $(PIP) --python .venv/races/bin/python install --group dev >&2
	@. .venv/env; PATH="$$PWD/.venv/races/bin:$$PATH" $(PIP) --python .venv/races/bin/python install . --no-build-isolation \
		-Cbuild-dir=build/races $(WITH_TESTS) -Csetup-args=-Disas=avx2,neon -Csetup-args=-Db_sanitize=thread \
		-Csetup-args=-Db_lundef=false -Csetup-args=-Doptimization=1 -Csetup-args=-Ddebug=false >&2 </dev/null
	@touch $@

# PyPI's torch brings gigabytes of CUDA, PyTorch's own index has one for CPUs. TORCH=torch takes what pip is set up for.
.venv/reference: .venv/env pyproject.toml
	@echo "Installing torch and transformers ..." >&2
	@. .venv/env; $(PIP) install $(TORCH) >&2 </dev/null && $(PIP) install --group reference >&2 </dev/null
	@touch $@
