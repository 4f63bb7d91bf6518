"""An exhaustive search: every sequence of actions on simulated processes up to a length, breadth first.

    python -m tests.lease_model.search --actions 9 --faults 2

Processes cannot be copied, so a state is reached by carrying out its actions again from the start. Two sequences lead
to one state if Milvus, the messages, and the tasks of all processes with their variables and timers are the same.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field

from tests.lease_model.install import Current, simulated
from tests.lease_model.state import state_of
from tests.lease_model.world import World

from roost.tasks.errors import ClockError

#: Seconds between two renewals, and two looks of a wait; longer than usual, so that few actions lead far.
INTERVAL_S = 60.0
#: Seconds that pass in one action; after the longer one a lease that was not renewed has expired.
STEPS_S = (INTERVAL_S, 3 * INTERVAL_S)
_FAULTS = {"lose", "pause", "kill"}

Action = tuple[str, int]
#: After this the first process has the lease, and the second one wants it.
OWNED: tuple[Action, ...] = (("pass", 0), ("start", 1))
#: After this the first process has the lease, a worker has joined it, and a third process wants it.
JOINED: tuple[Action, ...] = (("pass", 0), ("start", 1), ("deliver", 1), ("start", 2))


@dataclass(frozen=True)
class Bounds:
    """How far the search goes.

    actions: Most actions in one sequence.
    faults: Most of them that are faults: a message or its answer lost, a process suspended or killed.
    hosts: The machine of each process, in the order in which they start.
    first: What is done before, and is not counted.
    joined: Whether the second process is a worker that joins the lease of the first.
    """

    actions: int
    faults: int
    hosts: tuple[str, ...] = ("a", "b")
    first: tuple[Action, ...] = ()
    joined: bool = False


@dataclass
class Found:
    """What the search saw: states, and how they were reached; the first sequence that breaks a rule."""

    states: int = 0
    transitions: int = 0
    grants: int = 0
    writes: int = 0
    kinds: dict[str, int] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    path: tuple[Action, ...] = ()


def search(bounds: Bounds) -> Found:
    """Carry out every sequence of actions within the bounds; stop at the first one that breaks a rule."""
    found, seen, level = Found(), set[int](), [()]
    with simulated(interval_s=INTERVAL_S) as current:
        for _ in range(bounds.actions):
            following: list[tuple[Action, ...]] = []
            for actions in level:
                for action in _possible(_reach(current, bounds, actions), bounds, actions):
                    path = (*actions, action)
                    world = _reach(current, bounds, path)
                    found.transitions += 1
                    found.kinds[action[0]] = found.kinds.get(action[0], 0) + 1
                    if wrong := broken_rules(world):
                        found.wrong, found.path = wrong, path
                        world.close()
                        return found
                    state = hash((state_of(world), _faults(path)))
                    if state not in seen:
                        seen.add(state)
                        found.grants += len(world.rights.grants)
                        found.writes += len(world.rights.written)
                        following.append(path)
            level = following
        current.world.close()
    found.states = len(seen)
    return found


def broken_rules(world: World) -> list[str]:
    """What the model does not allow: a write without a right to it, or a refusal because of clocks that agree."""
    clocks = [str(process.error) for process in world.processes if isinstance(process.error, ClockError)]
    problems = [str(problem) for process in world.processes for problem in process.loop.problems]
    return world.rights.wrongly_written + clocks + problems


def carry_out(world: World, action: Action, bounds: Bounds) -> None:
    """Do one action."""
    name, number = action
    if name == "start":
        is_worker = bounds.joined and number == 1
        part = {"parent": world.processes[0], "joins": True} if is_worker else {"is_joined": bounds.joined}
        world.start(bounds.hosts[number], **part)
    elif name == "pass":
        world.pass_time(STEPS_S[number], deliver=True)
    elif name in ("apply", "deliver", "lose"):
        getattr(world, name)(world.messages[number])
    elif name in ("write", "finish"):
        process = world.processes[number]
        world.command(process, getattr(process, name))
    else:
        getattr(world, name)(world.processes[number])


def _reach(current: Current, bounds: Bounds, actions: tuple[Action, ...]) -> World:
    current.world.close()
    world = current.world = World()
    for action in (("start", 0), *bounds.first, *actions):
        carry_out(world, action, bounds)
    return world


def _possible(world: World, bounds: Bounds, actions: tuple[Action, ...]) -> list[Action]:
    allowed = list(_all_possible(world, bounds))
    return [action for action in allowed if action[0] not in _FAULTS or _faults(actions) < bounds.faults]


def _faults(actions: tuple[Action, ...]) -> int:
    return sum(action[0] in _FAULTS for action in actions)


def _all_possible(world: World, bounds: Bounds) -> Iterator[Action]:
    if len(world.processes) < len(bounds.hosts) and (not bounds.joined or world.processes[0].lease_key):
        yield "start", len(world.processes)
    for number, message in enumerate(world.messages):
        if message.to_apply:
            yield "apply", number
        if message.to_answer:
            yield "deliver", number
            yield "lose", number
    for number, process in enumerate(world.processes):
        if process.may_write:
            yield "write", number
        if process.may_finish:
            yield "finish", number
        if process.is_awake:
            yield "pause", number
            if bounds.hosts.count(process.host) > 1:  # elsewhere it cannot be told from one that is suspended for ever
                yield "kill", number
        elif process.is_suspended:
            yield "resume", number
    for number in range(len(STEPS_S)):
        yield "pass", number


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--actions", type=int, default=9)
    parser.add_argument("--faults", type=int, default=2)
    parser.add_argument("--hosts", default="ab", help="the machine of each process: ab, aa, aba")
    parser.add_argument("--owned", action="store_true", help="begin when one has the lease and another wants it")
    parser.add_argument(
        "--joined", action="store_true", help="the second one joins the lease of the first: with --owned"
    )
    options = parser.parse_args()
    started = time.process_time()
    first = (JOINED if options.joined else OWNED) if options.owned else ()
    bounds = Bounds(options.actions, options.faults, tuple(options.hosts), first, options.joined)
    found = search(bounds)
    print(json.dumps(asdict(found) | asdict(bounds) | {"cpu_s": round(time.process_time() - started, 1)}))


if __name__ == "__main__":
    main()
