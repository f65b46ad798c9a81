"""Tests of ``properties`` and ``tests`` share one session: see :mod:`properties.session`."""

from __future__ import annotations

import pytest

from properties import session


def pytest_addoption(pluginmanager: pytest.PytestPluginManager) -> None:
    if not pluginmanager.has_plugin(session.NAME):
        pluginmanager.register(session, session.NAME)
