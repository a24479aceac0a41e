"""Work: what a task does (`ops`), who does it (`executors`), in which order (`planner`, `scheduler`)."""
