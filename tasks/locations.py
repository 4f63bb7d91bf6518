"""Locations of files: a local path or a URL of fsspec, how it is opened, and what of it may stand in a message.

A local path is never taken for a URL, a chain of URLs or a pattern, whatever characters its names contain.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from contextlib import AbstractContextManager
from typing import IO
from urllib.parse import parse_qsl, urlsplit

_FILE_SCHEMES = ("file://", "local://")
_DATABASE_SCHEMES = ("sqlite://", "postgresql://")
#: Put before the URL of a sitemap whose name does not tell that it is one.
SITEMAP_PREFIX = "sitemap+"
_NAMED_SITEMAP = re.compile(
    r"https?://[^/?#]+/(?:[^?#]*/)?[^/?#]*sitemap[^/?#]*\.xml(?:\.gz)?(?:[?#].*)?", re.IGNORECASE
)
#: Schemes whose URLs have the name of a container, a repository or an account before `@`, and no secret.
_PUBLIC_USERS = frozenset({"abfs", "abfss", "wasb", "wasbs", "adl", "az", "github", "git", "hdfs", "webhdfs"})
#: Names of query parameters that contain a secret: of signed URLs, tokens, keys.
_SECRET_PARAMETER = re.compile(
    r"(?:^|[-_.])(?:sig|signature|token|secret|password|passwd|pwd|credentials?|auth|authorization|jwt)(?:$|[-_.])"
    r"|(?:api|access|subscription|secret|private|account)[-_.]?key|access[-_.]?token",
    re.IGNORECASE,
)

#: The same as a pattern of JSON schema, by which a Prefect server refuses a URL before it stores it.
REFUSED_BY_SCHEMA = (
    r"(^|::)(?!(abfss?|wasbs?|adl|az|github|git|hdfs|webhdfs)://)[A-Za-z0-9+.-]+://[^/@]*:[^/@]+@"
    r"|://.*[?&]([^=&]*[-_.])?([Ss]ig|[Ss]ignature|[Tt]oken|[Ss]ecret|[Pp]assword|[Pp]wd|[Cc]redential|[Aa]uth)=[^&]"
    r"|://.*[?&][^=&]*([Aa]pi|[Aa]ccess)[-_.]?([Kk]ey|[Tt]oken)[^=&]*=[^&]"
)

_USER = re.compile(r"\b([a-z][a-z0-9+.-]*)://([^/\s@'\"<>]*)@", re.IGNORECASE)
#: A URL and its query. Outside of the web, where `?` may be a glob, a query is what has a parameter.
_QUERY = re.compile(
    r"(\bhttps?://[^\s?'\"<>]*|\b[a-z][a-z0-9+.-]*://[^\s?'\"<>]*(?=\?[\w.-]+=))(\?[^\s'\"<>]*)", re.IGNORECASE
)
_AFTER_URL = ":,.;)]"


class NoFileError(OSError):
    """A local path has a pipe or a device."""


def local_path(location: str) -> str | None:
    """Give the path of a local file or folder; None where the location is any other URL."""
    for scheme in _FILE_SCHEMES:
        if location.startswith(scheme):
            return location.removeprefix(scheme)
    return location if "://" not in location else None


def split_chain(uri: str) -> list[str]:
    """Split a URL that reads one place inside another (`zip://in::s3://store/a.zip`), the inner one first."""
    return [uri] if local_path(uri) is not None or is_database(uri) else uri.split("::")


def is_database(uri: str) -> bool:
    """Whether a URI is a database's; its query may be SQL."""
    return uri.startswith(_DATABASE_SCHEMES)


def is_sitemap(uri: str) -> bool:
    """Whether a source's URI is the URL of a web site's sitemap: by its name, or by the prefix that says so."""
    is_said = uri.startswith((f"{SITEMAP_PREFIX}http://", f"{SITEMAP_PREFIX}https://"))
    return is_said or _NAMED_SITEMAP.fullmatch(uri) is not None


def open_location(location: str) -> AbstractContextManager[IO[bytes]]:
    """Open a file to read its bytes: a local one as it is, any other by fsspec.

    Raises:
        NoFileError: It is a pipe or a device.
        OSError: It cannot be opened, or is a folder.
    """
    path = local_path(location)
    if path is not None:
        return _open_regular(path)
    import fsspec  # here: every command imports the errors, and they this module

    opened: AbstractContextManager[IO[bytes]] = fsspec.open(location, "rb")
    return opened


def _open_regular(path: str) -> IO[bytes]:
    """Open a local file, and nothing that may have come in its place: a pipe would block, a device never end."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    raise NoFileError("it is a pipe or a device, and no file")


def find_secret(uri: str) -> str:
    """Name the secret that a URL contains: `a password`, or the name of a query parameter; empty without one."""
    for part in split_chain(uri) if local_path(uri) is None else []:
        parts = urlsplit(part)
        if parts.password is not None and parts.scheme not in _PUBLIC_USERS:
            return "a password"
        for name, value in parse_qsl(parts.query):
            if value and _SECRET_PARAMETER.search(name):
                return f"the secret {name!r}"
    return ""


def hide_secrets(text: str) -> str:
    """Remove users, passwords and queries from the URLs of a text: a query may be a signature, whatever its name."""
    if "://" not in text:
        return text
    shown = _USER.sub(lambda found: found[0] if found[1].lower() in _PUBLIC_USERS else f"{found[1]}://", text)
    return _QUERY.sub(lambda found: found[1] + found[2][len(found[2].rstrip(_AFTER_URL)) :], shown)
