# SPDX-License-Identifier: GPL-2.0
"""A Chromium without a window: prints the decks, and reads the site in tests."""
import base64
import contextlib
import os
import shutil

from kit import die

FLAGS = ["--headless=new", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
         "--disable-dev-shm-usage", "--host-resolver-rules=MAP * ~NOTFOUND"]  # nothing may come from a network


@contextlib.contextmanager
def browser(width=1280, height=900):
    """with browser() as driver: a selenium driver; the console's messages are in driver.get_log("browser")."""
    try:
        from selenium import webdriver
        from selenium.webdriver.chrome.service import Service
    except ImportError:
        die("python3-selenium is missing", "tools/packages docs")
    if not shutil.which("chromedriver"):
        die("chromedriver is missing", "tools/packages docs")
    options = webdriver.ChromeOptions()
    for flag in FLAGS + [f"--window-size={width},{height}"] + (["--no-sandbox"] if os.geteuid() == 0 else []):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(service=Service(shutil.which("chromedriver")), options=options)
    try:
        yield driver
    finally:
        driver.quit()


def wait(driver, script, what):
    """Until a script returns something true."""
    from selenium.webdriver.support.ui import WebDriverWait
    return WebDriverWait(driver, 30).until(lambda driver: driver.execute_script(script), what)


def print_deck(driver, page, out):
    """A deck as PDF, one slide a page."""
    driver.get(f"{page.as_uri()}?print-pdf&pdfSeparateFragments=false")
    wait(driver, "return window.Reveal && Reveal.isReady() && document.querySelectorAll('.pdf-page').length", f"{page.name} does not get ready")
    pdf = driver.execute_cdp_cmd("Page.printToPDF", {"printBackground": True, "preferCSSPageSize": True, "marginTop": 0, "marginBottom": 0,
                                                     "marginLeft": 0, "marginRight": 0})
    out.write_bytes(base64.b64decode(pdf["data"]))
