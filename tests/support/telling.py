"""A server that tells the prompts of its videos."""

from tests.support.personalities import Personality, Video


class Telling(Personality):
    """As the original, with a *prompt* in each video object; it may be changed."""

    def __init__(self, prompt: str = "A cat that plays the piano") -> None:
        self.prompt = prompt

    def describe(self, video: Video) -> dict[str, object]:
        return {**super().describe(video), "prompt": self.prompt}
