"""Models over HTTP: out of a hub's repositories, or from a URL.

`python -m llamatw.hub` is a process of its own with a reactor of its own, which `process.run` starts and watches: the
server's reactor and engine thread have nothing to do with a download, and cancelling one is killing it.

    names      what users and hubs call things, checked before it becomes a URL or a path
    cache      where files lie, and which are complete
    web        one request: redirects, the token, statuses in words
    listing    which files make up a model, with sizes and digests
    download   one file: resumed, bounded, checked, then renamed
    tunnel     proxies of the environment
"""
