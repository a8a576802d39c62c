'''Text of several lines at the prompt: between """ and """, as a message or behind a slash command.'''

import re

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
