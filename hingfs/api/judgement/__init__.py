"""What an answer of the video API means. Pure: tables and rules, no request, no thread.

`verdict` tells whether an answer to a request for content is video, and which bytes;
`sniffing` tells it from the first bytes. `refusals` tells what a 404, or any answer
without video, means. `statuses` and `listing` read the JSON of a video and of the list;
`signs` whether it is a video API at all. `wording` has the words that servers use.
"""
