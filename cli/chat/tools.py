"""/tools: functions of a Python file that the model may call, each call only after a yes."""

import inspect
import json
import runpy
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from subbyte.cli.chat.blocks import shell_words
from subbyte.cli.chat.context import ReplContext
from subbyte.cli.terminal.interrupt import one_interrupt
from subbyte.runtime.files import similar_files
from subbyte.runtime.text import visible

if TYPE_CHECKING:
    from subbyte.runtime.generation.events import Reply
    from subbyte.runtime.generation.generation import Generation
    from subbyte.runtime.tools.call import ToolCall

MAX_RESULT = 1 << 14  # characters of a result that go to the model
MAX_SHOWN = 200  # of one on the screen
REFUSED, LEFT = "The user did not allow this call.", "Not called: the user went on with something else."
ALWAYS = ("a", "always")


def set_tools(context: ReplContext, argument: str) -> None:
    """Takes the functions of a file as tools; "" takes all away, without an argument they are listed."""
    if argument == '""':
        context.chat.use_tools(())
        context.allowed.clear()
    elif argument:
        context.chat.use_tools(_functions(_path(argument)))
        context.allowed.clear()
    for tool in context.chat.tools.values():
        context.entry(f"{tool.name}  ", tool.description or "(it has no docstring)")
    if not context.chat.tools:
        context.say("no tools; /tools FILE.py gives the model the functions of a file")


def _path(argument: str) -> Path:
    """The one file that is named, its name quoted where it has spaces, or as it is if there is a file of that name."""
    names = [argument] if Path(argument).exists() else shell_words("/tools", argument)
    if len(names) != 1:
        raise ValueError("/tools takes one file of Python; a name with spaces goes between quotes")
    return Path(names[0]).expanduser()


def _functions(path: Path) -> Sequence[Callable[..., Any]]:
    """The public functions that a file of Python defines, in its order. Running it is what the user asked for."""
    if not path.is_file():
        raise ValueError(f"{path}: no such file{similar_files(path, '.py')}; /tools takes a file of Python")
    try:
        with one_interrupt():
            names = runpy.run_path(str(path), run_name=path.stem)
    except (Exception, SystemExit) as error:
        raise ValueError(f"{path}: {type(error).__name__}: {error}") from None
    functions = [
        value
        for name, value in names.items()
        if inspect.isfunction(value) and value.__module__ == path.stem and not name.startswith("_")
    ]
    if not functions:
        raise ValueError(f"{path}: it defines no function whose name has no _ in front")
    return functions


def next_step(context: ReplContext, reply: "Reply") -> "Callable[[], Generation] | None":
    """What follows an answer: where it calls tools, another one to their results."""
    if not reply.tool_calls or reply.stop_reason == "cancelled":
        return None
    results = [_result(context, call) for call in reply.tool_calls]
    return partial(context.chat.stream_tool_results, results)


def refuse_open_calls(context: ReplContext) -> None:
    """Settles calls that were never answered, of a stopped answer or of a conversation that was loaded."""
    messages = context.chat.messages
    calls = messages[-1].tool_calls if messages and context.chat.unanswered is None else ()
    if calls:
        context.chat.stream_tool_results([LEFT] * len(calls)).close()


def _result(context: ReplContext, call: "ToolCall") -> str:
    """The result of a call as text, were it only why there is none."""
    values = ", ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in call.arguments.items())
    context.line(visible(f"{call.name}({values})"))
    if call.name not in context.chat.tools:
        return f"There is no tool {call.name}."
    if not _allowed(context, call.name):
        return REFUSED
    try:
        with one_interrupt():
            value = context.chat.tools[call.name](**call.arguments)
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    except KeyboardInterrupt:
        text = "Stopped by the user before it had a result."
    except (Exception, SystemExit) as error:  # a tool may do anything
        text = f"Error: {type(error).__name__}: {error}"
    if len(text) > MAX_RESULT:
        text = f"{text[:MAX_RESULT]}\n({len(text) - MAX_RESULT} more characters are left out)"
    context.say(text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]} (and {len(text) - MAX_SHOWN} characters)")
    return text


def _allowed(context: ReplContext, name: str) -> bool:
    """Whether the user lets a tool be called now; Ctrl-C, Ctrl-D, Enter and anything but a yes is no."""
    if name in context.allowed:
        return True
    try:
        said = context.ask(f"call {name}? [y/N/always] ").strip().lower()
    except (KeyboardInterrupt, EOFError):
        said = ""
    if said in ALWAYS:
        context.allowed.add(name)
    return said in (*ALWAYS, "y", "yes")
