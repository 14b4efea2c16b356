"""Python programs of their own, for what must not happen to the process that runs the tests."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

__all__ = ["run"]


def run(code: str, *, before: str = "", timeout: float = 300, **environment: str) -> str:
    """Run ``before`` and then ``code``, which may be indented, and return what they printed; they must end with 0.

    ``timeout`` is in seconds; ``environment`` is added to this process's.
    """
    done = subprocess.run(
        [sys.executable, "-c", before + textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, **environment},
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "terminate called" not in done.stderr
    return done.stdout.strip()
