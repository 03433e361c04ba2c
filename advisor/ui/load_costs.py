"""From a plan and its traffic to what the simulator runs on. Cached per process by frozen inputs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import streamlit as st

from advisor.catalog.errors import InputError
from advisor.serving.engines import EngineOptions
from advisor.serving.plan_costs import serving_plan
from advisor.serving.sampling import sample
from advisor.serving.step_costs import StepCosts
from advisor.serving.workload import ArrivalKind, ArrivalProcess, Workload
from advisor.sizing.plan import Plan, Sizing
from advisor.ui import backend
from advisor.ui.load_text import word

__all__ = ["Prepared", "larger_than_cache", "prepare"]

_SHARES = ("bandwidth", "link", "host")


@dataclass(frozen=True, slots=True)
class Prepared:
    """One replica of a plan under this traffic. `costs` is None where the plan does not fit."""

    plan: Plan
    sizing: Sizing
    costs: StepCosts | None
    options: EngineOptions
    shares: tuple[tuple[str, float], ...]  # of a decode step, by resource


def prepare(plan: Plan, workload: Workload) -> Prepared:
    """Sizes the plan for the traffic's mean request and tabulates its steps. Raises InputError, translated."""
    longest = plan.variant.architecture.max_context_tokens
    tokens = workload.mean_input_tokens + workload.mean_output_tokens
    if longest and tokens > longest:
        expected = word("fit.context", most=f"{longest:,}", model=plan.variant.name)
        raise InputError(word("traffic.label"), expected, f"{tokens:,.0f}")
    return _prepare(f"{plan.id}|{backend.revision()}", workload, plan)


@st.cache_resource(max_entries=64, show_spinner=False)
def _prepare(key: str, workload: Workload, _plan: Plan) -> Prepared:  # noqa: ARG001
    found = serving_plan(_plan, workload, backend.catalog())
    shares = tuple((name, share) for name, share in found.step_shares.items() if name in _SHARES)
    return Prepared(_plan, found.sizing, found.costs, found.options, shares)


def larger_than_cache(workload: Workload, costs: StepCosts) -> float:
    """Share of the requests that one replica could never hold."""
    steady = ArrivalProcess(ArrivalKind.POISSON, 1.0)
    table = sample(Workload("", "", steady, workload.classes, workload.max_context_tokens), 2000, seed=1)
    return float(np.mean(table.input_tokens + table.output_tokens > costs.kvcap_tokens))
