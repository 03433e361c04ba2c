"""NVML that answers once and then fails, in a real probe process: nothing else of the run is lost."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import pytest

from advisor.catalog.text import texts
from probes.codec import encode
from probes.process import Identity, ProbeProcess
from probes.result import ProbeResult, State
from probes.spec import Kind, LoadTarget, ProbeSpec

pytestmark = pytest.mark.probe

# Stands in for the package; `GOOD` readings of the energy counter, then every call fails, the initialisation too.
NVML = """
class NVMLError(Exception): pass
class NVMLError_LibraryNotFound(NVMLError): pass
class NVMLError_DriverNotLoaded(NVMLError): pass
NVML_CLOCK_SM, NVML_CLOCK_MEM, NVML_TEMPERATURE_GPU = 1, 2, 0
left = GOOD
def answer(value):
    if left <= 0: raise NVMLError("GPU is lost")
    return value
def nvmlInit(): answer(None)
def nvmlDeviceGetHandleByUUID(uuid): return answer(uuid)
def nvmlDeviceGetTemperature(handle, sensor): return answer(61)
def nvmlDeviceGetTotalEnergyConsumption(handle):
    global left
    value = answer(5_000 + 10_000_000 - left)
    left -= 1
    return value
"""
# The model runs on the processor here, but the gauges are those of a card.
WORKER = """
import sys, types
fake = types.ModuleType("pynvml"); exec({nvml!r}, fake.__dict__); sys.modules["pynvml"] = fake
from probes.kinds import session
session.card_of = lambda device: "GPU-000"
from probes.worker import main
sys.exit(main())
"""


def run(spec: ProbeSpec, good_readings: int) -> ProbeResult:
    program = WORKER.format(nvml=NVML.replace("GOOD", str(good_readings)))
    return ProbeProcess(spec, Identity("p1", "f1", "box"), [sys.executable, "-c", program]).result()


def test_a_run_keeps_its_figures_and_says_what_cannot_be_measured(spec):
    result = run(spec, 1)
    assert result.state is State.DONE, result.error
    assert result.decode_tok_s is not None
    assert result.ttft_ms is not None
    assert {p.name for p in result.points} >= {"prefill", "decode"}
    assert (result.conditions.energy_joules, result.conditions.energy_source) == (None, "")
    assert result.conditions.gpu == {}
    assert "joules_per_token" not in result.figures
    assert "gpu_unread" in result.conditions.warnings
    assert json.dumps(encode(result))
    for language in ("en", "zh"):
        assert "probes.warning.gpu_unread" in texts(language)


def test_with_nvml_to_the_end_nothing_is_missing(spec):
    result = run(spec, 1_000_000)
    assert result.state is State.DONE, result.error
    assert result.conditions.energy_source == "nvml"
    assert result.conditions.gpu["temperature_c"] == 61.0
    assert "joules_per_token" in result.figures
    assert "gpu_unread" not in result.conditions.warnings


def test_a_sustained_run_goes_on_without_its_gauges(spec):
    load = LoadTarget(requests_per_s=2.0, duration_s=5.0, slots=2)
    result = run(replace(spec, kind=Kind.SUSTAINED, load=load), 1)
    assert result.state is State.DONE, result.error
    windows = [p for p in result.points if p.name == "window"]
    assert windows
    assert all("temperature_c" not in p.values for p in windows)
    assert "p95_ttft_ms" in result.figures
    assert "joules_per_token" not in result.figures
    assert "gpu_unread" in result.conditions.warnings
