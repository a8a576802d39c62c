"""Function calling measured: cases in BFCL's format, how calls are scored, and what quantizations do to them."""
