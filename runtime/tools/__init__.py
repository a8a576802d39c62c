"""Tools: functions that a model may call, how each family writes calls, and calls found in a streamed answer."""
