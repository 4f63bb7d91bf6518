"""Parser for mails (.eml), and their attachments, which are documents of their own."""

from __future__ import annotations

import email
import email.policy
from collections.abc import Iterator
from datetime import datetime
from email.message import EmailMessage
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple, cast

from roost.tasks.errors import DocumentError
from roost.tasks.sources.parsers.document_facts import document_facts
from roost.tasks.sources.parsers.html import html_to_markdown
from roost.tasks.sources.parsers.parsed import Kind, Parsed, TextBlock
from roost.tasks.sources.parsers.parser import FunctionParser
from roost.tasks.sources.text_encoding import clean, decode

#: Headers that become metadata.
_HEADERS = ("from", "to", "cc", "date")
_ERRORS = (ValueError, LookupError, TypeError, AttributeError, IndexError)


class Attachment(NamedTuple):
    """A file in a mail."""

    name: str
    data: bytes


def parse_mail(data: bytes) -> Parsed:
    """Parse a mail: subject and body; of a body in several forms, the plain one. Attachments are named in the metadata.

    Raises:
        DocumentError: The file is no mail.
    """
    message = read_message(data)
    subject = _header(message, "subject")
    try:
        body = message.get_body(("plain", "html"))
    except _ERRORS:
        body = None
    text = ""
    kind: Kind = "text"
    if body is not None and not body.is_multipart():
        text = _body_text(cast("EmailMessage", body))
        if body.get_content_type() == "text/html":
            text, kind = html_to_markdown(text), "markdown"
    metadata: dict[str, Any] = {name: value for name in _HEADERS if (value := _header(message, name))}
    metadata |= document_facts(authors=[metadata.get("from")], created=_sent(message))
    if names := [attachment.name for attachment in attachments(message)]:
        metadata["attachments"] = ", ".join(names)
    whole = "\n\n".join(filter(None, (subject, text.strip())))
    return Parsed((TextBlock(whole, kind=kind),), subject, metadata)


def read_message(data: bytes) -> EmailMessage:
    """Read a mail.

    Raises:
        DocumentError: The bytes have no header of a mail.
    """
    message = email.message_from_bytes(data, policy=email.policy.default)
    if not message.keys():  # perhaps in an encoding of two bytes a letter
        text = decode(data).removeprefix("\ufeff")
        message = email.message_from_bytes(text.encode(), policy=email.policy.default)
    if not message.keys():
        raise DocumentError("damaged", "not a readable mail: it has no headers")
    return message


def attachments(message: EmailMessage) -> Iterator[Attachment]:
    """Give the files in a mail, those without a name as `attachment-N`, mails as `.eml`; equal names get a number."""
    seen: dict[str, int] = {}
    try:
        body = message.get_body(("plain", "html"))
    except _ERRORS:
        body = None
    for number, part in enumerate(_leaves(message), start=1):
        if part is body or (part.get_content_maintype() == "text" and not part.is_attachment() and not _name(part)):
            continue
        is_mail = part.get_content_type() == "message/rfc822"
        name = _name(part) or f"attachment-{number}"
        name += ".eml" if is_mail and not name.lower().endswith(".eml") else ""
        seen[name] = seen.get(name, 0) + 1
        content = _mail_bytes(part) if is_mail else part.get_payload(decode=True)
        if isinstance(content, bytes) and content:
            yield Attachment(name if seen[name] == 1 else f"{seen[name]}-{name}", content)


def _leaves(part: EmailMessage) -> Iterator[EmailMessage]:
    """Give the parts that contain no others; a mail in a mail is one."""
    if part.is_multipart() and part.get_content_type() != "message/rfc822":
        for inner in part.iter_parts():
            yield from _leaves(cast("EmailMessage", inner))
    else:
        yield part


def _mail_bytes(part: EmailMessage) -> bytes:
    try:
        return cast("EmailMessage", part.get_payload(0)).as_bytes()
    except _ERRORS:
        return b""


def _name(part: EmailMessage) -> str:
    try:
        name = part.get_filename() or ""
    except _ERRORS:
        return ""
    return clean(name).replace("/", "_").replace("\\", "_").replace("#", "_").strip()[:100]


def _body_text(part: EmailMessage) -> str:
    try:
        return clean(part.get_content())
    except _ERRORS:  # an unknown or wrong charset
        content = part.get_payload(decode=True)
        return decode(content) if isinstance(content, bytes) else ""


def _sent(message: EmailMessage) -> datetime | None:
    try:
        return parsedate_to_datetime(_header(message, "date"))
    except _ERRORS:
        return None


def _header(message: EmailMessage, name: str) -> str:
    try:
        return clean(" ".join(str(message.get(name, "")).split()))
    except _ERRORS:  # headers that Python's parser cannot read
        return ""


PARSER = FunctionParser("mail", (".eml",), ("message/rfc822",), parse_mail, revision="roost-mail 1")
