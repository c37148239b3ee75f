# PocketXL: `make repro` and `make test` each set up what they need.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export HF_HUB_DISABLE_TELEMETRY := 1
INSTALLED := $(VENV)/installed
MODEL ?= mini-sdxl
CLUSTER ?= cluster

help:  ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

install: $(INSTALLED)  ## make the virtual environment, 2 GB (6 GB with CUDA's torch), 3 minutes

# First all that the lock pins, without resolving anything; then the one resolver run, which adds torch (the lock leaves
# its build to pip) and holds the lock to pyproject.toml. It would warn that optimum-intel lacks torchvision: on purpose.
$(INSTALLED): pyproject.toml requirements.lock
	@echo "Installing the environment into $(VENV) (about 2 GB, 6 GB with torch for CUDA; about 3 minutes, once) ..."
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --no-deps --require-hashes -r requirements.lock
	$(VENV)/bin/python -m pip install --quiet --no-build-isolation --no-warn-conflicts --editable '.[dev]'
	@touch $@

define LOCK_HEADER
# What `make install` installs, apart from torch: every package at one version, with the hashes of its files.
# Written by `make lock` out of pyproject.toml: its dependencies, the dev extra and the no-deps group.
# Neither torch nor the CUDA packages that it asks for are here: which build fits depends on the machine, so pip picks
# it. torchvision and Playwright are never installed: pyproject.toml says why.
endef
export LOCK_HEADER

# uv keeps the versions that the lock has wherever pyproject.toml admits them; LOCK_FLAGS=--upgrade takes the newest.
# It resolves with torch, whose own needs bound the others', so torch and what only CUDA needs are cut out afterwards.
lock:  ## write requirements.lock out of pyproject.toml
	@$(PYTHON) -m venv $(VENV)/lock
	@$(VENV)/lock/bin/python -m pip install --quiet uv
	@cp requirements.lock $(VENV)/lock/
	$(VENV)/lock/bin/uv pip compile pyproject.toml --extra dev --group no-deps --quiet --python $(VENV)/lock/bin/python \
	  --universal --python-version 3.11 --fork-strategy fewest --generate-hashes --no-header --annotation-style line \
	  --output-file $(VENV)/lock/requirements.lock $(LOCK_FLAGS)
	@{ echo "$$LOCK_HEADER"; awk '/^[^ ]/ { cut = /^(torch|torchvision|triton|playwright|pyee|greenlet)==|^(nvidia|cuda)-/ } !cut' \
	  $(VENV)/lock/requirements.lock; } > requirements.lock

repro: install  ## run the pipeline: checkpoints to reports/index.html
	@python -m stages.repro

readme: repro  ## refresh the README's table, picture and reports/reference with what was measured here
	python -m stages.compare --readme

true-size: install  ## time, memory and size of SDXL, SSD-1B and Vega on this machine, random weights, 20 minutes
	@python -m stages.true_size

peers: $(VENV)/peers  ## pictures of MODEL (mini-sdxl) beside PyTorch, optimum-intel, openvino.genai: time, memory, fidelity
	@python -m stages.peers $(MODEL)

$(VENV)/peers: $(INSTALLED)
	$(VENV)/bin/python -m pip install --quiet --no-build-isolation --no-warn-conflicts --editable '.[dev,peers]'
	@touch $@

cluster: $(VENV)/cluster  ## install Ray too, for engine=ray: on every node of the cluster

$(VENV)/cluster: $(INSTALLED)
	$(VENV)/bin/python -m pip install --quiet --no-build-isolation --no-warn-conflicts --editable '.[dev,cluster]'
	@touch $@

cluster-tests: cluster  ## run the tests of engine=ray, on clusters that they start on loopback: 5 minutes, without the slow ones 2
	python -m pytest -m "$(CLUSTER)" tests/cluster

app: install  ## a page in the browser to draw with the models at hand; APP='--port 8000 --memory 8'
	@python -m stages.app $(APP)

params: install  ## compose params.yaml out of conf/
	python -m stages.settings

plan: install  ## what the six models will need on this machine
	@python -m stages.plan

experiments: install  ## figures of all experiments (dvc exp run -n NAME), a line each
	@python -m stages.experiments

test: install  ## run the tests, files side by side on up to four cores
	python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

soak: install  ## kills at random and inputs changed at random, for SOAK='--minutes 60 --seed 7'
	python -m tests.soak $(SOAK)

faults: install  ## run the tests of faults that take long too: full disks, limits of memory, kills; as root, or some are skipped
	python -m pytest -m "slow or not slow" tests/endings tests/faults

lint: install  ## check style
	ruff check . && ruff format --check .

clean:  ## remove the virtual environment and what the pipeline made
	rm -rf $(VENV) artifacts/checkpoints artifacts/ir artifacts/calibration artifacts/scorer artifacts/benchmark artifacts/true-size artifacts/peers artifacts/staged .dvc/cache .dvc/tmp

.PHONY: help install lock repro readme true-size peers cluster cluster-tests app params plan experiments test soak faults lint clean
