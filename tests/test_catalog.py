"""Every entry of the extension tables loads, and says what it is."""

from __future__ import annotations

import inspect

import pytest

from rnnctl import catalog
from rnnctl.errors import UsageError

ENTRIES = [(kind, name) for kind, table in catalog.TABLES.items() for name in table]


@pytest.mark.parametrize(("kind", "name"), ENTRIES)
def test_every_entry_loads(kind: str, name: str) -> None:
    assert catalog.load(kind, name) is not None


@pytest.mark.parametrize(("kind", "name"), ENTRIES)
def test_every_entry_has_a_summary(kind: str, name: str) -> None:
    target, summary = catalog.TABLES[kind][name]
    assert target.startswith("rnnctl.") and target.count(":") == 1
    assert len(summary) > 10 and "\n" not in summary


@pytest.mark.parametrize("kind", catalog.TABLES)
def test_no_table_is_empty(kind: str) -> None:
    assert catalog.TABLES[kind]


@pytest.mark.parametrize("name", catalog.COMMANDS)
def test_a_command_is_a_documented_function(name: str) -> None:
    command = catalog.load("command", name)
    assert callable(command) and len(inspect.getdoc(command) or "") > 20


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(UsageError) as caught:
        catalog.load("command", "generat")
    assert caught.value.hint.startswith("did you mean `generate`")
