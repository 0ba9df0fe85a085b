"""Mutants that no input within the statement can tell from the solution, each with the reason."""

EQUIVALENT: dict[str, dict[str, dict[str, str]]] = {}
