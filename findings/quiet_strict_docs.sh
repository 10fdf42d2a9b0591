#!/usr/bin/env bash
# One would expect that --quiet changes what a build prints and --strict what it returns. In MkDocs and its continuation ProperDocs, --strict counts
# the warnings that are logged, and --quiet sets the logger to errors alone: no warning is counted, and a site with broken links passes.
# Why it matters here: the documentation is built strictly in CI; a quiet build there would check nothing. `make docs` and the test that builds
# the site never use --quiet, and tests/test_docs.py builds broken pages that must fail.
# Source: mkdocs/commands/build.py (CountHandler) and mkdocs/__main__.py (quiet_option), and the same files of properdocs.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "mkdocs==1.6.1" "properdocs==1.6.7" "properdocs-theme-readthedocs==1.6.5"
cd "$folder"
mkdir docs
printf '# Home\n\n[x](nowhere.md)\n' > docs/index.md
changed=0
for tool in mkdocs properdocs; do
  printf 'site_name: x\ntheme: readthedocs\nstrict: true\n' > "$tool.yml"
  "$folder/venv/bin/$tool" --version
  strict=0; "$folder/venv/bin/$tool" build --strict --config-file "$tool.yml" 2>&1 | grep -i "nowhere" || true
  "$folder/venv/bin/$tool" build --strict --config-file "$tool.yml" >/dev/null 2>&1 || strict=$?
  quiet=0; "$folder/venv/bin/$tool" build --strict --quiet --config-file "$tool.yml" >/dev/null 2>&1 || quiet=$?
  echo "$tool: a broken link, --strict: status $strict; --strict --quiet: status $quiet"
  if [ "$strict" -eq 0 ] || [ "$quiet" -ne 0 ]; then changed=1; fi
done
exit "$changed"
