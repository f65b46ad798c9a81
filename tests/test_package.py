"""The wheel alone, outside of the checkout, with the dependencies of this environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.package import complaints, install, use, wheel_here


@pytest.mark.system
def test_the_wheel_works_without_a_checkout(tmp_path: Path) -> None:
    wheel = wheel_here(tmp_path / "dist")
    assert complaints(wheel) == []
    (tmp_path / "work").mkdir()
    assert use(install(wheel, tmp_path / "env", borrow=True), tmp_path / "work") == []
