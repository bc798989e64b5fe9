# make demo    write a small dataset, process it, compare the areas with the truth
# make test    check the code and run all tests
# make lint    check the code only
# make container-test   build both images and try them (root, podman, buildah, runc, debootstrap)
# make lock    lock what the images install, from constraints.txt
# make hadolint  check the Dockerfile by hadolint's rules
# make audit   ask whether a locked package has a known weakness
# make faults  inject faults into real runs and see that nothing is lost; writes docs/reliability.md
# make docs    the documentation site, in build/site
# make scale   measure a dataset of 267 participants; writes into docs/benchmark.md (an hour)
# make bench   measure accuracy, speed and memory; REAL=FOLDER adds real scans; writes into docs/benchmark.md
# make studies simulate studies of known truth, check the intervals; writes into docs/statistics.md (minutes)
# make bench-levels  judge the vertebral levels found in 200 spines; REAL=FOLDER adds real scans; writes into docs/benchmark.md
# make losses  train under several losses and compare them; writes into docs/benchmark.md (hours)
# make paper   the paper in small: judge its networks against what is true; writes docs/paper.md (minutes)
# make paper-train  train those networks; stopped anywhere, it goes on when called again (an hour)
# make train   train the packaged networks anew or further: MINUTES (each), DEVICE; runs/model.pt comes out
# make clean   remove what these made
#
# All work in .venv, made from constraints.txt. PYTHON names the interpreter (3.11 or newer).
#
# TORCH_INDEX names the package index that torch comes from. By default it is PyTorch's own for
# CPUs (elsewhere torch brings gigabytes of CUDA), unless pip was told where to find local wheels.
# Empty: wherever pip looks. For a GPU: TORCH_INDEX=https://download.pytorch.org/whl/cu128

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo test lint docs train scale bench bench-levels studies losses paper paper-train clean container-test lock audit hadolint faults

PYTHON ?= python3
TORCH := torch==2.13.0
TORCH_INDEX ?= auto
CPU_INDEX := https://download.pytorch.org/whl/cpu

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PIP := $(BIN)/pip --disable-pip-version-check install --quiet --constraint constraints.txt
DEMO := demo

help:
	@sed -n 's/^# \?//p' Makefile | sed '/^$$/q'

$(READY): pyproject.toml constraints.txt version
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "make: $(PYTHON) is missing or older than 3.11; name another one: make PYTHON=python3.12" >&2; exit 1; }
	@echo "Making $(VENV) ..."
	@$(PYTHON) -m venv $(VENV) \
	  || { echo "make: no environment could be made; on Debian: apt-get install python3-venv" >&2; exit 1; }
	@index='$(TORCH_INDEX)'; \
	if [ "$$index" = auto ]; then \
	  index=$(CPU_INDEX); \
	  case "$$($(BIN)/pip config list)" in *find-links*) index=;; esac; \
	fi; \
	echo "Installing $(TORCH) from $${index:-where pip looks} ..."; \
	$(PIP) --no-deps $${index:+--index-url "$$index"} $(TORCH)
	@echo "Installing the other packages (some minutes) ..."
	@$(PIP) --editable '.[test]'
	@$(PIP) --no-deps dynamic-network-architectures  # what tests compare with; it would bring torchvision
	@touch $@

demo: $(READY)
	@$(BIN)/python -m softseg_bids.app.demo $(DEMO)/bids
	@$(BIN)/softseg $(DEMO)/bids $(DEMO)/derivatives/softseg participant
	@$(BIN)/softseg $(DEMO)/bids $(DEMO)/derivatives/softseg group
	@$(BIN)/python -m softseg_bids.app.demo --compare $(DEMO)/bids $(DEMO)/derivatives/softseg

# One thread: on arrays of this size a second one costs more than it gives. A file stays with one of
# the processes, so that its tests share what they made. WORKERS=0: all in one process (for a debugger).
WORKERS ?= 2
test: lint
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses=$(WORKERS) --dist=loadfile --no-loadscope-reorder \
	  --cov=softseg_bids --cov-report=term:skip-covered --cov-fail-under=85

