"""Tables in a document between markers: <!-- NAME --> and <!-- end of NAME -->."""

from pathlib import Path


def put_table(path: Path, name: str, table: str) -> None:
    """Replaces what stands between the markers of `name`. Raises ValueError if they are not there exactly once."""
    text = path.read_text()
    begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->\n"
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise ValueError(f"{path} lacks a line {begin.strip()} followed by a line {end.strip()}; add both once")
    before, rest = text.split(begin)
    path.write_text(f"{before}{begin}\n{table}\n\n{end}{rest.split(end)[1]}")
