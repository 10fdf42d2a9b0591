#!/usr/bin/env bash
# One would expect that `# @package _global_` counts in any of the comments that begin a settings file, and that completion offers the options of a
# group that lie in folders. Hydra stops at the first comment that is no @ line, and moves the file's content below its group without a word; and it
# offers nothing for experiment= when all its options are in folders, or only those that are not.
# Why it matters here: people describe their experiments in the first line. cotexp reads the line in any comment at the beginning, names a file of
# several slots that lacks it, and completes by itself.
# Source: hydra/plugins/config_source.py (_get_header_dict), hydra/plugins/completion_plugin.py (_query_config_groups).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "hydra-core==1.3.8"
cd "$folder"
mkdir -p conf/experiment/lab
printf 'name: none\ndefaults:\n  - _self_\n  - optional experiment: null\n' > conf/config.yaml
printf '# @package _global_\n# What it is for.\nname: mine\n' > conf/experiment/lab/first.yaml
printf '# What it is for.\n# @package _global_\nname: mine\n' > conf/experiment/lab/second.yaml
printf '# @package _global_\nname: mine\n' > conf/experiment/plain.yaml
cat > app.py <<'PY'
import hydra

@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(config):
    print(dict(config))

main()
PY
app() { "$folder/venv/bin/python" app.py hydra.run.dir=. hydra.output_subdir=null "$@"; }
"$folder/venv/bin/python" app.py --version
first=$(app experiment=lab/first)
second=$(app experiment=lab/second)
offered=$(COMP_LINE="python app.py experiment=" "$folder/venv/bin/python" app.py -sc query=bash)
echo "the line first:        $first"
echo "after another comment: $second"
echo "offered for experiment=: $offered"
[[ "$first" == *"'name': 'mine'"* && "$second" == *"'name': 'none'"* && "$offered" == "experiment=plain" ]]
