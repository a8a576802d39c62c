"""Every command of the command line, for tests that hold for all of them."""

from __future__ import annotations

import click


def commands(group: click.Group, prefix: str = "") -> list[tuple[str, click.Command]]:
    """Names and commands, those of groups too: `recipe show`."""
    found: list[tuple[str, click.Command]] = []
    for name, command in group.commands.items():
        found += commands(command, f"{name} ") if isinstance(command, click.Group) else [(prefix + name, command)]
    return found
