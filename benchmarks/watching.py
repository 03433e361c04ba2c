"""Processor time that watching a probe from the page takes, in a real browser, while a real model is measured.

Run: `python benchmarks/watching.py [--seconds 60] [--format bf16]`; exit code 1 above 5 % of one core. Needs Chromium
and playwright. Run it on a machine that does nothing else: the figures are processor time, but caches are shared.

The app runs in a process of its own, as `make app` starts it; the probe, a child of that, does not count.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import psutil
from playwright.sync_api import Page, sync_playwright

from tests.browser.conftest import CHROMIUM, FLAGS, Server

LIMIT_SHARE = 0.05
SETTLED = '[data-testid="stApp"][data-test-script-state="notRunning"]'
PROBE = "probes.worker"


def busy_s(root: psutil.Process) -> dict[int, tuple[str, float]]:
    """Processor seconds of a process and all below it, without the probe, by process."""
    found = {}
    for process in (root, *root.children(recursive=True)):
        try:
            words, times = process.cmdline(), process.cpu_times()
        except psutil.Error:
            continue
        if PROBE not in words:
            kind = next((w.partition("=")[2] for w in words if w.startswith("--type=")), process.name())
            found[process.pid] = (kind, times.user + times.system)
    return found


def spent_s(before: dict[int, tuple[str, float]], after: dict[int, tuple[str, float]]) -> dict[str, float]:
    """By kind of process."""
    kinds: dict[str, float] = {}
    for pid, (kind, seconds) in after.items():
        kinds[kind] = kinds.get(kind, 0.0) + seconds - before.get(pid, ("", 0.0))[1]
    return kinds


def start_probe(page: Page, url: str, format_name: str) -> None:
    page.goto(f"{url}/machine?lang=en", timeout=600_000)
    page.wait_for_selector("h1", timeout=600_000)
    page.wait_for_selector(SETTLED, timeout=600_000)
    if format_name:
        page.get_by_label("Format").first.click()
        page.get_by_role("option", name=format_name).click()
        page.wait_for_selector(SETTLED, timeout=600_000)
    page.get_by_role("button", name="Load and measure").first.click()
    page.locator(".st-key-probe-card").get_by_text("running", exact=True).wait_for(timeout=600_000)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--settle", type=float, default=4.0, help="seconds after the start that do not count")
    parser.add_argument("--format", default="", help="as the page names it; default: the one it offers")
    arguments = parser.parse_args()
    os.environ.setdefault("PYTHONPATH", str(Path(__file__).resolve().parents[1]))
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        server = Server(Path(folder))
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        try:
            page = browser.new_page(viewport={"width": 1440, "height": 1000}, locale="en-US")
            start_probe(page, server.url, arguments.format)
            return watch(page, server, arguments.settle, arguments.seconds)
        finally:
            browser.close()
            server.stop()


def watch(page: Page, server: Server, settle_s: float, seconds: float) -> int:
    """Sleeps without talking to the browser; prints the shares of one core."""
    time.sleep(settle_s)
    app, mine = psutil.Process(server.process.pid), psutil.Process()
    chromium = next(p for p in mine.children(recursive=True) if "chrom" in p.name() and "--headless" in p.cmdline())
    start, before = time.perf_counter(), (busy_s(app), busy_s(chromium))
    time.sleep(seconds)
    elapsed, after = time.perf_counter() - start, (busy_s(app), busy_s(chromium))
    still = page.locator(".st-key-probe-card").get_by_text("running", exact=True).count() > 0
    total = 0.0
    for name, first, last in zip(("app", "browser"), before, after, strict=True):
        for kind, spent in spent_s(first, last).items():
            total += spent
            sys.stdout.write(f"{name} {kind}: {spent / elapsed:.1%}\n")
    sys.stdout.write(f"together {total / elapsed:.1%} of one core over {elapsed:.0f} s; probe still running: {still}\n")
    return 0 if total / elapsed <= LIMIT_SHARE else 1


if __name__ == "__main__":
    sys.exit(main())
