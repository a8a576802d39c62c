"""A model in other block types, if it fits a size: python examples/quantize.py SOURCE OUT MEGABYTES [IMATRIX]."""

import sys

import subbyte as sb


def main(source: str, out: str, megabytes: str, imatrix: str | None = None) -> None:
    size = int(float(megabytes) * 1e6)
    plan = sb.quantize(source, out, target_size=size, imatrix=imatrix, dry_run=True)
    print(f"{plan.plan.recipe.name}: {plan.n_bytes / 1e6:.1f} MB, {plan.plan.bits_per_weight:.2f} bits per weight")
    written = sb.quantize(source, out, plan.plan.recipe, imatrix=imatrix)
    print(f"wrote {written.out} in {written.seconds:.1f} s")


if __name__ == "__main__":
    main(*sys.argv[1:])
