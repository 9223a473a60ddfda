"""The v2 API as twisted.web resources: what embedders mount.  Nothing here knows of journals."""
