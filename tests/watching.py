"""What a watcher is told of long work."""

from toolkit.tracking import Pass


class Diary:
    """Notes the passes and the lines that it is told of."""

    def __init__(self) -> None:
        self.begun: list[Pass] = []
        self.ended: list[Pass] = []
        self.said: list[str] = []

    def begin(self, work: Pass) -> None:
        self.begun.append(work)

    def end(self, work: Pass) -> None:
        self.ended.append(work)

    def say(self, text: str) -> None:
        self.said.append(text)

    def counts(self) -> list[tuple[str, int, int | None]]:
        """What was done in each pass, in the order they began: how many things, of how many."""
        return [(work.what, work.done, work.total) for work in self.begun]
