#!/usr/bin/env bash
# One would expect that what a signal's handler raises while the main thread waits in `ray.get` arrives there, as it does from `time.sleep` or
# `queue.get`. Whatever is raised arrives as a plain SystemExit with the status 1: `except` of its own class does not see it, and an `except Exception`
# that should keep a program alive does not either.
# Why it matters here: the first Ctrl-C raises signals.Stopped, a SystemExit with the status 130. A sweep on Ray ended with the status 1 and without its
# last line. cotexp/config/ray_tasks.py catches every SystemExit there and asks for the noted signal.
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
import threading
import time

import ray


class Stopped(SystemExit):
    pass


ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False)
task = ray.remote(lambda: time.sleep(3600)).remote()


def seen(wait, raised):
    def handler(number, frame):
        raise raised

    signal.signal(signal.SIGUSR1, handler)
    threading.Timer(2, os.kill, (os.getpid(), signal.SIGUSR1)).start()
    try:
        wait()
    except BaseException as error:
        return f"{type(error).__name__}({error})"


for raised in (Stopped(130), ValueError("a word")):
    print(type(raised).__name__, "arrives from time.sleep as", seen(lambda: time.sleep(60), raised), flush=True)
    print(type(raised).__name__, "arrives from ray.get as", seen(lambda: ray.get(task), raised), flush=True)
ray.cancel(task, force=True)
PYTHON
export RAY_USAGE_STATS_ENABLED=0 RAY_AUTH_MODE=disabled
"$folder/venv/bin/python" -c "import ray; print('ray', ray.__version__)"
"$folder/venv/bin/python" waits.py 2>/dev/null | tee seen.txt
[ "$(grep -c 'from ray.get as SystemExit(1)' seen.txt)" = 2 ] && [ "$(grep -c -- 'from time.sleep as SystemExit' seen.txt)" = 0 ]
