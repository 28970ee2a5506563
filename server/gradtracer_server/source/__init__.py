"""The user's source as it is now: parsed texts, open documents, and where a recorded site stands.

Imports no pygls. Lines count from 0 here; those of a `SourceFrame` count from 1.
"""
