"""Compat: programs of others on this runtime, in process: lm-evaluation-harness, llm, scripts for llama-cpp-python."""
