"""Questions of the program's own to the user of the chat."""

from subbyte.cli.repl.context import ReplContext


def confirmed(context: ReplContext, question: str) -> bool:
    """Whether the user says yes; Ctrl-C, Ctrl-D, Enter and anything else is no."""
    try:
        answer = context.ask(f"{question} [y/N] ")
    except (KeyboardInterrupt, EOFError):
        return False
    return answer.strip().lower() in ("y", "yes")
