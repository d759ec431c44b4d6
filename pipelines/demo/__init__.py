"""The demo: a simulated card-payments feed and one bad week of it, run through the real DAGs."""


def run_demo(*arguments: object, **options: object) -> int:
    """See `pipelines.demo.week.run_demo`; imported on call, so that the command line stays light."""
    from pipelines.demo.week import run_demo as run

    return run(*arguments, **options)  # type: ignore[arg-type]
