"""Sequences of requests, made up from a seed.

The key space is small, so that files, directories, hidden keys, TTLs and conditions often meet.  Whatever
txetcd answers otherwise on purpose, and cannot be told apart afterwards, is not asked for: paths that etcd
redirects or txetcd refuses, bodies that are no form, TTLs too large for a date.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TypeVar

from tests.differential import words
from tests.reference.conversation import FORM, KEYS, Request, Step

Item = TypeVar("Item")


class Generator:
    """Makes sequences of steps; the same for the same seed.

    In a target or body, C{{index-3}} stands for the store's index of that moment less 3, and C{{index:020d}}
    for the name of an in-order key.
    """

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        self._ttls: tuple[str, ...] = words.TTLS
        self._recent: list[str] = []
        self._fillings: dict[str, Callable[[], str]] = {
            "{value}": self._value,
            "{ttl}": self._ttl,
            "{near}": self._near,
            "{soon}": self._soon,
            "{past}": self._past,
        }

    def sequence(self, length: int = 100) -> list[Step]:
        """A sequence in which nothing expires."""
        self._ttls = words.TTLS
        return [self._request() for _ in range(length)]

    def expiring(self, length: int = 100) -> list[Step]:
        """A sequence in which keys expire; it takes some seconds."""
        steps: list[Step] = []
        for _ in range(2):
            self._ttls = words.SHORT_TTLS
            steps += [self._request() for _ in range(length // 2)]
            if self._chance(0.5):
                # Nothing may come between this and the pause, for then the order would be open.
                self._ttls = ("0",)
                steps.append(self._written("ttl={ttl}"))
            steps.append(words.UNTIL_EXPIRED)
        self._ttls = words.TTLS
        return [*steps, *(self._request() for _ in range(length // 3))]

    # Requests

    def _request(self) -> Request:
        return self._pick(
            (26, self._put),
            (8, self._follow_up),
            (5, self._post),
            (9, self._delete),
            (14, self._get),
            (3, self._head),
            (8, self._watch),
            (6, self._look_back),
            (1, self._other),
        )()

    def _put(self) -> Request:
        return self._written(
            self._pick(
                (6, "value={value}"),
                (3, "value={value}&ttl={ttl}"),
                (3, "dir=true"),
                (1, "dir=true&ttl={ttl}"),
                (3, "prevExist=false&value={value}"),
                (1, "prevExist=false&dir=true&ttl={ttl}"),
                (3, "prevExist=true&value={value}"),
                (2, "prevExist=true&value={value}&ttl={ttl}"),
                (1, "prevExist=true"),
                (2, "prevExist=true&ttl={ttl}"),
                (3, "prevValue={value}&value={value}"),
                (3, "prevIndex={near}&value={value}"),
                (1, "prevIndex={near}&prevValue={value}&value={value}&ttl={ttl}"),
                (1, "prevExist=true&prevIndex={near}&value={value}"),
                (1, "prevExist=true&prevValue={value}&dir=true"),
                (2, "refresh=true&ttl={ttl}"),
                (2, "refresh=true&ttl={ttl}&prevExist=true"),
                (1, "refresh=true&ttl={ttl}&prevValue={value}"),
                (1, "refresh=true&ttl={ttl}&prevIndex={near}"),
                (1, "refresh=true&ttl={ttl}&prevExist=false"),
                (1, "refresh=true&ttl={ttl}&dir=true"),
                (1, "refresh=true&ttl={ttl}&value={value}"),
                (1, "refresh=true"),
                (1, ""),
            )
        )

    def _follow_up(self) -> Request:
        """A condition that is likely to hold, as the path is that of the last request."""
        arguments = self._pick(
            (3, "prevIndex={index}&value={value}"),
            (3, "prevValue={value}&value={value}"),
            (1, "prevIndex={index}&prevValue={value}&value={value}&ttl={ttl}"),
            (2, "refresh=true&ttl={ttl}&prevValue={value}"),
            (2, "refresh=true&ttl={ttl}&prevIndex={index}"),
            (1, "prevExist=true&value={value}"),
        )
        path = self._recent[-1] if self._recent else self._path()
        if self._chance(0.3):
            return self._asked("DELETE", self._pick((1, "prevIndex={index}"), (1, "prevValue={value}")), path)
        return self._written(arguments, path=path)

    def _post(self) -> Request:
        arguments = self._pick((4, "value={value}"), (1, "dir=true"), (1, "value={value}&ttl={ttl}"), (1, ""))
        return self._written(arguments, "POST")

    def _delete(self) -> Request:
        arguments = self._pick(
            (3, ""),
            (3, "dir=true"),
            (2, "recursive=true"),
            (1, "dir=true&recursive=true"),
            (2, "prevValue={value}"),
            (2, "prevIndex={near}"),
            (1, "prevIndex={near}&prevValue={value}"),
            (1, "recursive=true&prevIndex={near}"),
        )
        return self._asked("DELETE", arguments)

    def _get(self) -> Request:
        arguments = self._pick(
            (3, ""),
            (3, "recursive=true&sorted=true"),
            (2, "recursive=true"),
            (2, "sorted=true"),
            (1, "quorum=true"),
            (1, "quorum=true&recursive=true&sorted=true"),
            (1, "wait=true&quorum=true"),
            (1, "stream=true"),
        )
        return self._asked("GET", arguments)

    def _head(self) -> Request:
        return self._asked("HEAD", self._pick((3, ""), (1, "recursive=true&sorted=true"), (1, "wait=true")))

    def _watch(self) -> Request:
        arguments = self._pick(
            (3, "wait=true"),
            (3, "wait=true&recursive=true"),
            (3, "wait=true&stream=true"),
            (3, "wait=true&recursive=true&stream=true"),
            (1, "wait=true&recursive=true&waitIndex=0"),
            (1, "wait=true&waitIndex={soon}&recursive=true"),
            (1, "wait=true&waitIndex={soon}&stream=true"),
        )
        return self._asked("GET", arguments)

    def _look_back(self) -> Request:
        arguments = self._pick(
            (4, "wait=true&waitIndex={past}"),
            (4, "wait=true&recursive=true&waitIndex={past}"),
            (1, "wait=true&stream=true&waitIndex={past}"),
            (1, "wait=true&stream=true&recursive=true&waitIndex={past}"),
        )
        return self._asked("GET", arguments)

    def _other(self) -> Request:
        if self._chance(0.2):
            method = self._random.choice(("GET", "PUT", "HEAD", "OPTIONS"))
            return Request(method, self._random.choice(words.OTHER_PATHS))
        return self._asked(self._random.choice(words.OTHER_METHODS), "value=x")

    # Parts of requests

    def _asked(self, method: str, arguments: str, path: str | None = None) -> Request:
        """A request without a form; a body that comes all the same is not looked at."""
        headers: tuple[tuple[str, str], ...] = ()
        body = None
        if method == "DELETE" and self._chance(0.05):
            headers = (("Content-Type", self._random.choice((FORM, "text/plain", "bad type"))),)
            body = self._random.choice(("prevValue=nomatch", "recursive=bad", "%zz", ""))
        return Request(method, self._target(self._noisy(self._filled(arguments)), path), headers, body)

    def _written(self, arguments: str, method: str = "PUT", path: str | None = None) -> Request:
        """A PUT or POST with its arguments in the query, in a form, or in both."""
        if self._ttls is words.SHORT_TTLS and self._chance(0.5):
            arguments += "&ttl={ttl}"
        pairs = self._noisy(self._filled(arguments))
        how = self._random.random()
        if how < 0.4:
            return Request(method, self._target(pairs, path), *self._no_form())
        query: list[str] = []
        if how < 0.6:
            cut = self._random.randint(0, len(pairs))
            query, pairs = pairs[:cut], pairs[cut:]
        if how < 0.45:
            query.append(self._random.choice(words.HARMLESS))
        kind = self._random.choice(words.MALFORMED_TYPES if self._chance(0.02) else words.FORM_TYPES)
        if self._chance(0.03):
            kind = f"{FORM};" + "".join(self._random.choices(words.TYPE_PARTS, k=self._random.randrange(9)))
        headers: tuple[tuple[str, str], ...] = (("Content-Type", kind),)
        body = "&".join(pairs)
        # A placeholder may become longer or shorter than it is, and a chunk must tell its length.
        if self._chance(0.1) and "{" not in body and body:
            size = len(body.encode("utf-8", "surrogateescape"))
            headers, body = (*headers, ("Transfer-Encoding", "chunked")), f"{size:x}\r\n{body}\r\n0\r\n\r\n"
        return Request(method, self._target(query, path), headers, body)

    def _no_form(self) -> tuple[tuple[tuple[str, str], ...], str | None]:
        if self._chance(0.05):
            kind = self._random.choice(("text/plain", "application/json", FORM, ""))
            return (("Content-Type", kind),), self._random.choice((None, ""))
        return (), None

    def _noisy(self, pairs: list[str]) -> list[str]:
        """The arguments, now and then with others that do not belong there, or in another order."""
        if self._chance(0.15):
            pairs.append(self._random.choice(words.HARMLESS))
        if self._chance(0.04):
            pairs.insert(self._random.randint(0, len(pairs)), self._random.choice(words.WRONG))
        if self._chance(0.1):
            self._random.shuffle(pairs)
        if pairs and self._chance(0.03):
            place = self._random.randrange(len(pairs))
            pairs[place] = self._marked(pairs[place])
        if self._chance(0.04):
            pairs.append(f"noValueOnSuccess={self._random.choice(words.TRUE)}")
        return pairs

    def _marked(self, text: str) -> str:
        """The text with a character more, or one less; a ttl as it is, for it might become too large."""
        if text.startswith("ttl="):
            return text
        place = self._random.randint(0, len(text))
        if self._chance(0.5):
            return text[:place] + text[place + 1 :]
        return text[:place] + self._random.choice(words.MARKS) + text[place:]

    def _filled(self, arguments: str) -> list[str]:
        """The arguments of a template, one by one."""
        pairs = []
        for pair in arguments.strip("&").split("&") if arguments else ():
            name, _, value = pair.partition("=")
            if value == "true" and self._chance(0.1):
                value = self._random.choice((*words.TRUE, *words.FALSE))
            fill = self._fillings.get(value)
            pairs.append(f"{name}={fill() if fill else value}")
        return pairs

    def _value(self) -> str:
        return self._random.choice(words.ODD_VALUES if self._chance(0.12) else words.VALUES)

    def _ttl(self) -> str:
        return self._random.choice(self._ttls)

    def _near(self) -> str:
        """An index at which something may have been written lately."""
        return f"{{index-{min(self._random.randrange(8), self._random.randrange(30))}}}"

    def _soon(self) -> str:
        return f"{{index+{self._random.randint(1, 4)}}}"

    def _past(self) -> str:
        if self._chance(0.03):
            return f"{{index-{self._random.choice((0, 998, 999, 1000, 1001))}}}"
        return f"{{index-{self._random.randrange(30)}}}"

    def _target(self, pairs: list[str], path: str | None = None) -> str:
        path = self._path() if path is None else path
        return KEYS + path + ("?" + "&".join(pairs) if pairs or self._chance(0.02) else "")

    def _path(self) -> str:
        """A path: of late, near one of late, or any."""
        if self._chance(0.03):
            return self._random.choice(("", "/"))
        path = ""
        if self._recent and self._chance(0.6):
            path = self._random.choice(self._recent)
            near = self._random.random()
            if near < 0.15:
                path = path.rpartition("/")[0] or path
            elif near < 0.3:
                path += "/" + self._name()
        else:
            for _ in range(self._pick((9, 1), (7, 2), (3, 3), (1, 4))):
                path += "%2F" if path and self._chance(0.02) else "/"
                path += self._name()
        self._recent = [*self._recent[-3:], path]
        return path + ("/" if self._chance(0.03) else "")

    def _name(self) -> str:
        if self._chance(0.04):
            return f"{{index{self._random.randint(-5, 3):+}:020d}}"
        return self._random.choice(words.ODD_NAMES if self._chance(0.04) else words.NAMES)

    # Chance

    def _chance(self, probability: float) -> bool:
        return self._random.random() < probability

    def _pick(self, *weighted: tuple[int, Item]) -> Item:
        return self._random.choices([item for _, item in weighted], [weight for weight, _ in weighted])[0]
