#!/usr/bin/env bash
# Set everything up on a bare machine and run all checks and tests.
# Usage: bash tests/run.sh [--all] [ARGUMENTS OF PYTEST]; --all runs the tests that are marked as long, too.
set -euo pipefail
cd "$(dirname "$0")/.."

all=
if [ "${1:-}" = --all ]; then
  all=yes
  shift
fi

venv=${TEST_VENV:-.venv}
[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
"$venv/bin/pip" install --quiet --disable-pip-version-check -r requirements.txt -r tests/requirements.txt

find_chromium() {
  for name in chromium chromium-browser google-chrome; do
    command -v "$name" && return
  done
  "$venv/bin/python" - <<'PYTHON'
import sys
from pathlib import Path
from playwright.sync_api import sync_playwright

with sync_playwright() as playwright:
    path = playwright.chromium.executable_path
print(path if Path(path).is_file() else "", end="")
sys.exit(not Path(path).is_file())
PYTHON
}

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi; }

apt_install() {
  command -v apt-get >/dev/null && as_root apt-get update -qq && as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "$1" >/dev/null
}

browser=${TEST_BROWSER:-$(find_chromium || true)}
if [ -z "$browser" ]; then
  echo "No Chromium here: installing one." >&2
  apt_install chromium >&2 || timeout 300 "$venv/bin/playwright" install --with-deps chromium >&2 || true
  browser=$(find_chromium) || browser=""
fi
export TEST_BROWSER=$browser
[ -n "$TEST_BROWSER" ] || echo "WARNING: no browser could be had: the browser tests will be SKIPPED." >&2

PATH=$PATH:/usr/sbin  # where nginx lies
command -v nginx >/dev/null || apt_install nginx >&2 || true
command -v nginx >/dev/null || echo "WARNING: no nginx could be had: the tests behind a proxy will be SKIPPED." >&2

"$venv/bin/ruff" check .
"$venv/bin/ruff" format --check .
rm -rf imgsearch/tabs imgsearch/facts  # of older checkouts: ignored files keep the folders
find imgsearch -name '*.pyi' -delete  # Gradio writes them at import; mypy would read them instead of the code
"$venv/bin/mypy"
# Two processes, neighbouring tests together: they share what they start. With more than one thread of OpenMP, both
# would wait for each other, busily.
OMP_NUM_THREADS=1 "$venv/bin/python" -m pytest -n 2 --dist worksteal "$@"
[ -z "$all" ] || "$venv/bin/python" -m pytest -m long "$@"  # one after the other: some of them measure load
