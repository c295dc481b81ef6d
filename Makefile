# make run: from a fresh machine to runs/quickstart/index.html. `make help` lists the rest.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

# waiting threads sleep instead of spinning: on small machines they would take the cores that others compute on
export OMP_WAIT_POLICY := PASSIVE
# glibc keeps freed memory: giving it back and taking it again in every step can cost as much as the computing
export MALLOC_MMAP_THRESHOLD_ := 1073741824
export MALLOC_TRIM_THRESHOLD_ := 8589934592

.PHONY: help run quick test reliability lab clean
.DEFAULT_GOAL := help

help:
	@echo "make run     execute the notebooks headless and write runs/quickstart/index.html"
	@echo "make quick   the same on a fifth of the data, with short training"
	@echo "make lab     open JupyterLab on notebooks/"
	@echo "make test    lint, types and every test, as CI does"
	@echo "make reliability  the counts of docs/reliability.md: kills, faults, fuzzing (about an hour)"
	@echo "make clean   delete .venv and caches; runs/ stays"
	@echo "PYTHON=python3.12 chooses the Python (3.11 or newer) that .venv is made with."

run: $(STAMP)
	$(BIN)/shc run

quick: $(STAMP)
	$(BIN)/shc run --quick --name quick

lab: $(STAMP)
	$(BIN)/jupyter lab --ServerApp.ip=127.0.0.1 notebooks

test: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest

reliability: $(STAMP)
	SHC_RELIABILITY=full $(BIN)/python -m pytest tests/test_kills.py tests/test_bad_input.py tests/test_fuzz*.py tests/test_faults.py tests/test_long_sweep.py
	$(BIN)/python tools/write_reliability.py

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# the pip line is environment.yml's pip block
$(STAMP): constraints.txt pyproject.toml environment.yml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "shc needs Python 3.11 or newer, and $(PYTHON) is not: install one, then: make $(MAKECMDGOALS) PYTHON=python3.11"; \
	  exit 1; }
	@$(PYTHON) -m venv .venv || { \
	  echo "$(PYTHON) cannot make a virtual environment; on Debian and Ubuntu: apt install python3-venv"; exit 1; }
	@echo "Installing into .venv: about 7 GB with CUDA libraries, a few minutes."
	@$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e ".[notebooks,pretrained,scale,test]"
	@touch $@
