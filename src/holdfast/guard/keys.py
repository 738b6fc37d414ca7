"""Ed25519 keys in files that only their owner can read, and signatures that are bound to a purpose.

    key = SigningKey.create(Path("guard.key"))
    signature = key.sign("head", message)
    assert verify_signature(key.public, "head", message, signature)

The guard's own key has no passphrase, because the guard runs as a user of its own; a person's key has one.
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
    """A private key and its public key (`public`, 32 bytes)."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.public = private.public_key().public_bytes(_RAW, serialization.PublicFormat.Raw)
        self._secret = hashlib.sha256(_marked("seal", private.private_bytes_raw())).digest()

    @classmethod
    def create(cls, path: Path, passphrase: str = "") -> SigningKey:
        """Write a new key to `path`, readable only by its owner, and its public key to `path.pub`.

        Raises:
            InputError: the file already exists, or the passphrase is too short.
            StoreError: the file cannot be written.
        """
        if path.exists():
            raise InputError("this key file exists already", where=path, remedy="choose another name, or use this key")
        if passphrase and len(passphrase) < _SHORTEST_PASSPHRASE:
            what = f"the passphrase must have at least {_SHORTEST_PASSPHRASE} characters, got {len(passphrase)}"
            raise InputError(what, where=path, remedy="choose a longer one")
        private = Ed25519PrivateKey.generate()
        lock: serialization.KeySerializationEncryption = serialization.NoEncryption()
        if passphrase:
            lock = serialization.BestAvailableEncryption(passphrase.encode())
        text = private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, lock)
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            # Created with mode 600: changing the mode after writing would leave the file readable for a moment.
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(text)
            key = cls(private)
            path.with_name(path.name + ".pub").write_text(key.public.hex() + "\n")
        return key

    @classmethod
    def load(cls, path: Path, passphrase: str = "") -> SigningKey:
        """Read a key.

        Raises:
            InputError: there is no such file, or it is not an ed25519 key.
            RefusedError: other users may access the file, or the passphrase is wrong.
        """
        if not path.is_file():
            remedy = "create a person's key with: holdfast guard approve enrol"
            raise InputError("no such key file", where=path, remedy=remedy)
        if path.stat().st_mode & _OTHERS:
            raise RefusedError("other users may read or write this key", where=path, remedy=f"chmod 600 {path}")
        try:
            private = serialization.load_pem_private_key(path.read_bytes(), passphrase.encode() or None)
        except TypeError:
            what = "this key has no passphrase" if passphrase else "this key needs its passphrase"
            remedy = "omit the passphrase" if passphrase else "enter its passphrase"
            raise RefusedError(what, where=path, remedy=remedy) from None
        except ValueError:
            what = "wrong passphrase" if passphrase else "not a private key"
            raise RefusedError(what, where=path, remedy="try again, or enrol a new key") from None
        if not isinstance(private, Ed25519PrivateKey):
            raise InputError(
                "not an ed25519 key", where=path, remedy="create a person's key with: holdfast guard approve enrol"
            )
        return cls(private)

    def sign(self, purpose: str, message: bytes) -> bytes:
        """Return a signature (64 bytes) that is valid only for this purpose."""
        return self._private.sign(_marked(purpose, message))

    def seal(self, message: bytes) -> bytes:
        """Return an HMAC (32 bytes) that only a holder of this key can make or verify; ten times faster than `sign`."""
        return hmac.digest(self._secret, message, "sha256")


def verify_signature(public: bytes, purpose: str, message: bytes, signature: bytes) -> bool:
    """Return whether the owner of `public` signed the message for this purpose."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, _marked(purpose, message))
    except (InvalidSignature, ValueError):
        return False
    return True


def load_public(path: Path) -> bytes:
    """Read a public key that `SigningKey.create` wrote.

    Raises:
        InputError: there is no such file, or it does not contain 64 hexadecimal digits.
    """
    try:
        public = bytes.fromhex(path.read_text(encoding="utf-8").strip())
    except (OSError, ValueError):
        public = b""
    if len(public) != 32:
        raise InputError("not a public key", where=path, remedy="give the .pub file beside the guard's key")
    return public


def _marked(purpose: str, message: bytes) -> bytes:
    # A signature for one purpose must not be valid for another.
    return f"holdfast/{purpose}/1".encode() + b"\0" + message
