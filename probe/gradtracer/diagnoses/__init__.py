"""One file per diagnosis type: the test, and the words.

`tables.py` lists the examiners of an embedding table, `layers.py` those of any other layer. An
examiner takes figures and settings and returns a Finding, or None when the test does not reject (or
has too little to go by). Imports none of them, as those of trees must load without torch.
"""
