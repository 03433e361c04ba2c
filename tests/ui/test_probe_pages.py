"""Figures of probes as the page shows them: units, names in place of ids, charts, tables."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from streamlit.testing.v1 import AppTest

from advisor.catalog.quantity import Basis, Quantity
from advisor.catalog.text import translate
from advisor.jobs.registry import Snapshot
from advisor.report.numbers import duration_text, range_text
from advisor.ui.probe_figures import point_lines
from advisor.ui.probe_numbers import figure_text, so_far
from advisor.ui.probe_progress import progress_share, progress_text
from advisor.ui.probe_view import _look_s
from probes import foresee
from probes.result import Measured, Point, Prediction, State
from probes.spec import ProbeSpec


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.042, "42 ms"), (1.85, "1.85 s"), (113, "113 s"), (482, "8.03 min"), (21_500, "5.97 h")]
)
def test_durations_have_the_unit_that_a_person_would_choose(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


def test_the_unit_of_a_range_is_said_once() -> None:
    assert range_text("12.3 GB/s", "27.6 GB/s") == "12.3–27.6 GB/s"
    assert range_text("870 MB/s", "1.43 GB/s") == "870 MB/s – 1.43 GB/s"


def test_figures_carry_the_right_units() -> None:
    assert figure_text("ttft_ms", 113_000) == "113 s"
    assert figure_text("load_s", 1.85) == "1.85 s"
    assert figure_text("decode_tok_s", 2.98) == "2.98"
    assert figure_text("peak_bytes", 3 * 2**30) == "3 GiB"
    assert figure_text("mbu", 0.68) == "68 %"


def _one(**values: float) -> dict[str, Measured]:
    return {name: Measured.of([value]) for name, value in values.items()}


def test_a_sustained_run_is_drawn_over_time() -> None:
    windows = [
        Point("window", {"elapsed_s": 5.0 * i}, _one(output_tok_s=8.0, p95_ttft_ms=1500.0, queue_length=i))
        for i in (1, 2, 3)
    ]
    figures = {figure.y_label: figure for figure in point_lines(windows, "en")}
    assert set(figures) == {
        "Output of all sequences (tok/s)",
        "First token, 95th percentile (s)",
        "Requests waiting",
    }
    assert figures["First token, 95th percentile (s)"].lines[0].y == (1.5, 1.5, 1.5)
    assert figures["Requests waiting"].x_label == "time (s)"


@pytest.mark.parametrize(
    ("language", "temperature"), [("en", "Temperature of the accelerator (°C)"), ("zh", "加速器温度（°C）")]
)
def test_heat_power_and_clocks_of_a_sustained_run_are_drawn(language: str, temperature: str) -> None:
    windows = [
        Point("window", {"elapsed_s": 5.0 * i}, _one(temperature_c=60.0 + i, power_w=650.0, sm_clock_hz=1.98e9))
        for i in (1, 2)
    ]
    figures = {figure.y_label: figure.lines[0].y for figure in point_lines(windows, language)}
    assert len(figures) == 3
    assert figures[temperature] == (61.0, 62.0)
    assert (1.98, 1.98) in figures.values()


def test_bandwidth_is_in_gigabytes_and_gives_way_to_the_model_itself() -> None:
    bandwidth = [Point("bandwidth", {"threads": n}, _one(read_bytes_per_s=n * 5e9)) for n in (1, 2)]
    (figure,) = point_lines(bandwidth, "en")
    assert figure.lines[0].y == (5.0, 10.0)
    rates = _one(decode_tok_s=2.0, output_tok_s=2.0)
    sweep = [Point("decode", {"context_tokens": n, "batch": 1}, rates) for n in (1, 2)]
    assert [figure.y_label for figure in point_lines([*bandwidth, *sweep], "en")] == ["Decode (tok/s)"]


def _show() -> None:
    from dataclasses import replace

    from advisor.ui.machine_rates import rates_table
    from advisor.ui.machine_view import machine_cards
    from advisor.ui.probe_numbers import runs_table
    from advisor.ui.probe_summary import summary_table
    from probes.machine import detect
    from probes.machine_records import Accelerator
    from probes.result import Conditions, Measured, Point, ProbeResult, State
    from probes.spec import ProbeSpec

    state = {"sm_clock_hz": 1.98e9, "ecc": "on", "throttle": "power_cap"}
    card = Accelerator(0, "nvidia", "NVIDIA H100", 80 * 2**30, "cuda:0", compute_capability=9.0, state=state)
    machine_cards(replace(detect(), accelerators=(card,)))
    gemm = {"fp32": 20e9, "bf16": 0.7e9, "int8-a8": 2.5e12}
    points = [Point("gemm", {}, {"ops_per_s": Measured(v, 0.9 * v, v, 3)}, k) for k, v in gemm.items()]
    shares = {"read_bytes_per_s": Measured(1.3e9, 0.87e9, 1.43e9, 3), "cached_share": Measured.of([0.0])}
    rates_table([*points, Point("disk", {}, shares, "cold")])
    run = ProbeResult(
        "p1", ProbeSpec("deepseek-r1-distill-qwen-1.5b", "bf16"), State.DONE, "f1", "2026-11-22T06:00:00+00:00", 9.0,
        decode_tok_s=Measured.of([4.0]), figures={"p95_ttft_ms": Measured.of([1500.0])}, conditions=Conditions(),
    )  # fmt: skip
    summary_table(run)
    cut = replace(run, id="p0", decode_tok_s=None)  # one without the figure is nothing to compare with
    runs_table([cut, run, replace(run, id="p2", decode_tok_s=Measured.of([5.0]))])


def test_cards_rates_sums_and_comparison_are_shown_in_words() -> None:
    app = AppTest.from_function(_show).run(timeout=30)
    assert not app.exception
    shown = "\n".join(str(table.value) for table in app.table)
    for words in (
        "1.98 GHz", "power limit", "2.5 TOPS", "0.7 GFLOPS", "870 MB/s – 1.43 GB/s in 3 runs", "First token, 95th",
        "not measurable here", "(× 1.25)",
    ):  # fmt: skip
        assert words in shown, words
    assert r"(× 1)" not in shown.replace("\\", "")
    assert any("bf16" in caption.value and "fp32" in caption.value for caption in app.caption)


def test_a_server_is_measured_under_load_from_the_page(open_page: Callable[..., AppTest]) -> None:
    app = open_page("machine")
    app.segmented_control(key="probe.kind").set_value("endpoint").run()
    assert not app.exception
    app.toggle(key="probe.under_load").set_value(True).run()
    app.text_input(key="probe.url").set_value("http://127.0.0.1:9").run()
    assert not app.exception
    assert not app.error
    assert app.number_input(key="probe.rate").value == 10.0
    assert not app.button(key="probe.start").disabled


def _running(**changes: object) -> Snapshot:
    return Snapshot("p1", ProbeSpec("deepseek-r1-distill-qwen-1.5b", "bf16"), State.RUNNING, **changes)  # type: ignore[arg-type]


def test_progress_says_the_step_of_how_many_and_the_time_of_how_much() -> None:
    foreseen = Prediction(duration_s=Quantity(58.0, 29.0, 115.0, Basis.ESTIMATED, "phases"))
    run = _running(phase="prefill", done=0, total=2, elapsed_s=26.2, predicted=foreseen)
    assert progress_text(run) == "processing prompts, 1 of 2 · 26 s so far, 29–115 s foreseen"
    assert progress_share(run) == pytest.approx(26.2 / 58)
    assert progress_share(_running(elapsed_s=900.0, predicted=foreseen)) < 1
    load = _running(phase="sustained", done=120, total=300, elapsed_s=131.0)
    assert progress_text(load) == "serving requests, 120 s of 300 s · 131 s so far"
    assert progress_share(load) == pytest.approx(0.4)


def test_a_running_probe_shows_what_it_has_measured_so_far() -> None:
    points = [
        Point("bandwidth", {"threads": 1}, _one(read_bytes_per_s=9e9)),
        Point("bandwidth", {"threads": 2}, _one(read_bytes_per_s=20e9)),
        Point("load", {}, _one(load_s=3.5)),
        Point("prefill", {"prompt_tokens": 512}, _one(prefill_tok_s=15.0, ttft_ms=34_000.0)),
        Point("prefill", {"prompt_tokens": 128}, _one(prefill_tok_s=19.0, ttft_ms=7_000.0)),
        Point("decode", {"context_tokens": 512, "batch": 1}, _one(decode_tok_s=6.0)),
        Point("decode", {"context_tokens": 1024, "batch": 1}, _one(decode_tok_s=5.0)),
    ]
    assert {name: seen.value for name, seen in so_far(points, 512).items()} == {
        "load_s": 3.5, "bandwidth_bytes_per_s": 20e9, "prefill_tok_s": 15.0, "ttft_ms": 34_000.0, "decode_tok_s": 6.0,
    }  # fmt: skip
    assert so_far((), 512) == {}
    shorter = [p for p in points if p.at.get("prompt_tokens") == 128]
    assert so_far(shorter, 512) == {}  # what was foreseen is of the longer one


def _measured_beside_foreseen() -> None:
    from dataclasses import replace

    from advisor.catalog.quantity import Basis, Quantity
    from advisor.ui.probe_numbers import comparison_table, live_table
    from probes.result import Measured, Prediction, ProbeResult, State
    from probes.spec import Kind, ProbeSpec

    said = Prediction(
        decode_tok_s=Quantity(10.0, 9.0, 11.0, Basis.CALIBRATED, ""),
        duration_s=Quantity(9.0, 5.0, 18.0, Basis.ESTIMATED, ""),
    )
    spec = ProbeSpec("deepseek-r1-distill-qwen-1.5b", "bf16")
    inside = ProbeResult("p1", spec, State.DONE, "f1", "2026-11-22T06:00:00+00:00", 9.0, predicted=said,
                         decode_tok_s=Measured.of([10.0]), flags=("of_a_newer_version",))  # fmt: skip
    comparison_table(inside)
    slower = ProbeResult("p2", spec, State.DONE, "f1", "2026-11-22T06:00:00+00:00", 30.0, predicted=said,
                         decode_tok_s=Measured.of([5.0]))  # fmt: skip
    comparison_table(slower)
    live_table(spec, (), said)
    live_table(replace(spec, kind=Kind.SUSTAINED), (), said)  # measures other figures than one sequence alone


def test_every_figure_says_whether_it_lies_inside_and_why_not() -> None:
    app = AppTest.from_function(_measured_beside_foreseen).run(timeout=30)
    assert not app.exception
    inside, slower, live = (table.value for table in app.table)
    assert list(inside["Inside the interval"]) == ["yes", "yes"]
    foreseen = [text.replace("\\", "") for text in inside["Predicted before the run"]]
    assert foreseen == ["10 (9–11)", "9 s (5–18 s)"]
    assert list(slower["Inside the interval"]) == ["no", "no, follows from the others"]
    assert list(live["Measured"]) == ["–"]
    said = " ".join(item.value for item in app.markdown)
    assert "all 2 figures lie inside" in said
    assert "0 of 2 figures" in said
    captions = " ".join(item.value for item in app.caption)
    assert "0.50 × the prediction" in captions
    assert any("newer" in item.value for item in app.caption)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_values_of_a_sweep_can_be_chosen(open_page: Callable[..., AppTest], language: str) -> None:
    app = open_page("machine", language)
    app.segmented_control(key="probe.kind").set_value(translate(language, "probes.kind.sweep")).run()
    assert not app.exception
    pills = app.pills(key="probe.values.context.torch")
    assert pills.value == ["512", "1024", "2048", "4096", "8192"]
    pills.set_value([]).run()
    assert not app.exception
    assert not [button for button in app.button if button.key == "probe.start"]
    app.pills(key="probe.values.context.torch").set_value(["1024", "512"]).run()
    assert not app.exception
    assert app.button(key="probe.start")
    app.segmented_control(key="probe.axis").set_value(translate(language, "ui.probe.axis_of.format")).run()
    assert not app.exception
    assert len(app.pills(key="probe.values.format.torch").value) == 4
    if language == "zh":
        assert "INT8 weights and activations" not in str(app.selectbox(key="probe.format").options)


def test_a_model_that_cannot_fit_is_offered_and_refused_with_its_size(open_page: Callable[..., AppTest]) -> None:
    """R1 has 671 billion parameters: whole, it fits on no machine that runs these tests."""
    app = open_page("machine")
    app.selectbox(key="probe.variant").set_value("deepseek-r1").run()
    assert not app.exception
    assert app.button(key="probe.start").disabled
    (refusal,) = [item.value for item in app.warning if "TiB" in item.value]
    assert "a few layers" in refusal


def _cut_short() -> None:
    from advisor.catalog.quantity import Basis, Quantity
    from advisor.jobs.registry import Snapshot
    from advisor.ui.probe_view import _body
    from probes.result import Measured, Point, Prediction, ProbeResult, State
    from probes.spec import ProbeSpec

    spec = ProbeSpec("deepseek-r1-distill-qwen-1.5b", "bf16")
    said = Prediction(decode_tok_s=Quantity(10.0, 9.0, 11.0, Basis.CALIBRATED, ""))
    points = (Point("decode", {"batch": 1}, {"decode_tok_s": Measured.of([9.5])}),)
    result = ProbeResult("p1", spec, State.CANCELLED, "f1", "2026-11-22T06:00:00+00:00", 9.0, points=points)
    _body(Snapshot("p1", spec, State.CANCELLED, predicted=said, points=points, result=result))


def test_a_cancelled_probe_shows_what_it_had_measured() -> None:
    app = AppTest.from_function(_cut_short).run(timeout=30)
    assert not app.exception
    assert "kept in the history" in " ".join(item.value for item in app.caption)
    assert list(app.table[0].value["Measured"]) == ["9.5"]


def _served() -> None:
    import streamlit as st

    from advisor.jobs.registry import Snapshot
    from advisor.ui.probe_view import _body
    from probes.result import Measured, ProbeResult, State
    from probes.spec import EndpointTarget, EngineName, Kind, LoadTarget, ProbeSpec

    spec = ProbeSpec(
        "m", "bf16", engine=EngineName.ENDPOINT, kind=Kind.SUSTAINED, load=LoadTarget(),
        endpoint=EndpointTarget("http://127.0.0.1:1"),
    )  # fmt: skip
    state = State(st.query_params["state"])
    figures = {"p95_ttft_ms": Measured.of([250.0]), "last_answer_s": Measured.of([40.0])}
    result = ProbeResult("p1", spec, state, "f1", "2026-11-22T06:00:00+00:00", 9.0, figures=figures)
    _body(Snapshot("p1", spec, state, result=result))


@pytest.mark.parametrize(("state", "is_cut"), [("done", False), ("cancelled", True)])
def test_a_sustained_run_shows_its_figures_whether_or_not_it_was_cut(state: str, is_cut: bool) -> None:
    """Of a server only these are measured: there is no headline figure."""
    app = AppTest.from_function(_served)
    app.query_params["state"] = state
    app.run(timeout=30)
    assert not app.exception
    assert ("kept in the history" in " ".join(item.value for item in app.caption)) is is_cut
    shown = dict(zip(*(app.table[-1].value[name] for name in ("Figure", "Measured")), strict=True))
    assert shown["Last answer after"] == "40 s"
    assert "250 ms" in shown.values()


@pytest.mark.parametrize(
    ("lang", "words"), [("en", "32 sequences would take"), ("zh", "未测量：32 个并发序列")]
)
def test_the_page_says_which_values_of_a_sweep_do_not_fit(
    open_page: Callable[..., AppTest], monkeypatch: pytest.MonkeyPatch, lang: str, words: str
) -> None:
    """1.5B in 16 bit with a margin takes 4.68 GB; each further sequence of 544 tokens 18 MB more."""
    monkeypatch.setattr(foresee, "available_bytes", lambda: 2**30 + 5_000_000_000)
    app = open_page("machine", lang)
    app.segmented_control(key="probe.kind").set_value(translate(lang, "probes.kind.sweep")).run()
    app.segmented_control(key="probe.axis").set_value(translate(lang, "ui.probe.axis_of.batch")).run()
    app.number_input(key="probe.sweep_limit").set_value(150.0).run()
    assert not app.exception
    assert any(words in caption.value for caption in app.caption), [caption.value for caption in app.caption]
    assert not app.button(key="probe.start").disabled


def _swept() -> None:
    from advisor.catalog.quantity import Basis, Quantity
    from advisor.ui.probe_summary import summary_table
    from probes.result import ForeseenPoint, Measured, Point, Prediction, ProbeResult, State, SweepEnd
    from probes.spec import Kind, ProbeSpec, SweepAxis, SweepLimit

    spec = ProbeSpec(
        "deepseek-r1-distill-qwen-1.5b", "bf16", kind=Kind.SWEEP, sweep_axis=SweepAxis.BATCH, sweep_values=(1, 2)
    )
    said = {"decode_tok_s": Quantity(10.0, 9.0, 11.0, Basis.CALIBRATED, "")}
    places = [{"context_tokens": 512, "batch": n} for n in (1, 2)]
    rates = [{"decode_tok_s": Measured.of([rate])} for rate in (10.4, 7.3)]
    summary_table(
        ProbeResult(
            "p1", spec, State.DONE, "f1", "2026-11-22T06:00:00+00:00", 9.0,
            points=tuple(Point("decode", at, seen, "bf16") for at, seen in zip(places, rates, strict=True)),
            predicted=Prediction(points=tuple(ForeseenPoint("decode", at, said, "bf16") for at in places)),
            sweep_end=SweepEnd(SweepLimit.LATENCY, 2, 137.0, 120.0),
        )
    )  # fmt: skip


def test_points_of_a_sweep_stand_beside_what_was_foreseen_and_the_end_is_said() -> None:
    app = AppTest.from_function(_swept).run(timeout=30)
    assert not app.exception
    table = app.table[0].value
    first, second = ([str(cell).replace("\\", "") for cell in row] for row in table.to_numpy())
    assert first == ["1 sequence", "Decode (tok/s)", "10.4", "10 (9–11)", "yes"]
    assert second == ["2 sequences", "Decode (tok/s)", "7.3", "10 (9–11)", "no"]
    assert any("with 2 sequences a token takes 137 ms" in caption.value for caption in app.caption)


def _grown() -> None:
    import streamlit as st

    from advisor.ui.probe_summary import summary_table
    from probes.result import Measured, ProbeResult, State
    from probes.spec import Kind, LoadTarget, ProbeSpec

    st.session_state["language"] = st.query_params["lang"]
    spec = ProbeSpec("deepseek-r1-distill-qwen-1.5b", "bf16", kind=Kind.SUSTAINED, load=LoadTarget())
    figures = {"memory_drift_bytes_per_hour": Measured(38e6, -12e6, 64e6, 16)}
    flags = tuple(st.query_params.get_all("flag"))
    summary_table(ProbeResult("p", spec, State.DONE, "f", "2026-11-22T06:00:00", 9.0, figures=figures, flags=flags))


@pytest.mark.parametrize(
    ("lang", "flag", "words"),
    [
        ("en", "memory_undecided", "38 MB/h (−12 MB/h to 64 MB/h): too short to tell"),
        ("zh", "memory_undecided", "38 MB/h（−12 MB/h 至 64 MB/h）：时间太短，无法判断"),
        ("en", "memory_grows", "perhaps a leak"),
        ("en", "", "no steady growth"),
    ],
)
def test_growth_of_memory_has_its_interval_and_a_verdict(lang: str, flag: str, words: str) -> None:
    app = AppTest.from_function(_grown)
    app.query_params["lang"], app.query_params["flag"] = lang, [flag] if flag else []
    app.run(timeout=30)
    assert not app.exception
    assert any(words in text.replace("\\", "") for text in app.table[0].value.iloc[:, 1])


@pytest.mark.parametrize(
    ("device", "foreseen_s", "seconds"),
    [("cpu", 60.0, 10.0), ("cpu", 24.0, 4.0), ("cpu", 6.0, 3.0), ("cpu", None, 10.0), ("cuda:0", 60.0, 1.0)],
)
def test_who_watches_a_probe_of_this_processor_looks_seldom(
    device: str, foreseen_s: float | None, seconds: float
) -> None:
    """A sixth of the run, between 3 and 10 seconds; a card is not disturbed by a look."""
    said = None if foreseen_s is None else Quantity(foreseen_s, foreseen_s / 2, foreseen_s * 2, Basis.ESTIMATED, "x")
    spec = ProbeSpec("deepseek-r1-distill-qwen-1.5b", "bf16", device=device)
    snapshot = Snapshot("p1", spec, State.RUNNING, predicted=Prediction(duration_s=said))
    assert _look_s(snapshot) == seconds


def _watched(device: str) -> None:
    from advisor.jobs.registry import Snapshot
    from advisor.ui.probe_view import _body
    from probes.result import Measured, Point, State
    from probes.spec import ProbeSpec

    rates = [(1, 9e9), (2, 20e9)]
    points = [Point("bandwidth", {"threads": n}, {"read_bytes_per_s": Measured(r, r, r)}) for n, r in rates]
    spec = ProbeSpec("deepseek-r1-distill-qwen-1.5b", "bf16", device=device)
    _body(Snapshot("p1", spec, State.RUNNING, points=tuple(points)))


@pytest.mark.parametrize(("device", "kind"), [("cpu", "image"), ("cuda:0", "plotly_chart")])
def test_while_this_processor_is_measured_charts_are_pictures(device: str, kind: str) -> None:
    page = AppTest.from_function(_watched, kwargs={"device": device}).run()
    assert not page.exception
    assert len(page.get("image")) == (kind == "image")
    assert len(page.get("plotly_chart")) == (kind == "plotly_chart")
