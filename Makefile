# Everything a person needs: `make run`, `make demo`, `make test`. The rest is for developers.
PYTHON ?= python3
# Options for `make run`, `make demo`, `make bench` and `make bench-links`: ARGS=--help shows them.
ARGS   ?=
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
# What `make run` and `make demo` need, which is a tenth of it.
RUN    := $(VENV)/.installed-run
# The tests of a file stay together, for what they share. The order is another one each time; its seed is
# printed, and ARGS="--randomly-seed=N" plays it again.
PYTEST  = $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)
# One more than the two processors that are counted on: the slow tests wait for half of their time.
WORKERS ?= 3
# The fast tests write to memory where there is enough of it: they wait for the disk as long as they compute.
# What a disk does is asked by the slow ones.
MEMORY := $(shell test "$$(df --output=avail -k /dev/shm 2>/dev/null | tail -1)" -gt 4000000 && echo /dev/shm)

# Compiled modules are kept, in the environment: a fifth of the short tests' time was compiling the tests and,
# for each program that they start, the programs. Not for `mutate`: a fault of the same length, put in within
# the same second, would not be seen.
export PYTHONPYCACHEPREFIX := $(abspath $(VENV))/pycache
unexport PYTHONDONTWRITEBYTECODE
mutate: export PYTHONDONTWRITEBYTECODE := 1

.PHONY: help setup run run-scale demo test test-fast test-long mutate check docs prose bench bench-links lock deb repo wheels dist clean format
.DEFAULT_GOAL := help

# `make run ARGS=--max-rate 2MB` takes 2MB for one more thing to make.
WORDS := $(filter-out $(shell grep -oE '^[a-z -]+:' Makefile | tr -d :) $(STAMP) $(RUN),$(MAKECMDGOALS))
ifneq ($(and $(ARGS),$(WORDS)),)
$(error $(WORDS) cannot be made; if it belongs to ARGS, quote them: ARGS="$(ARGS) $(WORDS)")
endif

help: ## what can be made
	@grep -E '^[a-z -]+:.*##' $(MAKEFILE_LIST) | sed 's/:[^#]*##/\t/' | expand -t 12

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -I -S demo/environment.py $(VENV) dev

$(RUN): pyproject.toml constraints-run.txt
	@$(PYTHON) -I -S demo/environment.py $(VENV) run

setup: $(STAMP)

run: $(RUN) ## broker, server and agent on this machine, watching ./media (ARGS=--max-rate=2MB)
	@exec $(BIN)/python -m demo $(ARGS)

run-scale: $(STAMP) ## three servers over PostgreSQL and an S3 store, behind HAProxy, watching ./media
	@exec $(BIN)/python -m demo.scale $(ARGS)

demo: $(RUN) ## record a short video into ./media (in a second terminal)
	@$(BIN)/python -m demo.record $(ARGS)

.PHONY: cut mend kill
cut mend kill: $(RUN) ## cut and mend the running demo's link, kill its server (or press c, m, k where it runs)
	@$(BIN)/python -m demo.steer $@

test: $(STAMP) ## all tests, about twenty minutes
	$(PYTEST) -m "not nightly"

# Nobody looks at what libraries log, and to listen for it costs each test.
test-fast: $(STAMP) ## all but the slow ones, under two minutes
	$(if $(MEMORY),TMPDIR=$(MEMORY)) $(PYTEST) -m "not slow and not nightly" --hypothesis-profile=fast --budget=6 -p no:logging

ONLY_LONG = nightly or long or hypothesis
MANY_EXAMPLES = --hypothesis-profile=long
LONG = CRASH_INSTANTS=1000 KILLS=50 LINK_FLAPS=1000 MQTT_EVENTS=1000 CHAOS_MINUTES=10
test-long: $(STAMP) ## a thousand power cuts, a thousand flaps, ten times the examples; two hours or more
	@$(LONG) $(PYTEST) $(MANY_EXAMPLES) -m "($(ONLY_LONG)) and not alone"; first=$$?; \
	$(LONG) $(PYTEST) $(MANY_EXAMPLES) -n 0 -m "($(ONLY_LONG)) and alone" && exit $$first

