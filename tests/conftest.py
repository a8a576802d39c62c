"""What every test starts from."""

import signal

# A shell starts background jobs (`make test &`) with SIGINT ignored, and Python then raises no KeyboardInterrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)
