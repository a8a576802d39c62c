"""A prompt to a stream of events: prefill, sampling, stop strings, reasoning set apart."""
