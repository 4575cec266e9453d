"""What an answer of the video API means. Pure: tables and rules, no request, no thread.

`verdict` tells whether an answer to a request for content is video, and which bytes it
brings; `sniffing` tells it from the first bytes. `refusals` tells what an answer without
video means, such as a 404. `video_status` and `listing` read the JSON of a video and of the
list. `signs` tells whether a video API answered at all. `wording` has the servers' words.
"""
