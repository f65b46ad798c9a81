"""The messages between the two processes: lines of JSON, never pickles.

The parent sends one request, the child any number of notices (what it is about to do) and then
one reply.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from emcheck.checker import EXAMPLES, REPORT_LIMIT, TIME_LIMIT
from emcheck.report import Report
from emcheck.result import Ending, Explanation, Result, Verdict

#: What ``json`` reads and writes, including NaN and infinities.
Message = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """A layer by name, and the options of ``check_layer`` that a command line can express.

    Args:
        target: ``module:factory``, or a registered layer where ``registered`` holds.
        shape: the event.
        registered: whether the target may also be a layer of ``emcheck list``.
        dtypes: the names of the dtypes to check in.
        context: the shape of the context of each sample; empty if the layer takes none.
        lacks: capabilities that the layer does not offer.
        expected: check and reason of each expected failure.
        only: the checks to run; all that apply if empty.
        report_limit: seconds for the whole report, and for import and construction.
        device: where to check: cpu, cuda or mps.
        density: whether the target is a whole flow, for ``check_density``.
        memory: GB that the process of the layer may allocate; None sets no limit.
    """

    target: str
    shape: tuple[int, ...]
    registered: bool = False
    seed: int = 0
    examples: int = EXAMPLES
    time_limit: float = TIME_LIMIT
    compiled: bool = False
    dtypes: tuple[str, ...] = ("float32", "float64")
    report_limit: float = REPORT_LIMIT
    memory: float | None = None
    context: tuple[int, ...] = ()
    lacks: tuple[str, ...] = ()
    expected: tuple[tuple[str, str], ...] = ()
    only: tuple[str, ...] = ()
    density: bool = False
    device: str = "cpu"

    @classmethod
    def of(cls, message: Mapping[str, Any]) -> Job:
        """Return the job that a message holds."""
        expected = tuple((check, reason) for check, reason in message.get("expected", ()))
        return cls(**_tuples(message) | {"expected": expected})


def result_of(message: Mapping[str, Any]) -> Result:
    """Return the result from which ``asdict`` made a message."""
    states = {"verdict": Verdict(message["verdict"]), "ending": Ending(message["ending"])}
    return Result(**_tuples(message) | states)


def sent_report(report: Report) -> Message:
    """Return a report as a message, without its results, which the parent has."""
    whole = {field.name: getattr(report, field.name) for field in fields(report)}
    del whole["results"]
    return whole | {"explanations": [asdict(told) for told in report.explanations]}


def report_of(message: Mapping[str, Any], results: tuple[Result, ...]) -> Report:
    """Return the report that a message holds, with the parent's results."""
    explanations = tuple(Explanation(**_tuples(told)) for told in message["explanations"])
    return Report(**_tuples(message) | {"explanations": explanations, "results": results})


def _tuples(message: Mapping[str, Any]) -> dict[str, Any]:
    """Turn lists into tuples, which the dataclasses here hold and JSON does not know."""
    return {key: tuple(v) if isinstance(v, list) else v for key, v in message.items()}
