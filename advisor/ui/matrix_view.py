"""Placeholder replaced below."""

from __future__ import annotations

__all__ = ["matrix"]


def matrix() -> None: ...
