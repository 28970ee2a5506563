"""The language server and the headless commands: what a run found, on the line that defines it.

Imports no torch and no booster. `pygls` is imported by `serve` alone.
"""
