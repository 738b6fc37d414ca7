"""Every speed figure of the README and the LOG comes from a command here."""
