"""Sweeps on a real cluster of Slurm: two nodes on this machine, begun by tests/clusters/slurm.sh, without accounting unless said."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import forked
import pytest
import test_resume as resume

from cotexp.config import slurm

ROOT = Path(__file__).resolve().parent.parent
CLUSTER = ROOT / "tests" / "clusters" / "slurm.sh"
LAUNCHER = ["hydra/launcher=submitit_slurm", "hydra.launcher.mem_gb=2", "hydra.launcher.cpus_per_task=1"]

pytestmark = pytest.mark.slow


def begun(folder: Path, *words: str) -> Iterator[None]:
    """A cluster in `folder`, used by every process that this one starts until its end; then the one before is used again."""
    before = os.environ.get("SLURM_CONF")
    needed = ["slurmctld", "slurmd", "munged", *(["slurmdbd", "mariadbd"] if "--accounting" in words else [])]
    if missing := [each for each in needed if shutil.which(each, path=f"{os.environ['PATH']}:/usr/sbin") is None]:
        pytest.skip(f"no {', '.join(missing)} here: apt-get install slurm-wlm munge{' slurmdbd mariadb-server' if len(needed) > 3 else ''}")
    if os.geteuid():
        pytest.skip("the daemons of Slurm are started as root")
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    try:
        subprocess.run([CLUSTER, "start", folder, *words], check=True, stdout=subprocess.PIPE)
        os.environ["SLURM_CONF"] = str(folder / "slurm.conf")
        yield
    finally:
        subprocess.run([CLUSTER, "stop", folder], check=True)
        os.environ.pop("SLURM_CONF", None)
        if before:
            os.environ["SLURM_CONF"] = before


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    yield from begun(tmp_path_factory.mktemp("cluster"))


def sweep(outputs: Path, *words: str, held_at: str = "") -> forked.Process:
    """A sweep whose jobs wait at the moments `held_at`, one for each time that a job is started, until they get a signal."""
    path = f"{ROOT / 'tests' / 'clusters' / 'held'}:{ROOT}"
    held = {"PYTHONPATH": path, "COTEXP_HELD_AT": held_at, "COTEXP_HELD_OUTPUTS": str(outputs)} if held_at else {"PYTHONPATH": str(ROOT)}
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **held}
    return forked.start(["run.py", "-m", *LAUNCHER, *words, *resume.SIZES, *resume.MACC, f"paths.outputs={outputs}"], cwd=ROOT, env=environment)


def wait_for(path: Path, process: forked.Process) -> None:
    while not path.exists():
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.1)


def queue(partition: str) -> dict[str, slurm.Queued]:
    """The jobs that are neither over nor at their end."""
    command = ["squeue", "--noheader", "--array", f"--partition={partition}", "--format=%i|%T|%r"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return {job: slurm.Queued(state, reason) for job, state, reason in (line.split("|") for line in lines)}


def preempt(until: Path | None = None) -> None:
    """Let a job that has priority take all cores of both nodes for a moment, or until a file exists."""
    work = "sleep 1" if until is None else f"while [ ! -e {until} ]; do sleep 0.2; done"
    cores = ["--nodes=2", "--ntasks-per-node=2", "--mem=100"]
    subprocess.run(["sbatch", "--partition=high", *cores, "--output=/dev/null", f"--wrap={work}"], check=True, stdout=subprocess.PIPE)


def wait_for_state(partition: str, state: str, process: forked.Process) -> None:
    while [each.state for each in queue(partition).values()] != [state]:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.2)


def restarts(outputs: Path) -> list[int]:
    """How often each job of a sweep was queued again."""
    jobs = [path.name for path in (outputs / "submitit").iterdir() if path.is_dir()]
    shown = [subprocess.run(["scontrol", "show", "job", job], check=True, capture_output=True, text=True).stdout for job in jobs]
    return [int(each.split("Restarts=")[1].split()[0]) for each in shown]


def ended(process: forked.Process) -> tuple[int | None, str]:
    """(status, output with the errors last) of a sweep."""
    output, errors = process.communicate()
    return process.returncode, f"{output}{errors}"


REFUSED = {
    "--mem=900GB": "hydra.launcher.mem_gb=900:",
    "--partition=nosuch": "hydra.launcher.partition=nosuch:",
    "--constraint=a100": "hydra.launcher.constraint=a100:",
    "--gpus-per-node=1": "hydra.launcher.gpus_per_node=1:",
    "--exclude=n9": "hydra.launcher.exclude=n9 or hydra.launcher.additional_parameters={'mail_type': 'WHAT'}:",
    "--mail-type=WHAT": "hydra.launcher.additional_parameters={'mail_type': 'WHAT'}:",
    "--array=0-40": "hydra.sweeper.max_batch_size must be at most the length of a job array on this cluster",
    "--account=nobody": "hydra.launcher.account=nobody:",
    "--qos=fast": "hydra.launcher.qos=fast:",
}
CHOSEN = {
    "mem_gb": 900,
    "partition": "nosuch",
    "account": "nobody",
    "qos": "fast",
    "constraint": "a100",
    "gpus_per_node": 1,
    "exclude": "n9",
    "cpus_per_task": None,
    "additional_parameters": {"mail_type": "WHAT"},
}
ACCOUNTED = ("--account=nobody", "--qos=fast")


def refused(option: str) -> None:
    said = subprocess.run(["sbatch", option, "--wrap=true"], cwd="/tmp", capture_output=True, text=True)
    assert said.returncode != 0
    shown = str(slurm.refusal(RuntimeError(said.stderr), CHOSEN, 41))
    assert shown.startswith(REFUSED[option])
    assert "\n" not in shown
    assert said.stderr.splitlines()[-1].split(": ")[-1] in shown


@pytest.mark.parametrize("option", [each for each in REFUSED if each not in ACCOUNTED])
def test_what_sbatch_refuses_is_one_line_that_names_the_setting(cluster: None, option: str) -> None:
    refused(option)


def test_a_refused_sweep_ends_with_that_line_alone(cluster: None, tmp_path: Path) -> None:
    status, errors = ended(sweep(tmp_path, "hydra.launcher.partition=nosuch"))
    assert (status, errors.count("nosuch;")) == (1, 1)
    assert "Traceback" not in errors
    assert errors.splitlines()[-1].startswith(
        "cotexp: hydra.launcher.partition=nosuch: sbatch refuses the sweep and says: invalid partition specified"
    )
    assert not (tmp_path / "submitit").exists()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    outputs = tmp_path_factory.mktemp("undisturbed")
    resume.finish(outputs, *resume.MACC)
    return outputs


@pytest.mark.parametrize(("partition", "moments"), [("low", [*resume.MOMENTS]), ("cancelled", ["fine-tuning"])])
def test_a_job_preempted_in_every_stage_ends_equal_to_an_undisturbed_run(
    cluster: None, partition: str, moments: list[str], undisturbed: Path, tmp_path: Path
) -> None:
    process = sweep(tmp_path, f"hydra.launcher.partition={partition}", held_at=",".join(moments))
    for number, _ in enumerate(moments):
        wait_for(tmp_path / f"held-{number}", process)
        before = {stage: resume.rows(tmp_path, stage) for stage in resume.STAGES}
        preempt()
    status, errors = ended(process)
    assert status == 0, errors
    resume.assert_equal(tmp_path, undisturbed, before)


def test_a_cancelled_job_is_a_failed_point_and_the_same_command_computes_it(cluster: None, undisturbed: Path, tmp_path: Path) -> None:
    words = ("hydra.launcher.partition=high", "hydra.launcher.array_parallelism=1", "evaluation.seed=0,1")
    process = sweep(tmp_path, *words, held_at="fine-tuning")
    wait_for(tmp_path / "held-0", process)
    assert [each.reason for each in queue("high").values() if each.state == "PENDING"] == ["JobArrayTaskLimit"]
    subprocess.run(["scancel", "--user=root", "--partition=high"], check=True)
    status, errors = ended(process)
    assert (status, errors.splitlines()[-1]) == (
        1,
        "cotexp: 2 of 2 points failed: evaluation.seed=0; evaluation.seed=1 (the same command again tries these alone)",
    )
    assert "ended as CANCELLED; its run is stopped in training: stopped by SIGTERM; everything stored is kept" in errors
    assert errors.count("this cluster keeps no accounts") <= 1
    assert "Bypassing sacct error" not in errors
    status, errors = ended(sweep(tmp_path, *words))
    assert status == 0, errors
    assert resume.curve(tmp_path) == resume.curve(undisturbed)


def test_a_job_whose_node_goes_down_continues_on_the_other(cluster: None, undisturbed: Path, tmp_path: Path) -> None:
    process = sweep(tmp_path, "hydra.launcher.partition=high", held_at="round 2")
    wait_for(tmp_path / "held-0", process)
    node = subprocess.run(["squeue", "--noheader", "--format=%N"], check=True, capture_output=True, text=True).stdout.strip()
    subprocess.run(["scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=test"], check=True)
    status, errors = ended(process)
    subprocess.run(["scontrol", "update", f"NodeName={node}", "State=RESUME"], check=False)  # it may have come back by itself
    assert status == 0, errors
    assert resume.metrics(tmp_path) == resume.metrics(undisturbed)


def test_a_job_whose_node_is_silent_waits_for_its_process_there_which_ends_when_the_node_comes_back(
    cluster: None, undisturbed: Path, tmp_path: Path
) -> None:
    """Slurm starts the job elsewhere when slurmd is gone, though the job's processes live on; slurmd kills these as soon as it is back."""
    process = sweep(tmp_path, "hydra.launcher.partition=high", held_at="round 2")
    wait_for(tmp_path / "held-0", process)
    node = subprocess.run(["squeue", "--noheader", "--format=%N"], check=True, capture_output=True, text=True).stdout.strip()
    folder = Path(os.environ["SLURM_CONF"]).parent
    os.kill(int((folder / f"slurmd-{node}.pid").read_text()), signal.SIGKILL)
    before = {stage: resume.rows(tmp_path, stage) for stage in resume.STAGES}
    try:
        while not [path for path in tmp_path.glob("submitit/*/*_log.*") if "waiting for process" in path.read_text()]:
            assert process.poll() is None, process.communicate()[1]
            time.sleep(0.5)
        assert {stage: resume.rows(tmp_path, stage) for stage in resume.STAGES} == before
    finally:
        subprocess.run(["slurmd", "-N", node], check=True)
    status, errors = ended(process)
    assert status == 0, errors
    assert restarts(tmp_path) == [1]
    resume.assert_equal(tmp_path, undisturbed, before)


