"""Whether a hole is known in what the server is made of: `make audit`.

pip-audit asks the package index, which may know advisories, or may not be there, or be a mirror
that knows none; that is told from an index that knows of no hole, for pip-audit itself calls both
a success. Where it cannot be asked, what is left is requirements/audited.toml: what people looked
at, and when. The list is held to the lock file in any case, here and in tests/test_packaging.py.

Exit code 1: a hole is known, or a version that nobody has looked at is locked.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
LOCK: Final = ROOT / "requirements" / "run.txt"
LIST: Final = ROOT / "requirements" / "audited.toml"
ASK_MAX_S: Final = 120
_PIN: Final = re.compile(r"^([a-z0-9.-]+)==(\S+)", re.MULTILINE)


def locked() -> dict[str, str]:
    """Version by package, of all that the server is run with."""
    return dict(_PIN.findall(LOCK.read_text(encoding="utf-8")))


def audited() -> dict[str, dict[str, Any]]:
    """By package what was looked at."""
    return tomllib.loads(LIST.read_text(encoding="utf-8"))


def unseen() -> list[str]:
    """What is locked and not looked at in that version, or looked at and not locked."""
    seen = {name: entry["version"] for name, entry in audited().items()}
    return sorted(f"{name} {version}" for name, version in locked().items() ^ seen.items())


def ask() -> tuple[list[str], str]:
    """The holes that pip-audit knows of, and why it could not ask of all; empty if it could."""
    command = ["-m", "pip_audit", "-r", str(LOCK), "--no-deps", "--disable-pip", "-f", "json"]
    try:
        done = subprocess.run(
            [sys.executable, *command],
            capture_output=True,
            text=True,
            check=False,
            timeout=ASK_MAX_S,
        )
        told = json.loads(done.stdout)["dependencies"]
    except subprocess.TimeoutExpired:
        return [], f"no answer within {ASK_MAX_S} s"
    except (ValueError, KeyError):
        return [], (done.stderr.strip().splitlines() or ["pip-audit said nothing"])[-1][:200]
    holes = [
        f"{each['name']} {each['version']}: {hole['id']}, fixed in {hole['fix_versions']}"
        for each in told
        for hole in each.get("vulns", ())
    ]
    skipped = [each["name"] for each in told if "skip_reason" in each]
    return holes, f"the index knows nothing of {', '.join(skipped)}" if skipped else ""


def main() -> int:
    different = unseen()
    for each in different:
        print(f"locked or looked at, but not both: {each}")
    holes, reason = ask()
    for hole in holes:
        print(f"KNOWN HOLE: {hole}")
    if reason:
        dates = sorted(str(entry["looked_at"]) for entry in audited().values())
        print(f"pip-audit could not ask: {reason}")
        print(f"what is left is {LIST.name}: looked at between {dates[0]} and {dates[-1]}")
    elif not holes:
        print(f"pip-audit knows of no hole in the {len(locked())} packages of {LOCK.name}")
    return 1 if holes or different else 0


if __name__ == "__main__":
    sys.exit(main())
