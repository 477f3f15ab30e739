"""What keys look like: `tsk_<id>_<secret><checksum>`, and `tst_...` for tokens that read for one subject.

The id finds the key; the secret has 256 random bits; the checksum lets programs that look for leaked secrets tell one
from a word that looks alike.
"""

import hashlib
import secrets
import string
from binascii import crc32

KEY, TOKEN = "tsk_", "tst_"
ID_CHARACTERS, SECRET_CHARACTERS, CHECKSUM_CHARACTERS = 12, 43, 6
LENGTH = len(KEY) + ID_CHARACTERS + 1 + SECRET_CHARACTERS + CHECKSUM_CHARACTERS
ID = slice(len(KEY), len(KEY) + ID_CHARACTERS)
_ALPHABET = string.digits + string.ascii_letters
SECRET_BITS = 256


def new_id() -> str:
    """Of a key; it is no secret."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(ID_CHARACTERS))


def new_token(prefix: str, key_id: str) -> str:
    """A key with a fresh secret, to be shown once."""
    secret = _in_letters(secrets.randbits(SECRET_BITS), SECRET_CHARACTERS)
    return f"{prefix}{key_id}_{secret}{_checksum(f'{key_id}_{secret}')}"


def secret_hash(token: bytes) -> bytes:
    """What is kept of a key: of the whole of it, so that nothing in it can be changed."""
    return hashlib.sha256(token).digest()


def is_well_formed(token: str) -> bool:
    """Whether it may be a key: its checksum is right."""
    body = token[len(KEY) : -CHECKSUM_CHARACTERS]
    is_ours = token.startswith((KEY, TOKEN)) and len(token) == LENGTH and token.isascii()
    return is_ours and token[-CHECKSUM_CHARACTERS:] == _checksum(body)


def _checksum(body: str) -> str:
    return _in_letters(crc32(body.encode()), CHECKSUM_CHARACTERS)


def _in_letters(number: int, count: int) -> str:
    """To base 62, with zeros in front."""
    digits = ""
    while number:
        number, digit = divmod(number, len(_ALPHABET))
        digits = _ALPHABET[digit] + digits
    return digits.rjust(count, _ALPHABET[0])
