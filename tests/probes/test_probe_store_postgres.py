"""The store of a team: a real PostgreSQL server, started for the test on a socket in a folder of its own."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import pytest

from advisor.catalog.errors import DataError, InputError
from probes import journal as journals
from probes.process import ProbeProcess
from probes.result import ProbeResult, State
from probes.store import Imported, Store

pytest.importorskip("psycopg", reason="the PostgreSQL driver is not installed (requirements-dev.txt)")


def _program(name: str) -> str | None:
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return str(found[-1]) if found else shutil.which(name)


def _as_ordinary_user(*words: str) -> None:
    """PostgreSQL refuses to run as root."""
    before = ("runuser", "-u", "postgres", "--") if os.geteuid() == 0 else ()
    subprocess.run((*before, *words), check=True, capture_output=True, timeout=60)


@pytest.fixture(scope="module")
def server_url() -> Iterator[str]:
    initdb, pg_ctl = _program("initdb"), _program("pg_ctl")
    if not initdb or not pg_ctl:
        pytest.skip("no PostgreSQL server is installed (Debian: apt-get install postgresql)")
    folder = Path(tempfile.mkdtemp(prefix="fathom-pg-"))
    if os.geteuid() == 0:
        owner = pwd.getpwnam("postgres")
        os.chown(folder, owner.pw_uid, owner.pw_gid)
    data = str(folder / "data")
    _as_ordinary_user(initdb, "-D", data, "-U", "fathom", "-A", "trust", "-N")
    options = f"-c listen_addresses= -c unix_socket_directories={folder} -c fsync=off"
    _as_ordinary_user(pg_ctl, "-D", data, "-w", "-o", options, "-l", f"{folder}/log", "start")
    yield f"postgresql+psycopg://fathom:secret@/postgres?host={quote(str(folder), safe='')}"
    _as_ordinary_user(pg_ctl, "-D", data, "-m", "immediate", "stop")
    shutil.rmtree(folder, ignore_errors=True)


def test_results_are_kept_replaced_and_found(server_url: str, result: Callable[..., ProbeResult]) -> None:
    store = Store(server_url)
    store.add(result("a"))
    store.add(result("a"))
    assert Store(server_url).get("a") == result("a")
    assert [r.id for r in store.history(variant_id=result("a").spec.variant_id)] == ["a"]
    assert store.history(fingerprint="nobody") == []


def test_a_team_pools_from_several_threads(server_url: str, result: Callable[..., ProbeResult]) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: Store(server_url).add(result(f"pool-{i}")), range(16)))
    assert sum(r.id.startswith("pool-") for r in Store(server_url).history()) == 16


def test_export_from_one_machine_comes_into_the_pool(
    server_url: str, tmp_path: Path, result: Callable[..., ProbeResult]
) -> None:
    mine = Store(tmp_path / "mine.sqlite")
    mine.add(result("from-file"))
    assert Store(server_url).import_json(mine.export_json()) == Imported(1, 0)
    assert Store(server_url).import_json(mine.export_json()) == Imported(0, 1)


def test_a_run_cut_short_comes_into_the_pool_from_the_users_own_files(
    server_url: str, tmp_path: Path, child: Callable[..., ProbeProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A history on another machine has no folder for what runs here."""
    monkeypatch.setattr(journals, "state_folder", lambda: tmp_path)
    store, process = Store(server_url), child("pass")
    kept = journals.Journal(store, process)
    kept._file.close()  # as the system does when the watcher is killed
    process.result()
    assert journals.recover(Store(tmp_path / "other.sqlite")) == ()
    away = Store(f"postgresql+psycopg://fathom:secret@/postgres?host={quote(str(tmp_path), safe='')}")
    assert journals.recover(away) == ()
    assert journals.recover(Store(server_url)) == ("p1",)
    assert store.get("p1").state is State.INTERRUPTED
    assert "secret" not in str(sorted(tmp_path.rglob("*")))


def test_a_server_that_is_away_is_explained_without_the_password(tmp_path: Path) -> None:
    away = Store(f"postgresql+psycopg://fathom:secret@/postgres?host={quote(str(tmp_path), safe='')}")
    with pytest.raises(DataError, match="a database that answers") as problem:
        away.history()
    assert "secret" not in str(problem.value)


@pytest.mark.parametrize("url", ["nosuch://x/y", "postgresql+nosuch://x/y", "://"])
def test_a_wrong_url_is_refused(url: str) -> None:
    with pytest.raises(InputError, match="SQLAlchemy database URL"):
        Store(url)
