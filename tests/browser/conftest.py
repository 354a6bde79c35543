"""One browser for all tests of this folder."""

import pytest
from browser.chromium import MISSING, Chromium, find_chromium

DESKTOP = 1280


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    if find_chromium() is None:
        pytest.fail(MISSING, pytrace=False)
    browser = Chromium(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture
def open_page(browser):
    """Open pages that are closed again after the test, whatever happened."""
    pages = []

    def open_(path, width=DESKTOP, **options):
        pages.append(browser.open(path, width, **options))
        return pages[-1]

    yield open_
    for page in pages:
        page.close()
