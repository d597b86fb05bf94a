"""The page of `gae report`: one HTML file that needs nothing else.

`content` is what it shows, as plain data; `page` makes the file of it and of what lies in `assets/`, which is as it
is served: no build step.
"""
