"""What ipvm costs, measured beside what a user has today: `make bench`, or `python -m tests.benchmarks`.

Every sample is taken in a process of its own, and rounds are outermost: ipvm and its rivals take turns, so that a busy
machine is busy for all of them. What a row claims is a ratio or a budget, never one number from one run.

    fresh       calls a function in a new process
    measure     benchmarks, rounds, and what came of them
    table       what came of them, to read
    guests      the modules that are run
    replays  runs  transfers  starts  interrupts  memory      one module a group of rows
    stale       `python -m tests.benchmarks.stale`: who gives a stale answer after an edit
"""
