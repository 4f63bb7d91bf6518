"""What is wrong with the TLS certificate of a Milvus server; pymilvus only says that the server does not answer."""

from __future__ import annotations

import socket
import ssl
from urllib.parse import urlsplit

from roost.tasks.errors import ConfigurationError, StoreError
from roost.tasks.settings import Milvus

#: Seconds for the connection that looks at the certificate.
HANDSHAKE_TIMEOUT_S = 5.0
_TLS_PORT = 443


def check_ca_file(settings: Milvus) -> None:
    """Refuse a file of an authority that cannot be read as certificates.

    Raises:
        ConfigurationError: It cannot.
    """
    if settings.ca_file:
        _tls_context(settings)


def check_certificate(settings: Milvus) -> None:
    """Look at the certificate of a server that does not answer. Nothing is raised for a server without TLS.

    Raises:
        StoreError: It is not signed by the authority, is for another host, or has expired.
    """
    place = urlsplit(settings.uri)
    if not place.hostname or not (settings.ca_file or place.scheme == "https"):
        return
    context, address = _tls_context(settings), (place.hostname, place.port or _TLS_PORT)
    try:
        with (
            socket.create_connection(address, timeout=HANDSHAKE_TIMEOUT_S) as plain,
            context.wrap_socket(plain, server_hostname=place.hostname),
        ):
            return
    except ssl.SSLCertVerificationError as error:
        known = settings.ca_file or "the authorities of this machine"
        raise StoreError(
            f"the TLS certificate of Milvus at {settings.uri} is refused by {known}: {error.verify_message}; set "
            "ROOST_MILVUS__CA_FILE to the certificate of the authority that signed it"
        ) from error
    except ssl.SSLError as error:
        raise StoreError(
            f"Milvus at {settings.uri} does not answer by TLS: use http://, and no ROOST_MILVUS__CA_FILE"
        ) from error
    except OSError:
        return


def _tls_context(settings: Milvus) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=settings.ca_file)
    except OSError as error:
        reason = "no PEM certificate in it" if isinstance(error, ssl.SSLError) else error.strerror
        raise ConfigurationError(f"ROOST_MILVUS__CA_FILE={settings.ca_file} cannot be read: {reason}") from error
