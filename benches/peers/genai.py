"""onnxruntime-genai, measured on request.

    python genai.py PACKAGE --threads 2 --streams 16 --context 112

Its batches have prompts of one length, which are read together; then every call generates a token for each sequence.
"""

from __future__ import annotations

import argparse
import json
import time

import numpy as np
import onnxruntime_genai as og

import protocol


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a package as the model builder writes it")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--streams", type=int, required=True, help="unused: a batch is as large as its task")
    parser.add_argument("--context", type=int, required=True, help="tokens of the longest sequence")
    arguments = parser.parse_args()
    answers = protocol.claim_output()

    config = og.Config(arguments.model)
    session = {"intra_op_num_threads": arguments.threads}
    config.overlay(json.dumps({"model": {"decoder": {"session_options": session}}}))
    model = og.Model(config)

    def measure(prompts: list[list[int]], tokens: int) -> dict[str, float]:
        began = time.perf_counter()
        parameters = og.GeneratorParams(model)
        # As long as it may be: the end of the text is never chosen.
        length = len(prompts[0]) + tokens
        if length > arguments.context:
            raise ValueError(f"sequences of {length} tokens do not fit {arguments.context}")
        parameters.set_search_options(
            batch_size=len(prompts),
            do_sample=False,
            max_length=length,
            min_length=length,
            past_present_share_buffer=True,
        )
        generator = og.Generator(model, parameters)
        generator.append_tokens(np.array(prompts, dtype=np.int32))
        generator.generate_next_token()
        read = time.perf_counter()
        for _ in range(tokens - 1):
            generator.generate_next_token()
        ended = time.perf_counter()
        generated = generator.token_count() - len(prompts[0])
        if generated != tokens:
            raise RuntimeError(f"generated {generated} tokens a sequence, not {tokens}")
        counted = len(prompts) * (tokens - 1)
        return {"tokens": counted, "seconds": ended - read, "prefill_seconds": read - began}

    name = f"onnxruntime-genai {og.__version__}, {arguments.threads} threads"
    protocol.serve(answers, name, measure)


if __name__ == "__main__":
    main()
