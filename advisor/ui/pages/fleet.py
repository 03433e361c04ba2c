"""Mixed fleets: pools of different plans behind one router, who serves what, and what a failure does."""

from __future__ import annotations

import streamlit as st

from advisor.catalog.errors import FathomError
from advisor.jobs.messages import FleetRequest, PoolRequest
from advisor.ui import answers, state
from advisor.ui.capacity_view import does_not_fit
from advisor.ui.fleet_form import choose_loss, choose_mode, choose_pools, choose_rules
from advisor.ui.fleet_view import fleet_map, results
from advisor.ui.load_costs import prepare
from advisor.ui.load_jobs import jobs, start_button, watched
from advisor.ui.load_plan import one_replica
from advisor.ui.load_text import word
from advisor.ui.load_traffic import choose_router, choose_slo, choose_traffic
from advisor.ui.rejected_view import nothing_fits
from advisor.ui.text import plain
from advisor.ui.widgets import page_header, problem_state

page_header("fleet")
jobs()  # its process loads while this page does
found = answers.recommendation(state.token())
if found.nothing_fits:
    nothing_fits(found)
    st.stop()

try:
    with st.container(border=True):
        mode = choose_mode()
        pools = choose_pools(found, mode)
    with st.container(border=True):
        workload = choose_traffic(found.scenario, pools[0].candidate, traces=False)
        slo = choose_slo(found.scenario)
        if workload is None:
            st.stop()
    with st.container(border=True):
        rules = choose_rules(mode, workload, pools)
        with st.container(horizontal=True, vertical_alignment="bottom"):
            router = choose_router()
            lost = choose_loss(pools)
except FathomError as problem:
    problem_state(problem)
    st.stop()

prepared = [prepare(one_replica(pool.candidate), workload) for pool in pools]
tight = [(pool, item) for pool, item in zip(pools, prepared, strict=True) if item.costs is None]
for pool, item in tight:
    st.markdown(f"**{plain(pool.name)}**")
    does_not_fit(item, key=f"fleet.memory.{pool.name}")
if tight:
    st.stop()

request = FleetRequest(
    pools=tuple(
        PoolRequest(pool.name, item.costs, pool.replicas, item.options)
        for pool, item in zip(pools, prepared, strict=True)
        if item.costs is not None
    ),
    workload=workload,
    slo=slo,
    mode=mode,
    class_pools=rules.class_pools,
    passed_share=rules.passed_share,
    summary_tokens=rules.summary_tokens,
    link_s=rules.link_s,
    link_s_per_token=prepared[0].sizing.kv_bytes_per_token / rules.link_bytes_per_s,
    router=router,
    lost=lost,
)
start_button(request, word("fleet.go"), key="fleet.go")
job = watched(request, key="fleet")
if job is not None:
    results(job, slo, [item.sizing.decode_tok_s for item in prepared])
fleet_map(pools, prepared, lost or (0,) * len(pools))
