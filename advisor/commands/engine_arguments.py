"""Scheduler rules on the command line: the preset of an engine, queue limits, speculative decoding."""

from __future__ import annotations

import argparse
from dataclasses import replace

from advisor.serving.engines import PRESETS, EngineOptions, Speculation

__all__ = ["add_engine_arguments", "with_limits"]


def add_engine_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--engine", choices=sorted(PRESETS), help="scheduling rules (default: vllm, or the plan's engine)"
    )
    parser.add_argument(
        "--max-queue", type=int, default=0, metavar="N", help="waiting requests per replica before new ones are refused"
    )
    parser.add_argument(
        "--queue-timeout-s", type=float, default=None, metavar="S", help="a request that waits longer is given up"
    )
    parser.add_argument("--draft-tokens", type=int, default=0, metavar="N", help="speculation: drafts per step")
    parser.add_argument(
        "--accepted-tokens", type=float, default=None, metavar="X", help="tokens gained per step, 1..drafts + 1"
    )
    parser.add_argument("--draft-s", type=float, default=0.0, metavar="S", help="time that drafting adds to a step")


def with_limits(arguments: argparse.Namespace, options: EngineOptions) -> EngineOptions:
    """The rules of the engine with what the user set. Raises InputError."""
    wait = options.queue_timeout_s if arguments.queue_timeout_s is None else arguments.queue_timeout_s
    drafts = arguments.draft_tokens
    speculation = options.speculation
    if drafts or arguments.accepted_tokens is not None:
        gained = 1.0 if arguments.accepted_tokens is None else arguments.accepted_tokens
        speculation = Speculation(drafts, gained, arguments.draft_s)
    return replace(options, max_queue=arguments.max_queue, queue_timeout_s=wait, speculation=speculation)
