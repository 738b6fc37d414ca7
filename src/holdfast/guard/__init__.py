"""guard: enforces a policy on the tool calls of an agent, at run time.

`gate` decides every act from the policy (`policy`), the monitors (`monitors`), approvals (`approvals`) and open
concerns (`concern`), and logs it (`audit_log`). `relay` and `adapters` pass calls to the gate, `review` serves the
reviewers' page, and `lint` checks prompts. Imports only `core` and `detectors`.
"""
