"""The pages that follow from the code follow it still."""

from __future__ import annotations

from server.settings.flags import ALL_SETTINGS
from tools import gen_docs

PAGE = gen_docs.ROOT / "docs" / "configuration.md"
METRICS = gen_docs.ROOT / "docs" / "metrics.md"


def test_the_configuration_page_is_what_the_settings_say() -> None:
    assert PAGE.read_text(encoding="utf-8") == gen_docs.configuration_page(), "run `make docs`"


def test_the_table_of_metrics_is_what_the_server_says() -> None:
    assert METRICS.read_text(encoding="utf-8") == gen_docs.metrics_page(), "run `make docs`"


def test_every_flag_is_on_the_configuration_page() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for setting in ALL_SETTINGS:
        for name in (setting.flag, *setting.aliases):
            assert f"`--{name}`" in text
