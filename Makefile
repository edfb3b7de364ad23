# `make demo` and `make test` make a virtual environment of their own in .venv.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# One thread a process: two processes of two threads each are slower on two cores.
PYTEST := NIPYPE_NO_ET=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -p no:cacheprovider

.PHONY: install demo test test-all lint docs docs/images clean

install: $(VENV)/installed

$(VENV)/installed: setup.cfg constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: install  ## simulate a head and run the study on it, under demo/
	$(BIN)/qsm-wf simulate demo/bids --voxel-size 2 --seed 1
	$(BIN)/qsm-wf run --bids demo/bids --out demo/out --work demo/work

test: install  ## what CI runs
	$(PYTEST) -n 2 -m 'not slow and not gpu'

test-all: install  ## slow tests too
	$(PYTEST) -n 2

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs/images: demo  ## the pictures of the tutorial, from the demo
	cp demo/out/sub-01/figures/sub-01_desc-mask_magnitude.png $@/magnitude.png
	cp demo/out/sub-01/figures/sub-01_desc-whole_fieldmap.png $@/fields.png
	cp demo/out/sub-01/figures/sub-01_desc-T+B_Chimap.png $@/chi_tb.png
	cp demo/out/sub-01/figures/sub-01_desc-regions_curves.svg $@/curves.svg

docs: install  ## the site, under docs/_build
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,docs]'
	$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build

clean:
	rm -rf $(VENV) demo build dist
