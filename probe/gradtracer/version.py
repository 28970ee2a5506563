"""Version of the distribution."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("gradtracer")
except PackageNotFoundError:
    __version__ = "0+unknown"
