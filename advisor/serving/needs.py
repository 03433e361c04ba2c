"""Traffic from a few figures, as a form or a scenario gives them."""

from __future__ import annotations

from advisor.catalog.errors import InputError
from advisor.serving.lengths import LengthDistribution
from advisor.serving.workload import ArrivalKind, ArrivalProcess, RequestClass, Slo, Workload

__all__ = ["workload_from_figures"]

# Mean over median of one request's lengths in the Azure conversation trace (2023, 19,366 requests, CC-BY-4.0).
_INPUT_SPREAD = 1155 / 1020
_OUTPUT_SPREAD = 211 / 129


def workload_from_figures(
    *,
    input_tokens: float,
    output_tokens: float,
    rate_per_s: float | None = None,
    users: int | None = None,
    think_s: float = 0.0,
    cv: float = 1.0,
    reasoning_tokens: float = 0.0,
    cached_input_tokens: int = 0,
    context_tokens: int | None = None,
    slo: Slo | None = None,
    fixed_lengths: bool = False,
    name: str = "traffic",
) -> Workload:
    """Mean lengths with the spread of real conversations (or none); a rate, or users in a closed loop.

    Raises InputError for senseless figures.
    """
    if (rate_per_s is None) == (users is None):
        raise InputError("traffic", "either a rate or a number of users", rate_per_s)
    kind = ArrivalKind.CLOSED_LOOP if users is not None else ArrivalKind.POISSON
    if cv != 1.0 and users is None:
        kind = ArrivalKind.GAMMA
    arrivals = ArrivalProcess(kind, rate_per_s or 0.0, cv, users=users or 0, think_s=think_s)
    request = RequestClass(
        name=name,
        input=_lengths(input_tokens, _INPUT_SPREAD, fixed=fixed_lengths),
        output=_lengths(output_tokens, _OUTPUT_SPREAD, fixed=fixed_lengths),
        reasoning=_lengths(reasoning_tokens, _OUTPUT_SPREAD, fixed=fixed_lengths) if reasoning_tokens > 0 else None,
        shared_prefix_tokens=int(cached_input_tokens),
        slo=slo or Slo(),
    )
    return Workload(name, name, arrivals, (request,), context_tokens, name_zh=name)


def _lengths(mean: float, spread: float, *, fixed: bool) -> LengthDistribution:
    if fixed or mean < 2:
        return LengthDistribution.fixed(mean)
    return LengthDistribution.lognormal(mean=mean, p50=mean / spread)
