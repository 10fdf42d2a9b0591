#!/usr/bin/env bash
# One would expect that what a signal's handler raises while the main thread waits in `ray.get` arrives there, as it does from `time.sleep` or
# `queue.get`. An Exception does. A SystemExit, or a subclass of it, arrives as a plain SystemExit with the status 1: class, status and attributes are
# lost, and `except` of the subclass does not see it.
# Why it matters here: the first Ctrl-C raises signals.Stopped, a SystemExit with the status 130. A sweep on Ray ended with the status 1 and without its
# last line. cotexp/config/ray_tasks.py catches every SystemExit there and asks for the noted signal. A task, in turn, whose SIGINT is inherited as
# ignored, as it is below a shell's background job, is not ended by `ray.cancel`, without a word; ours sets a handler first.
# Source: ray/_raylet.pyx, check_signals and check_status; ray/_private/worker.py, get.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "ray==2.60.0"
cd "$folder"
cat > waits.py <<'PYTHON'
import os
import signal
import sys
import threading
import time

import ray


class Stopped(SystemExit):
    pass


class Refused(Exception):
    pass


raised = {"Stopped": Stopped(130), "Refused": Refused("a word")}[sys.argv[2]]


def handler(number, frame):
    raise raised


ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)
task = ray.remote(time.sleep).remote(600)
signal.signal(signal.SIGUSR1, handler)
threading.Timer(2, os.kill, (os.getpid(), signal.SIGUSR1)).start()
try:
    time.sleep(600) if sys.argv[1] == "time.sleep" else ray.get(task)
except BaseException as error:
    print(f"{sys.argv[1]}: {type(error).__name__}({error})")
ray.cancel(task, force=True)
PYTHON
export RAY_USAGE_STATS_ENABLED=0 RAY_AUTH_MODE=disabled
"$folder/venv/bin/python" -c "import ray; print('ray', ray.__version__)"
for where in time.sleep ray.get; do
  for what in Stopped Refused; do "$folder/venv/bin/python" waits.py "$where" "$what" 2>/dev/null; done
done | tee seen.txt
printf 'time.sleep: Stopped(130)\ntime.sleep: Refused(a word)\nray.get: SystemExit(1)\nray.get: Refused(a word)\n' | diff - seen.txt
