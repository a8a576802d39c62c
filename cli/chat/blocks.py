'''Quotes at the prompt: text of several lines between """ and """, and words with spaces behind a slash command.'''

import re
import shlex

_BEGIN = re.compile(r'(/[a-zA-Z]+[ \t]+)?"""')


def is_open_block(text: str) -> bool:
    '''Whether the text starts a """ block, itself or behind a command, that is not closed yet.'''
    text = text.strip()
    begin = _BEGIN.match(text)
    return begin is not None and (len(text) < begin.end() + 3 or not text.endswith('"""'))


def unquote(text: str) -> str:
    '''The text without the """ around it, if it has them.'''
    block = text.strip()
    if len(block) >= 6 and block.startswith('"""') and block.endswith('"""'):
        return block[3:-3].strip("\n")
    return text


def shell_words(command: str, argument: str, what: str = "a name") -> list[str]:
    """The words of what a command takes, read as a shell does. Raises ValueError, with a hint, for an open quote."""
    try:
        return shlex.split(argument)
    except ValueError as error:
        raise ValueError(f"{command}: {error}; {what} with spaces goes between quotes") from None
