"""Weight-only products are named as such, in both languages and wherever a plan is explained."""

from __future__ import annotations

import pytest

from advisor.catalog import Catalog
from advisor.cli import main
from advisor.decision.explain import sentence
from advisor.decision.kernel_reasons import kernel_reasons
from advisor.sizing.plan import Layout, Plan


@pytest.mark.parametrize(
    ("engine", "fmt", "device", "words"),
    [
        ("vllm", "fp8", "a100-sxm-80", ("Weight-only: vLLM has no FP8", "仅权重量化：vLLM")),  # Marlin on Ampere
        ("vllm", "fp8", "h100-sxm", None),  # FP8 units
        ("vllm", "nvfp4", "h100-sxm", ("no FP4 products for H100", "没有适用于 H100")),
        ("vllm", "mxfp4", "rtx-5090", ("no FP4 products for GeForce RTX 5090", "没有适用于 GeForce RTX 5090")),
        ("vllm", "w4a16-g128", "h100-sxm", None),  # weight-only everywhere: the format is called so
        ("vllm", "v4-native", "h100-sxm", ("The experts are weight-only", "专家为仅权重量化")),
        ("vllm", "v4-native", "b200-sxm", None),
        ("llama.cpp", "gguf-q4_k_m", "h100-sxm", None),
    ],
)
def test_weights_that_are_expanded_before_products(
    catalog: Catalog, engine: str, fmt: str, device: str, words: tuple[str, str] | None
) -> None:
    variant = catalog.variant("deepseek-v4-flash")
    backend, card = "cuda", catalog.device(device)
    plan = Plan(variant, catalog.format(fmt), catalog.engine(engine), backend, card, Layout())
    said = [[sentence(language, reason) for reason in kernel_reasons(plan)] for language in ("en", "zh")]
    if words is None:
        assert said == [[], []]
        return
    for (text,), word in zip(said, words, strict=True):
        assert word in text


def test_size_says_weight_only(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["size", "deepseek-r1-distill-qwen-7b", "--engine", "vllm", "--format", "fp8", "--device"]
    assert main([*words, "a100-sxm-80"]) == 0
    assert "Weight-only" in capsys.readouterr().out
    assert main([*words, "h100-sxm"]) == 0
    assert "eight-only" not in capsys.readouterr().out
