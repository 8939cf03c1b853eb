"""llama.cpp through llama-cpp-python's C interface, measured on request.

    python llama.py MODEL.gguf --threads 2 --streams 16 --context 112

Every prompt is read into its own sequence; then every call decodes one token of each, of which the best is taken.
"""

from __future__ import annotations

import argparse
import ctypes
import time

import llama_cpp
import numpy as np

import protocol


@llama_cpp.llama_log_callback
def _silent(_level: int, _text: bytes, _data: ctypes.c_void_p) -> None:
    """Its log is of no interest here. Kept at module level, because C keeps the pointer."""


class Engine:
    """A model, one context for the widest task, and one batch."""

    def __init__(self, path: str, threads: int, streams: int, length: int) -> None:
        llama_cpp.llama_backend_init()
        self._model = llama_cpp.llama_model_load_from_file(path.encode(), llama_cpp.llama_model_default_params())
        if not self._model:
            raise ValueError(f"llama.cpp cannot load {path}")
        self._vocabulary = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self._model))
        self._length = length
        parameters = llama_cpp.llama_context_default_params()
        # A context is rounded up, and divided among the sequences.
        parameters.n_ctx = streams * max(256, -(-length // 256) * 256)
        parameters.n_batch = parameters.n_ubatch = max(512, length)
        parameters.n_seq_max = streams
        parameters.n_threads = parameters.n_threads_batch = threads
        self._context = llama_cpp.llama_init_from_model(self._model, parameters)
        if not self._context:
            raise ValueError("llama.cpp cannot make a context of this size")
        self._batch = llama_cpp.llama_batch_init(max(512, length), 0, 1)

    def measure(self, prompts: list[list[int]], tokens: int) -> dict[str, float]:
        if len(prompts[0]) + tokens > self._length:
            raise ValueError(f"sequences of {len(prompts[0]) + tokens} tokens do not fit {self._length}")
        began = time.perf_counter()
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self._context), True)
        best = []
        for sequence, prompt in enumerate(prompts):
            self._decode([(token, at, sequence, at + 1 == len(prompt)) for at, token in enumerate(prompt)])
            best.append(self._best(len(prompt) - 1))
        read = time.perf_counter()
        for step in range(tokens - 1):
            past = len(prompts[0]) + step
            self._decode([(token, past, sequence, True) for sequence, token in enumerate(best)])
            best = [self._best(row) for row in range(len(best))]
        ended = time.perf_counter()
        counted = len(prompts) * (tokens - 1)
        return {"tokens": counted, "seconds": ended - read, "prefill_seconds": read - began}

    def _decode(self, rows: list[tuple[int, int, int, bool]]) -> None:
        """Computes rows of (token, position, sequence, whether its logits are wanted)."""
        batch = self._batch
        batch.n_tokens = len(rows)
        for row, (token, position, sequence, wanted) in enumerate(rows):
            batch.token[row] = token
            batch.pos[row] = position
            batch.n_seq_id[row] = 1
            batch.seq_id[row][0] = sequence
            batch.logits[row] = wanted
        if (status := llama_cpp.llama_decode(self._context, batch)) != 0:
            raise RuntimeError(f"llama_decode answered {status}")

    def _best(self, row: int) -> int:
        logits = llama_cpp.llama_get_logits_ith(self._context, row)
        return int(np.ctypeslib.as_array(logits, (self._vocabulary,)).argmax())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a GGUF file")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--streams", type=int, required=True, help="sequences of the widest task")
    parser.add_argument("--context", type=int, required=True, help="tokens of the longest sequence")
    arguments = parser.parse_args()
    answers = protocol.claim_output()
    llama_cpp.llama_log_set(_silent, ctypes.c_void_p(0))
    engine = Engine(arguments.model, arguments.threads, arguments.streams, arguments.context)
    name = f"llama.cpp through llama-cpp-python {llama_cpp.__version__}, {arguments.threads} threads"
    protocol.serve(answers, name, engine.measure)


if __name__ == "__main__":
    main()
