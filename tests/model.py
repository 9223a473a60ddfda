"""A naive v2 store, written from the description of the API: nested dicts, changed in place.

It takes the same commands as `txetcd.commands.evaluate` and tells what comes of them as plain JSON data; the
real thing is compared with it.
"""

from __future__ import annotations

import copy
import datetime
from typing import Any

from txetcd.commands import (
    Command,
    CompareAndDelete,
    CompareAndSwap,
    Create,
    Delete,
    Expire,
    Set,
)

MESSAGES = {
    100: "Key not found",
    101: "Compare failed",
    102: "Not a file",
    104: "Not a directory",
    105: "Key already exists",
    107: "Root is read only",
    108: "Directory not empty",
}

Json = dict[str, Any]


class Refusal(Exception):
    """An errorCode and a cause."""


def shown(text: str) -> str:
    """Text as a JSON reader gets it: bytes that are no UTF-8 have been replaced."""
    return "".join("\ufffd" if "\udc80" <= char <= "\udcff" else char for char in text)


def shown_time(time: int) -> str:
    """A time, in nanoseconds, as etcd prints it."""
    seconds, fraction = divmod(time, 10**9)
    text = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S")
    digits = str(fraction).zfill(9).rstrip("0")
    return text + ("." + digits if digits else "") + "Z"


def show(key: str, node: Json, time: int, depth: int = 0) -> Json:
    """A node as JSON data, with its visible children down to `depth`."""
    answer: Json = {}
    if key != "/":
        answer["key"] = shown(key)
    if "nodes" in node:
        answer["dir"] = True
    else:
        answer["value"] = shown(node["value"])
    if node["expiration"] is not None:
        answer["expiration"] = shown_time(node["expiration"])
        left = node["expiration"] - time
        if left > 0:
            answer["ttl"] = (left + 10**9 - 1) // 10**9
    if depth and "nodes" in node:
        names = sorted(name for name in node["nodes"] if name[0] != "_")
        children = [
            show(key.rstrip("/") + "/" + name, node["nodes"][name], time, depth - 1) for name in names
        ]
        if children:
            answer["nodes"] = children
    if key != "/":
        answer["modifiedIndex"], answer["createdIndex"] = node["modified"], node["created"]
    return answer


class Model:
    """The store.

    @ivar index: as X-Etcd-Index tells it.
    @ivar refreshed: whether the last event is one that no watch is told of.
    """

    def __init__(self) -> None:
        self.root: Json = {"nodes": {}, "expiration": None, "created": 0, "modified": 0}
        self.index = 1
        self.refreshed = False

    def do(self, command: Command) -> list[Json] | Json:
        """Do what a command says: its events, or the error."""
        self.refreshed = False
        kept, index = copy.deepcopy(self.root), self.index
        try:
            if isinstance(command, Expire):
                return self._expire(command)
            self.index += 1
            return [self._do(command)]
        except Refusal as refusal:
            self.root, self.index = kept, index
            code, cause = refusal.args
            error = {"errorCode": code, "message": MESSAGES[code], "cause": shown(cause), "index": index}
            if not cause:
                del error["cause"]
            return error

    def look(self, key: str) -> Json:
        """The node at a key."""
        node, path = self.root, ""
        for name in key.split("/")[1:]:
            if not name:
                break
            if "nodes" not in node:
                raise Refusal(104, path)
            path += "/" + name
            if name not in node["nodes"]:
                raise Refusal(100, path)
            node = node["nodes"][name]
        return node

    def _holder(self, key: str) -> tuple[Json, str]:
        """The directory of a key, made if need be, and the name in it."""
        *names, last = key.split("/")[1:]
        node, path = self.root, ""
        for name in names:
            if "nodes" not in node:
                break
            path += "/" + name
            fresh: Json = {"nodes": {}, "expiration": None, "created": self.index, "modified": self.index}
            node = node["nodes"].setdefault(name, fresh)
        if "nodes" not in node:
            raise Refusal(104, path)
        return node["nodes"], last

    def _remove(self, key: str) -> None:
        nodes, name = self._holder(key)
        del nodes[name]

    def _event(self, command: Command, key: str, node: Json | None, prev: Json | None) -> Json:
        if node is not None:
            about = show(key, node, command.time)
            about["modifiedIndex"] = self.index
        else:
            assert prev is not None
            about = {"key": shown(key), "modifiedIndex": self.index, "createdIndex": prev["created"]}
            if "nodes" in prev:
                about["dir"] = True
        event: Json = {"action": command.name, "node": about}
        if prev is not None:
            event["prevNode"] = show(key, prev, command.time)
        return event

    def _do(self, command: Command) -> Json:
        assert not isinstance(command, Expire)
        if command.key == "/" and isinstance(command, CompareAndDelete):
            raise Refusal(102, "")
        if command.key == "/" and not (isinstance(command, Create) and command.in_order):
            raise Refusal(107, "/")
        if isinstance(command, (Set, Create)):
            return self._make(command)
        prev = self.look(command.key)
        before = dict(prev)
        if isinstance(command, (CompareAndSwap, CompareAndDelete)):
            self._compare(command, prev)
        if isinstance(command, (Delete, CompareAndDelete)):
            if isinstance(command, Delete) and "nodes" in prev:
                if not command.dir and not command.recursive:
                    raise Refusal(102, command.key)
                if prev["nodes"] and not command.recursive:
                    raise Refusal(108, command.key)
            self._remove(command.key)
            return self._event(command, command.key, None, before)
        if "nodes" not in prev:
            if not command.refresh:
                prev["value"] = command.value
            prev["modified"] = self.index
        elif command.value:
            raise Refusal(102, command.key)
        prev["expiration"] = command.expiration
        self.refreshed = command.refresh
        return self._event(command, command.key, prev, before)

    def _make(self, command: Set | Create) -> Json:
        key = command.key
        if isinstance(command, Create) and command.in_order:
            key = key.rstrip("/") + "/" + str(self.index).zfill(20)
        value = command.value
        if isinstance(command, Set) and command.refresh:
            value = self.look(key).get("value", "")
            self.refreshed = True
        nodes, name = self._holder(key)
        prev = nodes.get(name)
        if prev is not None and isinstance(command, Create):
            raise Refusal(105, key)
        if prev is not None and "nodes" in prev:
            raise Refusal(102, key)
        content: Json = {"nodes": {}} if command.dir else {"value": value}
        nodes[name] = {
            **content,
            "expiration": command.expiration,
            "created": self.index,
            "modified": self.index,
        }
        return self._event(command, key, nodes[name], prev)

    def _compare(self, command: CompareAndSwap | CompareAndDelete, node: Json) -> None:
        if "nodes" in node:
            raise Refusal(102, command.key)
        failed = []
        if command.prev_value and command.prev_value != node["value"]:
            failed.append(f"[{command.prev_value} != {node['value']}]")
        if command.prev_index and command.prev_index != node["modified"]:
            failed.append(f"[{command.prev_index} != {node['modified']}]")
        if failed:
            raise Refusal(101, " ".join(failed))

    def _expire(self, command: Expire) -> list[Json]:
        events = []
        for key in command.keys:
            try:
                node = self.look(key)
            except Refusal:
                continue
            if node["expiration"] is not None and node["expiration"] <= command.time:
                self.index += 1
                self._remove(key)
                events.append(self._event(command, key, None, node))
        return events
