"""Agents and commands beside an open editor: they see its unsaved texts, and edit through it."""
