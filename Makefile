# `make demo` and `make test` set up all they need in .venv; nothing is assumed but python3 with venv, git and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
WORKERS ?= auto
READY := $(VENV)/.ready

.PHONY: help demo test lint docs cards catalogue sweep lowest clean

help:
	@echo "make demo     hfcount gpt2 --lora-r 8"
	@echo "make test     the test suite, without the sweeps"
	@echo "make lint     ruff and mypy"
	@echo "make docs     the documentation as a site, in site/"
	@echo "make cards    write model_cards/ anew from scripts/facts/"
	@echo "make catalogue trace and verify every closed form anew: about an hour on two cores"
	@echo "make sweep    before a release: all types, all cards, all formats, every field of every type changed alone: hours"
	@echo "make lowest   the test suite at the lowest supported transformers and PEFT"

demo: $(READY)
	$(BIN)/hfcount gpt2 --lora-r 8

test: $(READY)
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "not slow"

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

cards: $(READY)
	$(BIN)/python scripts/build_cards.py

catalogue: $(READY)
	$(BIN)/python scripts/build_catalogue.py

sweep: $(READY)
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m slow
	$(BIN)/python scripts/build_records.py --check
	$(BIN)/python scripts/single_fields.py

# The stamp is made last, so that a set-up that was interrupted is done again and a finished one is not.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $(READY)

# The lowest versions that pyproject.toml allows, in an environment of their own.
LOWEST := .venv-lowest
lowest: $(LOWEST)/.ready
	$(LOWEST)/bin/python -m pytest -n $(WORKERS) --dist worksteal -m "not slow and not pinned"

$(LOWEST)/.ready: pyproject.toml constraints.txt constraints-lowest.txt
	$(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-lowest.txt -e ".[test]"
	@touch $(LOWEST)/.ready

clean:
	rm -rf $(VENV) $(LOWEST) dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis
