"""Ask the package index which vulnerabilities are known of the required packages, in the versions installed here.

    pip install -r requirements.txt -r tests/requirements.txt
    python .tools/audit.py [INDEX]

INDEX is the address of the packages' JSON, PyPI's unless given. A vulnerability that another version mends makes the
exit status 1: raise a bound. One that none mends yet is only told, and so is a package of which the index says nothing.
"""

import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
PYPI = "https://pypi.org/pypi"
TIMEOUT_S = 20


def release(index: str, name: str, number: str) -> dict[str, Any] | None:
    """What the index says of a release. A mirror may know the newest one only, and that without its number."""
    for page in (f"{name}/{number}", name):
        try:
            with urlopen(f"{index}/{page}/json", timeout=TIMEOUT_S) as answer:
                facts: dict[str, Any] = json.load(answer)
        except HTTPError:
            continue
        if facts["info"]["version"] == number:
            return facts
    return None


def audit(index: str) -> int:
    lines = [line for path in (ROOT, ROOT / "tests") for line in (path / "requirements.txt").open(encoding="utf-8")]
    names = [Requirement(line.split("#")[0].strip()).name for line in lines]
    unknown, mended = [], 0
    for name in names:
        number = Version(version(name)).public
        facts = release(index, name, number)
        if facts is None:
            unknown.append(f"{name} {number}")
        for found in facts["vulnerabilities"] if facts else []:
            if not found["withdrawn"]:
                mended += bool(found["fixed_in"])
                print(f"{name} {number}: {found['id']}, mended in {', '.join(found['fixed_in']) or 'no version yet'}")
    print(f"To mend: {mended}. The index knows {len(names) - len(unknown)} of {len(names)} packages.")
    if unknown:
        print(f"The index says nothing of {', '.join(unknown)}.")
    return int(mended > 0)


if __name__ == "__main__":
    try:
        sys.exit(audit(sys.argv[1] if len(sys.argv) > 1 else PYPI))
    except URLError as error:
        print(f"The index does not answer, so nothing is known: {error.reason}")
