"""What cannot be inferred is asked, with a proposal; without a terminal nothing waits, and the flags are named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from pipelines.errors import ConfigError

Check = Callable[[str], str | None]
"""What is wrong with an answer, or None."""


@dataclass
class Questions:
    """`read` asks a person; None without a terminal: what would have been asked is collected, and `finish` refuses.

    `is_eager`: also what is clear is asked, with the inferred as proposal (the wizard). `accepts_all`: proposals are
    taken unasked.
    """

    read: Callable[[str], str] | None
    say: Callable[[str], None]
    is_eager: bool = False
    accepts_all: bool = False
    asked: int = 0
    _needed: list[str] = field(default_factory=list)

    def ask(self, flag: str, question: str, proposal: str | None, check: Check, is_clear: bool = False) -> str | None:
        """The answer; the proposal where it is clear, accepted unseen, or nobody can be asked.

        `flag` is how the answer is given on the command line, with an example.
        """
        if (is_clear and not (self.is_eager and self.read)) or (self.accepts_all and proposal is not None):
            return proposal
        if self.read is None:
            self._needed.append(f"{flag}  ({question})")
            return proposal
        self.say(f"\n{question}")
        self.asked += 1
        while True:
            answer = self.read(f"  ({proposal}) > " if proposal else "  > ").strip() or proposal
            problem = check(answer or "")
            if problem is None and answer is not None:
                return answer
            problem = problem or "an answer is needed"
            self.say(f"  {problem}")

    def agree(self, flag: str, question: str) -> bool:
        """Yes (by Enter) or no."""
        wrong = "answer y or n"
        answer = self.ask(flag, f"{question} y or n", "y", lambda text: None if text.lower() in ("y", "n") else wrong)
        return answer is not None and answer.lower() == "y"

    def finish(self, where: str) -> None:
        """Raises ConfigError E-INIT-ASK with all flags that are needed where nobody can be asked."""
        if not self._needed:
            return
        listed = "".join(f"\n  {one}" for one in self._needed)
        what = f"nobody can be asked without a terminal, so these options are needed:{listed}\n"
        raise ConfigError("E-INIT-ASK", where, what.rstrip(), "Or run the same command in a terminal.")
