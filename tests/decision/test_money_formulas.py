"""Every cost and power that a plan shows unfolds into a formula whose value is the number shown."""

from __future__ import annotations

import ast
import operator
import re

import pytest

from advisor.catalog import Catalog
from advisor.catalog.quantity import Quantity
from advisor.decision.recommend import recommend
from tests.decision.conftest import make_scenario

SMALL = {"variants": ["deepseek-r1-distill-qwen-7b"], "formats": ["bf16"], "engines": ["vllm"]}
OPERATORS = {ast.Add: operator.add, ast.Mult: operator.mul, ast.Div: operator.truediv}


def value_of(formula: str) -> float:
    """Arithmetic of the words before the source, without its units."""
    text = formula.split(";")[0].replace(",", "").replace("/ h ", "")
    text = re.sub(r"\b(W|h|million tokens)\b", "", text).replace(" x ", " * ")
    return worked_out(ast.parse(re.sub(r"\s+", " ", text).strip(), mode="eval").body)


def worked_out(node: ast.expr) -> float:
    if isinstance(node, ast.Constant):
        return float(str(node.value))
    assert isinstance(node, ast.BinOp)
    return float(OPERATORS[type(node.op)](worked_out(node.left), worked_out(node.right)))


def agrees(quantity: Quantity | None) -> None:
    assert quantity is not None
    assert value_of(quantity.source) == pytest.approx(quantity.value, rel=5e-3)


@pytest.mark.parametrize("hosting", ["on_premises", "cloud"])
@pytest.mark.parametrize("device", ["h100-sxm", "rtx-4090"])
def test_formulas_give_the_numbers_shown(catalog: Catalog, device: str, hosting: str) -> None:
    scenario = make_scenario(**SMALL, devices=[device], hosting=hosting, region="DEU")
    for found in recommend(scenario, catalog).candidates[:5]:
        for quantity in (found.capital_usd, found.monthly_usd, found.power_w, found.money.electricity_monthly_usd):
            agrees(quantity)
        agrees(found.per_million_tokens_usd)
        paid = found.money.own_monthly_usd if hosting == "on_premises" else found.money.rent_monthly_usd
        agrees(paid)


def test_boards_have_no_server_around_them(catalog: Catalog) -> None:
    scenario = make_scenario(
        variants=["deepseek-r1-distill-qwen-1.5b"], formats=["gguf-q4_k_m"], devices=["jetson-agx-orin-64"]
    )
    found = recommend(scenario, catalog).candidates[0]
    agrees(found.power_w)
    agrees(found.capital_usd)
    assert found.power_w is not None
    assert "+" not in found.power_w.source
