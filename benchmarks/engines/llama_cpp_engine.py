"""llama.cpp as an engine that takes turns (turns.py), through llama-cpp-python's bindings.

Measured as llama-bench does: a prompt in batches of 512 with the logits of the last token of each, a generation of
given tokens from an empty cache, llama.cpp's defaults for all else; flash attention is "auto".
"""

import sys
import time

import llama_cpp

from engines.turns import About, Measurements, serve


def start(path: str, prompt: int, generation: int, threads: int) -> tuple[About, Measurements]:
    silent = llama_cpp.llama_log_callback(lambda level, text, data: None)
    llama_cpp.llama_log_set(silent, None)
    llama_cpp.llama_backend_init()
    model = llama_cpp.llama_model_load_from_file(path.encode(), llama_cpp.llama_model_default_params())
    if not model:
        raise ValueError(f"{path} was refused")
    params = llama_cpp.llama_context_default_params()
    params.n_ctx = max(prompt, generation)
    params.n_batch = params.n_ubatch = 512
    params.n_threads = params.n_threads_batch = threads
    context = llama_cpp.llama_init_from_model(model, params)
    if not context:
        raise ValueError(f"no context of {params.n_ctx} tokens")

    def rate(n: int, batch: int) -> float:
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(context), True)
        begin = time.perf_counter()
        for at in range(0, n, batch):
            tokens = (llama_cpp.llama_token * min(batch, n - at))(*range(at, min(at + batch, n)))
            if llama_cpp.llama_decode(context, llama_cpp.llama_batch_get_one(tokens, len(tokens))):
                raise RuntimeError(f"llama_decode failed after {at} of {n} tokens")
            llama_cpp.llama_synchronize(context)
        return n / (time.perf_counter() - begin)

    rate(prompt, 512)
    rate(min(4, generation), 1)
    return {"version": f"llama-cpp-python {llama_cpp.__version__}"}, {
        "prompt": lambda: rate(prompt, 512),
        "generation": lambda: rate(generation, 1),
    }


if __name__ == "__main__":
    serve(lambda: start(sys.argv[1], *map(int, sys.argv[2:5])))
