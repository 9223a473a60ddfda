"""Twisted's own resources in memory, under `txetcd.site.Site` as under `twisted.web.server.Site`."""

from __future__ import annotations

import base64
import gzip
from typing import Any

from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.portal import IRealm, Portal
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.web import guard
from twisted.web.pages import notFound
from twisted.web.resource import EncodingResourceWrapper, IResource, Resource
from twisted.web.server import GzipEncoderFactory
from twisted.web.static import Data
from twisted.web.util import DeferredResource, Redirect, redirectTo
from zope.interface import implementer

from tests.site_cases import Answers, FastSite, SiteCase, StockSite


class ReadyMadeTests:
    """Twisted's own resources."""

    connect: Any
    clock: Clock
    assertEqual: Any
    assertIsNone: Any
    assertIn: Any
    assertTrue: Any

    def test_data(self) -> None:
        root = Resource()
        root.putChild(b"data", Data(b"data", "text/plain"))
        talk = self.connect(root)
        response = talk.request("GET", "/data")
        self.assertEqual((response.body, response.header("Content-Type")), (b"data", "text/plain"))
        response = talk.request("HEAD", "/data")
        self.assertEqual((response.body, response.header("Content-Length")), (b"", "4"))

    def test_missing(self) -> None:
        root = Resource()
        root.putChild(b"gone", notFound())
        self.assertEqual(self.connect(root).request("GET", "/gone").status, 404)
        self.assertEqual(self.connect(root).request("GET", "/nothing").status, 404)

    def test_redirect(self) -> None:
        response = self.connect(Redirect(b"/elsewhere")).request("GET", "/")
        self.assertEqual((response.status, response.header("Location")), (302, "/elsewhere"))
        response = self.connect(Answers(lambda r: redirectTo(b"/x", r))).request("GET", "/")
        self.assertEqual((response.status, response.header("Location")), (302, "/x"))

    def test_deferred_resource(self) -> None:
        later: Deferred[IResource] = Deferred()
        talk = self.connect(DeferredResource(later))
        talk.begin("GET", "/")
        self.assertIsNone(talk.response())
        later.callback(Answers(lambda r: b"now"))
        self.assertEqual(talk.response().body, b"now")

    def test_gzip(self) -> None:
        talk = self.connect(EncodingResourceWrapper(Answers(lambda r: b"x" * 1000), [GzipEncoderFactory()]))
        for _ in range(2):
            response = talk.request("GET", "/", [("Accept-Encoding", "gzip")])
            self.assertEqual(response.header("Content-Encoding"), "gzip")
            self.assertIsNone(response.header("Content-Length"))
            self.assertEqual(gzip.decompress(response.body), b"x" * 1000)
        response = talk.request("GET", "/")
        self.assertEqual((response.header("Content-Encoding"), response.body), (None, b"x" * 1000))

    def test_guard(self) -> None:
        @implementer(IRealm)
        class Realm:
            def requestAvatar(self, avatar: Any, mind: Any, *interfaces: Any) -> Any:
                return IResource, Answers(lambda r: b"hello " + avatar), lambda: out.append(avatar)

        out: list[bytes] = []
        checker = InMemoryUsernamePasswordDatabaseDontUse(root=b"secret")
        factories = [guard.BasicCredentialFactory(b"realm"), guard.DigestCredentialFactory(b"md5", b"realm")]
        talk = self.connect(guard.HTTPAuthSessionWrapper(Portal(Realm(), [checker]), factories))
        response = talk.request("GET", "/")
        self.assertEqual(response.status, 401)
        self.assertEqual(len(response.headers.getRawHeaders(b"WWW-Authenticate")), 2)
        authorization = "Basic " + base64.b64encode(b"root:secret").decode()
        response = talk.request("GET", "/", [("Authorization", authorization)])
        self.assertEqual((response.body, out), (b"hello root", [b"root"]))
        self.assertEqual(
            talk.request(
                "GET", "/", [("Authorization", "Basic " + base64.b64encode(b"root:x").decode())]
            ).status,
            401,
        )


class ReadyMadeStockTests(StockSite, ReadyMadeTests, SiteCase):
    """Twisted's Site"""


class ReadyMadeFastTests(FastSite, ReadyMadeTests, SiteCase):
    """Our Site"""
