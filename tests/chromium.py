"""The browser of the tests marked `browser`: Chromium, driven by Playwright, asked to stay at home."""

import os
import shutil
from contextlib import contextmanager

import pytest

QUIET = (
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--no-first-run",
)  # fmt: skip


def executable():
    """Path of Chromium. Without one the test is skipped, but fails where SHC_REQUIRE_BROWSER is set, as in CI."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        told = "this test needs Chromium on the PATH; on Debian and Ubuntu: apt install chromium"
        (pytest.fail if os.environ.get("SHC_REQUIRE_BROWSER") else pytest.skip)(told)
    return found


@contextmanager
def launched():
    """A headless browser of Playwright's synchronous interface."""
    path = executable()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(QUIET))
        yield browser
        browser.close()
