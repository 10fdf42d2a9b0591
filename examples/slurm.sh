#!/usr/bin/env bash
# A sweep on Slurm, from a login node: every point is a job of one GPU that saves itself when it is preempted or out of time, and queues again.
# The command waits; if you end it, the jobs go on. The same script again computes what is missing. Change partition, hours and sweep to yours.
#
#     pip install '.[launchers]'       # in a clone, with the environment of the jobs active
#     bash examples/slurm.sh
#
# outputs/ must be on a disk that all nodes see. docs/launchers.md says what happens to a job in every case.
set -euo pipefail

partition=${PARTITION:-gpu}
sweep=${SWEEP:-macc/stop_rules}

cotexp run -m "sweep=$sweep" \
  hydra/launcher=submitit_slurm \
  "hydra.launcher.partition=$partition" \
  hydra.launcher.gpus_per_node=1 \
  hydra.launcher.cpus_per_task=8 \
  hydra.launcher.mem_gb=32 \
  hydra.launcher.timeout_min=240 \
  hydra.launcher.array_parallelism=8

cotexp report "$sweep" --format all
