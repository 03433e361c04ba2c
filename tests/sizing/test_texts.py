"""Every text that sizing asks for exists in both languages and takes the same values."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from advisor.catalog import load_catalog
from advisor.catalog.text import LANGUAGES, texts, translate
from advisor.sizing.cache import default_kv_format
from advisor.sizing.derivation import derive
from advisor.sizing.plan import Binding, Layout, Load, Offload, Plan, Suggestion
from advisor.sizing.suggestion_text import suggestion_text

CATALOG = load_catalog()


def test_both_languages_have_the_same_keys_and_values() -> None:
    english, chinese = ({k: v for k, v in texts(lang).items() if k.startswith("sizing.")} for lang in LANGUAGES)
    assert english.keys() == chinese.keys()
    for key, text in english.items():
        assert set(re.findall(r"{(\w+)", text)) == set(re.findall(r"{(\w+)", chinese[key])), key


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    ("variant_id", "format_id", "engine_id", "layout"),
    [
        ("deepseek-r1", "fp8-block", "vllm", Layout(tp=8)),
        ("deepseek-v4-flash", "v4-native", "vllm", Layout(tp=4)),
        ("gemma-3-27b", "bf16", "vllm", Layout(tp=2)),
        ("qwen3.6-35b-a3b", "awq", "vllm", Layout()),
        ("deepseek-r1-distill-qwen-7b", "gguf-q4_k_m", "llama.cpp", Layout(offload=Offload.CPU_ONLY)),
    ],
)
def test_every_step_of_a_derivation_has_a_text(
    language: str, variant_id: str, format_id: str, engine_id: str, layout: Layout
) -> None:
    v = CATALOG.variant(variant_id)
    device = None if layout.offload is Offload.CPU_ONLY else CATALOG.device("h100-sxm")
    plan = Plan(v, CATALOG.format(format_id), CATALOG.engine(engine_id), "cuda", device, layout)
    plan = replace(plan, kv_format=default_kv_format(v.architecture), host=next(iter(CATALOG.hosts.values())))
    for derivation in derive(plan, Load(512, 128, 4096)):
        assert translate(language, f"sizing.derivation.{derivation.key}.title")
        for step in derivation.steps:
            assert "{" not in translate(language, f"sizing.derivation.{step.key}", **step.values)


@pytest.mark.parametrize("language", LANGUAGES)
def test_suggestions_and_bindings_have_texts(language: str) -> None:
    examples = [
        Suggestion("more_devices", {"count": 2}),
        Suggestion("other_format", {"format_id": "awq"}),
        Suggestion("shorter_context", {"context_tokens": 4096}),
        Suggestion("fewer_sequences", {"concurrency": 3}),
        Suggestion("other_variant", {"variant_id": "deepseek-r1", "format_id": "fp8-block"}),
        Suggestion("bigger_device", {"device_id": "h200-sxm"}),
        Suggestion("offload", {}),
    ]
    for example in examples:
        assert "{" not in suggestion_text(example, language, CATALOG)
    for binding in Binding:
        assert translate(language, f"sizing.binding.{binding}")
