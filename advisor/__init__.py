"""Fathom: what hardware a DeepSeek model needs, how it behaves there, how to deploy it."""

__version__ = "0.1.0"
