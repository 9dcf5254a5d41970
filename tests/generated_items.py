"""What a good model would answer for each shipped topic, and ways to get it wrong."""

from __future__ import annotations

import copy
from typing import Any

_CPP = r"""#include <iostream>
int main() {
    long long n, x, best = 0, sum = 0;
    std::cin >> n;
    for (int i = 0; i < n; ++i) {
        std::cin >> x;
        sum = sum + x > 0 ? sum + x : 0;
        if (sum > best) best = sum;
    }
    std::cout << best << "\n";
}
"""
_RUST = r"""use std::future::Future;
use std::io::Read;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

struct Countdown(u32);

impl Future for Countdown {
    type Output = u32;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<u32> {
        if self.0 == 0 {
            return Poll::Ready(7);
        }
        self.0 -= 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

struct Idle;
impl Wake for Idle {
    fn wake(self: Arc<Self>) {}
}

fn main() {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).unwrap();
    let steps: u32 = text.trim().parse().unwrap();
    let waker = Waker::from(Arc::new(Idle));
    let mut cx = Context::from_waker(&waker);
    let mut future = Box::pin(Countdown(steps));
    let mut polls = 0;
    loop {
        polls += 1;
        if let Poll::Ready(value) = future.as_mut().poll(&mut cx) {
            println!("{} {}", polls, value);
            return;
        }
    }
}
"""
_GO = r"""package main

import (
	"fmt"
	"sync"
)

func main() {
	var n int
	fmt.Scan(&n)
	squares := make([]int, n)
	var group sync.WaitGroup
	for i := 0; i < n; i++ {
		group.Add(1)
		go func(i int) {
			defer group.Done()
			squares[i] = i * i
		}(i)
	}
	group.Wait()
	sum := 0
	for _, square := range squares {
		sum += square
	}
	fmt.Println(sum)
}
"""
_PYTHON = '''def clamp(value: int, low: int, high: int) -> int:
    """Return value, but not below low nor above high."""
    if low > high:
        raise ValueError("low is above high")
    return max(low, min(value, high))
'''
_PYTEST = """import pytest


def test_inside():
    assert clamp(5, 0, 10) == 5


def test_below():
    assert clamp(-3, 0, 10) == 0


def test_above():
    assert clamp(30, 0, 10) == 10


def test_boundaries():
    assert [clamp(n, 1, 3) for n in range(5)] == [1, 1, 2, 3, 3]


def test_empty_interval():
    with pytest.raises(ValueError):
        clamp(1, 5, 2)
"""


def _cases(*pairs: tuple[str, str]) -> list[dict[str, str]]:
    return [{"input": given, "expected": wanted} for given, wanted in pairs]


_GOOD: dict[str, dict[str, Any]] = {
    "cpp_algorithms": {
        "statement": "A baker notes the gain of each of n days. Print the largest sum of gains of "
        "consecutive days; no days at all sum up to 0. Input: n, then n integers.",
        "solution": _CPP,
        "tests": _cases(
            ("1\n5\n", "5\n"),
            ("3\n-1 -2 -3\n", "0\n"),
            ("5\n2 -1 2 -5 4\n", "4\n"),
            ("6\n1 2 3 -10 4 5\n", "9\n"),
            ("0\n", "0\n"),
        ),
    },
    "rust_async": {
        "statement": "A future is ready with 7 after it was polled n times without success. "
        "Poll it until it is ready; print how often it was polled and its value. Input: n.",
        "solution": _RUST,
        "tests": _cases(("0", "1 7"), ("1", "2 7"), ("5", "6 7"), ("100", "101 7")),
    },
    "go_concurrency": {
        "statement": "Let n goroutines each square its number, 0 to n - 1, and print the sum of "
        "the squares. Input: n.",
        "solution": _GO,
        "tests": _cases(("0\n", "0"), ("1\n", "0"), ("4\n", "14"), ("10\n", "285")),
    },
    "python_testing": {
        "statement": "Write clamp(value, low, high), which returns value but never less than low "
        "or more than high, and raises ValueError when low is above high.",
        "entry_point": "clamp",
        "solution": _PYTHON,
        "tests": _PYTEST,
    },
}


def good(topic: str) -> dict[str, Any]:
    """A whole and right answer."""
    return copy.deepcopy(_GOOD[topic])


def other(topic: str) -> dict[str, Any]:
    """The same with a statement that no other resembles, so that it is no duplicate."""
    words = "Quite another story, told by a lighthouse keeper on a windy night in late November."
    return good(topic) | {"statement": f"{words} {topic}"}


def wrong(topic: str) -> dict[str, Any]:
    """An answer whose solution fails its own tests."""
    item = other(topic)
    for right, mistake in (("best = 0", "best = 1"), ("i * i", "i + i"), ("max(low", "min(low"),
                           ("Ready(7)", "Ready(8)")):  # fmt: skip
        item["solution"] = item["solution"].replace(right, mistake)
    assert item["solution"] != good(topic)["solution"]
    return item


def toothless(topic: str) -> dict[str, Any]:
    """An answer whose tests a program that always prints the same passes."""
    item = other(topic)
    if isinstance(item["tests"], str):
        item["tests"] = "def test_it():\n    assert clamp(1, 0, 2) in (0, 1)\n"
    else:
        item["tests"] = [item["tests"][0]] * len(item["tests"])
    return item
