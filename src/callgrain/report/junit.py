"""A graded run as JUnit XML, which every CI shows: one case an item, its faults as the failure.

Everything in it is a model's or a data set's: control characters (which XML 1.0 forbids even when
escaped) are replaced, lengths are bounded, and the rest is escaped.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from callgrain.core.store import Run, write_atomic
from callgrain.core.types import Verdict
from callgrain.panels._words import whole
from callgrain.probes._grade_rows import told

LONGEST = 4000
"""Characters of one failure's text."""
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write_junit(run: Run, path: Path) -> Path:
    """The verdicts of `run` at `path`: a suite for each sub-task (and category, where items have one).

    A fault is a failure, `not_applicable` is skipped, `grader_error` an error. Of several files that
    stand side by side, each one's run comes in turn. Raises BadInput where `path` cannot be written.
    """
    parts = run.read("done").get("parts") or []
    runs = [(f"{part['file']}: ", Run.find(Path(part["run"]))) for part in parts] or [("", run)]
    suites: dict[str, list[str]] = {}
    for prefix, one in runs:
        for row in one.rows("verdicts"):
            category = str(row.get("traits", {}).get("category", ""))
            name = prefix + str(row.get("subtask")) + (f"/{category}" if category else "")
            suites.setdefault(name, []).append(_case(name, row))
    write_atomic(path, (piece.encode() for piece in _document(suites)))
    return path


def _document(suites: dict[str, list[str]]) -> Iterator[str]:
    cases = [case for found in suites.values() for case in found]
    yield f'<?xml version="1.0" encoding="UTF-8"?>\n<testsuites name="callgrain"{_counts(cases)}>\n'
    for name, found in suites.items():
        yield f"  <testsuite name={_attribute(name)}{_counts(found)}>\n"
        yield from found
        yield "  </testsuite>\n"
    yield "</testsuites>\n"


def _counts(cases: list[str]) -> str:
    tags = {"failures": "\n      <failure ", "errors": "\n      <error ", "skipped": "\n      <skipped "}
    counts = {name: sum(tag in case for case in cases) for name, tag in tags.items()}
    return f' tests="{len(cases)}"' + "".join(f' {name}="{count}"' for name, count in counts.items())


def _case(suite: str, row: dict[str, Any]) -> str:
    verdict = Verdict.model_validate(whole(row["verdict"]))
    head = f"    <testcase classname={_attribute(suite)} name={_attribute(str(row.get('id') or row['key']))}"
    if verdict.state == "not_applicable":
        return f"{head}>\n      <skipped message={_attribute(verdict.detail)}/>\n    </testcase>\n"
    if verdict.state == "grader_error":
        return f"{head}>\n      <error message={_attribute(verdict.detail)}/>\n    </testcase>\n"
    if verdict.ok:
        return f"{head}/>\n"
    kinds = ", ".join(dict.fromkeys(fault.kind for fault in verdict.faults))
    lines = "\n".join([*(told(fault) for fault in verdict.faults), *filter(None, [verdict.detail])])
    first = verdict.first.kind if verdict.first else "wrong"
    failure = f"<failure type={_attribute(first)} message={_attribute(kinds)}>{escape(_clean(lines))}</failure>"
    return f"{head}>\n      {failure}\n    </testcase>\n"


def _clean(text: str) -> str:
    """Text that XML 1.0 can hold, of bounded length."""
    text = text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
    return _FORBIDDEN.sub("\ufffd", text)


def _attribute(text: str) -> str:
    """An attribute's value with its quotes, on one line."""
    return quoteattr(_clean(" ".join(text[: LONGEST * 2].split())[:300]))
