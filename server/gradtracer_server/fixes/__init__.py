"""Remedies as edits of the user's source: one file per fix, found by name in the registry.

Imports no pygls. A fix is a function from a diagnosis and the source to edits; it writes nothing.
"""
