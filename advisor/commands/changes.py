"""What one change does to a plan, for a terminal and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from advisor.catalog import Catalog
from advisor.catalog.text import translate
from advisor.decision.replica_cost import replica_cost
from advisor.sizing.plan import Sizing
from advisor.sizing.sensitivity import Variation

__all__ = ["changes_text", "cost_json"]


def cost_json(sizing: Sizing, catalog: Catalog) -> dict[str, Any]:
    """`cost` of one replica: dollars per hour and per million output tokens, with their range; null: no known price."""
    found = replica_cost(sizing, catalog)
    if found is None:
        return {"cost": None}
    return {
        "cost": {
            "hourly_usd": found.hourly_usd.as_json(),
            "usd_per_million_output_tokens": found.per_million_tokens_usd.as_json(),
            "rented": found.rented,
            "source": found.hourly_usd.source,
        }
    }


def changes_text(changes: Sequence[Variation], now: Sizing, catalog: Catalog, language: str) -> str:
    """Speeds of the changed plan as multiples of those of the plan; what binds it, and what it costs."""

    def t(key: str, **values: object) -> str:
        return translate(language, f"sizing.sensitivity.{key}", **values)

    lines = [t("title"), f"  {t('now')}: {_bound(now, language)}{_cost(now, catalog, language)}"]
    for v in changes:
        then = v.sizing
        speeds = ("decode_tok_s", "output_tok_s", "ttft_ms")
        ratios = [f"{getattr(then, n).value / max(getattr(now, n).value, 1e-12):.2f}" for n in speeds]
        name = t(str(v.change), format=then.plan.format.name, devices=then.plan.n_devices)
        numbers = dict(zip(("decode", "output", "ttft"), ratios, strict=True))
        line = t("line", name=name, fits=t("fits_yes" if then.fits else "fits_no"), **numbers)
        lines.append(f"  {line}; {_bound(then, language)}{_cost(then, catalog, language)}")
    return "\n".join(lines) + "\n"


def _bound(sizing: Sizing, language: str) -> str:
    """The resource that binds, with its share of a step."""
    name = translate(language, f"sizing.binding.{sizing.binding}")
    share = sizing.shares.get(sizing.binding, 0.0)
    return f"{name} {share:.0%}" if share else name


def _cost(sizing: Sizing, catalog: Catalog, language: str) -> str:
    found = replica_cost(sizing, catalog)
    if found is None:
        return ""
    values = {"hour": f"{found.hourly_usd.value:,.2f}", "million": f"{found.per_million_tokens_usd.value:,.2f}"}
    return "; " + translate(language, "sizing.sensitivity.cost", **values)
