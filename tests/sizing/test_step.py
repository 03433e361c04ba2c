"""The step formulas against numbers worked by hand, and the laws of physics that they must obey."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from advisor.catalog import load_catalog
from advisor.sizing.columns import LoadColumns, PlanColumns, Tuning
from advisor.sizing.efficiency import PRIORS, EfficiencyArrays, EfficiencyTable
from advisor.sizing.grid import step_context
from advisor.sizing.plan import Layout, Load, Offload, Plan
from advisor.sizing.step import decode_step, prefill_pass, priced
from advisor.sizing.step_arrays import StepInputs

CATALOG = load_catalog()
PERFECT = EfficiencyTable(())  # no coefficients: every effect is its starting value


def inputs_of(plan: Plan, load: Load) -> StepInputs:
    context = step_context(PlanColumns.from_plans([plan]), LoadColumns.of(load, 1), Tuning(), PERFECT)
    return context.inputs(slice(0, 1))


def efficiency(**given: float) -> EfficiencyArrays:
    """Full use of every rate and no overhead, except as given."""
    shares = dict.fromkeys(list(PRIORS)[:12], 1.0)
    none = dict.fromkeys(("layer_s", "moe_layer_s", "step_s", "sequence_s", "collective_s", "sync_s", "hop_s"), 0.0)
    rest = {"first_token_s": 0.0, "padding": 0.0, "dispatch": 0.0, "pcie_scaling": 1.0, "bias": 1.0}
    rest |= {"prompt_reads": 1.0}
    return EfficiencyArrays(**{n: np.array([v]) for n, v in (shares | none | rest | given).items()})


def reading() -> EfficiencyArrays:
    """Arithmetic for free: only what is read takes time."""
    return efficiency(compute=1e9, attention=1e9, host_compute=1e9)


def plan_of(variant: str, fmt: str, device: str | None, engine: str = "vllm", **layout: object) -> Plan:
    return Plan(
        CATALOG.variant(variant),
        CATALOG.format(fmt),
        CATALOG.engine(engine),
        "cuda",
        CATALOG.device(device) if device else None,
        Layout(**layout),  # type: ignore[arg-type]
    )


def seconds(i: StepInputs, e: EfficiencyArrays, sequences: float, context: float) -> float:
    return float(decode_step(priced(i, e), np.array([sequences]), np.array([context])).total[0])


def test_decode_of_a_dense_model_is_its_bytes_over_bandwidth_and_its_operations_over_the_peak() -> None:
    """Qwen-7B in bf16: 7,615,616,512 parameters less 544,997,376 embedded, 2 bytes, 1008 GB/s: 14.03 ms, + 0.09 ms."""
    i = inputs_of(plan_of("deepseek-r1-distill-qwen-7b", "bf16", "rtx-4090"), Load(1, 1, 512))
    parameters = 7_615_616_512 - 544_997_376
    assert seconds(i, reading(), 1, 0) == pytest.approx(parameters * 2 / 1008e9, rel=2e-3)
    assert seconds(i, efficiency(), 1, 0) == pytest.approx(parameters * (2 / 1008e9 + 2 / 165.2e12), rel=2e-3)


def test_cache_reads_add_to_the_step() -> None:
    """57,344 bytes per token (28 layers, 4 heads of 128, keys and values, 2 bytes), 8,192 tokens: 466 us."""
    i = inputs_of(plan_of("deepseek-r1-distill-qwen-7b", "bf16", "rtx-4090"), Load(1, 1, 8192))
    more = seconds(i, reading(), 1, 8192) - seconds(i, reading(), 1, 0)
    assert more == pytest.approx(57_344 * 8192 / 1008e9, rel=0.02)


def test_experts_touched_are_their_expected_union() -> None:
    """DeepSeek-R1, 256 experts, 8 of them per token: 16 tokens touch 256·(1-(248/256)^16) = 101.97."""
    i = inputs_of(plan_of("deepseek-r1", "fp8-block", "h200-sxm", tp=8), Load(1, 1, 512))
    expert = float(i.model.expert_bytes[0] * i.model.n_moe_layers[0]) / 8 / 4.8e12
    one, sixteen = seconds(i, reading(), 1, 0), seconds(i, reading(), 16, 0)
    assert sixteen - one == pytest.approx((256 * (1 - (248 / 256) ** 16) - 8) * expert, rel=0.02)


def test_the_mla_latent_is_read_by_every_rank_unless_attention_is_data_parallel() -> None:
    split = inputs_of(plan_of("deepseek-r1", "fp8-block", "h200-sxm", tp=8), Load(1, 1, 512))
    apart = inputs_of(plan_of("deepseek-r1", "fp8-block", "h200-sxm", tp=8, dp_attention=8), Load(1, 1, 512))
    at = np.array([64.0]), np.array([4096.0])
    whole = decode_step(priced(split, efficiency(attention=1.0)), *at)
    part = decode_step(priced(apart, efficiency(attention=1.0)), *at)
    assert float(whole.cache[0]) == pytest.approx(70_272 * 4096 * 64 / 4.8e12, rel=0.05)
    assert float(part.cache[0]) == pytest.approx(float(whole.cache[0]) / 8, rel=0.05)


def test_layer_split_does_not_speed_up_one_stream() -> None:
    one = inputs_of(
        plan_of("deepseek-r1-distill-llama-70b", "gguf-q4_k_m", "rtx-3090", "llama.cpp", pp=2), Load(1, 1, 9)
    )
    two = inputs_of(
        plan_of("deepseek-r1-distill-llama-70b", "gguf-q4_k_m", "rtx-3090", "llama.cpp", pp=4), Load(1, 1, 9)
    )
    assert seconds(one, efficiency(), 1, 100) == pytest.approx(seconds(two, efficiency(), 1, 100))


def test_all_reduce_is_two_per_layer() -> None:
    """70B over 2 GPUs: 2·80 all-reduces of 8192·2 bytes, half of it sent twice, at 450 GB/s and 5 us each."""
    i = inputs_of(plan_of("deepseek-r1-distill-llama-70b", "bf16", "h100-sxm", tp=2), Load(1, 1, 512))
    found = decode_step(priced(i, efficiency(collective_s=5e-6)), np.array([1.0]), np.array([0.0])).link[0]
    assert found == pytest.approx(2 * 80 * (5e-6 + 8192 * 2 / 450e9))


def test_prefill_is_bound_by_arithmetic() -> None:
    """2·(7.07e9-0.54e9) operations per token on 165.2 TFLOP/s, plus 28 layers of attention."""
    i = inputs_of(plan_of("deepseek-r1-distill-qwen-7b", "bf16", "rtx-4090"), Load(1, 1, 8192))
    found = float(prefill_pass(priced(i, efficiency()), np.array([8192.0]), np.array([0.0])).total[0])
    linear = 2 * (7_615_616_512 - 2 * 544_997_376) * 8192 / 165.2e12
    attention = 4 * 28 * 28 * 128 * 4096 * 8192 / 165.2e12
    assert found == pytest.approx(linear + attention, rel=0.02)


def test_experts_on_the_processor_cost_its_bandwidth() -> None:
    plan = replace(
        plan_of("deepseek-r1", "gguf-q4_k_m", "rtx-4090", "llama.cpp", offload=Offload.EXPERTS_CPU),
        host=CATALOG.host("epyc-9355-1s"),
    )
    i = inputs_of(plan, Load(1, 1, 512))
    experts = float(8 * i.model.expert_bytes[0] * i.model.n_moe_layers[0])
    on_gpu = float((i.model.attention_split_bytes + i.model.dense_bytes + i.model.head_bytes)[0])
    found = seconds(i, reading(), 1, 0)
    assert found == pytest.approx(experts / 614.4e9 + on_gpu / 1008e9, rel=0.05)


def test_speculative_decoding_trades_a_longer_step_for_more_tokens() -> None:
    i = inputs_of(plan_of("deepseek-r1", "fp8-block", "h200-sxm", tp=8), Load(1, 1, 512))
    plain = float(decode_step(priced(i, efficiency()), np.array([8.0]), np.array([512.0])).total[0])
    drafted = float(decode_step(priced(i, efficiency()), np.array([8.0]), np.array([512.0]), 1.0).total[0])
    assert plain < drafted < 2 * plain


@settings(max_examples=40)
@given(
    sequences=st.floats(1, 512),
    context=st.floats(0, 60_000),
    variant=st.sampled_from(["deepseek-r1", "deepseek-v3.2", "deepseek-r1-distill-llama-70b", "deepseek-v4-flash"]),
)
def test_more_work_never_takes_less_time(sequences: float, context: float, variant: str) -> None:
    i = inputs_of(plan_of(variant, "fp8-block", "h200-sxm", tp=8), Load(1, 1, 512))
    e = efficiency(bandwidth=0.7, compute=0.5, layer_s=2e-5, padding=8.0)
    now = seconds(i, e, sequences, context)
    assert seconds(i, e, sequences * 1.5, context) >= now * (1 - 1e-9)
    assert seconds(i, e, sequences, context + 1000) >= now * (1 - 1e-9)


def test_micro_batches_of_one_prompt_fill_the_stages_of_llama_cpp() -> None:
    """Four chunks over four stages: seven quarter-steps instead of sixteen; vLLM works off one chunk at a time."""
    times = {}
    for engine in ("llama.cpp", "vllm"):
        i = inputs_of(plan_of("deepseek-r1-distill-qwen-7b", "gguf-q4_0", "rtx-4090", engine, pp=4), Load(1, 1, 4096))
        i = replace(i, layout=replace(i.layout, chunk_tokens=np.array([512.0])))
        times[engine] = float(prefill_pass(priced(i, efficiency()), np.array([2048.0]), np.array([0.0])).total[0])
    assert times["llama.cpp"] == pytest.approx(times["vllm"] * 7 / 16, rel=1e-6)


def on_this_processor(overlap: float) -> StepInputs:
    """1.5B on the processors of a catalogue host, by an engine whose steps overlap so much."""
    engine = replace(CATALOG.engine("torch"), cpu_overlap=overlap)
    plan = replace(
        plan_of("deepseek-r1-distill-qwen-1.5b", "bf16", None, offload=Offload.CPU_ONLY),
        engine=engine, backend="cpu", host=CATALOG.host("epyc-9355-1s"),
    )  # fmt: skip
    return inputs_of(plan, Load(1, 1, 512))


def test_one_row_reads_while_it_multiplies_where_the_engine_does_so() -> None:
    """Root of the sum of squares for one row; several rows, and prompts, are multiplied after they were read."""
    apart, together = on_this_processor(1), on_this_processor(2)
    at = np.array([1.0]), np.array([0.0])
    plain = decode_step(priced(apart, efficiency()), *at)
    read, work = float(plain.weights[0]), float(plain.compute[0])
    found = decode_step(priced(together, efficiency()), *at)
    assert float(found.weights[0] + found.compute[0]) == pytest.approx((read**2 + work**2) ** 0.5)
    assert float(found.weights[0] / found.compute[0]) == pytest.approx(read / work)
    assert seconds(together, efficiency(), 2, 0) == seconds(apart, efficiency(), 2, 0)
    prompts = [prefill_pass(priced(i, efficiency()), np.array([512.0]), np.array([0.0])) for i in (apart, together)]
    assert float(prompts[0].total[0]) == float(prompts[1].total[0])


def test_a_prompt_handles_its_weights_as_often_as_the_engine_does() -> None:
    """Expanding and packing cost each chunk once, however long it is; decoding knows nothing of it."""
    i = on_this_processor(1)
    once, often = (priced(i, efficiency(prompt_reads=n)) for n in (1.0, 8.0))
    for tokens in (64.0, 512.0):
        passes = [prefill_pass(p, np.array([tokens]), np.array([0.0])) for p in (once, often)]
        assert float(passes[1].total[0] - passes[0].total[0]) == pytest.approx(7 * float(passes[0].weights[0]))
    steps = [decode_step(p, np.array([1.0]), np.array([0.0])) for p in (once, often)]
    assert float(steps[0].total[0]) == float(steps[1].total[0])
