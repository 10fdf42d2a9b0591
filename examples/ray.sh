#!/usr/bin/env bash
# A sweep on a cluster of Ray that is running: on its first machine `ray start --head`, on every other one `ray start --address=FIRST:6379`.
# Each point is a task of two cores and one GPU; Ray starts it again elsewhere if its node dies. CPUS and GPUS change what a point asks for.
#
#     docs/launchers.md has the two lines that install Ray's launcher
#     bash examples/ray.sh
#
# outputs/ must be on a disk that all machines see.
set -euo pipefail

sweep=${SWEEP:-macc/stop_rules}

cotexp run -m "sweep=$sweep" \
  hydra/launcher=ray \
  hydra.launcher.ray.init.address=auto \
  "hydra.launcher.ray.remote.num_cpus=${CPUS:-2}" \
  "hydra.launcher.ray.remote.num_gpus=${GPUS:-1}"

cotexp report "$sweep" --format all
