"""JUnit XML, which test dashboards read."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree

from emcheck.report.core import Report, numbers_of
from emcheck.result import Verdict


def junit_of(reports: Sequence[Report]) -> bytes:
    """Return reports as JUnit XML: a suite for each layer, a case for each check and dtype."""
    root = ElementTree.Element("testsuites", name="emcheck")
    for report in reports:
        spoiling = set(map(id, report.failures))
        suite = ElementTree.SubElement(
            root,
            "testsuite",
            name=f"{report.layer} {report.shape}",
            tests=str(len(report.results)),
            failures=str(len(spoiling)),
        )
        for result in report.results:
            names = {"name": f"{result.check}[{result.dtype}]", "classname": report.layer}
            case = ElementTree.SubElement(suite, "testcase", names)
            told = "\n".join((*numbers_of(result), result.detail, result.reproduce)).strip()
            if id(result) in spoiling:
                ElementTree.SubElement(case, "failure", message=str(result.verdict)).text = told
            elif result.verdict is not Verdict.PASS:
                ElementTree.SubElement(case, "skipped", message=f"{result.verdict}: {told}")
    return ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
