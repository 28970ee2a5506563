"""How events leave the process: journal on disk, socket beside it."""
