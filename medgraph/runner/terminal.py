"""What commands print on the terminal: every name and path as it is, whatever brackets and colons it holds."""

from rich.console import Console


def console(quiet: bool = False) -> Console:
    """A terminal on which lines are not wrapped and nothing in a text is taken for markup or an emoji."""
    return Console(highlight=False, markup=False, emoji=False, soft_wrap=True, quiet=quiet)
