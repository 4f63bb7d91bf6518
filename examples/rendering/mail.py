"""Mails with attachments."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable
from email import message_from_string
from email.message import EmailMessage
from email.policy import default

WIDTH = 72
BOUNDARY = "==corvane=="
_ATTACHMENT = re.compile(r"^<!-- attachment (\S+) -->\n", re.MULTILINE)


def render_mail(source: str, render: Callable[[str, str], bytes]) -> bytes:
    """Build a mail of headers and a body; after each mark `attachment NAME` follows the source of an attachment.

    Args:
        source: Text of the source.
        render: Makes the attachment's bytes from its name and its source.
    """
    text, *attached = _ATTACHMENT.split(source)
    head, _, body = text.partition("\n\n")
    message = EmailMessage(default)
    for name, value in message_from_string(head, policy=default).items():
        message[name] = value
    message.set_content("\n\n".join(map(_wrapped, body.strip().split("\n\n"))) + "\n")
    for name, content in zip(attached[::2], attached[1::2], strict=True):
        subtype = name.rpartition(".")[2]
        message.add_attachment(render(name, content), maintype="application", subtype=subtype, filename=name)
    if attached:
        message.set_boundary(BOUNDARY)
    return message.as_bytes()


def _wrapped(paragraph: str) -> str:
    return "\n".join(line for part in paragraph.splitlines() for line in textwrap.wrap(part, WIDTH))
