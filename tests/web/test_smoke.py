def test_smoke(server):
    server.engine.say = "Hello there"
    r = server.post("/completion", {"prompt": "Hi"})
    print(r.status, r.headers, r.body)
    r = server.post("/completion", {"prompt": "Hi", "stream": True, "stop": ["the"]})
    print(r.status, r.headers, r.body.decode())
    r = server.post("/v1/chat/completions", {"messages": [{"role":"user","content":"x"}], "stream": True})
    print(r.status, r.headers, r.body.decode())
    r = server.post("/v1/chat/completions", {"messages": [{"role":"user","content":"x"}]})
    print(r.status, r.headers, r.body.decode())
    for p in ["/health","/props","/slots","/v1/models","/","/nope","/app.js"]:
        r = server.get(p); print(p, r.status, r.headers.items(), r.body[:700])
    assert 0
