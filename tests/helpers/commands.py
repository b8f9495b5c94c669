"""Runs the examples as commands."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def _command(example: str, *args: object) -> list[str]:
    return [sys.executable, str(ROOT / "examples" / f"{example}.py"), *map(str, args)]


def run_example(example: str, *args: object) -> subprocess.CompletedProcess[str]:
    """Runs the command in the project's folder; returns its output and exit status."""
    command = _command(example, *args)
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)


def start_example(example: str, *args: object) -> subprocess.Popen[str]:
    """Starts the command with its output in pipes."""
    command = _command(example, *args)
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
