"""What the video API says. It asks, and remembers no videos.

`client` wires it for one endpoint: `metadata` tells what a video is, `source` has its
bytes, `pages` the list. What an answer means, a 404 for one, is told by `judgement`.
"""
