"""Speed beside the real etcd: `python -m benchmarks`."""
