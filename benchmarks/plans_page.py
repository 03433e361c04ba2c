"""CPU seconds of the Plans page when one widget changes, per built-in scenario; exit code 1 above 0.1 s.

Run: `python benchmarks/plans_page.py [SCENARIO …]`.

The page runs in this process, without a browser, on threads of its own: the whole process counts.
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path

from streamlit.testing.v1 import AppTest

from advisor.jobs.messages import ChecksRequest
from advisor.ui import backend
from advisor.ui.load_jobs import jobs

APP = Path(__file__).resolve().parents[1] / "app.py"
LIMIT_S = 0.1


def redraw_s(scenario: str, turns: int = 6) -> float:
    """Median over runs that differ from the one before in one switch."""
    app = AppTest.from_file(str(APP), default_timeout=120)
    app.query_params["scenario"] = scenario
    app.run()
    app.switch_page("advisor/ui/pages/plans.py").run()
    app.run(timeout=120)
    jobs().cancel(ChecksRequest(backend.find(scenario), revision=backend.revision()))  # it would count too
    taken = []
    for turn in range(turns):
        app.toggle(key="plans.front").set_value(turn % 2 == 0)
        start = time.process_time()
        app.run()
        taken.append(time.process_time() - start)
        if app.exception:
            raise RuntimeError(app.exception[0].message)
    return statistics.median(taken)


def main() -> int:
    worst = 0.0
    for scenario in sys.argv[1:] or ["customer-service", "private-assistant"]:
        spent = redraw_s(scenario)
        worst = max(worst, spent)
        print(f"{scenario:32}{1e3 * spent:7.1f} ms")
    print(f"worst {1e3 * worst:.1f} ms CPU, limit {1e3 * LIMIT_S:.0f} ms")
    return int(worst > LIMIT_S)


if __name__ == "__main__":
    sys.exit(main())
