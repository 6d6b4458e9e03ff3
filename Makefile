# make demo    see it work: a legacy app, an evil site and the guard between, played in the terminal
# make test    everything that must hold: check, then every test (as root on Debian it installs what tests need)
# make test-extended   what takes longer or asks package indexes: the image, and the gallery's large ones (root, Debian)
# make check   the readers that run nothing: style, types, floors
# make bench   measure wsguard beside other proxies; writes docs/performance.md
# make soak    a storm of log-outs over replicas that die: make soak ARGS="--minutes 30 --seed 1 --engine nats"
# make wear    an hour among peers that fail at random; what is left over at the end is said: ARGS="--minutes 60 --seed 1"
# make fuzz    look for bytes that break whoever reads them: make fuzz ARGS="scanner --seconds 3600"
# make audit   ask the advisory databases about every locked dependency (needs the network)
# make docs    write again what the docs take from the code
# make lock    resolve the lock files anew

PYTHON ?= python3
VENV   := .venv
RUN    := $(VENV)/bin/python
PIP    := $(RUN) -m pip --disable-pip-version-check --quiet
UV     := .make/uv/bin/uv
LOCK   := $(UV) pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --quiet

# Guards start by the hundred in tests: each would compile wsguard anew where this is set, as it is in many images.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-extended check bench soak wear fuzz audit docs lock
.DELETE_ON_ERROR:

demo: $(VENV)/.runtime
	$(RUN) -m wsguard demo --tour

test:
	$(PYTHON) tests/support/provision.py test
	$(MAKE) check
	$(RUN) -m pytest -n 4 --dist worksteal  # on two cores: most of them wait

test-extended: $(VENV)/.dev
	$(PYTHON) tests/support/provision.py extended
	$(RUN) -m pytest -m extended

check: $(VENV)/.dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports --no-cache

bench: $(VENV)/.dev
	$(PYTHON) tests/support/provision.py bench
	$(RUN) -m benchmarks
	$(RUN) -m benchmarks sessions
	$(RUN) -m benchmarks drain
	$(RUN) -m benchmarks rollout

soak: $(VENV)/.dev
	$(PYTHON) tests/support/provision.py test
	$(RUN) -m benchmarks.soak $(ARGS)

wear: $(VENV)/.dev
	$(RUN) -m benchmarks.wear $(ARGS)

fuzz: $(VENV)/.dev
	$(RUN) -m tests.fuzz --corpus .make/corpus $(ARGS)

audit:
	$(PYTHON) tests/support/provision.py audit
	$(PYTHON) tests/dependencies/audit.py $(ARGS)

docs: $(VENV)/.dev
	$(RUN) -m docs.generate

lock: .make/uv/bin/uv
	$(LOCK) --upgrade --output-file requirements.lock pyproject.toml
	$(LOCK) --upgrade --output-file requirements-dev.lock pyproject.toml --all-extras --group dev
	$(LOCK) --output-file requirements-extras.lock pyproject.toml --all-extras --constraint requirements-dev.lock
	$(LOCK) --output-file requirements-build.lock --group build --constraint requirements-dev.lock
	$(LOCK) --upgrade --output-file requirements-helm.lock --group helm --no-deps
	$(LOCK) --upgrade --output-file requirements-jupyter.lock --group jupyter
	$(LOCK) --upgrade --output-file requirements-audit.lock --group audit

# What runs the guard, and nothing more; `make demo` needs no other thing than Python, git and make.
$(VENV)/.runtime: requirements.lock | $(VENV)/bin/python
	$(PIP) install --require-hashes -r requirements.lock
	touch $@

# Everything tests and benchmarks use, and the checkout itself in place of an installed wsguard.
$(VENV)/.dev: requirements-dev.lock pyproject.toml | $(VENV)/bin/python
	$(PIP) install --require-hashes -r requirements-dev.lock
	$(PIP) install --no-deps --no-build-isolation --editable .
	touch $@

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "wsguard needs Python 3.11 or newer: make PYTHON=python3.12 …")'
	$(PYTHON) -m venv $(VENV)

.make/uv/bin/uv:
	$(PYTHON) -m venv .make/uv
	.make/uv/bin/pip --disable-pip-version-check --quiet install uv
