#!/usr/bin/env bash
# Run all checks, and the default tests without the browser, with the lowest version that each requirement allows.
# By hand, where a requirement has changed. Usage: bash tests/lowest.sh [ARGUMENTS OF PYTEST]
set -euo pipefail
cd "$(dirname "$0")/.."

export TEST_BROWSER=none TEST_VENV=.venv-lowest PIP_CONSTRAINT=.venv-lowest/lowest.txt
mkdir -p "$TEST_VENV"
sed -E 's/>=([^,]*),<[^ ]*/==\1/' requirements.txt tests/requirements.txt > "$PIP_CONSTRAINT"
bash tests/run.sh -m "not long and not browser" "$@"
"$TEST_VENV/bin/python" .tools/audit.py
