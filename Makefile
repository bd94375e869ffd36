# Everything sets itself up: nothing is needed but Python 3.11 or later, its venv, and make.
PYTHON ?= python3
VENV   := .venv
RUN    := $(VENV)/bin/python
READY  := $(VENV)/.ready
# one more than cores: some of the time a test waits, for a process that starts or for the database
JOBS   ?= $(shell $(PYTHON) -c "import os; print(min(8, 1 + (os.cpu_count() or 1)))")

# a fresh checkout compiles what it imports once, not at every start
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test check lint types contracts examples wheel torture backlog days bench clean

help:            ## what can be made
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	$(RUN) -m pip install --quiet --disable-pip-version-check --no-compile --editable . --group dev
	@touch $@

demo: $(READY)   ## a bot trades a simulated day, and its tables are shown
	@$(RUN) examples/quickstart.py

test: $(READY)   ## all tests, file by file on JOBS processes (default: one more than cores, 8 at the most)
	$(RUN) -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder

check: lint types contracts test   ## all that CI checks

lint: $(READY)   ## ruff
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

types: $(READY)  ## mypy, strict
	$(VENV)/bin/mypy

contracts: $(READY)  ## which module may import which
	$(VENV)/bin/lint-imports

examples: $(READY)   ## run every example
	$(RUN) -m pytest tests/host/test_examples.py

wheel: $(READY)  ## build the wheel, install it elsewhere, use it there
	$(RUN) -m pytest tests/contracts/test_wheel.py

torture: $(READY)  ## two thousand random faults on a bot, nothing lost (some 20 minutes); FAULTS=n SEED=n
	$(RUN) -m tests.torture --every-point --faults $(or $(FAULTS),2000) $(if $(SEED),--first-seed $(SEED))

backlog: $(READY)  ## a million records recorded while the database is away, then delivered; RECORDS=n
	$(RUN) -m tests.torture.backlog $(or $(RECORDS),1000000)

days: $(READY)     ## a thousand random days and 10,000 lost answers, trail and books equal; DAYS=n LOST=n SEED=n
	$(RUN) -m tests.days --days $(or $(DAYS),1000) --lost-answers $(or $(LOST),10000) $(if $(SEED),--first-seed $(SEED))

bench: $(READY)    ## what it costs, measured (under five minutes); ONLY=part FULL=1, see benchmarks/README.md
	$(RUN) -m benchmarks $(ONLY) $(if $(FULL),--full)

clean:           ## forget the environment
	rm -rf $(VENV) build dist *.egg-info
