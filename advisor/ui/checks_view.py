"""The ranking against the simulation, on the Plans page. The simulation runs in the background; no page waits."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from advisor.catalog.quantity import Quantity
from advisor.decision.explain import sentence
from advisor.decision.result import Candidate, FinalistCheck, Recommendation
from advisor.jobs.background import Job, JobState
from advisor.jobs.messages import ChecksRequest
from advisor.report.numbers import number, value_text
from advisor.ui import backend
from advisor.ui.load_jobs import jobs
from advisor.ui.text import language, plain, t
from advisor.ui.widgets import badges, problem_state

__all__ = ["check_badge", "known_checks", "plan_check"]

_POLL_S = 0.5


def known_checks(answer: Recommendation) -> Mapping[str, FinalistCheck]:
    """By plan id, as far as they are done. Starts the simulation of the picks on the first visit."""
    request = ChecksRequest(answer.scenario, revision=backend.revision())
    jobs().start(request)
    job = jobs().job(request)
    return {check.plan_id: check for check in job.answer} if job and job.state is JobState.DONE else {}


def check_badge(check: FinalistCheck | None) -> None:
    """One word on the card of a pick; nothing while the simulation runs."""
    if check is not None:
        name, colour, icon = _verdict(check)
        badges([(t(f"checks.{name}"), colour, icon, t("checks.help"))])


def plan_check(candidate: Candidate, answer: Recommendation, checks: Mapping[str, FinalistCheck]) -> None:
    """What the simulation says about the plan shown, beside what the ranking says."""
    st.markdown(f"**{t('checks.title')}**")
    found = checks.get(candidate.plan.id)
    if found is not None:
        _comparison(candidate, found)
        return
    request = _request(candidate, answer)
    job = jobs().job(request)
    if job is None:
        st.caption(t("checks.not_run"))
        start = jobs().start
        st.button(t("checks.run"), icon=":material/play_arrow:", key="checks.run", on_click=start, args=(request,))
        return
    _watch(job, request, candidate)


def _request(candidate: Candidate, answer: Recommendation) -> ChecksRequest:
    picks = (answer.picks.best, answer.picks.cheapest, answer.picks.fastest, answer.picks.smallest)
    picked = candidate.plan.id in {pick.plan.id for pick in picks if pick is not None}
    return ChecksRequest(answer.scenario, "" if picked else candidate.plan.id, backend.revision())


def _watch(job: Job, request: ChecksRequest, candidate: Candidate) -> None:
    if job.state is JobState.DONE:
        for check in job.answer:
            if check.plan_id == candidate.plan.id:
                _comparison(candidate, check)
    elif not job.state.is_final:
        _progress(request)
    elif job.problem is not None:
        problem_state(job.problem)


def _progress(request: ChecksRequest) -> None:
    @st.fragment(run_every=_POLL_S)
    def show() -> None:
        job = jobs().job(request)
        if job is None or job.state.is_final:
            st.rerun()
        st.progress(min(1.0, job.share), t("checks.running"))

    show()


def _comparison(candidate: Candidate, check: FinalistCheck) -> None:
    name, colour, icon = _verdict(check)
    badges([(t(f"checks.{name}"), colour, icon, t("checks.help"))])
    pairs: list[tuple[str, Quantity, Quantity | None]] = [
        (t("time.ttft_ms"), candidate.ttft_ms, check.ttft_ms),
        (t("time.tpot_ms"), candidate.tpot_ms, check.tpot_ms),
        (t("time.e2e_ms"), candidate.e2e_ms, check.e2e_ms),
    ]
    replicas = (t("detail.replicas"), number(check.ranked_replicas), number(check.replicas) if check.replicas else "–")
    rows = [replicas, *((label, value_text(a, "ms"), value_text(b, "ms") if b else "–") for label, a, b in pairs)]
    columns = zip(*rows, strict=True)
    heads = (" ", t("checks.ranking"), t("checks.simulation"))
    table = dict(zip(heads, map(list, columns), strict=True))
    st.table(table, border="horizontal", hide_index=True, alt=t("checks.alt"))
    for reason in check.reasons:
        if reason.key != "simulated_latency":  # the table has it
            st.caption(plain(sentence(language(), reason)))


def _verdict(check: FinalistCheck) -> tuple[str, str, str]:
    """Text key, colour, icon."""
    if not check.replicas:
        return "fails", "orange", "warning"
    if check.replicas == check.ranked_replicas:
        return "agrees", "green", "check_circle"
    return ("near", "blue", "difference") if check.agrees else ("differs", "orange", "warning")