def test_a_job_out_of_time_saves_and_goes_on(cluster: None, undisturbed: Path, tmp_path: Path) -> None:
    time_limit = ["hydra.launcher.timeout_min=3", "hydra.launcher.signal_delay_s=60"]
    status, errors = ended(sweep(tmp_path, "hydra.launcher.partition=high", *time_limit, held_at="fine-tuning"))
    assert status == 0, errors
    assert restarts(tmp_path) >= [1]
    resume.assert_equal(tmp_path, undisturbed, {})


def test_two_nodes_in_one_job_train_as_one_does_though_preempted(cluster: None, undisturbed: Path, tmp_path: Path) -> None:
    two = ["hydra.launcher.nodes=2", "trainer=ddp", "trainer.num_nodes=2", "trainer.devices=1", "trainer.accelerator=cpu"]
    process = sweep(tmp_path, "hydra.launcher.partition=low", *two, held_at="generation")
    wait_for(tmp_path / "held-0", process)
    preempt()
    while resume.steps_done(tmp_path) < 4:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.05)
    before = {stage: resume.rows(tmp_path, stage) for stage in ("rationales", "rounds")}
    preempt()
    status, errors = ended(process)
    assert status == 0, errors
    assert restarts(tmp_path) >= [1]
    for stage, kept in before.items():
        assert resume.rows(tmp_path, stage) == kept
        assert resume.content(tmp_path, stage) == resume.content(undisturbed, stage)
    ours, theirs = resume.curve(tmp_path), resume.curve(undisturbed)
    assert [row["step"] for row in ours] == [row["step"] for row in theirs]
    for one, other in zip(ours, theirs, strict=True):
        assert one == pytest.approx(other, rel=1e-2), "float32 sums in another order, over all steps"


