"""Every entry of the extension tables loads, and says what it is."""

from __future__ import annotations

import inspect

import pytest
from pydantic import ValidationError

from rnnctl import catalog, config
from rnnctl.errors import UsageError
from rnnctl.tasks.base import OWN_TASKS, find_task
from rnnctl.wording import either

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


@pytest.mark.parametrize(
    ("section", "field", "kind"),
    [("model", "cell", "cell"), ("model", "task", "task"), ("tokenizer", "level", "level")],
)
def test_the_settings_allow_exactly_what_the_catalog_lists(
    section: str, field: str, kind: str
) -> None:
    part = config.SECTIONS[section]
    for name in catalog.TABLES[kind]:
        assert getattr(part.model_validate({field: name}), field) == name
    with pytest.raises(ValidationError) as caught:
        part.model_validate({field: "none-such"})
    ((where, _, problem),) = config.problems_in_words(caught.value)
    assert where == field and problem == f"must be {either(list(catalog.TABLES[kind]))}"


def test_a_former_name_is_understood_and_not_shown() -> None:
    """Old runs and command lines say sentiment, which is classify today."""
    assert config.ModelConfig(task="sentiment").task == "classify"
    assert find_task("sentiment") is find_task("classify")
    assert "sentiment" not in catalog.names("task")


def test_every_recipe_is_of_a_task_and_a_level_that_are_listed() -> None:
    assert [kind.name for kind in OWN_TASKS] == list(catalog.TASKS)
    for kind in OWN_TASKS:
        assert set(kind.recipes) <= set(catalog.LEVELS) and kind.level in kind.recipes
        for recipe in kind.recipes.values():
            for section, fields in recipe.items():
                config.SECTIONS[section].model_validate(fields)


def test_diagnose_measures_exactly_what_the_catalog_lists() -> None:
    from typing import get_args

    from rnnctl.diagnostics.measurements import Diagnostic
    from rnnctl.results.diagnostics import DiagnosticName

    assert set(get_args(DiagnosticName)) == set(catalog.DIAGNOSTICS)
    for name in catalog.DIAGNOSTICS:
        found = catalog.load("diagnostic", name)
        assert isinstance(found, Diagnostic)
        assert len(found.short) <= 27


def test_every_result_has_a_report() -> None:
    """Each `schema_id` in the results package is listed, and nothing else is.

    What `compare` keeps with a member and never prints has none.
    """
    kept = {"rnnctl.speed/1", "rnnctl.exchange/1", "rnnctl.baselines/1"}
    import importlib
    import pkgutil
    from typing import get_args

    from rnnctl import results

    found = set()
    for module in pkgutil.iter_modules(results.__path__):
        for item in vars(importlib.import_module(f"rnnctl.results.{module.name}")).values():
            field = getattr(item, "model_fields", {}).get("schema_id")
            if field is not None:
                found.update(get_args(field.annotation))
    assert found - kept == set(catalog.REPORTS)
