"""The worker of `rnnctl compare`: command lines in, exit codes out, output in logs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path


def test_commands_are_answered_with_their_exit_codes(root: Path, tmp_path: Path) -> None:
    logs = [tmp_path / f"{k}.txt" for k in range(3)]
    commands = [["runs", str(tmp_path)], ["nonsense"], ["runs", str(tmp_path), "--format", "json"]]
    requests = "".join(
        json.dumps({"arguments": arguments, "log": str(log)}) + "\n"
        for arguments, log in zip(commands, logs, strict=True)
    )
    done = subprocess.run(
        [sys.executable, "-m", "rnnctl.cli.worker"],
        input=requests, capture_output=True, text=True, cwd=root, check=True, timeout=120,
    )  # fmt: skip
    codes = [int(line) for line in done.stdout.splitlines()]
    assert codes[1] == 2
    assert codes[0] == codes[2]
    assert len(codes) == 3
    assert "nonsense" in logs[1].read_text()
    assert "nonsense" not in logs[2].read_text()
    assert done.stderr == ""
