"""Prompts that begin alike are read one after the other, and their beginning once."""

from subbyte.runtime.compat.shared_prefixes import MIN_SHARED, shared_prefixes

SHOTS = tuple(range(100))


def test_prompts_behind_the_same_examples_are_a_group() -> None:
    prompts = [(*SHOTS, 200, n) for n in range(3)]
    others = [(300, n) for n in range(2)]
    assert list(shared_prefixes([others[1], *reversed(prompts), others[0]])) == [
        ((*SHOTS, 200), prompts),
        ((), [others[0]]),
        ((), [others[1]]),
    ]


def test_the_last_token_of_a_prompt_is_left_to_be_read() -> None:
    ((prefix, prompts),) = shared_prefixes([SHOTS, (*SHOTS, 1), (*SHOTS, 2)])
    assert prefix == SHOTS[:-1] and len(prompts) == 3


def test_what_is_short_or_a_small_part_is_not_kept() -> None:
    short = SHOTS[: MIN_SHARED - 1]
    assert [prefix for prefix, _ in shared_prefixes([(*short, 200), (*short, 201)])] == [(), ()]
    long = tuple(range(1000, 1200))
    assert [len(group) for _, group in shared_prefixes([(*SHOTS, *long), (*SHOTS, 2000)])] == [1, 1]
    assert list(shared_prefixes([])) == []
