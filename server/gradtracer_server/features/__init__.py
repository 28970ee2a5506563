"""One file for each thing the editor can ask or be told, named after the protocol's method.

These modules load before `initialize` is answered: they import lsprotocol and little else at the
top, and what needs a session inside their functions.
"""
