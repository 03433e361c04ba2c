"""What is trained, how, and on what."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from advisor.catalog import Catalog
from advisor.catalog.records import Role
from advisor.sizing.activations import Checkpointing
from advisor.sizing.training import Method, Optimizer, TrainingPlan
from advisor.ui.text import t

__all__ = ["training_form"]

_MODEL, _DEVICE, _TEACHER = "deepseek-r1-distill-qwen-7b", "h100-sxm", "deepseek-r1"


def training_form(catalog: Catalog) -> tuple[TrainingPlan, float]:
    """The run, and how many tokens it shall see."""
    with st.container(border=True):
        method = Method(_choice("method", [str(m) for m in Method]))
        variants = {v.id: v.name for v in catalog.variants.values() if v.role is not Role.REFERENCE}
        devices = {d.id: d.name for d in catalog.devices.values() if not d.reference and d.peak_ops_per_s}
        with st.grid(4, min_column_width=190):
            model = _select("model", variants, _MODEL)
            device = _select("device", devices, _DEVICE)
            count = _number("count", 8)
            tokens = st.number_input(
                t("training.tokens"), 1e3, 1e16, 1e9, format="%g", key="training.tokens", persist_state="session"
            )
        teacher = _select("teacher", variants, _TEACHER) if method is Method.DISTILL else None
        with st.expander(t("training.more"), icon=":material/tune:"):
            details = _details(method)
    teacher_variant = catalog.variant(teacher) if teacher else None
    plan = TrainingPlan(
        variant=catalog.variant(model),
        method=method,
        device=catalog.device(device),
        base_format=catalog.format("bnb-nf4-double" if method is Method.QLORA else "bf16"),
        devices=count,
        teacher=teacher_variant,
        teacher_format=catalog.format(teacher_variant.native_format) if teacher_variant else None,
        **details,  # type: ignore[arg-type]
    )
    return plan, float(tokens)


def _details(method: Method) -> dict[str, object]:
    with st.grid(4, min_column_width=170):
        found: dict[str, object] = {
            "sequence_tokens": _number("sequence_tokens", 2048),
            "micro_batch": _number("micro_batch", 1),
            "accumulate": _number("accumulate", 8),
            "tp": _number("tp", 1),
            "pp": _number("pp", 1),
        }
        if method in (Method.LORA, Method.QLORA):
            found["rank"] = _number("rank", 16)
        if method is Method.DISTILL:
            found["hidden_losses"] = st.number_input(
                t("training.hidden_losses"), 0, 1000, 0, key="training.hidden_losses", persist_state="session"
            )
    found["zero"] = int(_choice("zero", ["0", "1", "2", "3"], "3"))
    found["optimizer"] = Optimizer(_choice("optimizer", [str(o) for o in Optimizer]))
    found["checkpointing"] = Checkpointing(_choice("checkpointing", [str(c) for c in Checkpointing], "full"))
    found["offload_optimizer"] = st.toggle(t("training.offload"), key="training.offload", persist_state="session")
    return found


def _choice(name: str, options: Sequence[str], default: str | None = None) -> str:
    return str(
        st.segmented_control(
            t(f"training.{name}"),
            options,
            default=default or options[0],
            format_func=lambda option: t(f"training.{name}_of.{option}"),
            key=f"training.{name}",
            required=True,
            persist_state="session",
        )
    )


def _select(name: str, options: dict[str, str], default: str) -> str:
    ids = list(options)
    return str(
        st.selectbox(
            t(f"training.{name}"),
            ids,
            index=ids.index(default) if default in ids else 0,
            format_func=options.__getitem__,
            key=f"training.{name}",
            persist_state="session",
        )
    )


def _number(name: str, value: int) -> int:
    return int(
        st.number_input(
            t(f"training.{name}"), 1, 1_000_000, value, step=1, key=f"training.{name}", persist_state="session"
        )
    )
