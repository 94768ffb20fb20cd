"""Politeness holds whatever hosts do: limits, fairness, pauses, and nothing is ever lost or started twice."""

from __future__ import annotations

import random
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from mastomend.remote.admission import Admission, Host, Politeness
from mastomend.remote.asking import Failure, NotFetched

HOST = Host("host.example")
DOWN = NotFetched(Failure.CONNECT, "refused")


def pause_of(seconds: float) -> NotFetched:
    return NotFetched(Failure.RATE_LIMITED, "HTTP 429", seconds)


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
        admission.submit(Host(f"h{n}"), number, 0.0)
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
        returned.update(number for _, number, _ in admission.returned())
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
                    given_up = admission.given_up(host, now)  # by another request that was under way
                    pause = admission.failed(host, now, DOWN)
                    assert pause >= 0.5 and (given_up or pause <= 4.0), "exponential, jittered"
                    left_alone[host] = max(left_alone.get(host, 0.0), now + pause)
                case "pause":
                    assert admission.failed(host, now, pause_of(3.0)) == 3.0
                    left_alone[host] = max(left_alone.get(host, 0.0), now + 3.0)
                case "long":
                    admission.failed(host, now, pause_of(3600.0))
                    assert admission.given_up(host, now), "an hour is not waited for"
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
        admission.submit(Host("big"), f"big{n}", 0.0)
    for n in range(20):
        admission.submit(Host(f"small{n}"), f"small{n}", 0.0)
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


def test_a_given_up_host_takes_nothing_more_until_its_time_has_come() -> None:
    admission: Admission[int] = Admission(Politeness(give_up_after=2, give_up_s=60.0, backoff_s=1.0), random.Random(1))
    for number in (1, 2):
        admission.submit(HOST, number, 0.0)
        assert admission.admit(10.0 * number) == (HOST, number)
        admission.failed(HOST, 10.0 * number, DOWN)
    assert admission.given_up(HOST, 20.0)
    admission.submit(HOST, 3, 79.9)
    assert list(admission.returned()) == [(HOST, 3, DOWN)], "with what the host said last"
    assert admission.admit(1e9) is None
    admission.submit(HOST, 4, 80.0)
    assert admission.admit(80.0) == (HOST, 4)
    admission.failed(HOST, 81.0, DOWN)
    assert admission.given_up(HOST, 81.0), "it has one more try"
    admission.submit(HOST, 5, 200.0)
    assert admission.admit(200.0) == (HOST, 5)
    admission.succeeded(HOST)
    admission.submit(HOST, 6, 300.0)
    assert admission.admit(300.0) == (HOST, 6)
    admission.failed(HOST, 300.0, DOWN)
    assert not admission.given_up(HOST, 300.0), "it is well again, and has all its tries"


def test_a_pause_it_asks_for_is_the_one_it_gets() -> None:
    admission: Admission[int] = Admission(Politeness(give_up_s=60.0, max_wait_s=20.0), random.Random(1))
    admission.submit(HOST, 1, 0.0)
    assert admission.admit(0.0) is not None
    admission.failed(HOST, 0.0, pause_of(3600.0))
    assert admission.given_up(HOST, 3599.0) and not admission.given_up(HOST, 3600.0)


def test_nothing_grows_for_ever() -> None:
    """A service asks for years: hosts that are well are forgotten, one that was given up is not."""
    admission: Admission[int] = Admission(Politeness(give_up_after=1, give_up_s=1e6), random.Random(1))
    admission.submit(HOST, 0, 0.0)
    assert admission.admit(0.0) is not None
    admission.failed(HOST, 0.0, DOWN)
    for number in range(20_000):
        host, now = Host(f"h{number}.example"), float(number)
        admission.submit(host, number, now)
        assert admission.admit(now) == (host, number)
        admission.succeeded(host)
        assert admission.hosts <= 1_001
    assert admission.given_up(HOST, 20_000.0)


def test_what_somebody_waits_for_goes_first_in_the_order_in_which_it_came() -> None:
    admission: Admission[str] = Admission(Politeness(rate=0, per_host=1, concurrency=1), random.Random(1))
    for item in ("a", "b", "c", "d"):
        admission.submit(HOST, item, 0.0)
    admission.submit(HOST, "now", 0.0, urgent=True)
    admission.submit(HOST, "then", 0.0, urgent=True)
    admission.hurry(HOST, "c")
    admission.submit(HOST, "again", 0.0, first=True)
    assert admission.withdraw({"b", "x"}) == ["b"]
    order = []
    while (admitted := admission.admit(0.0)) is not None:
        order.append(admitted[1])
        admission.succeeded(HOST)
    assert order == ["now", "then", "c", "again", "a", "d"]
    assert admission.queued == 0


def test_good_news_ends_a_given_up_host_s_time() -> None:
    """Two were under way: one was refused, the other answered."""
    admission: Admission[int] = Admission(Politeness(give_up_after=1, per_host=2, rate=0), random.Random(1))
    for number in (1, 2):
        admission.submit(HOST, number, 0.0)
        assert admission.admit(0.0) is not None
    admission.failed(HOST, 0.0, DOWN)
    assert admission.given_up(HOST, 0.0)
    admission.succeeded(HOST)
    assert not admission.given_up(HOST, 0.0)


def test_nobody_is_left_alone_for_years() -> None:
    admission: Admission[int] = Admission(Politeness(), random.Random(1))
    admission.submit(HOST, 1, 0.0)
    assert admission.admit(0.0) is not None
    admission.failed(HOST, 0.0, pause_of(1e9))
    assert not admission.given_up(HOST, 24 * 3600.0)
