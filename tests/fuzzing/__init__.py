"""A server that answers wrongly in every way it can, and readers that check every byte.

`table` holds the kinds of mutation by name; the modules beside it (`heads`, `interim`,
`framing`, `ranges`, `documents`, `redirects`, `timing`, `secured`) add theirs to it, as
pure functions from an honest answer to steps on the wire. `line` takes the steps,
`server` chooses and logs them, `clips` knows the bytes of the videos, `reader` reads and
checks, `campaign` runs it all before a real mount. `scripts/fuzz` is the command.
"""
