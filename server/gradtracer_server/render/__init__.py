"""What findings and figures look like: cards in markdown and plain text, numbers for people."""
