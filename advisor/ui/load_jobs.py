"""Long calculations on a page: one set of jobs per server process, watched by a fragment, cancelled by a button."""

from __future__ import annotations

import streamlit as st

from advisor.jobs.background import Background, Job, JobState
from advisor.jobs.messages import Request
from advisor.report.numbers import number
from advisor.ui.load_text import word
from advisor.ui.widgets import empty_state, problem_state

__all__ = ["jobs", "start_button", "watched"]

_POLL_S = 0.3


@st.cache_resource(show_spinner=False)
def jobs() -> Background:
    """Every session sees the same jobs: a reload of the page finds a running search again."""
    found = Background()
    found.prepare()
    return found


def start_button(request: Request, label: str, *, key: str) -> None:
    """Starts the job from a callback; disabled while it runs."""
    job = jobs().job(request)
    busy = job is not None and not job.state.is_final
    done = job is not None and job.state is JobState.DONE
    st.button(
        word("job.done") if done else label,
        type="primary",
        icon=":material/check:" if done else ":material/play_arrow:",
        key=key,
        disabled=busy or done,
        on_click=jobs().start,
        args=(request,),
    )


def watched(request: Request, *, key: str) -> Job | None:
    """The job once it has an answer, else None after its progress or problem was shown. None: never started."""
    job = jobs().job(request)
    if job is None:
        return None
    if not job.state.is_final:
        _progress(request, key)
        return None
    if job.state is JobState.DONE:
        return job
    if job.problem is not None:
        problem_state(job.problem)
    else:
        empty_state(word("job.cancelled_title"), word("job.cancelled_text"), icon="cancel")
    return None


def _progress(request: Request, key: str) -> None:
    @st.fragment(run_every=_POLL_S)
    def show() -> None:
        job = jobs().job(request)
        if job is None or job.state.is_final:
            st.rerun()
        with st.container(border=True, key=f"{key}.card"):
            phase = word(f"phase.{job.phase or job.state}", number=f"{job.number:,}")
            st.progress(min(1.0, job.share), word("job.progress", phase=phase, seconds=number(job.seconds, 2)))
            st.button(
                word("job.cancel"),
                key=f"{key}.cancel",
                icon=":material/cancel:",
                on_click=jobs().cancel,
                args=(request,),
            )

    show()
