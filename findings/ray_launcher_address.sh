#!/usr/bin/env bash
# One would expect that `hydra.launcher.ray.init.address=...` of Hydra's Ray launcher joins the cluster there. The launcher sets object_store_memory
# for every cluster, also for one that it only joins, and Ray refuses that setting beside an address. `ray.init` is right in both: it joins by the
# address alone. The launcher's own tests begin a cluster each time. With object_store_memory=null in the settings it joins.
# Why it matters here: hydra/launcher=ray with an address is what a user with a cluster types. cotexp/config/ray_tasks.py runs the points by Ray's own
# API, and asks for a small store only of a cluster that it begins.
# Source: hydra_plugins/hydra_ray_launcher/_core.py, launch (setdefault of object_store_memory); ray/_private/worker.py, init.
set -euo pipefail
folder=$(mktemp -d)
trap '"$folder/venv/bin/ray" stop --force >/dev/null 2>&1 || true; rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "ray==2.60.0" "hydra-core==1.3.8"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps "hydra-ray-launcher==1.2.2"
cd "$folder"
cat > app.py <<'PYTHON'
import hydra


@hydra.main(version_base="1.3", config_path=None)
def app(config):
    return config.x


if __name__ == "__main__":
    app()
PYTHON
export RAY_USAGE_STATS_ENABLED=0 RAY_AUTH_MODE=disabled RAY_ADDRESS=
python() { "$folder/venv/bin/python" "$@"; }
python -c "import hydra, ray; from importlib.metadata import version; print('ray', ray.__version__, 'hydra-ray-launcher', version('hydra-ray-launcher'))"
port=$(python -c "import socket; held = socket.socket(); held.bind(('127.0.0.1', 0)); print(held.getsockname()[1])")
"$folder/venv/bin/ray" start --head --port="$port" --num-cpus=1 --include-dashboard=false --disable-usage-stats >/dev/null 2>&1
RAY="hydra.launcher.ray.init.address=127.0.0.1:$port"
changed=0
python -c "import ray; ray.init(address='127.0.0.1:$port', log_to_driver=False); print('ray.init joins', len(ray.nodes()), 'node')" 2>/dev/null || changed=1
status=0; python app.py -m hydra/launcher=ray "$RAY" +x=1 >plain.txt 2>&1 || status=$?
echo "the launcher with the address: status $status"
grep "object_store_memory" plain.txt | tail -1 || changed=1
[ "$status" -ne 0 ] || changed=1
status=0; python app.py -m hydra/launcher=ray "$RAY" +hydra.launcher.ray.init.object_store_memory=null +x=1 >null.txt 2>&1 || status=$?
echo "the launcher with the address and object_store_memory=null: status $status"
[ "$status" -eq 0 ] || changed=1
exit "$changed"
