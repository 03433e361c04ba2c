"""`advisor recommend`: the best plans for a scenario, with reasons, or what comes nearest when nothing fits."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence

from advisor.catalog.text import translate
from advisor.decision.as_json import recommendation_json
from advisor.decision.explain import sentence
from advisor.decision.finalists import PICKS, check_finalists
from advisor.decision.recommend import recommend
from advisor.decision.result import Candidate, Recommendation
from advisor.decision.scenarios import find_scenario, load_scenarios
from advisor.evidence.in_force import known_catalog
from advisor.report.numbers import latency_text
from advisor.report.rows import plan_title

__all__ = ["HELP", "add_arguments", "run"]

HELP = "Recommend configurations for a scenario"
NOTHING_FITS = 3
_COLUMNS = ("rank", "model", "format", "engine", "machine", "replicas", "quality", "e2e", "monthly", "power", "score")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    scenario_help = "a YAML or JSON file (FILE#ID for one of several in it), or the id of a scenario"
    parser.add_argument("--scenario", metavar="FILE|ID", help=scenario_help)
    parser.add_argument("--list", action="store_true", help="list the known scenarios")
    parser.add_argument("--top", type=int, default=10, metavar="N", help="plans to show (default 10)")
    parser.add_argument("--lang", choices=("en", "zh"), default="en", help="language of the answer")
    parser.add_argument("--no-simulation", action="store_true", help="rank only: do not simulate the picks")
    parser.add_argument("--json", action="store_true", help="machine-readable answer")


def run(arguments: argparse.Namespace) -> int:
    """0 answered, 3 nothing fits. Raises FathomError for bad input."""
    catalog = known_catalog()
    if arguments.list or not arguments.scenario:
        for scenario in load_scenarios(catalog).values():
            _line(f"{scenario.id:30} {scenario.name.get(arguments.lang)}")
        return 0
    answer = recommend(find_scenario(arguments.scenario, catalog), catalog)
    if not arguments.no_simulation:
        answer = check_finalists(answer, catalog)
    top = max(1, arguments.top)
    if arguments.json:
        _line(json.dumps(recommendation_json(answer, top=top, language=arguments.lang), ensure_ascii=False, indent=2))
    else:
        _show(answer, top, arguments.lang)
    return NOTHING_FITS if answer.nothing_fits else 0


def _show(answer: Recommendation, top: int, lang: str) -> None:
    _line(f"{_t(lang, 'scenario')}: {answer.scenario.name.get(lang)}")
    _line(f"{_t(lang, 'leaf')}: {answer.leaf.name.get(lang)}. {answer.leaf.reason.get(lang)}")
    _line(_t(lang, "looked", enumerated=f"{answer.counts.enumerated:,}", accepted=f"{answer.counts.accepted:,}"))
    if answer.nothing_fits:
        _show_misses(answer, lang)
        return
    _line("")
    header = [translate(lang, f"decision.column.{name}") for name in _COLUMNS]
    rows = [_row(number, candidate) for number, candidate in enumerate(answer.candidates[:top], start=1)]
    for row in _aligned([header, *rows]):
        _line(row)
    _show_picks(answer, lang)
    for mix in answer.mixes:
        _line("")
        _line(f"{_t(lang, 'mixes')}: " + " ".join(sentence(lang, reason) for reason in mix.reasons))
    if answer.unrated_variants:
        _line("")
        _line(_t(lang, "unrated", names=", ".join(variant.name for variant in answer.unrated_variants)))


def _show_misses(answer: Recommendation, lang: str) -> None:
    _line(_t(lang, "nothing"))
    _line(f"{_t(lang, 'nearest')}:")
    for miss in answer.nearest_misses:
        _line(f"- {sentence(lang, miss.rejection.reason)} {sentence(lang, miss.relaxation)}")
        for remedy in miss.rejection.remedies:
            _line(f"    {sentence(lang, remedy)}")


def _show_picks(answer: Recommendation, lang: str) -> None:
    checks = {check.plan_id: check for check in answer.checks}
    for name in PICKS:
        candidate = getattr(answer.picks, name)
        if candidate is None:
            continue
        _line("")
        _line(f"{translate(lang, f'decision.pick.{name}')}: {plan_title(candidate.plan, lang)}")
        _line(_t(lang, "plan_id", id=candidate.plan.id))
        check = checks.get(candidate.plan.id)
        reasons = candidate.reasons if name == "best" else candidate.reasons[:1]
        for reason in (*reasons, *(check.reasons if check else ())):
            _line(f"- {sentence(lang, reason)}")


def _row(number: int, candidate: Candidate) -> list[str]:
    plan = candidate.plan
    device = plan.device.name if plan.device else (plan.host.name if plan.host else "")
    count = max(1, plan.layout.devices)
    return [
        str(number),
        plan.variant.name,
        plan.format.id,
        plan.engine.name,
        f"{count} × {device}" if count > 1 else device,
        str(candidate.replicas),
        "–" if candidate.quality is None else f"{candidate.quality.value:.0f}",
        latency_text(candidate.e2e_ms.value),
        "–" if candidate.monthly_usd is None else f"{candidate.monthly_usd.value:,.0f}",
        "–" if candidate.power_w is None else f"{candidate.power_w.value:,.0f} W",
        f"{100 * candidate.score:.1f}",
    ]


def _aligned(rows: Sequence[Sequence[str]]) -> Iterable[str]:
    widths = [max(_width(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True)).rstrip()


def _width(text: str) -> int:
    """Columns on a terminal: Chinese characters take two."""
    return sum(2 if ord(letter) >= 0x2E80 else 1 for letter in text)


def _t(lang: str, key: str, **values: object) -> str:
    return translate(lang, f"decision.command.{key}", **values)


def _line(text: str) -> None:
    sys.stdout.write(f"{text}\n")