# One after the other: an emulated board beside another test takes longer than anybody waits for it.
.PHONY: test-packages
test-packages: $(STAMP) ## the Debian packages and images, installed, used, upgraded and removed on amd64, arm64 and armhf (root)
	$(PYTEST) -n 0 tests/system/test_packages.py tests/system/test_packages_on_boards.py tests/system/test_containers.py

mutate: $(STAMP) ## put 60 small faults in, one at a time, and see whether a test notices (half an hour)
	$(BIN)/python -m tests.mutation $(ARGS)

check: $(STAMP) ## format, lint, types, import rules, dead code, workflows
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/vulture
	$(BIN)/zizmor --offline --quiet .github

# An environment of its own: nobody who runs or tests the programs needs it.
DOCS := .venv-docs/.installed
$(DOCS): constraints-docs.txt
	@$(PYTHON) -m venv .venv-docs
	@.venv-docs/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r $<
	@touch $@

docs: $(DOCS) ## the site, in build/site; a dead link in README or docs fails (ARGS="-b linkcheck": those that lead out, too)
	@rm -rf build/site # what a page that is gone has left is no part of it
	@.venv-docs/bin/sphinx-build -q --fresh-env --fail-on-warning --keep-going -j auto -c docs $(or $(ARGS),-b html) . build/site
	@echo "build/site/index.html is the site"

PROSE := docs/prose/node_modules/.installed
$(PROSE): docs/prose/package.json
	@npm install --prefix docs/prose --ignore-scripts --no-package-lock --no-audit --no-fund --silent
	@touch $@

READ = README.md CONTRIBUTING.md SECURITY.md $(wildcard docs/*.md)
prose: $(PROSE) ## the prose of README and the pages: long sentences, words that say nothing (npm)
	@cd docs/prose && node_modules/.bin/textlint $(addprefix ../../,$(READ))

format: $(STAMP) ## format and mend what ruff can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(STAMP) ## speed, CPU and memory on this machine
	$(BIN)/python -m benchmarks $(ARGS)
	$(BIN)/python -m benchmarks.server

bench-links: $(STAMP) ## beside rsync, rclone, curl and tus over emulated bad links (root; hours)
	$(BIN)/python -m benchmarks.links $(ARGS)

COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-annotate --no-header
.PHONY: bench-first
bench-first: ## how long it takes from the clone to the first verified file
	@$(PYTHON) -m benchmarks.first_file

lock: $(STAMP) ## pin what the tests ran with, and what each side needs of it, by hash
	$(COMPILE) pyproject.toml --all-extras --group dev -o constraints.txt
	$(COMPILE) pyproject.toml --extra agent --group build -c constraints.txt -o constraints-agent.txt
	$(COMPILE) pyproject.toml --extra server --group build -c constraints.txt -o constraints-server.txt
	$(COMPILE) pyproject.toml --extra agent --extra server --group demo -c constraints.txt -o constraints-run.txt
	$(COMPILE) --group broker -c constraints.txt -o constraints-broker.txt
	$(COMPILE) --group docs -o constraints-docs.txt

deb: $(STAMP) ## Debian packages of both sides for amd64, arm64, armhf, in dist/ (ARGS="--side agent --arch arm64")
	$(BIN)/python -m release.deb $(ARGS)

repo: $(STAMP) ## a signed apt repository of them in dist/apt (the key in EDGE_UPLOADER_SIGNING_KEY)
	$(BIN)/python -m release.repo $(ARGS)

wheels: $(STAMP) ## whether all is there as a wheel for each machine and Python that is promised
	$(BIN)/python -m release.wheels

dist: $(STAMP) ## wheel, source archive and SHA256SUMS of all that is in dist/
	rm -f dist/*.whl dist/*.tar.gz
	$(BIN)/python -m build --no-isolation --outdir dist . >/dev/null
	cd dist && sha256sum -- *.whl *.tar.gz $$(ls *.deb *.cdx.json 2>/dev/null) > SHA256SUMS

clean: ## remove the environments and the demo's data
	rm -rf $(VENV) .venv-device .venv-docs .venv-3.13 var build dist
