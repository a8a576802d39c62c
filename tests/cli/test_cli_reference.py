"""docs/cli.md is what the commands say."""

import cli_reference
import click

from subbyte.cli.main import cli


def test_the_page_is_the_commands() -> None:
    text = cli_reference.PAGE.read_text()
    begin, end = text.index(cli_reference.BEGIN) + len(cli_reference.BEGIN), text.index(cli_reference.END)
    assert text[begin:end] == cli_reference.page(), "run: .venv/bin/python tests/support/cli_reference.py"


def test_every_command_option_and_argument_says_what_it_is() -> None:
    for name, command in cli_reference.commands(cli, "subbyte"):
        assert command.help, name
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.help and parameter.help.endswith("."), (name, parameter.name)
            else:
                assert parameter.metavar, (name, parameter.name)