def test_a_point_that_its_job_refuses_is_named_and_takes_no_other_with_it(cluster: None, random_model: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(random_model, broken)
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-64])
    models = ["model=hf", f"model.path={broken},{random_model}", "compressor=self", "evaluation.modes=[base]"]
    status, errors = ended(sweep(tmp_path / "outputs", "hydra.launcher.partition=high", *models))
    assert (status, errors.splitlines()[-1]) == (
        1,
        f"cotexp: 1 of 2 points failed: model.path={broken} (the same command again tries these alone)",
    )
    assert len(list(tmp_path.glob("outputs/runs/*/*/*/metrics.json"))) == 1


@pytest.fixture
def accounting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    yield from begun(tmp_path_factory.mktemp("accounting"), "--accounting")


def test_with_accounting_wrong_accounts_are_refused_and_a_forgotten_job_is_known(accounting: None) -> None:
    for option in ACCOUNTED:
        refused(option)
    job = subprocess.run(["sbatch", "--parsable", "--hold", "--wrap=true"], cwd="/tmp", check=True, capture_output=True, text=True).stdout.strip()
    subprocess.run(["scancel", job], check=True)
    while not (states := slurm.accounts([job])) or states[job] == "PENDING":
        time.sleep(0.2)
    assert states[job].startswith("CANCELLED")


@pytest.fixture
def suspending(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    yield from begun(tmp_path_factory.mktemp("suspending"), "--suspension")


def test_a_suspended_job_goes_on_where_it_was(suspending: None, undisturbed: Path, tmp_path: Path) -> None:
    moments = ["generation", "fine-tuning"]
    process = sweep(tmp_path, "hydra.launcher.partition=suspended", held_at=",".join(moments))
    for number, _ in enumerate(moments):
        wait_for(tmp_path / f"held-{number}", process)
        preempt(until=tmp_path / f"end-{number}")
        wait_for_state("suspended", "SUSPENDED", process)
        before = {stage: resume.rows(tmp_path, stage) for stage in resume.STAGES}
        (tmp_path / f"go-{number}").touch()
        (tmp_path / f"end-{number}").touch()
        wait_for_state("suspended", "RUNNING", process)
    status, errors = ended(process)
    assert status == 0, errors
    assert restarts(tmp_path) == [0]
    resume.assert_equal(tmp_path, undisturbed, before)
