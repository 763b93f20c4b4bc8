"""HTTP for those who speak no gRPC: the JSON gateway, health, version. One ASGI app.

It knows the method table and no service; it knows no socket, so HTTP/1.1 and HTTP/2 both serve it.
"""
