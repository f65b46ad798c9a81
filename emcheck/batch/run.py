"""A matrix on a cluster: finished cases are kept, and a dead worker costs only time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from emcheck._internal import fingerprint
from emcheck._internal.cluster import connected, ended, threads
from emcheck.batch.backlog import Backlog, Pair
from emcheck.batch.case import MatrixCase, Record, Settings, run_batch, shown
from emcheck.batch.store import Store, opened
from emcheck.batch.tally import Tally
from emcheck.batch.targets import named

#: Tasks submitted for each thread of the cluster: one runs, one waits.
_AHEAD = 2

#: Worker deaths that a task survives on the local cluster before it is tried alone.
_DEATHS = 1

#: Called with the number of cases that are done or lost, and with their total.
Told = Callable[[int, int], None]


@dataclass
class Outcome:
    """The outcome of the cases of a matrix.

    Args:
        cases: all that were asked for.
        tally: verdicts of those that are done.
        before: how many of them an earlier run had done.
        lost: case -> why there is no result.
        out: where the results are.
        broken: lines about kept results that could not be used.
    """

    cases: Sequence[MatrixCase]
    tally: Tally
    before: int
    lost: dict[MatrixCase, str]
    out: Path
    broken: Sequence[str] = ()

    @property
    def ok(self) -> bool:
        """Whether every case is done and every target is ok."""
        return not self.lost and all(self.tally.ok(case.target) for case in self.cases)


def run_matrix(
    cases: Sequence[MatrixCase],
    settings: Settings,
    out: Path,
    *,
    scheduler: str | None = None,
    workers: int = 2,
    fresh: bool = False,
    sources: Mapping[str, str] | None = None,
    told: Told = lambda done, total: None,
) -> Outcome:
    """Check every case whose results ``out`` does not hold yet.

    Args:
        cases: what to check, see :func:`emcheck.batch.every_case`.
        settings: how to check it.
        out: the folder of the results.
        scheduler: address of a running Dask scheduler, whose workers can import emcheck and the
            targets; a local cluster if None.
        workers: processes of the local cluster, each of one thread.
        fresh: whether to drop what an earlier run has kept.
        sources: what :func:`emcheck.batch.targets.named` returns for the targets; None calls it.
        told: called as cases end.

    Raises:
        ValueError: no target takes its event, an unreachable scheduler, no Dask, results of
            another state in ``out``.
    """
    if sources is None:
        sources = named(list(dict.fromkeys(case.target for case in cases)))
    with opened(out, _made_for(sources, settings), fresh) as store:
        asked = set(cases)
        tally = Tally()
        for record in store.records():
            if MatrixCase.of(record) in asked:
                tally.add(record)
        waiting = [case for case in cases if case not in tally.done]
        lost: dict[MatrixCase, str] = {}
        before = len(tally.done)
        told(before, len(cases))
        if waiting:
            with connected(scheduler, workers, _DEATHS) as client:
                run = _Run(client, settings, store, tally, len(cases), told, Backlog(waiting))
                lost = run.finish()
    if tally.refused and not tally.answered and not lost:
        case, reason = next(iter(tally.refused.items()))
        raise ValueError(f"{case.target} on {shown(case.event)}: {reason}")
    return Outcome(cases, tally, before, lost, out, store.broken)


def _made_for(places: Mapping[str, str], settings: Settings) -> dict[str, str]:
    """Return what results depend on: a kept result can be used only if all of it is the same."""
    given = {f"--{name.replace('_', '-')}": str(v) for name, v in asdict(settings).items()}
    sources = {
        f"source of {target}": fingerprint.of_sources(Path(place))
        for target, place in places.items()
        if place
    }
    return given | {"state of emcheck": fingerprint.of_sources(fingerprint.PACKAGE)} | sources


@dataclass
class _Run:
    """The tasks of one run; ``alone`` are cases whose worker died while it ran them."""

    client: Any
    settings: Settings
    store: Store
    tally: Tally
    total: int
    told: Told
    backlog: Backlog
    alone: list[MatrixCase] = field(default_factory=list)
    suspected: set[MatrixCase] = field(default_factory=set)
    held: dict[Pair, list[MatrixCase]] = field(default_factory=dict)
    lost: dict[MatrixCase, str] = field(default_factory=dict)
    tasks: dict[Any, list[MatrixCase]] = field(default_factory=dict)

    def finish(self) -> dict[MatrixCase, str]:
        """Run everything side by side; then, one by one, the cases that may have killed a worker.

        A case that kills its worker takes others with it; run alone, it is the only suspect.
        """
        while self.backlog or self.alone:
            if self.backlog:
                self._fill()
            else:
                self._submit([self.alone.pop(0)])
            for batch, records, error in ended(self.client, self.tasks):
                self._take(batch, records, error)
                self._fill()
                self.told(len(self.tally.done) + len(self.lost), self.total)
        return self.lost

    def _fill(self) -> None:
        room = max(1, threads(self.client)) * _AHEAD
        while len(self.tasks) < room and (batch := self.backlog.take(2 * room)):
            self._submit(batch)

    def _submit(self, batch: list[MatrixCase]) -> None:
        future = self.client.submit(run_batch, batch, self.settings, pure=False)
        self.tasks[future] = batch

    def _take(
        self, batch: list[MatrixCase], records: list[Record], error: BaseException | None
    ) -> None:
        from distributed import KilledWorker

        if error is None:
            self._keep(batch, records)
        elif isinstance(error, KilledWorker):
            self._suspect(batch)
        else:  # no case raises: the workers lack something
            raise ValueError(f"a worker cannot run cases: {type(error).__name__}: {error}")

    def _keep(self, batch: list[MatrixCase], records: list[Record]) -> None:
        pair = batch[0].pair
        self.store.keep(records)
        for record in records:
            self.tally.add(record)
            self.backlog.learn(pair, record["seconds"])
        self.backlog.add(self.held.pop(pair, ()))

    def _suspect(self, batch: list[MatrixCase]) -> None:
        """Handle the cases of a worker that died more than once."""
        pair = batch[0].pair
        answers = pair in self.tally.answered
        if not answers:  # perhaps it never will: the others wait until one has
            self.held.setdefault(pair, []).extend(self.backlog.drop(pair))
        if len(batch) > 1 or batch[0] not in self.suspected:
            self.suspected.update(batch)
            self.alone += batch
            return
        self.lost[batch[0]] = "its worker died each time"
        if not answers:
            told = f"not tried: it has not answered, and {batch[0]} killed its workers"
            self.lost |= dict.fromkeys(self.held.pop(pair, []), told)
