"""Answers limited to one machine: what was detected, what is owned, and host memory beside a device."""

from __future__ import annotations

from advisor.catalog import Catalog
from advisor.decision.offers import offers
from advisor.decision.recommend import recommend
from advisor.sizing.plan import Offload
from probes.machine_records import Accelerator, Cpu, Disk, Machine, Memory
from tests.decision.conftest import make_scenario

GIB = 2**30


def _machine(*accelerators: Accelerator, memory_gib: int = 64) -> Machine:
    return Machine(
        name="bench",
        os="Linux",
        python="3.11",
        cpu=Cpu("AMD Ryzen 9 7950X", "AMD", 1, 16, 32, 1, ("avx2", "avx512f"), {}),
        memory=Memory(memory_gib * GIB, memory_gib * GIB, 0),
        disk=Disk("/", 10**12, 10**12),
        accelerators=accelerators,
        notes=(),
        fingerprint="0" * 16,
    )


def _card(name: str, gib: int) -> Accelerator:
    return Accelerator(0, "nvidia", name, gib * GIB, "cuda:0", compute_capability=8.9)


def test_only_this_machine_is_offered(catalog: Catalog) -> None:
    machine = _machine(_card("NVIDIA GeForce RTX 4090", 24))
    answer = recommend(make_scenario(this_machine=True), catalog, machine)
    assert answer.candidates
    for candidate in answer.candidates:
        plan = candidate.plan
        assert plan.device is None or plan.device.id == "rtx-4090"
        assert plan.n_devices <= 1
        assert plan.host is not None
        assert plan.host.id == "this-machine"
        assert candidate.capital_usd is not None
        assert candidate.capital_usd.value == 0


def test_a_machine_without_accelerators(catalog: Catalog) -> None:
    answer = recommend(make_scenario(this_machine=True), catalog, _machine(memory_gib=16))
    assert answer.candidates
    assert all(candidate.plan.layout.offload is Offload.CPU_ONLY for candidate in answer.candidates)
    assert all(candidate.sizing.per_device.total_bytes <= 16 * GIB for candidate in answer.candidates)


def test_an_unknown_card_is_left_out_and_the_processor_stays(catalog: Catalog) -> None:
    found = offers(make_scenario(this_machine=True), catalog, _machine(_card("Mystery 3000", 24)))
    assert [offer.hardware.device for offer in found] == [None]


def test_two_equal_cards_count_as_two(catalog: Catalog) -> None:
    machine = _machine(_card("NVIDIA GeForce RTX 4090", 24), _card("NVIDIA GeForce RTX 4090", 24))
    card = offers(make_scenario(this_machine=True), catalog, machine)[0]
    assert (card.per_node, card.available) == (2, 2)


def test_host_memory_holds_the_experts_of_a_model_too_big_for_the_card(catalog: Catalog) -> None:
    """R1 in 4 bits (377 GiB) on one 24 GB card beside 768 GB of host memory."""
    owned = make_scenario(owned={"rtx-4090": 1, "epyc-9654": 1}, variants=["deepseek-r1"], formats=["gguf-q4_k_m"])
    answer = recommend(owned, catalog)
    split = [c for c in answer.candidates if c.plan.layout.offload is Offload.EXPERTS_CPU]
    assert split
    for candidate in split:
        assert candidate.plan.device is not None
        assert candidate.sizing.host is not None
        assert candidate.sizing.per_device.total_bytes <= candidate.sizing.per_device.usable_bytes
        assert candidate.sizing.host.weights_bytes > 300 * GIB
    alone = recommend(make_scenario(owned={"rtx-4090": 1}, variants=["deepseek-r1"]), catalog)
    assert alone.nothing_fits


def test_more_memory_never_fits_fewer_plans(catalog: Catalog) -> None:
    def fitting(gib: int) -> int:
        machine = _machine(memory_gib=gib)
        return recommend(make_scenario(this_machine=True), catalog, machine).counts.fitting

    counts = [fitting(gib) for gib in (4, 16, 64)]
    assert counts == sorted(counts)
    assert counts[0] < counts[-1]
