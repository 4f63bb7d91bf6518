"""The beginning of a command, before it imports what takes long."""

from __future__ import annotations


def begin(*, quiet: bool) -> None:
    """Set the defaults of libraries, and import pymilvus without the libraries that Roost does not use of it.

    Args:
        quiet: Do not print the logs of runs on the terminal; the Prefect UI still shows them.

    Raises:
        UsageError: A setting is wrong.
    """
    from roost.tasks.settings import load_settings, set_library_defaults

    set_library_defaults(quiet=quiet)
    settings = load_settings()
    from roost.tasks.milvus.light_import import import_for_command

    import_for_command(is_lite=settings.milvus.is_lite)
