"""What a resource learns from a request, under `txetcd.site.Site` as under `twisted.web.server.Site`."""

from __future__ import annotations

import base64
from typing import Any

from twisted.cred.portal import IRealm
from twisted.web.resource import Resource

from tests.http_harness import Response
from tests.site_cases import FORM, Answers, FastSite, SiteCase, StockSite


class RequestTests:
    """What a resource learns from the request."""

    ask: Any
    connect: Any
    response: Response
    assertEqual: Any
    assertIsNone: Any
    assertTrue: Any
    assertFalse: Any

    def test_line(self) -> None:
        seen = self.ask(lambda r: (r.method, r.uri, r.path, r.clientproto), "GET", "/a%20b/c?d=e")
        self.assertEqual(seen, (b"GET", b"/a%20b/c?d=e", b"/a%20b/c", b"HTTP/1.1"))

    def test_query_arguments(self) -> None:
        self.assertEqual(
            self.ask(lambda r: r.args, "GET", "/?a=1&a=2&b=&c=%20x+y&d"),
            {b"a": [b"1", b"2"], b"b": [b""], b"c": [b" x y"]},
        )

    def test_form_replaces_query(self) -> None:
        seen = self.ask(lambda r: r.args, "POST", "/?a=1&b=2", FORM, b"b=3&c=4")
        self.assertEqual(seen, {b"a": [b"1"], b"b": [b"3"], b"c": [b"4"]})

    def test_form_content_type_with_parameter(self) -> None:
        headers = [("Content-Type", "Application/X-WWW-Form-Urlencoded; charset=utf-8")]
        self.assertEqual(self.ask(lambda r: r.args, "POST", "/", headers, b"b=3"), {b"b": [b"3"]})

    def test_multipart_form(self) -> None:
        body = (
            b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--x\r\n'
            b'Content-Disposition: form-data; name="b"; filename="f"\r\nContent-Type: image/png\r\n\r\n'
            b"\x00\xff\r\n--x--\r\n"
        )
        seen = self.ask(
            lambda r: r.args, "POST", "/?q=1", [("Content-Type", "multipart/form-data; boundary=x")], body
        )
        self.assertEqual(seen, {b"q": [b"1"], b"a": [b"1"], b"b": [b"\x00\xff"]})

    def test_other_bodies_are_not_arguments(self) -> None:
        headers = [("Content-Type", "application/json")]
        self.assertEqual(self.ask(lambda r: r.args, "POST", "/?a=1", headers, b"b=3"), {b"a": [b"1"]})

    def test_content(self) -> None:
        self.assertEqual(self.ask(lambda r: r.content.read(), "POST", "/", FORM, b"b=3"), b"b=3")

    def test_no_content(self) -> None:
        self.assertEqual(self.ask(lambda r: r.content.read()), b"")

    def test_headers(self) -> None:
        headers = [("X-One", "1"), ("x-one", "2"), ("X-Two", "3")]
        seen = self.ask(
            lambda r: (
                r.getHeader(b"X-One"),
                r.getHeader("x-one"),
                r.requestHeaders.getRawHeaders(b"x-oNe"),
                r.getHeader(b"x-one"),
                r.getHeader("absent"),
                r.getHeader(b"absent"),
                r.getAllHeaders(),
            ),
            headers=headers,
        )
        everything = {b"host": b"127.0.0.1:4001", b"x-one": b"2", b"x-two": b"3"}
        self.assertEqual(seen, (b"2", "2", [b"1", b"2"], b"2", None, None, everything))

    def test_segments(self) -> None:
        root, child = Resource(), Answers(lambda r: b"%r %r" % (r.prepath, r.postpath))
        root.putChild(b"a b", child)
        self.assertEqual(
            self.connect(root).request("GET", "/a%20b/c%2Fd//e").body, b"[b'a b'] [b'c/d', b'', b'e']"
        )

    def test_addresses(self) -> None:
        seen = self.ask(lambda r: (r.getClientAddress().host, r.getHost().port, r.isSecure()))
        self.assertEqual(seen, ("192.0.2.1", 4001, False))

    def test_set_host(self) -> None:
        def behind_proxy(request: Any) -> Any:
            request.setHost(b"example.org", 443, ssl=1)
            return request.isSecure(), request.getHeader(b"host"), request.prePathURL()

        self.assertEqual(self.ask(behind_proxy), (True, b"example.org", b"https://example.org/"))

    def test_urls(self) -> None:
        def urls(request: Any) -> Any:
            request.rememberRootURL()
            return (
                request.prePathURL(),
                str(request.URLPath()),
                request.getRootURL(),
                request.childLink(b"x"),
                request.sibLink(b"x"),
                request.getRequestHostname(),
            )

        self.assertEqual(
            self.ask(urls, "GET", "/a/b"),
            (
                b"http://127.0.0.1:4001/",
                "http://127.0.0.1:4001/",
                b"http://127.0.0.1:4001/",
                b"../x",
                b"../../x",
                b"127.0.0.1",
            ),
        )

    def test_basic_authentication(self) -> None:
        headers = [("Authorization", "Basic " + base64.b64encode(b"root:secret").decode())]
        self.assertEqual(
            self.ask(lambda r: (r.getUser(), r.getPassword()), headers=headers), (b"root", b"secret")
        )

    def test_cookies_received(self) -> None:
        headers = [("Cookie", "a=1; b=2")]
        seen = self.ask(lambda r: (r.getCookie(b"a"), r.getCookie(b"c"), r.received_cookies), headers=headers)
        self.assertEqual(seen, (b"1", None, {b"a": b"1", b"b": b"2"}))

    def test_components(self) -> None:
        def components(request: Any) -> Any:
            request.setComponent(IRealm, "realm")
            return request.getComponent(IRealm)

        self.assertEqual(self.ask(components), "realm")


class RequestStockTests(StockSite, RequestTests, SiteCase):
    """Twisted's Site"""


class RequestFastTests(FastSite, RequestTests, SiteCase):
    """Our Site"""
