"""Write a whole report or nothing: every file under a temporary name first, then renamed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path

from emcheck.report.errors import ReportError

PART = ".part"


def write_all(out: Path, contents: Mapping[str, bytes]) -> None:
    """Write ``contents`` (relative name -> bytes) below ``out``, in the order given.

    All files are complete on disk under a temporary name before the first one takes its own
    name, so a full disk or a refused permission leaves the old report as it was.

    Raises:
        ReportError: the folder or a file cannot be written.
    """
    targets = {out / name: content for name, content in contents.items()}
    parts = {target: target.with_name(target.name + PART) for target in targets}
    target = out
    try:
        for target, content in targets.items():
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.is_dir():
                raise IsADirectoryError(21, "a folder of that name")
            parts[target].write_bytes(content)
        for target, part in parts.items():
            os.replace(part, target)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ReportError(f"{target}: expected a file to write, got {reason}") from None
    finally:
        for part in parts.values():
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
