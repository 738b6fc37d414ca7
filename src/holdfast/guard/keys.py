"""Ed25519 keys in files that only their owner can read, and signatures that say what they are for.

    key = SigningKey.create(Path("guard.key"))
    signature = key.sign("head", message)
    assert signed(key.public, "head", message, signature)

The guard's own key lies open to the guard, which runs as a user of its own; a person's key is locked by a passphrase.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from pathlib import Path

from holdfast.core.errors import InputError, RefusedError
from holdfast.core.extras import needs
from holdfast.core.store import writing

with needs("guard"):
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

_OTHERS = 0o077
_RAW = serialization.Encoding.Raw
_SHORTEST_PASSPHRASE = 12


class SigningKey:
    """A private key and its public half (32 bytes, `public`)."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.public = private.public_key().public_bytes(_RAW, serialization.PublicFormat.Raw)
        self._secret = hashlib.sha256(_marked("seal", private.private_bytes_raw())).digest()

    @classmethod
    def create(cls, path: Path, passphrase: str = "") -> SigningKey:
        """Write a new key to `path`, readable by its owner alone, and its public half beside it as `path.pub`.

        Raises:
            InputError: the file is already there, or a passphrase is given and is too short.
            StoreError: the file cannot be written.
        """
        if path.exists():
            raise InputError("there is a key already", where=path, remedy="choose another name, or use this key")
        if passphrase and len(passphrase) < _SHORTEST_PASSPHRASE:
            remedy = f"take at least {_SHORTEST_PASSPHRASE} characters"
            raise InputError("the passphrase is too short", where=path, remedy=remedy)
        private = Ed25519PrivateKey.generate()
        lock: serialization.KeySerializationEncryption = serialization.NoEncryption()
        if passphrase:
            lock = serialization.BestAvailableEncryption(passphrase.encode())
        text = private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, lock)
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            # Born closed: a file that is closed after it was written has been open for a moment.
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(text)
            key = cls(private)
            path.with_name(path.name + ".pub").write_text(key.public.hex() + "\n")
        return key

    @classmethod
    def load(cls, path: Path, passphrase: str = "") -> SigningKey:
        """Read a key.

        Raises:
            InputError: there is no such file, or it holds no ed25519 key.
            RefusedError: others than its owner may touch the file, or the passphrase is wrong.
        """
        if not path.is_file():
            raise InputError("no such key", where=path, remedy="a person's is made with: holdfast guard approve enrol")
        if path.stat().st_mode & _OTHERS:
            raise RefusedError("others may read or write this key", where=path, remedy=f"chmod 600 {path}")
        try:
            private = serialization.load_pem_private_key(path.read_bytes(), passphrase.encode() or None)
        except TypeError:
            what = "this key has no passphrase" if passphrase else "this key needs its passphrase"
            raise RefusedError(what, where=path, remedy="give what fits") from None
        except ValueError:
            what = "wrong passphrase" if passphrase else "not a private key"
            raise RefusedError(what, where=path, remedy="try again, or enrol a new key") from None
        if not isinstance(private, Ed25519PrivateKey):
            raise InputError(
                "not an ed25519 key", where=path, remedy="a person's is made with: holdfast guard approve enrol"
            )
        return cls(private)

    def sign(self, purpose: str, message: bytes) -> bytes:
        """A signature (64 bytes) that holds for this purpose alone."""
        return self._private.sign(_marked(purpose, message))

    def seal(self, message: bytes) -> bytes:
        """A mark (32 bytes) that only a holder of this key can make or check, in a tenth of a signature's time."""
        return hmac.digest(self._secret, message, "sha256")


def verify_signature(public: bytes, purpose: str, message: bytes, signature: bytes) -> bool:
    """Whether the owner of `public` signed the message for this purpose."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, _marked(purpose, message))
    except (InvalidSignature, ValueError):
        return False
    return True


def load_public(path: Path) -> bytes:
    """The public half of a key, as `SigningKey.create` wrote it.

    Raises:
        InputError: there is no such file, or it does not hold 64 hexadecimal digits.
    """
    try:
        public = bytes.fromhex(path.read_text(encoding="utf-8").strip())
    except (OSError, ValueError):
        public = b""
    if len(public) != 32:
        raise InputError("not a public key", where=path, remedy="name the .pub file beside the guard's key")
    return public


def _marked(purpose: str, message: bytes) -> bytes:
    # A signature made for one thing must never serve for another.
    return f"holdfast/{purpose}/1".encode() + b"\0" + message
