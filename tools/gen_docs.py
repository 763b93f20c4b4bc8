"""Write the pages of docs/ that follow from the code.

python tools/gen_docs.py            writes them
python tools/gen_docs.py --check    writes nothing; exits 1 if anything would change
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from server.settings.accepted import accepted_settings  # noqa: E402  # Found by the line above.
from server.settings.config import Effect, Setting, settings  # noqa: E402
from tools.metrics_table import metrics_table  # noqa: E402

INTRODUCTION: Final = """\
# Configuration

<!-- Written by `make docs` from config.py and accepted.py in server/settings/. Do not edit. -->

Tenure takes etcd's flags by etcd's rules: one dash or two, `--flag value` or `--flag=value`, a
boolean alone or as `--flag=false`, durations such as `1m30s`. Each can also be set in the
environment: `--max-txn-ops` is `ETCD_MAX_TXN_OPS`. Setting one both ways is refused.

Or all of them stand in a YAML file, `--config-file` or `ETCD_CONFIG_FILE`, with etcd's keys and
types: the flags' names, durations in nanoseconds, lists of URLs as one text, certificates in the
sections `client-transport-security` and `peer-transport-security`. Every other flag and
variable is then ignored, as etcd does it. A key that nobody knows is named in the log.

`tenure` ends with 2 if an argument cannot be read as a flag, and with 1 if a setting cannot be
honoured; the reason is on standard error.
"""
METRICS_HEADING: Final = "## All of them\n"


def configuration_page() -> str:
    return "\n".join(_configuration_lines()) + "\n"


def _configuration_lines() -> Iterator[str]:
    yield INTRODUCTION
    for group, members in groupby(settings(), key=lambda each: each.group):
        yield f"## {group}\n"
        yield "| flag | value | default | what it does |\n| --- | --- | --- | --- |"
        for each in members:
            yield f"| {_names(each)} | {_cell(each.kind.name)} | `{each.default}` | {each.help} |"
        yield ""
    yield (
        "## Accepted without effect\n\n"
        "Known flags of etcd 3.4 to 3.6 that change nothing here. Their values must be readable,"
        " and each one\nthat is given is named in a log line at start (`flag has no effect`).\n"
    )
    accepted = accepted_settings()
    ignored = [each for each in accepted if each.effect is Effect.NONE]
    for group, members in groupby(ignored, key=lambda each: each.group):
        yield f"**{group}:** {', '.join(map(_names, members))}\n"
    yield (
        "## Refused\n\nFlags of etcd that would leave the server something else than it was asked"
        " to be. Any value but the\ndefault ends the start.\n"
    )
    yield "| flag | why |\n| --- | --- |"
    for each in accepted:
        if each.effect is Effect.REFUSED:
            yield f"| {_names(each)} | {each.help} |"


def metrics_page() -> str:
    """The page, of which only what stands below the last heading is written here."""
    page = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    head = page[: page.index(METRICS_HEADING) + len(METRICS_HEADING)]
    return f"{head}\n{metrics_table()}"


def _names(setting: Setting) -> str:
    return ", ".join(f"`--{name}`" for name in (setting.flag, *setting.aliases))


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main() -> int:
    changed = 0
    for name, text in (("configuration", configuration_page()), ("metrics", metrics_page())):
        page = ROOT / "docs" / f"{name}.md"
        if page.exists() and page.read_text(encoding="utf-8") == text:
            continue
        changed = 1
        if "--check" not in sys.argv[1:]:
            page.write_text(text, encoding="utf-8")
            print(f"wrote {page.relative_to(ROOT)}")
    return changed if "--check" in sys.argv[1:] else 0


if __name__ == "__main__":
    sys.exit(main())
