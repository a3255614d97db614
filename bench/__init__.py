"""Measurements: `make bench` (our engine beside the machine's roofline), `make compare` (beside another engine)."""
