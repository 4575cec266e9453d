"""The video API of an endpoint: this room asks it, and remembers no videos.

`client` wires the room for one endpoint. `metadata` tells what a video is, `source` brings
its bytes, `pages` the list. `judgement` tells what an answer means, such as a 404.
"""
