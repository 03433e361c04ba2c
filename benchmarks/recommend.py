"""CPU seconds of `recommend` for every built-in scenario over the full catalogue; exit code 1 above one second.

Run: `python benchmarks/recommend.py [ROUNDS]`. The first answer of the process is timed too, apart from the rest.
"""

from __future__ import annotations

import sys
import time

from advisor.catalog import load_catalog
from advisor.decision.recommend import recommend
from advisor.decision.scenarios import load_scenarios

LIMIT_S = 1.0


def main(rounds: int = 3) -> int:
    catalog = load_catalog()
    scenarios = load_scenarios(catalog)
    worst = 0.0
    print(f"{'scenario':32}{'first s':>9}{'best s':>9}{'plans':>9}{'accepted':>10}")
    for scenario in scenarios.values():
        spent = []
        for _ in range(rounds):
            start = time.process_time()
            answer = recommend(scenario, catalog)
            spent.append(time.process_time() - start)
        worst = max(worst, min(spent))
        counts = answer.counts
        print(f"{scenario.id:32}{spent[0]:9.3f}{min(spent):9.3f}{counts.enumerated:9,}{counts.accepted:10,}")
    print(f"worst of {len(scenarios)} scenarios: {worst:.3f} s CPU, limit {LIMIT_S} s")
    return int(worst > LIMIT_S)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 3))
