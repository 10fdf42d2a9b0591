"""The rank of this machine and the address of machine 0."""

from __future__ import annotations

from pathlib import Path

import pytest

from cotexp.devices import rendezvous
from cotexp.settings.base import ConfigError
from cotexp.settings.training import Trainer

TWO = Trainer(strategy="fsdp", devices=4, num_nodes=2)


def test_one_machine_needs_no_address() -> None:
    rendezvous.check(Trainer(strategy="ddp", devices=2), {})
    assert rendezvous.launcher_options(Trainer(strategy="ddp", devices=2)) == ["--standalone"]


@pytest.mark.parametrize(
    ("environment", "rank", "address"),
    [
        ({"SLURM_NODEID": "1", "SLURM_STEP_NODELIST": "gpu[03-05,9]"}, 1, "gpu03"),
        ({"SLURM_NODEID": "0", "SLURM_STEP_NODELIST": "alpha,beta"}, 0, "alpha"),
        ({"GROUP_RANK": "1", "MASTER_ADDR": "10.0.0.1", "LOCAL_RANK": "0"}, 1, "10.0.0.1"),
    ],
)
def test_rank_and_address_come_from_slurm_or_torchrun(environment: dict[str, str], rank: int, address: str) -> None:
    rendezvous.check(TWO, environment)
    assert rendezvous.rank(TWO, environment) == rank
    assert rendezvous.address(TWO, environment) == address


def test_settings_take_precedence_over_the_environment() -> None:
    trainer = Trainer(strategy="fsdp", devices=4, num_nodes=2, node_rank=1, main_address="here")
    assert rendezvous.rank(trainer, {"SLURM_NODEID": "0"}) == 1
    assert rendezvous.address(trainer, {"MASTER_ADDR": "there"}) == "here"
    assert rendezvous.launcher_options(trainer) == ["--nnodes=2", "--node-rank=1", "--master-addr=here", "--master-port=29511"]


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({}, r"^trainer\.node_rank must number this machine from 0 to 1; got none, and neither Slurm nor torchrun sets it$"),
        ({"SLURM_NODEID": "2"}, r"^trainer\.num_nodes must be the number of machines; got 2, and SLURM_NODEID=2$"),
        ({"SLURM_NODEID": "1"}, r"^trainer\.main_address must be the address at which other machines reach machine 0"),
        ({"LOCAL_RANK": "3", "GROUP_RANK": "0"}, r"^trainer\.devices: start the run once per machine"),
    ],
)
def test_machines_that_cannot_find_each_other_are_refused(environment: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        rendezvous.check(TWO, environment)


def test_a_node_whose_name_is_no_host_is_reached_at_the_address_that_slurm_uses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scontrol = tmp_path / "scontrol"
    scontrol.write_text('#!/bin/sh\n[ "$4" = no-such-host.invalid ] && echo NodeName=$4 Arch=x86_64 NodeAddr=10.0.0.7 NodeHostName=vm\n')
    scontrol.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    node = {"SLURM_NODEID": "0", "SLURM_STEP_NODELIST": "no-such-host.invalid"}
    assert rendezvous.address(TWO, node) == "10.0.0.7"
    scontrol.unlink()
    assert rendezvous.address(TWO, node) == "no-such-host.invalid"


def test_jobs_of_slurm_that_share_a_machine_meet_at_different_ports() -> None:
    numbered = {"SLURM_NODEID": "1", "SLURM_JOB_ID": "120042"}
    assert rendezvous.port(TWO, numbered) == 29553
    assert rendezvous.port(TWO, {}) == 29511
    by_hand = Trainer(strategy="ddp", devices=2, num_nodes=2, node_rank=0, main_address="here")
    assert rendezvous.port(by_hand, numbered) == 29511, "the two machines may be two jobs"
