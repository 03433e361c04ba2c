"""A recommendation as the parts of a document, all texts final: what the HTML and Markdown templates need."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from advisor.catalog.quantity import Basis, Quantity
from advisor.catalog.text import texts, translate
from advisor.decision.explain import sentence
from advisor.decision.result import Candidate, Recommendation
from advisor.report.numbers import gib_text, interval_text, number, percent_text, value_text
from advisor.report.plan_figures import axis_name, memory_bars, pareto, usual_axis
from advisor.report.rows import device_text, format_text, plan_title, quantities, shown_quantities
from advisor.report.scenario_text import scenario_facts
from advisor.report.source_text import source_text
from advisor.report.svg import bars_svg, scatter_svg

__all__ = ["UNITS", "Document", "Pick", "Step", "document"]

MAX_PLANS = 25
MAX_REJECTED = 40
MAX_MISSES = 5
UNITS = {
    "quality": "",
    "ttft_ms": "ms",
    "tpot_ms": "ms",
    "e2e_ms": "ms",
    "output_tok_s": "tok/s",
    "monthly_usd": "USD",
    "capital_usd": "USD",
    "per_million_tokens_usd": "USD",
    "power_w": "W",
    "carbon_kg_month": "kg",
}


@dataclass(frozen=True, slots=True)
class Pick:
    """One named choice; `figures` are (label, value, interval, basis, source)."""

    name: str
    title: str
    figures: tuple[tuple[str, str, str, str, str], ...]
    facts: tuple[tuple[str, str], ...]
    reasons: tuple[str, ...]
    memory_svg: str


@dataclass(frozen=True, slots=True)
class Step:
    question: str
    branch: str
    changes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """`labels`: the fixed words of the templates, by key."""

    language: str
    labels: Mapping[str, str]
    title: str
    description: str
    facts: tuple[tuple[str, str], ...]
    verdict: str
    leaf: str
    leaf_reason: str
    steps: tuple[Step, ...]
    picks: tuple[Pick, ...]
    plan_columns: tuple[str, ...]
    plans: tuple[tuple[str, ...], ...]
    pareto_svg: str
    rejected: tuple[tuple[str, str, str, str], ...]
    misses: tuple[tuple[str, str, str], ...]
    mixes: tuple[tuple[str, tuple[tuple[str, str, str], ...]], ...]
    unrated: str
    basis: tuple[tuple[str, str], ...]
    footer: str


def document(answer: Recommendation, language: str) -> Document:
    """The whole report of one recommendation."""
    scenario = answer.scenario
    return Document(
        language=language,
        labels=_Labels(language),
        title=scenario.name.get(language),
        description=scenario.description.get(language),
        facts=tuple(scenario_facts(scenario, language)),
        verdict=_verdict(answer, language),
        leaf=answer.leaf.name.get(language),
        leaf_reason=answer.leaf.reason.get(language),
        steps=tuple(
            Step(
                step.question.get(language),
                step.branch.get(language),
                tuple(sentence(language, change) for change in step.counterfactuals),
            )
            for step in answer.path
        ),
        picks=tuple(_picks(answer, language)),
        plan_columns=_plan_columns(language),
        plans=tuple(_plan_cells(rank, c, language) for rank, c in enumerate(answer.candidates[:MAX_PLANS], start=1)),
        pareto_svg=scatter_svg(pareto(answer, language, x=usual_axis(answer))) if answer.candidates else "",
        rejected=_rejected(answer, language),
        misses=_misses(answer, language),
        mixes=_mixes(answer, language),
        unrated=_separator(language).join(variant.name for variant in answer.unrated_variants),
        basis=tuple(
            (translate(language, f"ui.basis.{basis}"), translate(language, f"ui.basis.help.{basis}")) for basis in Basis
        ),
        footer=translate(language, "report.footer", version=answer.version, date=answer.catalog_date),
    )


class _Labels(Mapping[str, str]):
    """`labels.plans` in a template is the text `report.label.plans`."""

    def __init__(self, language: str) -> None:
        self._language = language

    def __getitem__(self, key: str) -> str:
        return translate(self._language, f"report.label.{key}")

    def __iter__(self) -> Iterator[str]:
        prefix = "report.label."
        return (key.removeprefix(prefix) for key in texts(self._language) if key.startswith(prefix))

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _verdict(answer: Recommendation, language: str) -> str:
    counts = answer.counts
    key = "report.verdict.nothing" if answer.nothing_fits else "report.verdict.found"
    return translate(
        language,
        key,
        looked=f"{counts.enumerated:,}",
        accepted=f"{counts.accepted:,}",
        front=f"{counts.on_pareto_front:,}",
    )


def _picks(answer: Recommendation, language: str) -> list[Pick]:
    """Each distinct candidate once, under all the names it has."""
    names: dict[str, list[str]] = {}
    found: dict[str, Candidate] = {}
    for name in ("best", "cheapest", "fastest", "smallest"):
        candidate = getattr(answer.picks, name)
        if candidate is not None:
            names.setdefault(candidate.plan.id, []).append(translate(language, f"ui.pick.{name}"))
            found[candidate.plan.id] = candidate
    return [_pick(_separator(language).join(names[key]), candidate, language) for key, candidate in found.items()]


def _pick(name: str, candidate: Candidate, language: str) -> Pick:
    figures = [_figure(key, q, language) for key, q in shown_quantities(candidate).items()]
    return Pick(
        name=name,
        title=plan_title(candidate.plan, language),
        figures=tuple(figures),
        facts=_facts(candidate, language),
        reasons=tuple(sentence(language, reason) for reason in candidate.reasons),
        memory_svg=bars_svg(memory_bars(candidate.sizing, language)),
    )


def _figure(name: str, quantity: Quantity, language: str) -> tuple[str, str, str, str, str]:
    unit = UNITS[name]
    return (
        _label(name, language),
        value_text(quantity, unit),
        interval_text(quantity, unit),
        translate(language, f"ui.basis.{quantity.basis}"),
        source_text(quantity.source, language),
    )


def _facts(candidate: Candidate, language: str) -> tuple[tuple[str, str], ...]:
    plan, sizing = candidate.plan, candidate.sizing
    values = {
        "engine": f"{plan.engine.name} {plan.engine.version} ({plan.backend})",
        "layout": plan.layout.label(),
        "replicas": str(candidate.replicas),
        "per_replica": number(candidate.load.concurrency),
        "most": number(sizing.max_concurrency),
        "kv": f"{sizing.kv_bytes_per_token:,.0f} B",
        "weights": gib_text(sizing.per_device.weights_bytes),
        "utilisation": percent_text(candidate.utilisation),
        "binding": translate(language, f"ui.binding.{sizing.binding}"),
    }
    return tuple((translate(language, f"ui.detail.{name}"), value) for name, value in values.items())


_CELLS = ("quality", "ttft_ms", "tpot_ms", "e2e_ms", "output_tok_s", "monthly_usd", "power_w")


def _plan_columns(language: str) -> tuple[str, ...]:
    names = ("rank", "variant", "format", "hardware", *_CELLS, "score")
    return tuple(_label(name, language) for name in names)


def _label(name: str, language: str) -> str:
    """Times carry their unit in the cell: milliseconds or seconds."""
    return axis_name(name, language)


def _plan_cells(rank: int, candidate: Candidate, language: str) -> tuple[str, ...]:
    plan, known = candidate.plan, quantities(candidate)
    cells = ((known[name], "ms" if name.endswith("_ms") else "") for name in _CELLS)
    numbers = tuple("–" if q is None else value_text(q, unit) for q, unit in cells)
    what = (str(rank), plan.variant.name, format_text(plan, language), device_text(plan, language))
    return (*what, *numbers, f"{candidate.score:.3f}")


def _rejected(answer: Recommendation, language: str) -> tuple[tuple[str, str, str, str], ...]:
    separator = _separator(language)
    return tuple(
        (
            plan_title(item.plan, language),
            translate(language, f"ui.constraint.{item.constraint}"),
            sentence(language, item.reason),
            separator.join(sentence(language, remedy) for remedy in item.remedies),
        )
        for item in answer.rejected[:MAX_REJECTED]
    )


def _misses(answer: Recommendation, language: str) -> tuple[tuple[str, str, str], ...]:
    return tuple(
        (
            plan_title(miss.rejection.plan, language),
            sentence(language, miss.rejection.reason),
            sentence(language, miss.relaxation),
        )
        for miss in answer.nearest_misses[:MAX_MISSES]
    )


def _mixes(answer: Recommendation, language: str) -> tuple[tuple[str, tuple[tuple[str, str, str], ...]], ...]:
    return tuple(
        (
            translate(language, f"ui.mix.{mix.kind}"),
            tuple(
                (
                    translate(language, f"decision.pool.{pool.role}"),
                    percent_text(pool.share),
                    plan_title(pool.candidate.plan, language),
                )
                for pool in mix.pools
            ),
        )
        for mix in answer.mixes
    )


def _separator(language: str) -> str:
    return translate(language, "report.list_separator")
