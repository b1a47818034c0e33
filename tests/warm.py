"""`peluche` from a process that has already imported what it needs: commands start at once.

`python warm.py SOCKET` listens; `shim(SOCKET)` is the text of a `peluche` that asks it. Every
command is a fork, with the folder, environment and streams of whoever typed it.
"""

import array
import contextlib
import gc
import json
import os
import signal
import socket
import sys
import threading
import traceback

SHIM = """#!{python} -IS
import array, json, os, socket, sys
server = socket.socket(socket.AF_UNIX)
server.connect({path!r})
streams = array.array("i", [0, 1, 2])
rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, streams)]
said = json.dumps([sys.argv, os.getcwd(), dict(os.environ)]).encode()
server.sendmsg([len(said).to_bytes(4, "big")], rights)
server.sendall(said)
code = server.recv(4)
sys.exit(int.from_bytes(code, "big") if code else "peluche ended without an exit code")
"""


def shim(path):
    return SHIM.format(python=sys.executable, path=str(path))


def receive(connection):
    size, rights, _, _ = connection.recvmsg(4, socket.CMSG_LEN(3 * array.array("i").itemsize))
    streams = array.array("i")
    streams.frombytes(rights[0][2])
    said = b""
    while len(said) < int.from_bytes(size, "big"):
        said += connection.recv(1 << 16)
    return *json.loads(said), list(streams)


def end_with(connection):
    """End when whoever typed the command is there no more."""
    if not connection.recv(1):
        os._exit(1)


def run(connection):
    arguments, folder, environment, streams = receive(connection)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    threading.Thread(target=end_with, args=[connection], daemon=True).start()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = arguments
    code = 1
    try:
        from peluche.cli.main import main

        main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(BrokenPipeError):
            sys.stdout.flush()
            sys.stderr.flush()
        connection.sendall(code.to_bytes(4, "big"))
        os._exit(code)


def serve(path):
    import torch
    import torch._dynamo  # by the first optimizer; it takes longer than all others

    import peluche.cli.main
    import peluche.data.corpora
    import peluche.recipes.train
    import peluche.reporting.explain
    import peluche.reporting.pictures
    import peluche.tasks.load  # noqa: F401
    from peluche.nn.machine import product_rate

    product_rate(torch.device("cpu"))
    gc.collect()
    gc.freeze()  # what is imported need not be searched at each collection
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # children are not waited for
    server = socket.socket(socket.AF_UNIX)
    server.bind(path)
    server.listen()
    print("ready", flush=True)
    while True:
        connection, _ = server.accept()
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            server.close()
            run(connection)
        connection.close()


if __name__ == "__main__":
    serve(sys.argv[1])
