"""What rendering a chat template may use. The first three are measured as it runs (`runtime/template/sandbox.py`) and
named with the template's line; the others end the process that it runs in (`runtime/template/worker.py`)."""

LARGEST = 1 << 20  # characters or items of one value and of the result, plus four times the size of the request
BUDGET = 32  # times LARGEST: what a rendering may build in all
SECONDS = 1.0  # of processor time

MAX_REQUEST = 1 << 25  # bytes of messages, variables and template: several times what the longest contexts hold
PROCESS_MEMORY = 512 << 20  # bytes of address space
PROCESS_SECONDS = 2.0  # of processor time to compile and render
WAIT_SECONDS = 10.0  # for a reply, by the clock: long, since a busy machine is not the template's fault
START_SECONDS = 60.0  # for the process to start: Python and jinja2 are read from disk

PYTHON = "SUBBYTE_PYTHON"  # environment variable that names the interpreter of the process
IN_PROCESS = "SUBBYTE_TEMPLATES_IN_PROCESS"  # environment variable; "1" renders without a process of its own
