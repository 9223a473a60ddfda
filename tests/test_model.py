"""The core as a whole, tried with random histories: against the naive model, and against itself."""

from __future__ import annotations

import json

from hypothesis import given
from twisted.trial.unittest import SynchronousTestCase

from tests.model import Json, Model, show
from tests.properties import Step, do, histories, play, properties, rows
from txetcd.auth_commands import AuthCommand
from txetcd.commands import decode, encode
from txetcd.errors import EtcdError
from txetcd.events import Event
from txetcd.tree import EMPTY, Dir, Tree, build, listing_json, to_entry

Plain = dict[str, tuple[str | None, int, int, int | None]]


def plain(tree: Tree) -> Plain:
    """All that a tree holds, hidden nodes too: value (None for a directory), indices, expiration."""
    return {
        node.key: (
            None if isinstance(node, Dir) else node.value,
            node.created,
            node.modified,
            node.expiration,
        )
        for node in rows(tree).values()
    }


def plain_model(key: str, directory: Json) -> Plain:
    """The same of what is in a directory of the model."""
    found: Plain = {}
    for name, node in directory["nodes"].items():
        found[f"{key}/{name}"] = node.get("value"), node["created"], node["modified"], node["expiration"]
        if "nodes" in node:
            found |= plain_model(f"{key}/{name}", node)
    return found


def listing(tree: Tree, time: int) -> str:
    """Everything visible, as text."""
    return "".join(listing_json(tree.root, time, True))


class ModelTests(SynchronousTestCase):
    @properties
    @given(histories)
    def test_same_as_model(self, history: list[Step]) -> None:
        """Events, errors, indices and content are the model's after each command."""
        model = Model()
        for number, moment in enumerate(play(history), 1):
            expected = model.do(moment.command)
            outcome = moment.outcome
            if isinstance(outcome, EtcdError):
                self.assertEqual(json.loads(outcome.to_json()), expected)
            else:
                self.assertEqual([json.loads(event.to_json()) for event in outcome], expected)
                self.assertEqual([event.refresh for event in outcome], [model.refreshed] * len(outcome))
            self.assertEqual((moment.after.index, moment.after.raft_index), (model.index, number))
            self.assertEqual(plain(moment.after), plain_model("", model.root))
            time = moment.command.time
            self.assertEqual(json.loads(listing(moment.after, time)), show("/", model.root, time, 99))

    @properties
    @given(histories)
    def test_every_index_has_its_event(self, history: list[Step]) -> None:
        moments = play(history)
        events = [event for moment in moments for event in moment.events]
        self.assertEqual([event.index for event in events], list(range(2, moments[-1].after.index + 1)))

    @properties
    @given(histories)
    def test_trees_never_change(self, history: list[Step]) -> None:
        """Whoever holds an old tree finds it as it was, whatever came after."""
        kept = []
        tree = EMPTY
        for moment in play(history):
            # Evaluated again here, so that each tree is looked at before and after the next command.
            tree = do(tree, moment.command).after
            kept.append((tree, listing(tree, 0), plain(tree), tree.index))
        for tree, text, content, index in kept:
            self.assertEqual((listing(tree, 0), plain(tree), tree.index), (text, content, index))

    @properties
    @given(histories)
    def test_replay(self, history: list[Step]) -> None:
        """Commands from a journal make the same trees, events and errors as they did at first."""
        moments = play(history)
        commands = [moment.command for moment in moments]
        replayed = decode(encode(commands))
        self.assertEqual(replayed, commands)
        tree = EMPTY
        for moment, command in zip(moments, replayed, strict=True):
            assert not isinstance(command, AuthCommand)
            again = do(tree, command)
            self.assertEqual((again.outcome, again.after), (moment.outcome, moment.after))
            tree = again.after

    @properties
    @given(histories)
    def test_events_survive_a_journal(self, history: list[Step]) -> None:
        for moment in play(history):
            for event in moment.events:
                again = Event.decode(event.encode())
                self.assertEqual(again, event)
                self.assertEqual(again.to_json(), event.to_json())

    @properties
    @given(histories)
    def test_build(self, history: list[Step]) -> None:
        """A tree can be made again of its nodes."""
        tree = play(history)[-1].after
        self.assertEqual(build(map(to_entry, rows(tree).values()), tree.index, tree.raft_index), tree)
