"""Tells twistd of txetcd; every twistd run may import this, so nothing of txetcd's is imported here."""

from twisted.application.service import ServiceMaker

txetcd = ServiceMaker(
    "txetcd", "txetcd.tap", "An etcd server: the v2 HTTP API, over HTTPS if asked for.", "txetcd"
)
