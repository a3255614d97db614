"""Drives a real server over HTTP/1.1 and says what clients see: `python -m bench.http --help`.

    client    connections that note when bytes come       load        what a scenario is handed
    answer    what came, read afterwards                  steady      scenarios of well-behaved clients
    server    a started server, its memory and files      chats       of conversations
    text      prompts of real words, cut to tokens        rough       of crowds, idlers and clients that leave
    measures  percentiles, medians, table, rows of http.csv

Server and generator share the machine, so the generator does as little as it can while it measures: one thread, one
asyncio protocol for each connection, whose only work is to put (time, bytes) into a list.  Everything is taken apart
after the last byte, by the standard library's http.client; Twisted's or h11's parser would do that work between
two tokens of the server.
"""
