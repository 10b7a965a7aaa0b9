"""E-mail addresses from text. Knows nothing of SMTP or jobs."""

from __future__ import annotations

from email.errors import ObsoleteHeaderDefect
from email.headerregistry import Address, AddressHeader
from email.policy import SMTP as SMTP_POLICY
from typing import cast

from processors.text import has_controls


def parse_address(text: str) -> Address:
    """The one address in `text`, as `a@b.c` or `Name <a@b.c>`; a domain that is not ASCII becomes its IDNA form.

    Raises ValueError for anything else: more than one, a group, line breaks, a local part that is not ASCII.
    """
    if has_controls(text):
        raise ValueError("has a line break or another control character")
    header = _header(text)
    if _wrong(header) or len(header.addresses) != 1 or header.groups[0].display_name is not None:
        raise ValueError("is not one e-mail address")
    address = header.addresses[0]
    try:
        domain = address.domain.encode("idna").decode("ascii")
        return Address(address.display_name, address.username, domain)
    except (ValueError, IndexError):  # UnicodeError is a ValueError
        raise ValueError("has a domain that does not exist in DNS") from None


def _wrong(header: AddressHeader) -> bool:
    # "Ann B. <a@x.example>" is obsolete syntax for want of quotation marks, and what people write.
    return any(not isinstance(defect, ObsoleteHeaderDefect) for defect in getattr(header, "defects", ()))


def _header(text: str) -> AddressHeader:
    try:
        return cast(AddressHeader, SMTP_POLICY.header_factory("To", text))
    except Exception:  # the standard library's parser fails in several ways, such as IndexError for "a@"
        raise ValueError("is not one e-mail address") from None
