"""The form of the mixed-fleet page: pools, rules, failures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import streamlit as st

from advisor.catalog.errors import InputError
from advisor.decision.result import Candidate, Recommendation
from advisor.jobs.messages import FleetMode
from advisor.serving.workload import Workload
from advisor.ui import backend
from advisor.ui.load_plan import candidates_of
from advisor.ui.load_text import class_name, word

__all__ = ["PoolChoice", "Rules", "choose_loss", "choose_mode", "choose_pools", "choose_rules", "devices_per_server"]

MOST_POOLS = 4
_STAGED = (FleetMode.CASCADE, FleetMode.EDGE, FleetMode.DISAGGREGATED)
_MOST_REPLICAS = 5_000
_USUAL_SERVER = 8  # devices, where the catalogue knows no chassis for them


@dataclass(frozen=True, slots=True)
class PoolChoice:
    name: str
    candidate: Candidate
    replicas: int


@dataclass(frozen=True, slots=True)
class Rules:
    class_pools: tuple[tuple[int, ...], ...] = ()
    passed_share: float = 0.0
    summary_tokens: int = 256
    link_s: float = 0.0
    link_bytes_per_s: float = float("inf")


def choose_mode() -> FleetMode:
    names = {str(mode): word(f"fleet.mode_{mode}") for mode in FleetMode}
    picked = st.segmented_control(
        word("fleet.mode"),
        list(names),
        default=str(FleetMode.ANY),
        format_func=names.__getitem__,
        key="fleet.mode",
        required=True,
        persist_state="session",
    )
    mode = FleetMode(picked)
    st.caption(word(f"fleet.mode_help_{mode}"))
    return mode


def choose_pools(answer: Recommendation, mode: FleetMode) -> tuple[PoolChoice, ...]:
    """Two to four pools; the first is the cheapest pick, the second the best. Raises InputError."""
    known = candidates_of(answer)
    count = st.segmented_control(
        word("fleet.pools"), (1, 2, 3, 4), default=2, key="fleet.pools", required=True, persist_state="session"
    )
    count = max(2, int(count)) if mode in _STAGED else int(count)
    first, second = answer.picks.cheapest or answer.picks.smallest, answer.picks.best
    starts = [first or answer.candidates[0], second or answer.candidates[0]]
    if mode is FleetMode.DISAGGREGATED:  # both stages are the same model
        starts[0] = starts[1]
    return tuple(_pool(index, known, starts[min(index, 1)], mode, count, answer.scenario.id) for index in range(count))


def _pool(
    index: int,
    known: Mapping[str, tuple[str, Candidate]],
    start: Candidate,
    mode: FleetMode,
    count: int,
    scenario: str,
) -> PoolChoice:
    role = _role(mode, last=index == count - 1)
    letter = "ABCD"[index]
    options = list(known)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        picked = st.selectbox(
            f"{word('fleet.pool', letter=letter)} {role}".strip(),
            options,
            index=options.index(start.plan.id),
            format_func=lambda name: known[name][0],
            key=f"fleet.{scenario}.plan.{index}.{start.plan.id}",
            persist_state="session",
        )
        candidate = known[picked][1]
        replicas = st.number_input(
            word("fleet.replicas"),
            value=max(2, candidate.replicas if index == 0 else -(-candidate.replicas // 2)),
            key=f"fleet.{scenario}.replicas.{index}.{picked}",
            persist_state="session",
            width=140,
        )
    if not 1 <= int(replicas) <= _MOST_REPLICAS:
        expected = word("fleet.expected_replicas", most=f"{_MOST_REPLICAS:,}")
        raise InputError(word("fleet.pool", letter=letter), expected, replicas)
    return PoolChoice(word("fleet.pool", letter=letter), candidate, int(replicas))


def choose_rules(mode: FleetMode, workload: Workload, pools: Sequence[PoolChoice]) -> Rules:
    """What the mode needs to know. Raises InputError for a class without a pool."""
    if mode is FleetMode.BY_CLASS:
        return Rules(class_pools=tuple(_class_rule(i, c.name, pools) for i, c in enumerate(workload.classes)))
    if mode is FleetMode.ANY:
        return Rules()
    if mode is FleetMode.DISAGGREGATED:
        return _link(pools)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        share = st.number_input(
            word(f"fleet.share_{mode}"),
            value=30.0,
            step=5.0,
            format="%g",
            key="fleet.share",
            persist_state="session",
            width=240,
        )
        if not 0 <= share <= 100:
            raise InputError(word(f"fleet.share_{mode}"), "0..100", share)
        if mode is FleetMode.CASCADE:
            return Rules(passed_share=share / 100)
        summary = st.number_input(
            word("fleet.summary"), 1, 1_000_000, 256, key="fleet.summary", persist_state="session"
        )
        link = st.number_input(
            word("fleet.link"), 0.0, 600_000.0, 50.0, format="%g", key="fleet.link", persist_state="session"
        )
    return Rules(passed_share=share / 100, summary_tokens=int(summary), link_s=link / 1e3)


def _role(mode: FleetMode, *, last: bool) -> str:
    if mode is FleetMode.DISAGGREGATED:
        return word("fleet.role_decode" if last else "fleet.role_prefill")
    if mode in _STAGED:
        return word("fleet.role_last" if last else "fleet.role_first")
    return ""


def _link(pools: Sequence[PoolChoice]) -> Rules:
    """Between the fleet that reads the prompts and the one that answers. Raises InputError for different models."""
    models = {pool.candidate.plan.variant.id: pool.candidate.plan.variant.name for pool in pools}
    if len(models) > 1:
        raise InputError(word("fleet.pools"), word("fleet.expected_model"), ", ".join(models.values()))
    with st.container(horizontal=True, vertical_alignment="bottom"):
        gigabytes = st.number_input(
            word("fleet.link_gb"), value=25.0, format="%g", key="fleet.link_gb", persist_state="session", width=240
        )
        latency = st.number_input(
            word("fleet.link_ms"), value=1.0, format="%g", key="fleet.link_ms", persist_state="session", width=240
        )
    if not 0 < gigabytes <= 1e5:
        raise InputError(word("fleet.link_gb"), "0..100,000 GB/s", gigabytes)
    if not 0 <= latency <= 600_000:
        raise InputError(word("fleet.link_ms"), "0..600,000 ms", latency)
    return Rules(link_s=latency / 1e3, link_bytes_per_s=gigabytes * 1e9)


def _class_rule(index: int, name: str, pools: Sequence[PoolChoice]) -> tuple[int, ...]:
    picked = st.multiselect(
        word("fleet.class_pools", name=class_name(name)),
        range(len(pools)),
        default=[index % len(pools)],
        format_func=lambda i: pools[i].name,
        key=f"fleet.class.{name}.{len(pools)}",
    )
    if not picked:
        raise InputError(word("fleet.class_pools", name=class_name(name)), word("fleet.expected_pool"), "–")
    return tuple(sorted(picked))


def choose_loss(pools: Sequence[PoolChoice]) -> tuple[int, ...]:
    """Replicas of each pool that are down: one, or all of one server."""
    options = ["none", *(f"{kind}.{i}" for i in range(len(pools)) for kind in ("replica", "server"))]

    labels = {name: _loss(name, pools) for name in options}
    picked = st.selectbox(
        word("fleet.loss"),
        options,
        index=1,
        format_func=labels.__getitem__,
        key=f"fleet.loss.{len(pools)}",
        persist_state="session",
        width=320,
    )
    kind, _, index = str(picked).partition(".")
    if kind == "none":
        return ()
    lost = [0] * len(pools)
    pool = pools[int(index)]
    together = max(1, devices_per_server(pool.candidate) // max(1, pool.candidate.plan.layout.devices))
    lost[int(index)] = min(pool.replicas, 1 if kind == "replica" else together)
    return tuple(lost)


def _loss(name: str, pools: Sequence[PoolChoice]) -> str:
    kind, _, index = name.partition(".")
    return word(f"fleet.loss_{kind}", pool=pools[int(index)].name if index else "")


def devices_per_server(candidate: Candidate) -> int:
    """Of the chassis that the plan names, else the largest one known for the device, else a usual one."""
    plan = candidate.plan
    if plan.device is None:
        return 1
    if plan.server is not None:
        return plan.server.n_devices
    known = [server.n_devices for server in backend.catalog().servers_for(plan.device.id)]
    return min(_USUAL_SERVER, max(known, default=_USUAL_SERVER))
