# Two commands do everything on a fresh machine: `make demo` and `make test`. Both make the virtual environment first.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
# Importing DeepSpeed compiles nothing, and no process guesses at an accelerator that is not there.
export DS_BUILD_OPS := 0
# The oldest Ray that runs may have, in an environment that finds all other packages in the usual one.
OLDEST_RAY := $(shell sed -n 's/^OLDEST_RAY = "\(.*\)"/\1/p' cluster/versions.py)
OLD_VENV := $(VENV)-oldest-ray
# Two test files at a time: most of them wait for processes to start.
TOGETHER := --numprocesses 2 --dist loadfile --no-loadscope-reorder

# What calls Ray: sessions, jobs, parts, gangs, the graph, a run of all steps.
RAY_TESTS := $(addprefix tests/cluster/,test_session.py test_jobs.py test_graph.py test_two_nodes.py gangs parts machines) \
	tests/pipelines/running/test_on_ray.py

.PHONY: demo docs test test-long test-hostile test-kill test-oldest-ray soak stories lint constraints format clean help

help: ## Say what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

# torch first and by its exact version: a range may fetch gigabytes of CUDA onto a machine without a GPU.
$(VENV)/ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet torch==2.13.0
	$(BIN)/pip install --quiet --editable '.[dev]'
	@touch $@

demo: $(VENV)/ready ## Install, then run the whole tiny pipeline on real input (about a quarter of an hour on 2 cores)
	$(BIN)/neo run tiny

test: $(VENV)/ready ## Install, then run the tests
	$(BIN)/python -m pytest $(TOGETHER)
	@echo
	@echo "All tests passed. Next: 'make demo' runs the whole tiny pipeline; '$(BIN)/neo --help' shows the commands."

test-kill: $(VENV)/ready ## Kill runs before and after every commit, resume them, and compare their ends (a quarter of an hour)
	$(BIN)/python -m pytest $(TOGETHER) tests/kill $(addprefix tests/end_to_end/,test_small_run.py test_small_ov_run.py) -m ""

test-long: $(VENV)/ready ## Run the cases that `make test` leaves out, but those of `make test-kill` (half an hour)
	$(BIN)/python -m pytest $(TOGETHER) --ignore tests/kill -m "long or kill" \
		$(addprefix --deselect tests/end_to_end/,test_small_run.py test_small_ov_run.py)

$(OLD_VENV)/ready: $(VENV)/ready cluster/versions.py
	$(BIN)/python -m venv --clear --without-pip $(OLD_VENV)
	$(BIN)/pip --python $(OLD_VENV)/bin/python install --quiet --no-deps ray==$(OLDEST_RAY)
	echo "import site; site.addsitedir('$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')')" \
		> $$($(OLD_VENV)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/usual.pth
	sed '1s|.*|#!$(abspath $(OLD_VENV))/bin/python|' $(BIN)/neo > $(OLD_VENV)/bin/neo && chmod +x $(OLD_VENV)/bin/neo
	@touch $@

test-oldest-ray: $(OLD_VENV)/ready ## Run the tests of what calls Ray with the oldest Ray that is supported (some minutes)
	$(OLD_VENV)/bin/python -m pytest $(TOGETHER) -m "not kill" $(RAY_TESTS)

test-hostile: $(VENV)/ready ## Hostile pictures, answers, tokenizers, texts and model folders from a printed seed, ten minutes; SEED=7 repeats them, MINUTES=2 is shorter
	$(BIN)/python -m tests.hostile.fuzz $(if $(SEED),--seed $(SEED)) $(if $(MINUTES),--minutes $(MINUTES))

soak: $(VENV)/ready ## Half an hour of random troubles on a small fleet; SEED=7 repeats them, MINUTES=5 is shorter
	$(BIN)/python -m tests.soak.soak $(if $(SEED),--seed $(SEED)) $(if $(MINUTES),--minutes $(MINUTES))

docs: $(VENV)/ready ## Build the documentation into build/site; a dead link ends it
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict
	@echo "Open build/site/index.html"

lint: $(VENV)/ready ## Check style, types and the import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

stories: $(VENV)/ready ## What each loss costs a run on a small fleet, and how soon a cancel ends it (half an hour); STORY=gang_waits tells one
	$(BIN)/python -m tests.soak.stories $(STORY)

constraints: $(VENV)/ready ## Pin the packages of the image to those of this environment, once its tests have passed
	$(BIN)/python -m tests.cluster.image_constraints

format: $(VENV)/ready ## Format the sources
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean: ## Remove the virtual environment (artifacts are kept)
	rm -rf $(VENV) $(OLD_VENV) build *.egg-info
