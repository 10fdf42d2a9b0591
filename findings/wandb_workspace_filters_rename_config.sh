#!/usr/bin/env bash
# One would expect that a filter on Config("name") in a W&B workspace made by wandb-workspaces reads the key `name` of the runs' config, as grouping by
# Config("name") does. A filter passes its key through a table of words of W&B's pages, whatever its section: `name` becomes ID, `group` becomes
# Group, `tags` Tags, `state` State. The view that is saved then names a config key ID, which no run has, and nothing says so.
# Why it matters here: every run of an experiment has its name in the config key `name`, and `cotexp workspace EXPERIMENT` filters by it. The product
# logs the name a second time, as ablation/experiment, and filters by that.
# Source: wandb_workspaces/expr.py, FE_METRIC_NAME_MAP, which leads both ways.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "wandb-workspaces==0.4.13" "wandb==0.31.0"
cd "$folder"
WANDB_MODE=offline "$folder/venv/bin/python" - <<'PYTHON'
import sys
from importlib.metadata import version

import wandb_workspaces.workspaces as ws

print("wandb-workspaces", version("wandb-workspaces"), "wandb", version("wandb"))
asked = {}
for key in ("name", "group", "tags", "ablation/experiment"):
    chosen = ws.RunsetSettings(filters=[ws.Config(key) == "mine"], groupby=[ws.Config(key)])
    runs = ws.Workspace(entity="me", project="p", runset_settings=chosen)._spec["spec"]["section"]["runSets"][0]
    filtered, grouped = runs["filters"]["filters"][0]["key"], runs["grouping"][0]
    print(f"Config({key!r}): filtered by {filtered['section']} {filtered['name']!r}, grouped by {grouped['section']} {grouped['name']!r}")
    asked[key] = filtered["name"]
if asked != {"name": "ID", "group": "Group", "tags": "Tags", "ablation/experiment": "ablation/experiment"}:
    sys.exit(f"the behaviour has changed: {asked}")
PYTHON
