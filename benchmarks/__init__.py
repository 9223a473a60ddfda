"""Speed, pauses and memory beside the real etcd: `python -m benchmarks`; see docs/performance.md.

`figures` is what comes out, `report` how it looks; `servers` runs txetcd and etcd, `security` makes their
certificates; `loads`, `watchers` and `probing` ask, each in a process of its own; `rows` is the list of
what is measured.  `limits` measures what bounds it.
"""
