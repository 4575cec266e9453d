"""hingfs: the finished clips of an OpenAI-style video API as files.

Which module decides what:
- how long a read, a stat or a whole file waits: `http.patience`
- what a 404 means, or any answer without video: `api.judgement.refusals`
- which bytes may be served after a change: `content`, and `library.sameness`
- how many requests run at once: `fetch.schedule`, by what `fetch.concurrency` has learnt
- what the next mount need not ask again: `facts.records`
- what happens on SIGTERM: `mount.serving`
- where the default of a setting stands: `settings`
"""

__version__ = "0.1.0"
