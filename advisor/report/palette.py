"""Colours of figures, equal to `.streamlit/config.toml`, so that page and report look alike."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["DARK", "FONT_FAMILY", "LIGHT", "Palette", "Tone"]

FONT_FAMILY = (
    "'Source Sans', 'Source Sans 3', 'Segoe UI', 'Noto Sans CJK SC', 'PingFang SC', 'Microsoft YaHei', sans-serif"
)


class Tone(StrEnum):
    """What a mark means; a palette gives it a colour."""

    ACCENT = "accent"
    GOOD = "good"
    WARN = "warn"
    BAD = "bad"
    MUTED = "muted"
    WEIGHTS = "weights"
    KV_CACHE = "kv_cache"
    ACTIVATION = "activation"
    OVERHEAD = "overhead"
    FREE = "free"
    SHORTFALL = "shortfall"


@dataclass(frozen=True, slots=True)
class Palette:
    background: str
    surface: str
    border: str
    text: str
    muted: str
    tones: dict[Tone, str]
    categories: tuple[str, ...]
    sequence: tuple[str, ...]  # few to many

    def tone(self, tone: Tone) -> str:
        return self.tones[tone]

    def category(self, index: int) -> str:
        return self.categories[index % len(self.categories)]


LIGHT = Palette(
    background="#FFFFFF",
    surface="#F4F6FB",
    border="#DDE3EF",
    text="#0B1222",
    muted="#5B6680",
    tones={
        Tone.ACCENT: "#3B5BDB",
        Tone.GOOD: "#0B8457",
        Tone.WARN: "#B7791F",
        Tone.BAD: "#C92A2A",
        Tone.MUTED: "#868E96",
        Tone.WEIGHTS: "#3B5BDB",
        Tone.KV_CACHE: "#0CA678",
        Tone.ACTIVATION: "#F08C00",
        Tone.OVERHEAD: "#868E96",
        Tone.FREE: "#E6EAF4",
        Tone.SHORTFALL: "#E03131",
    },
    categories=("#3B5BDB", "#0CA678", "#F08C00", "#C2255C", "#7048E8", "#1098AD", "#868E96", "#D9480F"),
    sequence=("#EEF2FF", "#DBE4FF", "#BAC8FF", "#91A7FF", "#748FFC", "#5C7CFA"),
)

DARK = Palette(
    background="#080C16",
    surface="#182036",
    border="#2B3654",
    text="#E8ECF6",
    muted="#9AA5C0",
    tones={
        Tone.ACCENT: "#748FFC",
        Tone.GOOD: "#38D9A9",
        Tone.WARN: "#FFD43B",
        Tone.BAD: "#FF8787",
        Tone.MUTED: "#ADB5BD",
        Tone.WEIGHTS: "#748FFC",
        Tone.KV_CACHE: "#20C997",
        Tone.ACTIVATION: "#FFA94D",
        Tone.OVERHEAD: "#868E96",
        Tone.FREE: "#1E2740",
        Tone.SHORTFALL: "#FF6B6B",
    },
    categories=("#748FFC", "#38D9A9", "#FFC078", "#F783AC", "#B197FC", "#66D9E8", "#ADB5BD", "#FFA94D"),
    sequence=("#121A33", "#18234A", "#1D2D66", "#243A85", "#2F4AB0", "#3B5BDB"),
)
