"""A model of the user's own: drop in its config.json and size it like any other."""

from __future__ import annotations

import streamlit as st

from advisor.catalog import Catalog
from advisor.catalog.errors import FathomError
from advisor.catalog.hf_config import variant_from_text
from advisor.catalog.records import Variant
from advisor.report.numbers import bytes_text, gib_text
from advisor.report.plan_figures import memory_bars
from advisor.sizing.size import size
from advisor.ui import backend
from advisor.ui.derivation_view import derivation
from advisor.ui.quick_plans import device_plan, quick_load
from advisor.ui.text import language, plain, t
from advisor.ui.widgets import chart, empty_state, key_values, problem_state

__all__ = ["own_model"]


def own_model(catalog: Catalog) -> None:
    st.caption(t("own.lead"))
    upload = st.file_uploader(t("own.upload"), "json", key="own.upload", max_upload_size=1, help=t("own.help"))
    if upload is None:
        empty_state(t("own.none_title"), t("own.none_text"), icon="upload_file")
        return
    try:
        text = upload.getvalue().decode("utf-8-sig")
        variant = variant_from_text(text, upload.name.removesuffix(".json"), file=upload.name)
        _sized(variant, catalog)
    except UnicodeDecodeError:
        st.error(t("own.not_text", name=plain(upload.name)), title=t("problem.title"), icon=":material/error:")
    except FathomError as problem:
        problem_state(problem)


def _sized(variant: Variant, catalog: Catalog) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        formats = {f.id: f.name for f in catalog.formats.values()}
        format_id = st.selectbox(
            t("own.format"), list(formats), format_func=formats.__getitem__, key="own.format", width=220
        )
        devices = {d.id: d.name for d in catalog.devices.values() if not d.reference}
        device_id = st.selectbox(
            t("own.device"), list(devices), format_func=devices.__getitem__, key="own.device", width=260
        )
        count = st.number_input(t("own.count"), 1, 1024, 1, key="own.count", width=120)
        context = st.number_input(t("own.context"), 1, 10_000_000, 4096, key="own.context", width=160)
        sequences = st.number_input(t("own.sequences"), 1, 100_000, 1, key="own.sequences", width=140)
    plan = device_plan(catalog, variant, format_id, catalog.device(device_id), int(count))
    load = quick_load(int(context), int(sequences))
    sizing = size(plan, load, catalog)
    profile = backend.profile_of(variant, format_id)
    verdict = t("own.fits") if sizing.fits else t("own.fits_not", shortfall=gib_text(sizing.shortfall_bytes))
    with st.container(border=True):
        st.markdown(f"#### {plain(variant.name)}: {verdict}")
        chart(memory_bars(sizing, language()), key="own.memory")
        derivation(plan, load, key="own.derivation")
        key_values(
            {
                t("catalogue.total_params"): f"{profile.total_params:,}",
                t("catalogue.active_params"): f"{profile.active_params:,}",
                t("catalogue.native"): bytes_text(profile.file_bytes),
                t("detail.kv"): f"{sizing.kv_bytes_per_token:,.0f} B",
                t("detail.most"): f"{sizing.max_concurrency:,}",
                t("detail.longest"): f"{sizing.max_context_tokens:,}",
            },
            alt=t("own.alt"),
        )