lint: $(READY)
	$(BIN)/ruff check
	$(BIN)/mypy

docs: $(READY)
	@$(BIN)/mkdocs --version >/dev/null 2>&1 || $(PIP) --editable '.[docs]'
	$(BIN)/mkdocs build --strict

# What is only compared with: the published network, and nilearn for the MNI152 template in its package.
# Without their dependencies, which neither needs for that; where they are not to be had, the parts are skipped.
BEYOND := dynamic-network-architectures==0.4.4 nilearn==0.14.1
REAL ?=
bench: $(READY)
	@$(BIN)/python -c 'import sys; from importlib.util import find_spec as f; \
	    sys.exit(not (f("nilearn") and f("dynamic_network_architectures")))' \
	  || $(BIN)/pip --disable-pip-version-check install --quiet --no-deps $(BEYOND) \
	  || echo "make bench: without $(BEYOND); what needs them is skipped" >&2
	$(BIN)/python -m bench.accuracy --write $(if $(REAL),--real "$(REAL)")

bench-levels: $(READY)
	$(BIN)/python -m bench.levels --write $(if $(REAL),--real "$(REAL)")

studies: $(READY)
	$(BIN)/python -m bench.studies --write docs/statistics.md

losses: $(READY)
	$(BIN)/python -m bench.losses --write

# MINUTES: of each network; stopped anywhere, the same command goes on.
MINUTES ?= 60
DEVICE ?= cpu
TRAIN := OMP_NUM_THREADS=1 $(BIN)/python -m softseg_bids.training
train: $(READY)
	$(TRAIN).train locator --folder runs/locator --dice 0.2 --minutes $(MINUTES) --device $(DEVICE)
	$(TRAIN).train segmenter --folder runs/segmenter --minutes $(MINUTES) --device $(DEVICE)
	$(TRAIN).train_levels --folder runs/levels --minutes $(MINUTES) --device $(DEVICE)
	$(TRAIN).pack runs/locator runs/segmenter runs/levels --out runs/model.pt
	$(TRAIN).pack runs/locator runs/segmenter runs/levels --out runs/model.pt \
	  $$($(BIN)/python -m bench.scaling --weights runs/model.pt)

paper: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m paper.report

paper-train: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m paper.train

scale: $(READY)
	$(BIN)/python -m bench.scale --write docs/benchmark.md

# PARTICIPANTS: how many of the demo's four people. SIF=1: a single file instead of a sandbox.
PARTICIPANTS ?= 4
SIF ?=
container-test: $(READY)
	$(BIN)/python -m container.check --participants $(PARTICIPANTS) $(if $(SIF),--sif)

# As root it also mounts small disks. FAULTS: only these kinds, or --part 0.1 (see python -m faults --help).
FAULTS ?=
faults: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m faults $(FAULTS)

# Programs of their own environment: nothing of them reaches the app's.
TOOLS := build/tools
$(TOOLS)/.ready: requirements/tools.txt
	@$(PYTHON) -m venv $(TOOLS)
	@$(TOOLS)/bin/pip --disable-pip-version-check install --quiet --requirement requirements/tools.txt
	@touch $@

lock: $(READY) $(TOOLS)/.ready
	$(BIN)/python -m container.lock $(TOOLS)/bin

audit: $(READY) $(TOOLS)/.ready
	@$(BIN)/python -m container.audit $(TOOLS)/bin || [ $$? = 3 ]  # 3: nobody could be asked, as it said

hadolint: $(TOOLS)/.ready
	$(TOOLS)/bin/hadolint Dockerfile

clean:
	rm -rf $(DEMO) build dist *.egg-info .coverage .pytest_cache .mypy_cache .ruff_cache
	@echo "$(VENV) is kept; remove it yourself for a new environment"
