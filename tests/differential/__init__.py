"""txetcd beside the real etcd: the same random requests to both, and every answer compared.

`generator` makes up sequences of requests, `servers` asks, `player` plays a sequence on both servers at once
and finds the first difference, `compare` says what a difference is (and which are on purpose), `shrink` makes
a sequence that shows one as short as it can be.  `python -m tests.differential` is the long run.
"""
