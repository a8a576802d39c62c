"""/read: the texts of files that go before the next message."""

from subbyte.cli.chat.blocks import shell_words
from subbyte.cli.chat.context import ReplContext
from subbyte.cli.message.files import TextFile, read_file, with_files
from subbyte.cli.message.mentions import mentioned_files
from subbyte.cli.terminal.console import human_size


def read(context: ReplContext, argument: str) -> None:
    """Reads the named files, all or none; without a name lists what waits, "" forgets it."""
    names = shell_words("/read", argument)
    if names == [""]:
        context.files.clear()
    context.files += [read_file(name) for name in names if name]
    context.say(_waiting(context.files) if context.files else "no file waits; /read FILE... adds some")


def _waiting(files: list[TextFile]) -> str:
    named = ", ".join(f"{file.name} ({human_size(len(file.text.encode()))})" for file in files)
    return f"{named} {'goes' if len(files) == 1 else 'go'} before the next message"


def complete_message(context: ReplContext, text: str) -> str:
    """A message with the files that wait for it and those that it names."""
    mentioned = [file for file in mentioned_files(text) if file not in context.files]
    if mentioned:
        context.say("read " + ", ".join(f"{file.name} ({human_size(len(file.text.encode()))})" for file in mentioned))
    return with_files([*context.files, *mentioned], text)
