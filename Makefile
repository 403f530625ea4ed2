# make demo    makes a study with known ground truth and runs it from images to scores
# make head    the same with true folds and deep structures, from images to coordinates
# make test    runs the static checks and all tests
# make quick   runs the static checks and the tests that start no process
# make trust   disturbs phantoms in many ways and writes docs/trust.md
# make check   runs the static checks alone, in seconds
# make docs    builds the documentation

PYTHON ?= python3
CORES ?=
BIN := .venv/bin
export OMP_NUM_THREADS ?= 1
# waiting threads must not spin: on a busy machine, spinning made training ten times slower
export OMP_WAIT_POLICY ?= passive

.PHONY: help demo head demo-real comparison quick test test-slurm check docs lock clean bench bench-brain bench-dag faults fuzz trust
help:
	@echo "make demo         make a phantom study, run it from images to scores, print the error of every stage"
	@echo "make head         the same for one difficult brain with deep structures, from images to coordinates"
	@echo "make demo-real    run 35 real sections of a mouse brain up to the reconstruction"
	@echo "make comparison   compare the training objectives of the papers on the demo's phantom (an hour)"
	@echo "make faults       kill jobs, fill disks, take nodes away, and check the results (an hour)"
	@echo "make fuzz         damage a file of each format in thousands of ways (FUZZ=5000), and read it (an hour)"
	@echo "make trust        disturb phantoms in many ways, and list what is right, said so or silently wrong (hours)"
	@echo "make check        format, lint, types and imports, in seconds"
	@echo "make quick        the same, then the tests that start no workflow, process or browser"
	@echo "make test         the same, then all tests"
	@echo "make test-slurm   compare a run on a private Slurm on this host with a local run (about 9 minutes)"
	@echo "make docs         build the documentation into docs/_build/html"
	@echo "make bench        time the plans, and each kernel against a library that does the same; writes benchmarks/results.md"
	@echo "make bench-brain  run one whole brain on CORES=2 and print the cost of each stage"
	@echo "make bench-dag    time a dry run of ten brains, before and after a run"
	@echo "make lock         write requirements.lock from .venv"
	@echo "make clean        remove .venv, the demos and everything that the checks wrote"

.venv/ready: requirements.lock pyproject.toml envs/system_libraries.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) envs/system_libraries.py
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv || \
		{ echo "no venv module: apt-get install python3-venv, or make PYTHON=..."; exit 1; }
	@echo "installing $$(grep -c == requirements.lock) pinned packages into .venv, 2 to 5 minutes ..."
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps -r requirements.lock
	@# a CUDA build of torch needs its own libraries, at its own pins
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -c requirements.lock "$$(grep ^torch== requirements.lock)"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: .venv/ready
	@$(BIN)/python -m cytopipe phantom --study demo --preset config/presets/demo.yaml
	@# with --keep-going an error may stand far above the end: the status repeats it
	@$(BIN)/snakemake --profile demo $(if $(CORES),--cores $(CORES)); code=$$?; $(BIN)/python -m cytopipe status --study demo; exit $$code

HEAD := results/report/truth.tsv results/report/S1.html
head: .venv/ready
	@$(BIN)/python -m cytopipe phantom --study head --preset config/presets/head.yaml
	@$(BIN)/snakemake --profile head $(if $(CORES),--cores $(CORES)) $(HEAD); code=$$?; $(BIN)/python -m cytopipe status --study head; exit $$code

REAL := results/reconstruction/GLTa/tissue.nii.gz
demo-real: .venv/ready
	@$(BIN)/python workflow/real_sections.py make demo-real config/presets/demo-real.yaml
	@$(BIN)/snakemake --directory demo-real --cores $(or $(CORES),2) --rerun-incomplete $(REAL)
	@$(BIN)/python workflow/real_sections.py summary demo-real
	@$(BIN)/python workflow/real_sections.py spoil demo-real demo-real/spoiled
	@$(BIN)/snakemake --directory demo-real/spoiled --cores $(or $(CORES),2) --rerun-incomplete $(REAL) --until segmentation
	@$(BIN)/python workflow/real_sections.py audit demo-real demo-real/spoiled

comparison: demo
	@$(BIN)/snakemake --profile demo $(if $(CORES),--cores $(CORES)) \
		--configfile config/presets/comparison.yaml --until evaluation_areas evaluation_shortcuts evaluation_retrieval
	@$(BIN)/python workflow/comparison.py demo

# takes an hour on 2 idle cores and keeps the undisturbed study. FAULTS="--only disks" runs one group of faults
faults: .venv/ready
	@PYTHONPATH=tests $(BIN)/python -m faults demo-faults $(FAULTS)

# FUZZ is the number of damaged files per valid one
FUZZ ?= 5000
fuzz: .venv/ready
	@FUZZ=$(FUZZ) $(BIN)/python -m pytest -q tests/test_fuzz_*.py

# one row is a disturbance, a brain and a seed. TRUST="ink frame" runs some disturbances, SEEDS=1 one seed;
# rows that were measured before stay in the table
trust: .venv/ready
	@PYTHONPATH=tests $(BIN)/python -m trust demo-trust --page docs/trust.md --cores $(or $(CORES),2) \
		$(if $(TRUST),--only $(TRUST)) $(if $(SEEDS),--seeds $(SEEDS)) $(if $(BRAIN),--brains $(BRAIN))

check: .venv/ready
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/snakefmt --check Snakefile workflow
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

quick: check
	@$(BIN)/python -m pytest -q -n $(or $(CORES),2) --dist worksteal -m "not slow"

test: check
	@$(PYTHON) envs/system_libraries.py --browser
	@$(BIN)/python -m pytest -q -n $(or $(CORES),2) --dist worksteal

docs: .venv/ready
	@$(BIN)/python -m sphinx -E -a -W --keep-going -n -q docs docs/_build/html
	@echo "open docs/_build/html/index.html"

test-slurm: .venv/ready
	@$(BIN)/python tests/slurm/run.py

# BENCH="slicing surf" runs only these. Libraries that only the comparison needs are installed first
bench: bench-dag
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -r benchmarks/requirements.txt
	@PYTHONPATH=tests $(BIN)/python benchmarks/side_by_side.py $(BENCH)

# SECTIONS=116 runs part of the same brain, up to the midline; AGAIN=--again first removes the results of this size
SECTIONS ?= 465
bench-brain: .venv/ready
	@$(BIN)/python benchmarks/brain.py demo-brain --sections $(SECTIONS) --cores $(or $(CORES),2) $(AGAIN)

bench-dag: .venv/ready
	@PYTHONPATH=tests $(BIN)/python benchmarks/dag.py

lock:
	@$(BIN)/python envs/lock.py > requirements.lock.new && mv requirements.lock.new requirements.lock

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build *.egg-info
	rm -rf docs/_build docs/reference demo-real demo-faults demo-trust demo-brain
	find demo head -mindepth 1 ! -name profile.yaml -delete
