"""guard.sandbox: run a local server under bubblewrap, with the folders and hosts that the policy names.

`bubblewrap` builds the command line and checks the policy's folders, `proxy` is the only way to the network, `inside`
is the script that runs in the sandbox if hosts are named, `doctor` tries to get out of the sandbox before it is used
(`attempts` is its script inside), and `run` puts them together.
"""
