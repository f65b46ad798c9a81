"""Which tests of an interrupted run have passed, with what they recorded."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from emcheck._internal.files import write_file
from emcheck._internal.seal import sealed, unsealed

#: What earlier runs passed, fixed while tests run; what this run passes, a line at a time.
_BEFORE, _NOW = "before.jsonl", "now.jsonl"

Record = dict[str, Any]


class Journal:
    """A plugin that keeps lines ``{"test": id, "records": [...], "at": seconds}``.

    Tests are drawn without regard to each other, so what one recorded is what it would
    record again; only those that have passed as a whole are kept.

    Args:
        folder: made for one state of sources and settings.
        leads: this process hears of all tests: what the last run passed is now before it.
    """

    NAME = "emcheck-journal"

    def __init__(self, folder: Path, leads: bool) -> None:
        self._folder, self._leads, self._started = folder, leads, time.time()
        self._failed: set[str] = set()
        if leads:
            self._turn_page()
        self.passed: dict[str, list[Record]] = {}
        ends: dict[int, float] = {}
        for line in _lines(folder / _BEFORE):
            self.passed[line["test"]] = line["records"]
            ends[line["run"]] = max(ends.get(line["run"], 0.0), line["at"])
        #: Seconds of the earlier runs.
        self.seconds = sum(ends.values())

    @property
    def records(self) -> list[Record]:
        """What the tests recorded that are not run again."""
        return [record for records in self.passed.values() for record in records]

    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        """Tests that have passed are not run again."""
        kept = [item for item in items if item.nodeid in self.passed]
        if kept:
            config.hook.pytest_deselected(items=kept)
            items[:] = [item for item in items if item.nodeid not in self.passed]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A phase of a test has ended; after the last one, a test that passed is kept."""
        if not self._leads:
            return
        if report.failed:
            self._failed.add(report.nodeid)
        if report.when != "teardown" or report.nodeid in self._failed:
            return
        records = [value for key, value in report.user_properties if key == "emcheck"]
        at = round(time.time() - self._started, 1)
        line = {"test": report.nodeid, "records": records, "at": at, "run": self._started}
        with (self._folder / _NOW).open("a", encoding="utf-8") as file:
            file.write(sealed(line))

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """That nothing was left to run is no error."""
        if self.passed and session.exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED:
            session.exitstatus = pytest.ExitCode.OK

    def _turn_page(self) -> None:
        """Done twice, as after a kill between the two steps, it changes nothing."""
        self._folder.mkdir(parents=True, exist_ok=True)
        before, now = self._folder / _BEFORE, self._folder / _NOW
        lines: Iterable[Record] = [*_lines(before), *_lines(now)]
        content = "".join(map(sealed, lines))
        write_file(before, content.encode(), durable=True)
        now.unlink(missing_ok=True)


def _lines(path: Path) -> Iterator[Record]:
    """The lines of a file that are as they were written; a test of any other runs again."""
    for line in path.read_bytes().splitlines() if path.exists() else ():
        with contextlib.suppress(ValueError):
            yield unsealed(line)
