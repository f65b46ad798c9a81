"""The child process: on request it builds a layer, runs checks and explains what failed."""

from __future__ import annotations

import contextlib
import faulthandler
import functools
import json
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from emcheck._internal.processes import follow_parent
from emcheck.bounds import Measure
from emcheck.checks import CHECKS, Case, Check
from emcheck.checks.trial import Trial
from emcheck.densities import DENSITY_CHECKS, DensityChecker
from emcheck.diagnosis import Finding
from emcheck.guard.limit import watchers
from emcheck.guard.surroundings import Surroundings
from emcheck.isolated.wire import Job, Message, result_of, sent_report
from emcheck.kit import Checker
from emcheck.kit.loading import layer_of, load_target, source_path

#: Called with what is about to be done, so that the parent knows it when the process dies.
Notice = Callable[[str], None]


def checker_of(job: Job, notice: Notice = lambda doing: None) -> Checker | DensityChecker:
    """Return the checker of a job, in this process.

    Raises:
        ValueError: the target cannot be imported, or ``Checker`` refuses it.
    """
    surroundings = Surroundings()
    notice(f"while {job.target.partition(':')[0]} was imported")
    with surroundings.standard():
        if job.registered and not job.density:
            layer = layer_of(job.target, job.shape, job.seed)
        else:
            layer = load_target(job.target)
    notice("while the layer was built")
    if job.density:
        return DensityChecker(
            layer,
            job.shape,
            seed=job.seed,
            context=job.context or None,
            expected_failures=dict(job.expected),
            only=job.only,
            surroundings=surroundings,
        )
    return Checker(
        layer,
        job.shape,
        seed=job.seed,
        dtypes=[getattr(torch, name) for name in job.dtypes],
        examples=job.examples,
        time_limit=job.time_limit,
        report_limit=job.report_limit,
        device=job.device,
        compiled=job.compiled,
        only=job.only,
        context=job.context or None,
        capabilities=dict.fromkeys(job.lacks, False),
        expected_failures=dict(job.expected),
        surroundings=surroundings,
    )


def _limit_memory(gigabytes: float | None) -> None:
    """Limit what this process allocates from now on.

    Raises:
        ValueError: the number is not above 0, or the system has no such limit.
    """
    if gigabytes is None:
        return
    if not 0 < gigabytes < 2**20:
        raise ValueError(f"expected a limit of memory in GB, above 0, got {gigabytes}")
    if sys.platform != "linux":
        raise ValueError(f"expected Linux for a limit of memory, got {sys.platform}")
    import resource

    used = 1024 * int(re.findall(r"VmData:\s+(\d+)", Path("/proc/self/status").read_text())[0])
    most = used + int(gigabytes * 2**30)
    resource.setrlimit(resource.RLIMIT_DATA, (most, resource.RLIM_INFINITY))


def main(requests: int, replies: int, last_words: int) -> None:
    """Answer one request after another, until the parent closes its end.

    Args:
        requests: the descriptor that the parent writes to.
        replies: the one that it reads from.
        last_words: a file for the traceback of a process that dies by a signal.
    """
    follow_parent()
    faulthandler.enable(last_words, all_threads=False)
    if hasattr(faulthandler, "register"):
        faulthandler.register(signal.SIGUSR1, last_words, all_threads=False)
    for descriptor in (requests, replies, last_words):  # not for programs that a layer starts
        os.set_inheritable(descriptor, False)
    child = _Child(replies)
    watchers.append(child.limited)
    with os.fdopen(requests, encoding="utf-8") as lines:
        for line in lines:
            child.answer(json.loads(line))


class _Child:
    """A checker, and the descriptor to which its answers go."""

    def __init__(self, replies: int) -> None:
        self._replies = replies
        self._checker: Checker | DensityChecker | None = None

    def answer(self, request: Message) -> None:
        """Send one reply, also after an exception; only the death of the process leaves none."""
        (name, given), *_ = request.items()
        try:
            reply: Message = {"answer": getattr(self, f"_{name}")(given)}
        except (ValueError, OSError) as error:
            reply = {"refused": str(error)}
        except BaseException:  # a fault of this package: the parent shows where
            reply = {"raised": traceback.format_exc()}
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):  # the layer may have replaced or closed them
                stream.flush()
        self._send(reply)

    def _build(self, given: dict[str, Any]) -> Message:
        """Build the layer, and take over the findings of an earlier process."""
        if self._checker is not None:
            self._checker.close()
            self._checker = None
        job = Job.of(given["job"])
        _limit_memory(job.memory)
        checker = checker_of(job, self._notice)
        checker.findings.extend(map(finding_of, given["findings"]))
        self._checker = checker
        checks = [
            [check.name, check.family, check.clause, check.summary] for check in checker.checks
        ]
        return {"name": checker.name, "shape": checker.shape, "checks": checks}

    def _locate(self, target: str) -> str:
        """Return the file in which a target is defined, or the folder of its package."""
        self._notice(f"while {target.partition(':')[0]} was imported")
        with Surroundings().standard():
            load_target(target)
        return source_path(target)

    def _probe(self, given: None) -> Message:
        """Call the layer for the first time; return what was seen as a report without results."""
        return sent_report(self._checked_by.report(()))

    def _run(self, check: str) -> Message:
        checker = self._checked_by
        before = len(checker.findings)
        if isinstance(checker, DensityChecker):
            results = checker.run(DENSITY_CHECKS[check])
        else:
            results = checker.run(_noticed(CHECKS[check], self._notice))
        findings = [sent_finding(finding) for finding in checker.findings[before:]]
        return {"results": [asdict(result) for result in results], "findings": findings}

    def _replay(self, given: Mapping[str, str]) -> Message:
        checker = self._checked_by
        assert isinstance(checker, Checker), "a density has no cases"
        check = _noticed(CHECKS[given["check"]], self._notice)
        return {"result": asdict(checker.replay(check, Case.parse(given["case"])))}

    def _report(self, results: Sequence[Message]) -> Message:
        return sent_report(self._checked_by.report([result_of(result) for result in results]))

    @property
    def _checked_by(self) -> Checker | DensityChecker:
        assert self._checker is not None, "the parent asks to build first"
        return self._checker

    def _notice(self, doing: str) -> None:
        self._send({"notice": doing})

    def limited(self, seconds: float) -> None:
        """Announce that this process should answer, or begin something else, within ``seconds``."""
        self._send({"limit": seconds})

    def _send(self, message: Message) -> None:
        data = json.dumps(message).encode() + b"\n"
        try:
            while data:
                data = data[os.write(self._replies, data) :]
        except OSError:  # the pipe is closed: nobody hears this process any more
            os._exit(1)


def sent_finding(finding: Finding) -> Message:
    """A finding as a message; the case as text, which ``Case.parse`` reads."""
    result = asdict(finding.result)
    return {"check": finding.check, "case": str(finding.case), "result": result}


def finding_of(message: Mapping[str, Any]) -> Finding:
    """The finding that a message holds."""
    result = result_of(message["result"])
    return Finding(message["check"], Case.parse(message["case"]), result)


def _noticed(check: Check, notice: Notice) -> Check:
    """Return the same check, which first announces the case on which it is called."""

    @functools.wraps(check.function)
    def function(trial: Trial) -> Measure:
        notice(str(trial.case))
        return check.function(trial)

    return replace(check, function=function)
