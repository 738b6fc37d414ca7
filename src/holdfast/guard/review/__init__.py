"""The review page: persons inspect the acts that an agent requests, and answer with a passkey."""
