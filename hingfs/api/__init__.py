"""What the video API says. It asks, and remembers no videos.

`client` wires it for one endpoint: `metadata` tells what a video is, `source` has its
bytes, `pages` the list. Pure modules tell what an answer means: `verdict` whether it is
video, and which bytes; `refusals` what a 404, or any answer without video, means;
`statuses` and `listing` what the JSON of a video and of the list says; `signs` whether
it is a video API at all.
"""
