from pathlib import Path
def resolve(m): return Path(m)
