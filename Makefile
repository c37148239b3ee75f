# PocketXL: `make repro` and `make test` each set up what they need.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export HF_HUB_DISABLE_TELEMETRY := 1
INSTALLED := $(VENV)/installed

help:  ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

install: $(INSTALLED)  ## make the virtual environment (about 2 GB)

$(INSTALLED): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --editable '.[dev]'
	$(VENV)/bin/python -m pip install --quiet --no-deps $$($(VENV)/bin/python -c "import tomllib; \
	  print(*tomllib.load(open('pyproject.toml', 'rb'))['dependency-groups']['no-deps'])")
	@touch $@

repro: install  ## run the pipeline: checkpoints to reports/index.html
	dvc repro

readme: repro  ## refresh the README's table and its picture
	python -m stages.compare --readme

params: install  ## compose params.yaml out of conf/
	python -m stages.settings

plan: install  ## what the six models will need on this machine
	@python -m stages.plan

test: install  ## run the tests
	python -m pytest

lint: install  ## check style
	ruff check . && ruff format --check .

clean:  ## remove the virtual environment and what the pipeline made
	rm -rf $(VENV) artifacts/checkpoints artifacts/ir artifacts/calibration artifacts/scorer .dvc/cache .dvc/tmp

.PHONY: help install repro readme params plan test lint clean
