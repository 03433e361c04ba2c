"""Processes that calculate: one waits and serves again, a changed environment or a death gets a new one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from advisor.jobs.workers import Workers


@pytest.fixture
def workers() -> Iterator[Workers]:
    one = Workers()
    yield one
    one.close()


def test_what_was_prepared_or_given_back_is_taken_again(workers: Workers) -> None:
    workers.prepare()
    first = workers.take()
    workers.give_back(first)
    assert workers.take() is first
    workers.give_back(first)


def test_only_one_waits(workers: Workers) -> None:
    first, second = workers.take(), workers.take()
    workers.give_back(first)
    workers.give_back(second)
    assert second.poll() is not None
    assert first.poll() is None


def test_a_process_of_another_environment_is_not_taken(workers: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    workers.prepare()
    monkeypatch.setenv("FATHOM_STORE", "elsewhere.sqlite")
    process = workers.take()
    workers.give_back(process)
    assert workers.take() is process
    workers.give_back(process)
    monkeypatch.setenv("FATHOM_STORE", "again.sqlite")
    other = workers.take()
    assert other is not process
    assert process.poll() is not None
    workers.give_back(other)


def test_a_dead_process_is_replaced_and_none_is_left_at_the_end(workers: Workers) -> None:
    first = workers.take()
    workers.give_back(first)
    first.kill()
    first.wait()
    second = workers.take()
    assert second is not first
    workers.give_back(second)
    workers.close()
    assert second.poll() is not None
