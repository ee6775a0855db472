# make demo: simulate a night, turn it into a master light, say where the pictures are
# make test: everything the tests need, then the tests
# make reliability: every kind of bad input, full disks, limits and kills (docs/reliability.md)
# make doctor-truth: faults of known strength in simulated nights, and healthy nights (docs/doctor.md); minutes
# make fuzz: ten minutes of spoilt headers and files
# make docs: the pages and the API reference, into build/site
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test reliability doctor-truth fuzz bench docs clean

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(STAMP): $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	touch $@

$(VENV)/.tested: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test,bench]'
	touch $@

demo: $(STAMP)
	rm -rf demo
	$(BIN)/masterlight simulate demo/night
	$(BIN)/masterlight run demo/night --out demo/result || test $$? -eq 1

test: $(VENV)/.tested
	$(BIN)/ruff check src tests bench examples docs
	$(BIN)/ruff format --check src tests bench examples docs
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -n auto

reliability: $(VENV)/.tested
	MASTERLIGHT_WHOLE=1 $(BIN)/python -m pytest -n auto tests/test_reliability.py tests/test_reliability_writes.py

doctor-truth: $(VENV)/.tested
	$(BIN)/python docs/make_doctor.py --check

fuzz: $(VENV)/.tested
	$(BIN)/python tests/fuzz.py --seconds 600 --seed $$$$

bench: $(VENV)/.tested
	$(BIN)/python -m bench.kernels --write
	$(BIN)/python -m bench.walk --work build/walk --write

$(VENV)/.documented: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[docs]'
	touch $@

docs: $(VENV)/.documented
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet
	@echo "the pages begin at build/site/index.html"

clean:
	rm -rf demo build dist .pytest_cache .ruff_cache .hypothesis
	find src -name "*.nb[ci]" -delete
