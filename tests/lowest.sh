#!/usr/bin/env bash
# Run all checks and tests with the lowest version that each requirement allows. Extra arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."

export TEST_VENV=.venv-lowest PIP_CONSTRAINT=.venv-lowest/lowest.txt
mkdir -p "$TEST_VENV"
sed -E 's/>=([^,]*),<[^ ]*/==\1/' requirements.txt tests/requirements.txt > "$PIP_CONSTRAINT"
bash tests/run.sh "$@"
"$TEST_VENV/bin/python" .tools/audit.py
