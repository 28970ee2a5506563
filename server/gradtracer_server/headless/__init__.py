"""The commands of `gradtracer` that need no editor: one file each.

They read the same runs, findings and fixes as the server, and import no pygls, numpy or zmq.
"""
