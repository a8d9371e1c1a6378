"""``rnnctl selftest``: exit codes, formats, what it remembers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rnnctl.__main__ import main
from rnnctl.diagnostics import selftest
from rnnctl.diagnostics.known_answers import Check, close
from rnnctl.results.diagnostics import InstrumentCheck

GOOD = close("half-life", 1.0, 1.0, 0.1)
BAD = close("half-life", 1.0, 2.0, 0.1)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RNNCTL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def use(monkeypatch: pytest.MonkeyPatch, **checks: Check) -> None:
    def make(check: Check) -> Callable[[], Iterator[Check]]:
        def measured() -> Iterator[Check]:
            """GT: something known."""
            yield check

        return measured

    found = {name: make(check) for name, check in checks.items()}
    monkeypatch.setattr(selftest, "_functions", lambda: found)


def test_all_right(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use(monkeypatch, GT01=GOOD, GT02=GOOD)
    assert main(["selftest"]) == 0
    out, err = capsys.readouterr()
    assert "2/2 known answers reproduced" in out
    assert "GT01 ok  something known" in err
    assert selftest.remembered() == InstrumentCheck(passed=2, failed=0)


def test_one_outside_its_tolerance_fails_the_command(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use(monkeypatch, GT01=GOOD, GT02=BAD)
    assert main(["selftest", "-q"]) == 1
    out = capsys.readouterr().out
    assert "GT02 failed: something known" in out
    assert "1/2 known answers reproduced" in out
    assert "FAILED" in out
    assert selftest.remembered() == InstrumentCheck(passed=1, failed=1)


def test_json_has_expected_and_measured(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use(monkeypatch, GT01=BAD)
    assert main(["selftest", "-q", "--format", "json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["schema_id"] == "rnnctl.selftest/1"
    (item,) = found["answers"][0]["items"]
    assert (item["expected"], item["measured"], item["passed"]) == ("1", "2", False)
    assert set(found["timing"]) == {"GT01"}


def test_a_part_is_measured_but_not_remembered(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, GT01=GOOD, GT02=BAD)
    assert main(["selftest", "gt01", "-q"]) == 0
    assert selftest.remembered() is None


def test_a_place_for_the_result_is_checked_first(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use(monkeypatch, GT01=GOOD)
    assert main(["selftest", "-o", str(tmp_path / "missing/a.json")]) == 1
    err = capsys.readouterr().err
    assert "there is no folder" in err and "GT01" not in err


def test_an_unknown_answer(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["selftest", "GT99"]) == 2
    assert "there is no known answer 'GT99'" in capsys.readouterr().err


def test_one_real_answer_from_end_to_end(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["selftest", "GT01", "--format", "markdown", "-q"]) == 0
    assert "GT01" in capsys.readouterr().out
