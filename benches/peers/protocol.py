"""A child process that measures on request: a line of JSON in, a line of JSON out, as benches/throughput speaks it.

    {"prompts": [[1, 2, …], …], "tokens": 48}
    {"tokens": 376, "seconds": 0.81, "prefill_seconds": 0.62}

`tokens` and `seconds` are of the time in which all sequences are continued, after each has its first token.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import TextIO

Measure = Callable[[list[list[int]], int], dict[str, float]]


def claim_output() -> TextIO:
    """Standard output for answers only: what libraries print there goes to standard error."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return answers


def serve(answers: TextIO, name: str, measure: Measure) -> None:
    """Answers tasks until standard input closes."""
    _say(answers, {"ready": name})
    for line in sys.stdin:
        task = json.loads(line)
        try:
            _say(answers, measure(task["prompts"], task["tokens"]))
        except Exception as error:  # whatever an engine raises is the answer; the run decides
            _say(answers, {"error": f"{type(error).__name__}: {error}"})


def _say(answers: TextIO, message: dict[str, object]) -> None:
    answers.write(json.dumps(message) + "\n")
    answers.flush()
