"""The beginning of a command, before it imports what takes long."""

from __future__ import annotations


def begin(*, quiet: bool, imports_milvus: bool = True) -> None:
    """Set the defaults of libraries, and import pymilvus without the libraries that Roost does not use of it.

    Args:
        quiet: Do not print the logs of runs on the terminal; the Prefect UI still shows them.
        imports_milvus: Import pymilvus now. A command that runs a flow imports it while Prefect's server starts.

    Raises:
        UsageError: A setting is wrong.
    """
    from roost.tasks.settings import load_settings, set_library_defaults

    set_library_defaults(quiet=quiet)
    load_settings()
    if imports_milvus:
        import_milvus()


def import_milvus() -> None:
    """Import what a command uses of Milvus, unless it is imported already."""
    from roost.tasks.milvus.light_import import import_for_command
    from roost.tasks.settings import load_settings

    import_for_command(is_lite=load_settings().milvus.is_lite)
