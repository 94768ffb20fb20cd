"""Politeness holds whatever hosts do: limits, fairness, pauses, and nothing is ever lost or started twice."""

from __future__ import annotations

import random
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from mastomend.remote.admission import Admission, Host, Politeness

ANSWERS = st.sampled_from(["ok", "ok", "ok", "fail", "pause", "long"])


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 5), st.floats(0.01, 2.0), ANSWERS), min_size=1, max_size=120),
    st.integers(1, 3),
    st.integers(1, 8),
    st.sampled_from([0.0, 1.0, 2.0, 10.0]),
    st.integers(0, 2**32),
)
def test_limits_hold(
    items: list[tuple[int, float, str]], per_host: int, concurrency: int, rate: float, seed: int
) -> None:
    limits = Politeness(per_host, rate, concurrency, backoff_s=1.0, max_wait_s=10.0, give_up_after=3)
    admission: Admission[int] = Admission(limits, random.Random(seed))
    for number, (n, _, _) in enumerate(items):
        admission.submit(Host(f"h{n}"), number)
    now, running = 0.0, list[tuple[float, Host, int]]()  # (ends at, host, number)
    starts: dict[Host, list[float]] = {}
    left_alone: dict[Host, float] = {}
    seen: Counter[int] = Counter()
    returned: Counter[int] = Counter()
    while True:
        while (admitted := admission.admit(now)) is not None:
            host, number = admitted
            assert now >= left_alone.get(host, 0.0), "a host that asked for a pause gets it"
            seen[number] += 1
            starts.setdefault(host, []).append(now)
            running.append((now + items[number][1], host, number))
            assert len(running) == admission.in_flight <= concurrency
            assert Counter(h for _, h, _ in running)[host] <= per_host
        returned.update(number for _, number in admission.returned())
        next_at = admission.next_at()
        ends = min((end for end, _, _ in running), default=None)
        if ends is None and next_at is None:
            break
        now = max(now, min(t for t in (ends, next_at) if t is not None))
        for entry in [entry for entry in running if entry[0] <= now]:
            running.remove(entry)
            _, host, number = entry
            match items[number][2]:
                case "ok":
                    admission.succeeded(host)
                case "fail":
                    given_up = admission.given_up(host)  # by another request that was under way
                    pause = admission.failed(host, now)
                    assert pause >= 0.5 and (given_up or pause <= 4.0), "exponential, jittered"
                    left_alone[host] = max(left_alone.get(host, 0.0), now + pause)
                case "pause":
                    assert admission.failed(host, now, 3.0) == 3.0
                    left_alone[host] = max(left_alone.get(host, 0.0), now + 3.0)
                case "long":
                    admission.failed(host, now, 3600.0)
                    assert admission.given_up(host), "an hour is not waited for"
                    left_alone[host] = float("inf")
    assert set(seen) | set(returned) == set(range(len(items)))
    assert not set(seen) & set(returned)
    assert set(seen.values()) <= {1} and set(returned.values()) <= {1}
    assert admission.queued == 0
    if rate:
        for times in starts.values():
            assert all(b - a >= 1 / rate - 1e-9 for a, b in zip(times, times[1:], strict=False))


def test_a_big_slow_host_never_delays_the_others() -> None:
    limits = Politeness(per_host=2, rate=0, concurrency=4)
    admission: Admission[str] = Admission(limits, random.Random(1))
    for n in range(1000):
        admission.submit(Host("big"), f"big{n}")
    for n in range(20):
        admission.submit(Host(f"small{n}"), f"small{n}")
    now, running, order = 0.0, list[tuple[float, Host, str]](), list[str]()
    while len(order) < 20:
        while (admitted := admission.admit(now)) is not None:
            host, item = admitted
            running.append((now + (10.0 if host == "big" else 0.1), host, item))
        running.sort()
        now, host, item = running.pop(0)
        admission.succeeded(host)
        if host != "big":
            order.append(item)
    assert now <= 1.1, "twenty small hosts were done long before the first answer of the big one"


def test_a_given_up_host_takes_nothing_more() -> None:
    admission: Admission[int] = Admission(Politeness(give_up_after=1), random.Random(1))
    admission.submit(Host("h"), 1)
    assert admission.admit(0.0) == ("h", 1)
    admission.failed(Host("h"), 0.0)
    admission.submit(Host("h"), 2)
    assert list(admission.returned()) == [("h", 2)]
    assert admission.admit(1e9) is None
