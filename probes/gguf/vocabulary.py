"""A byte-level vocabulary of any size that llama.cpp accepts: every text can be written in it, and the word that load
tests repeat is one token.
"""

from __future__ import annotations

__all__ = ["WORD", "Vocabulary", "make_vocabulary"]

from dataclasses import dataclass

WORD = "measure"
_SPACE = "\u0120"  # how byte-level vocabularies write a blank
NORMAL, CONTROL = 1, 3


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """`merges` in the order of their application; `end` is the id of the closing token."""

    tokens: list[str]
    types: list[int]
    merges: list[str]
    end: int


def make_vocabulary(size: int) -> Vocabulary:
    """256 bytes, the steps towards " measure", a closing token, and numbered fillers up to `size`."""
    tokens = list(_byte_letters())
    merges = []
    built = _SPACE + WORD[0]
    for letter in ("", *WORD[1:]):
        merges.append(f"{_SPACE} {WORD[0]}" if not letter else f"{built} {letter}")
        built += letter
        tokens.append(built)
    end = len(tokens)
    tokens.append("<|end|>")
    tokens += [f"{_SPACE}t{number}" for number in range(max(0, size - len(tokens)))]
    types = [NORMAL] * len(tokens)
    types[end] = CONTROL
    if size < end + 1:
        return Vocabulary(tokens[:size], types[:size], [], size - 1)
    return Vocabulary(tokens, types, merges, end)


def _byte_letters() -> list[str]:
    """GPT-2's printable letter for each byte."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    letters, shift = {}, 0
    for byte in range(256):
        if byte in printable:
            letters[byte] = chr(byte)
        else:
            letters[byte] = chr(256 + shift)
            shift += 1
    return [letters[byte] for byte in range(256)]
