"""Pages of ours in a headless Chromium, which must ask for nothing and say nothing."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip


def started() -> Iterator[Any]:
    """The body of a fixture: one browser for a module's tests."""
    if not CHROMIUM.exists():
        pytest.skip("no Chromium on this machine")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=str(CHROMIUM), args=list(FLAGS))
        yield chromium
        chromium.close()


def opened(browser: Any, page_file: Path, **context: Any) -> tuple[Any, list[str]]:
    """The page, and all that it said, asked for or failed at beside loading itself."""
    trouble: list[str] = []
    page = browser.new_context(**context).new_page()
    page.on("console", lambda message: trouble.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: trouble.append(f"error: {error}"))
    page.on("dialog", lambda dialog: (trouble.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    page.on("request", lambda request: request.url == page_file.as_uri() or trouble.append(f"request: {request.url}"))
    page.goto(page_file.as_uri())
    return page, trouble
