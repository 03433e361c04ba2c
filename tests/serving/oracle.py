"""The simulator's rules, one iteration at a time, with plain lists: slow and obvious. Shares no code with it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass
class Request:
    index: int
    arrival: float
    inp: int
    out: int
    hit: int
    generated: int = 0
    computed: int = 0
    blocks: int = 0
    scheduled: float | None = None
    first: float | None = None
    last: float | None = None
    preempted: int = 0

    @property
    def known(self):
        return self.inp + self.generated


@dataclass
class Rank:
    waiting: list = field(default_factory=list)
    running: list = field(default_factory=list)


class Oracle:
    def __init__(self, costs, block=16):
        self.costs, self.block = costs, block
        self.table = np.interp(np.arange(costs.max_num_batched_tokens + 1), costs.ntok, costs.step_s)
        self.blocks = costs.kvcap_tokens // block
        self.ranks = [Rank() for _ in range(costs.dp)]
        self.steps = 0

    def run(self, arrivals, inputs, outputs, hits):
        rows = zip(arrivals, inputs, outputs, hits, strict=True)
        requests = [Request(i, *row) for i, row in enumerate(rows)]
        now, coming = 0.0, list(requests)
        while coming or any(r.waiting or r.running for r in self.ranks):
            if not any(r.waiting or r.running for r in self.ranks):
                now = max(now, coming[0].arrival)
                self.deliver(coming, now)
            plans = [self.schedule(rank, now) for rank in self.ranks]
            parts = [self.seconds(plan) for plan in plans]
            now += max(matrices for matrices, _ in parts) + max(attention for _, attention in parts)
            self.steps += 1
            self.deliver(coming, now)  # the router sees the step in progress, before its completions
            for rank, plan in zip(self.ranks, plans, strict=True):
                self.finish(rank, plan, now)
        return requests

    def deliver(self, coming, now):
        while coming and coming[0].arrival <= now:
            best = min(self.ranks, key=lambda r: 4 * len(r.waiting) + len(r.running))
            best.waiting.append(coming.pop(0))

    def free(self, rank):
        return self.blocks - sum(q.blocks for q in rank.running)

    def need(self, request, tokens):
        return -(-tokens // self.block) - request.blocks

    def schedule(self, rank, now):
        plan, budget, preempted = [], self.costs.max_num_batched_tokens, False
        index = 0
        while index < len(rank.running) and budget > 0:
            q = rank.running[index]
            chunk = min(q.known - q.computed, budget)
            while self.need(q, q.computed + chunk) > self.free(rank):
                victim = rank.running.pop()
                victim.blocks = victim.computed = 0
                victim.preempted += 1
                rank.waiting.insert(0, victim)
                preempted = True
                if victim is q:
                    break
            if index >= len(rank.running):
                break
            q.blocks += self.need(q, q.computed + chunk)
            plan.append((q, chunk))
            budget -= chunk
            index += 1
        while rank.waiting and budget > 0 and not preempted and len(rank.running) < self.costs.max_num_seqs:
            q = rank.waiting[0]
            if self.need(q, q.known) > self.free(rank):
                break
            rank.waiting.pop(0)
            rank.running.append(q)
            q.scheduled = now if q.scheduled is None else q.scheduled
            q.computed = min(q.hit, q.known - 1)
            chunk = min(q.known - q.computed, budget)
            q.blocks += self.need(q, q.computed + chunk)
            plan.append((q, chunk))
            budget -= chunk
        return plan

    def seconds(self, plan):
        """(matrices, attention)"""
        if not plan:
            return 0.0, 0.0
        decodes = [q for q, chunk in plan if q.computed and chunk == 1]
        prompts = [(q, chunk) for q, chunk in plan if not (q.computed and chunk == 1)]
        work = sum(max(chunk, self.costs.cmin) * (q.computed + chunk / 2) for q, chunk in prompts)
        read = sum(q.computed + 1 for q in decodes)
        factor = self.costs.cmix if prompts else self.costs.cdec
        return self.table[sum(chunk for _, chunk in plan)], factor * read + self.costs.cpre * work

    def finish(self, rank, plan, now):
        for q, chunk in plan:
            q.computed += chunk
            if q.computed < q.known:
                continue
            q.generated += 1
            q.first = now if q.first is None else q.first
            if q.generated == q.out:
                q.last = now
                rank.running.remove(q)
