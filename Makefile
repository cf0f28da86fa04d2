# Everything is built in .venv and build/; nothing outside this folder changes, except by `make install`.

PYTHON ?= python3
PREFIX ?= /usr/local
DESTDIR ?=
PY = .venv/bin/python
STAMP = .venv/.ready
SOURCES = $(shell find llamafile runtime zipalign gpu_modules -name '*.py' -o -name '*.[ch]' -o -name '*.cu' -o -name '*.metal' -not -path '*/build/*') $(shell find llamafile/page -type f -not -name '*.pyc')

.PHONY: help setup native page run test check check-long bench bench-compare test-gpu bench-gpu gpu-prebuilt executable release man install clean

help:
	@echo 'llamafile: one file that runs a language model'
	@echo
	@echo '  make run              set up, build, package a demo model, and let it write'
	@echo '  make test             set up and run every test (below 25 minutes on two cores)'
	@echo '  make check            ruff and mypy'
	@echo '  make check-long       the long fuzz, the release build, foreign root file systems'
	@echo '  make bench            start-up, tokens a second beside the machine'"'"'s limits, zipalign beside cp'
	@echo '  make bench-compare    the same models in turns with a peer, PEER=/path/to/llama-bench'
	@echo '  make test-gpu         on a machine with a card: every op, whole models, speeds; bench-gpu is the same'
	@echo '  make gpu-prebuilt     GPU modules for ARCHITECTURES=sm_80,sm_90, to be added by zipalign'
	@echo '  make page             the chat page, build/page (Node and npm packages by the lock file)'
	@echo '  make executable       build/llamafile, with the Python at hand'
	@echo '  make release          build/release/llamafile, with a CPython built for glibc 2.17'
	@echo '  make install          llamafile, zipalign and their man pages below PREFIX=$(PREFIX)'
	@echo '  make clean            remove build/ and what was compiled in place; .venv stays'

# What is missing is named with the line that installs it, before anything is tried.
$(STAMP): pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo 'setup: python3 is missing; run: apt-get install python3 python3-venv python3-dev'; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo 'setup: python3 is older than 3.10; install a newer one and set PYTHON='; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo 'setup: venv is missing; run: apt-get install python3-venv'; exit 1; }
	@$(PYTHON) -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(sysconfig.get_paths()["include"] + "/Python.h"))' || { echo 'setup: Python.h is missing; run: apt-get install python3-dev'; exit 1; }
	@command -v $${CC:-cc} >/dev/null || { echo 'setup: a C compiler is missing; run: apt-get install gcc libc6-dev'; exit 1; }
	test -x $(PY) || $(PYTHON) -m venv .venv
	$(PY) -m pip install --quiet --disable-pip-version-check --editable '.[dev,release]'
	@touch $@

setup: $(STAMP)

native: $(STAMP)
	@$(PY) -m llamafile.build

page: $(STAMP)
	@$(PY) -m llamafile.page.build

build/llamafile: $(STAMP) $(SOURCES)
	$(PY) -m llamafile.freeze --output $@

executable: build/llamafile

build/release/llamafile: $(STAMP) $(SOURCES)
	$(PY) -m llamafile.freeze --release --output $@

release: build/release/llamafile

build/smollm2.llamafile: build/llamafile
	model=$$($(PY) -m tests.weights smollm2) && \
	$(PY) -m llamafile convert "$$model" --output $@ -- --temp 0.7 --seed 9

run: native build/smollm2.llamafile
	build/smollm2.llamafile -p 'The sea is' -n 64

test: native build/llamafile
	$(PY) -m pytest -m 'not long' $(TESTS)

check: native
	$(PY) -m ruff check .
	$(PY) -m mypy

check-long: native release
	LLAMAFILE_TEST_ENGINE=build/release/llamafile $(PY) -m pytest -m 'long or built'
	$(PY) -m tests.gpu.check --all
	$(PY) -m tests.executable.foreign_roots build/release/llamafile

bench: native build/llamafile
	$(PY) -m tests.bench

bench-compare: native build/llamafile
	@test -n '$(PEER)' || { echo 'bench-compare: give PEER=/path/to/llama-bench'; exit 1; }
	$(PY) -m tests.bench --only limits --only models --large --peer '$(PEER)'

gpu-prebuilt: native
	$(PY) -m llamafile.freeze.prebuilt --kind '$(or $(KIND),cuda)' --architectures '$(ARCHITECTURES)'

test-gpu bench-gpu: native build/llamafile
	model=$$($(PY) -m tests.weights smollm2) && \
	ENGINE=build/llamafile MODEL="$$model" PYTHON=$(PY) tests/gpu/on_card.sh

man: native
	@mkdir -p build/man
	$(PY) -m llamafile.help --man llamafile > build/man/llamafile.1
	$(PY) -m llamafile.help --man zipalign > build/man/zipalign.1

install: build/llamafile man
	install -d '$(DESTDIR)$(PREFIX)/bin' '$(DESTDIR)$(PREFIX)/share/man/man1'
	install -m 755 build/llamafile '$(DESTDIR)$(PREFIX)/bin/llamafile'
	ln -sf llamafile '$(DESTDIR)$(PREFIX)/bin/zipalign'
	install -m 644 build/man/llamafile.1 build/man/zipalign.1 '$(DESTDIR)$(PREFIX)/share/man/man1/'

# Where nvcc is: the GPU module for one architecture, warnings as errors, and what its kernels take.
.PHONY: gpu-check
gpu-check: $(STAMP)
	$(PY) -m tests.gpu.check

clean:
	rm -rf build
	find llamafile runtime -name '*.so' -not -path '*/.venv/*' -delete
