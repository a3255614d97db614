"""Sequences and who of them runs when: everything between the HTTP routes and the C engine."""
