"""Scores the lines of a text with Dask, a partition at a time: python examples/dask_rows.py MODEL TEXT"""

import sys
from pathlib import Path

import dask.dataframe
import pandas

import subbyte as sb


def main(model: str, text: str) -> None:
    rows = pandas.DataFrame({"text": Path(text).read_text().splitlines()})
    score = sb.ScoreRows(model)
    frame = dask.dataframe.from_pandas(rows, npartitions=4)
    scored = frame.map_partitions(score, meta=score(rows[:0]))  # meta: else Dask would try it on texts of its own
    for row in scored.compute(scheduler="threads").itertuples():
        print(f"{row.logprob:9.3f} in {row.logprob_tokens} tokens: {row.text}")


if __name__ == "__main__":
    main(*sys.argv[1:])
