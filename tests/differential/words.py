"""What requests are made of: names, values, and arguments that are right, wrong or beside the point."""

from __future__ import annotations

from tests.reference.conversation import FORM, Pause

# Names as they are written in a URL; now and then an odd one.
NAMES = ("a", "a", "a", "b", "b", "ab", "_h")
ODD_NAMES = (
    *"%61 B a%20 + %2B a;b a:b@c,d a&b=c %3F %23x %25 %2561 a%2Fb ~ __ ... ..a .a a. a_h".split(),
    *"%0A %7F %C2%85 %E2%80%A8 %3Ca%3E%26 %22%5C [a]^|` %C3%BC %c3%bc %F0%9F%98%80 %FF %c3 %ED%A0%80".split(),
    *("\u00fc", "\u4f60", "\udcfe", "n" * 300),
)

VALUES = ("x", "x", "x", "y")
ODD_VALUES = (
    *'1 true %3Ca%20href%3D%22%22%3E%26 a+b %2B %00%01%1F %FF%FE %E2%80%A8 a=b "\\ %C3%28 a/b?c#d'.split(),
    *("", "", "\u00fc", "\udcff", "%F0%9F%98%80", "l" * 3000, "%0D%0A"),
)

TRUE = ("true", "true", "true", "1", "t", "T", "TRUE", "True")
FALSE = ("false", "0", "f", "F", "FALSE", "False")
TTLS = ("100", "100", "5000", "0300", "1000000000", "7000000000")

# TTLs and the pause after them are such that no key runs out near the moment at which somebody looks: etcd
# lets keys expire every half second.
SHORT_TTLS = ("1", "1", "3")
UNTIL_EXPIRED = Pause(2.2)

_BOOLEANS = "recursive sorted wait dir quorum stream noValueOnSuccess prevExist refresh".split()
_NUMBERS = "prevIndex waitIndex ttl".split()

WRONG = (
    *_BOOLEANS,
    *(f"{name}={value}" for name in _BOOLEANS for value in ("bad", "", "tRUE", "%20true", "2")),
    *(f"{name}={value}" for name in _NUMBERS for value in ("x", "-1", "%2B5", "1.5", "18446744073709551616")),
    *"prevIndex= waitIndex= waitIndex=0x1 prevIndex=1_0 prevValue= prevValue".split(),
    *"x=%zz %4g=x value=% a;b ; x=%zz&a;b".split(),
)
HARMLESS = (
    *"unheard=of x = & VALUE=x Recursive=bad consistent=true v%61lue=w value=x value=v&value=w".split(),
    *"ttl= ttl=100 prevIndex=0 waitIndex=0 prevIndex={index} waitIndex={index+1}".split(),
    *"prevIndex=18446744073709551615 prevValue=x prevExist=true prevExist=false wait=true wait=false".split(),
    *"dir=true quorum=true stream=true recursive=true sorted=true refresh=true noValueOnSuccess=true".split(),
    *"prevExist=true&prevExist=false recursive=true&recursive=bad sorted=false&sorted=true".split(),
)

FORM_TYPES = (
    *(FORM, FORM, FORM, FORM, "Application/X-WWW-Form-Urlencoded"),
    *(f"{FORM}; charset=utf-8", f'{FORM};a="b;c"'),
)
MALFORMED_TYPES = (
    *("bad type", ";", "application/", "a/b/c"),
    *(f"{FORM} x", f"{FORM}; foo", f"{FORM}; a=1; a=2"),
)
TYPE_PARTS = (" ", "\t", *'; ; a b = = " \\ charset utf-8 / * a*0= *1=x %20'.split())

# What is put between the characters of an argument.
MARKS = "%%%&&==;;++?#/\\\"'<>[]|^`~@:,$!*()\u00e9\udcff0a_-."

OTHER_METHODS = ("PATCH", "TRACE", "OPTIONS", "get", "Put", "NOPE", "PROPFIND")
OTHER_PATHS = ("/v2/keysx", "/v2", "/nope", "/v2/machines/", "/v1/keys/a", "/health/")
