"""The pages of `gradtracer rule TYPE`, a file for each family of types."""
