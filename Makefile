# make demo    a study whose truth is known, from images to scores (about 25 minutes on 2 cores)
# make test    everything that must hold
# make check   its static part, in seconds

PYTHON ?= python3
CORES ?= 2
BIN := .venv/bin
export OMP_NUM_THREADS ?= 1
# threads that wait do not spin: on a busy machine spinning made training ten times slower
export OMP_WAIT_POLICY ?= passive

.PHONY: help demo demo-real comparison test test-slurm check lock clean bench bench-brain bench-dag faults
help:
	@echo "make demo       a phantom study from images to scores, with the error of every stage"
	@echo "make demo-real  35 real brightfield sections through segmentation to reconstruction"
	@echo "make comparison the papers' objectives side by side on the demo's phantom (an hour)"
	@echo "make faults     kills, full disks, lost nodes: what was tried and what came of it (an hour)"
	@echo "make test       checks and tests; make check: the static part, in seconds"
	@echo "make test-slurm the small study on a private Slurm on this host against a local run (some 9 minutes)"
	@echo "make bench      each kernel beside the library that does the same; writes benchmarks/results.md"
	@echo "make bench-brain  a whole brain of true size on CORES=2: what each stage costs"
	@echo "make bench-dag  what a dry run of ten brains takes, before and after a run"
	@echo "make clean      removes what the demos and the checks wrote, and .venv"

.venv/ready: requirements.lock pyproject.toml envs/system_libraries.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) envs/system_libraries.py
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv || \
		{ echo "no venv module: apt-get install python3-venv, or make PYTHON=..."; exit 1; }
	@echo "installing $$(grep -c == requirements.lock) pinned packages into .venv, 2 to 5 minutes ..."
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps -r requirements.lock
	@# a CUDA build of torch brings libraries of its own, at its own pins
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -c requirements.lock "$$(grep ^torch== requirements.lock)"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: .venv/ready
	@$(BIN)/python -m cytopipe phantom --study demo --preset config/presets/demo.yaml
	@# with --keep-going an error may stand far above the end: the status repeats it
	@$(BIN)/snakemake --profile demo --cores $(CORES); code=$$?; $(BIN)/python -m cytopipe status --study demo; exit $$code

REAL := results/reconstruction/GLTa/tissue.nii.gz
demo-real: .venv/ready
	@$(BIN)/python workflow/real_sections.py make demo-real config/presets/demo-real.yaml
	@$(BIN)/snakemake --directory demo-real --cores $(CORES) --rerun-incomplete $(REAL)
	@$(BIN)/python workflow/real_sections.py summary demo-real
	@$(BIN)/python workflow/real_sections.py spoil demo-real demo-real/spoiled
	@$(BIN)/snakemake --directory demo-real/spoiled --cores $(CORES) --rerun-incomplete $(REAL) --until segmentation
	@$(BIN)/python workflow/real_sections.py audit demo-real demo-real/spoiled

comparison: demo
	@$(BIN)/snakemake --profile demo --cores $(CORES) \
		--configfile config/presets/comparison.yaml --until evaluation_areas evaluation_shortcuts evaluation_retrieval
	@$(BIN)/python workflow/comparison.py demo

# an hour on 2 idle cores; the undisturbed study is kept. FAULTS="--only disks" tries one family alone
faults: .venv/ready
	@PYTHONPATH=tests $(BIN)/python -m faults demo-faults $(FAULTS)

check: .venv/ready
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/snakefmt --check Snakefile workflow
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

test: check
	@$(PYTHON) envs/system_libraries.py --browser
	@$(BIN)/python -m pytest -q

test-slurm: .venv/ready
	@$(BIN)/python tests/slurm/run.py

# BENCH="slicing surf" tries some alone. Libraries that only the comparison needs are installed first
bench: .venv/ready
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -r benchmarks/requirements.txt
	@PYTHONPATH=tests $(BIN)/python benchmarks/side_by_side.py $(BENCH)

# SECTIONS=116 runs a part of the same brain, to the midline; AGAIN=--again removes the results of this size first
SECTIONS ?= 465
bench-brain: .venv/ready
	@$(BIN)/python benchmarks/brain.py demo-brain --sections $(SECTIONS) --cores $(CORES) $(AGAIN)

bench-dag: .venv/ready
	@PYTHONPATH=tests $(BIN)/python benchmarks/dag.py

lock:
	@$(BIN)/python envs/lock.py > requirements.lock.new && mv requirements.lock.new requirements.lock

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis *.egg-info
	rm -rf demo-real demo-faults demo-brain && find demo -mindepth 1 ! -name profile.yaml -delete
