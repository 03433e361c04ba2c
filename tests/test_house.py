"""Rules of the house: import floors, no torch outside probes, nothing that names a machine."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def _run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


def _tracked(*patterns: str) -> list[Path]:
    listed = _run("git", "ls-files", "-z", "--", *patterns).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def test_imports_go_only_downwards() -> None:
    done = _run(str(Path(sys.executable).with_name("lint-imports")))
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_command_loads_neither_torch_nor_streamlit() -> None:
    code = (
        "import sys, advisor.cli as c\n"
        "from importlib import import_module\n"
        "[import_module(m) for m in c.COMMANDS.values()]\n"
        "print([m for m in ('torch', 'streamlit', 'pynvml') if m in sys.modules])"
    )
    done = _run(sys.executable, "-c", code)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_no_file_names_a_machine_path_or_a_registry() -> None:
    forbidden = re.compile(r"(/(work|root|home/\w+)/|index[-]url|de[b] +https?:)")
    guilty = []
    for path in _tracked("*.py", "*.yaml", "*.md", "*.toml", "*.txt", "*.csv", "Makefile", ".ci/run"):
        if path == Path(__file__).resolve():
            continue
        guilty += [
            f"{path.relative_to(ROOT)}: {line[:100]}"
            for line in path.read_text("utf-8").splitlines()
            if forbidden.search(line)
        ]
    assert guilty == []


def test_product_files_stay_small() -> None:
    long = {
        str(p.relative_to(ROOT)): n
        for p in _tracked("advisor/*.py", "probes/*.py", "app.py")
        if (n := len(p.read_text("utf-8").splitlines())) > 300
    }
    assert long == {}
