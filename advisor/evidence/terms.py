"""Which terms the fit has: for each effect, the factors and covariates it may depend on, and the width of their priors.

A width is the standard deviation, in logit or log units, that a coefficient is expected to have before data are
seen; it sets how strongly thin groups are pulled to their parent. The widths here only start the estimate of
`advisor.evidence.widths` and count in it as one level; the calibration file has the estimated ones. Which terms there
are was compared by cross-validation on the public rows (`advisor calibrate --ablate`). None was set for a single row.

Plans on a processor alone use `host_bandwidth` and `host_compute`, like the host part of a hybrid run. `intensity` is
the vector rate per byte of bandwidth: where it is low, unpacking quantised weights limits the reading of them.
"""

from __future__ import annotations

from collections.abc import Mapping

from advisor.sizing.efficiency import Term

__all__ = ["TERMS"]

_WIDE, _STRONG, _MIDDLE, _THIN = 1.0, 0.35, 0.2, 0.12

_DECLARED: Mapping[str, tuple[tuple[str, float, str | None], ...]] = {
    "bandwidth": (
        ("", _WIDE, None),
        ("backend", _STRONG, None),
        ("engine", _STRONG, None),
        ("maker_class", _STRONG, None),
        ("generation", _MIDDLE, None),
        ("device", _THIN, None),
        ("family backend", _MIDDLE, None),
        ("architecture engine", _MIDDLE, None),
        ("", 0.3, "log_bandwidth"),
        ("backend", 0.1, "log_bandwidth"),
        ("maker_class", 0.1, "log_bandwidth"),
        ("", 0.3, "intensity"),
        ("backend", 0.15, "intensity"),
        ("", 0.1, "year"),
    ),
    "compute": (
        ("", _WIDE, None),
        ("backend", _STRONG, None),
        ("engine", _STRONG, None),
        ("maker_class", _STRONG, None),
        ("generation", _MIDDLE, None),
        ("device", _THIN, None),
        ("family backend", _STRONG, None),
        ("architecture engine", _MIDDLE, None),
        ("", 0.3, "log_peak"),
        ("backend", 0.1, "log_peak"),
        ("backend", 0.3, "vector_ratio"),
        ("family backend", 0.3, "vector_ratio"),
        ("", 0.3, "watts_ratio"),
        ("backend", 0.6, "log_cores"),
        ("", 0.2, "year"),
        ("", 0.2, "log_hidden"),
        ("", 0.3, "no_peak"),
    ),
    "expert_bandwidth": (("", 0.5, None), ("engine backend", 0.3, None)),
    "expert_compute": (
        ("", 0.3, None),
        ("engine backend", 0.25, None),
        ("family", 0.15, None),
    ),
    "dispatch": (("", _WIDE, None), ("engine backend", 0.6, None)),
    "routing": (("", 0.5, None),),
    "padding": (("", _WIDE, None), ("engine backend", 0.8, None)),
    "cache": (
        ("", _WIDE, None),
        ("engine backend", _STRONG, None),
        ("architecture", _STRONG, None),
        ("architecture engine", _STRONG, None),
        ("cache_kind engine", _STRONG, None),
        ("flash", _MIDDLE, None),
        ("maker_class", _MIDDLE, None),
    ),
    "attention": (
        ("", _WIDE, None),
        ("engine backend", _STRONG, None),
        ("architecture", _STRONG, None),
        ("architecture engine", _STRONG, None),
        ("flash", _MIDDLE, None),
        ("maker_class", _MIDDLE, None),
    ),
    "layer_s": (
        ("", _WIDE, None),
        ("backend", 0.6, None),
        ("engine", 0.6, None),
        ("maker_class", 0.6, None),
        ("", 0.3, "year"),
        ("", 0.4, "log_cores"),
    ),
    "moe_layer_s": (
        ("", _WIDE, None),
        ("engine", 0.6, None),
        ("architecture", 0.5, None),
        ("maker_class", 0.5, None),
        ("", 0.4, "log_cores"),
    ),
    "step_s": (("", _WIDE, None), ("engine backend", 0.6, None)),
    "sequence_s": (("", _WIDE, None), ("engine backend", 0.6, None)),
    "collective_s": (
        ("", _WIDE, None),
        ("engine", _STRONG, None),
        ("maker_class", _STRONG, None),
        ("architecture", _STRONG, None),
    ),
    "link": (("", 0.5, None), ("maker_class", _STRONG, None)),
    "hop_s": (("", 0.7, None),),
    "first_token_s": (
        ("", _WIDE, None),
        ("engine backend", 0.8, None),
        ("architecture", _STRONG, None),
    ),
    "pcie": (("", 0.5, None), ("engine", 0.3, None)),
    "pcie_scaling": (("", 0.3, None),),
    "sync_s": (("", _WIDE, None),),
    "host_bandwidth": (
        ("", 0.5, None),
        ("engine", 0.3, None),
        ("family", 0.2, None),
        ("processor", 0.3, None),
        ("place", 0.3, None),
        ("architecture engine", _MIDDLE, None),
        ("", 0.3, "host_sockets"),
        ("", 0.3, "host_measured"),
        ("host", _THIN, None),
    ),
    "host_compute": (
        ("", _WIDE, None),
        ("engine", 0.5, None),
        ("family", 0.3, None),
        ("host_path", 0.5, None),
        ("host", 0.2, None),
        ("processor", 0.3, None),
        ("place", 0.4, None),
        ("", 0.4, "host_cores"),
        ("architecture engine", _MIDDLE, None),
    ),
    "interference": (("", 0.5, None), ("engine", 0.3, None), ("load_mode", 0.3, None)),
    "bias": (
        ("dataset", 0.3, None),
        ("dataset engine", _THIN, None),
        ("device phase", 0.1, None),
        ("model", 0.07, None),
    ),
}

TERMS: tuple[Term, ...] = tuple(
    Term(effect, tuple(factors.split()), covariate, width)
    for effect, declared in _DECLARED.items()
    for factors, width, covariate in declared
)
