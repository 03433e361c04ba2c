"""Seconds from the click to the answer on the Capacity page, in a real browser, for scenarios that name a rate.

Run: `python benchmarks/capacity_page.py [SCENARIO …]`; exit code 1 above 10 s. Needs Chromium and playwright.

The app runs in a process of its own, as `make app` starts it. Progress counts when a bar with its text is on the page.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from advisor.catalog.load import load_catalog
from advisor.decision.scenarios import load_scenarios
from tests.browser.conftest import CHROMIUM, FLAGS, Server

LIMIT_S = 10.0
SETTLED = '[data-testid="stApp"][data-test-script-state="notRunning"]'
PROGRESS = '[data-testid="stProgress"]'
ANSWERED = 'button:has-text("Answered")'


def scenarios_with_a_rate() -> list[str]:
    found = load_scenarios(load_catalog())
    return [key for key, scenario in found.items() if scenario.requests_per_s or scenario.requests_per_day]


def answer_s(page: Page, url: str, scenario: str) -> tuple[float, float, float, str, int]:
    """(page ready, first progress, answer on the page, what the calculation took, different progress texts), seconds
    but the last; progress and answer from the click."""
    opened = time.perf_counter()
    page.goto(f"{url}/capacity?scenario={scenario}&lang=en")
    button = page.get_by_role("button", name="Find the fewest replicas")
    button.wait_for(timeout=60_000)
    page.wait_for_selector(SETTLED, timeout=60_000)
    ready = time.perf_counter() - opened
    start = time.perf_counter()
    button.click()
    first, seen = float("nan"), set()
    while not page.locator(ANSWERED).count() or not page.locator(SETTLED).count():
        if time.perf_counter() - start > 120:
            raise TimeoutError(scenario)
        for text in page.locator(PROGRESS).all_inner_texts():
            first = first if seen else time.perf_counter() - start
            seen.add(text)
        time.sleep(0.02)
    answer = time.perf_counter() - start
    caption = page.get_by_text("trials with three seeds").inner_text()
    return ready, first, answer, caption.split()[-2], len(seen)


def main() -> int:
    worst = 0.0
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        os.environ.setdefault("PYTHONPATH", str(Path(__file__).resolve().parents[1]))
        server = Server(Path(folder))
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        try:
            page = chromium.new_page(viewport={"width": 1440, "height": 1000}, locale="en-US")
            print(f"{'scenario':32}{'page s':>8}{'progress s':>12}{'answer s':>10}{'of it work':>12}{'texts':>7}")
            for scenario in sys.argv[1:] or scenarios_with_a_rate():
                ready, first, answer, work, texts = answer_s(page, server.url, scenario)
                worst = max(worst, answer)
                print(f"{scenario:32}{ready:8.2f}{first:12.2f}{answer:10.2f}{work:>12}{texts:7}", flush=True)
        finally:
            chromium.close()
            server.stop()
    print(f"worst {worst:.1f} s, limit {LIMIT_S:.0f} s")
    return int(worst > LIMIT_S)


if __name__ == "__main__":
    sys.exit(main())
