"""Decode and prefill of the torch engine against Hugging Face transformers: same shape, random weights, this CPU.

Run: `python benchmarks/against_transformers.py [VARIANT] [FORMAT] [PROMPT_TOKENS]` (bf16, fp16 or fp32; dense Qwen2 and
Llama shapes). Says so and ends with 0 where transformers is not installed; ends with 1 when the engine decodes less
than 1.5 times as fast. Both run in this process one after the other, with the memory's speed read before and after.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import time
from statistics import median
from typing import Any

os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # as probes do: torch reads it when it is imported

STEPS = 12
WANTED = 1.5


def main(variant: str = "deepseek-r1-distill-qwen-1.5b", format_id: str = "bf16", prompt: str = "128") -> int:
    if importlib.util.find_spec("transformers") is None:
        print("skipped: transformers is not installed")
        return 0
    import torch

    from advisor.catalog import load_catalog
    from probes.bench import Canary
    from probes.cpu import read_cpu
    from probes.engines.torch_engine import set_threads

    cpu = read_cpu()
    set_threads(cpu.cores)
    architecture = load_catalog().variant(variant).architecture
    canary = Canary(torch.device("cpu"), cpu.cache_bytes.get("l3", 32 * 2**20))
    canary.read()
    found = {}
    for name, measure in (("fathom", _fathom), ("transformers", _transformers)):
        before = canary.read().usual
        prefill, step = measure(architecture, format_id, int(prompt))
        found[name] = step
        memory = max(before, canary.read().usual) / 1e9
        rates = f"prefill {int(prompt) / prefill:8.1f} tok/s  decode {1 / step:6.2f} tok/s"
        print(f"{name:13} {rates}  memory {memory:5.1f} GB/s")
    ratio = found["transformers"] / found["fathom"]
    print(f"decode is {ratio:.2f} times as fast as transformers' (wanted: {WANTED})")
    return int(ratio < WANTED)


def _fathom(architecture: Any, format_id: str, prompt: int) -> tuple[float, float]:
    """Seconds of one prefill and of the median decode step."""
    from probes.engines.torch_engine import TorchEngine
    from probes.spec import ProbeSpec

    engine = TorchEngine(ProbeSpec("benchmark", format_id, architecture), tokens=prompt + STEPS + 1)
    engine.load()
    engine.decode(prompt, 1, 2)
    prefill = engine.prefill(prompt)
    return prefill, median(engine.decode(prompt, 1, STEPS))


def _transformers(a: Any, format_id: str, prompt: int) -> tuple[float, float]:
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    config = Qwen2Config(
        vocab_size=a.vocab_size, hidden_size=a.hidden_size, intermediate_size=a.intermediate_size,
        num_hidden_layers=a.num_layers, num_attention_heads=a.n_heads, num_key_value_heads=a.n_kv_heads,
        tie_word_embeddings=a.tie_word_embeddings, max_position_embeddings=max(4096, 2 * prompt),
    )  # fmt: skip
    types = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
    kept = torch.get_default_dtype()
    torch.set_default_dtype(types[format_id])
    model = Qwen2ForCausalLM(config).eval()
    torch.set_default_dtype(kept)
    with torch.inference_mode():
        model(torch.randint(a.vocab_size, (1, 8)), logits_to_keep=1)  # chooses kernels
        start = time.perf_counter()
        out = model(torch.randint(a.vocab_size, (1, prompt)), use_cache=True, logits_to_keep=1)
        prefill, steps = time.perf_counter() - start, []
        for _ in range(STEPS):
            start = time.perf_counter()
            token = out.logits[:, -1:].argmax(dim=-1)
            out = model(token, past_key_values=out.past_key_values, use_cache=True)
            steps.append(time.perf_counter() - start)
    return prefill, median(steps[1:])


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
