"""Restarts under load, as the user of a retrying client sees them: not at all.

    python restart.py SERVER_BINARY SERVICE_CONFIG

The client is grpcio with the service config that the README publishes, and nothing else. Writers change articles of their
own and read them back, while the server is stopped with SIGTERM and started again on the same store and port, several
times. No call may fail, each write must count once, and a read must show what was acknowledged before it. `scripts/test
rolling` runs it, with the stubs of the protos on PYTHONPATH.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from pathlib import Path

import grpc

from articlestore.v1 import article_pb2 as article
from articlestore.v1 import article_service_pb2 as articles
from articlestore.v1 import article_service_pb2_grpc as articles_grpc

RESTARTS = 5
WRITERS = 4
CALLS_BETWEEN = 100
LIMIT_SECONDS = 120

started = time.monotonic()


def say(text: str) -> None:
    print(f"{time.monotonic() - started:6.1f} s  {text}", flush=True)


class Server:
    """A server on a store, restarted on the port that it got first."""

    def __init__(self, binary: str, store: Path) -> None:
        self.command = [binary, "serve", "--store", f"sled:{store}", "--min-free-bytes", "0", "--drain-delay", "100ms"]
        self.address = "127.0.0.1:0"
        self.log = store.with_suffix(".log").open("ab")
        self.start()

    def start(self) -> None:
        command = [*self.command, "--listen", self.address]
        self.child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.log, text=True)
        assert self.child.stdout is not None
        line = self.child.stdout.readline()
        assert line.startswith("listening on "), line
        self.address = line.removeprefix("listening on ").strip()

    def stop(self) -> None:
        self.child.send_signal(signal.SIGTERM)
        code = self.child.wait(LIMIT_SECONDS)
        assert code == 0, f"exit code {code}"

    def kill(self) -> None:
        self.child.kill()
        self.child.wait(LIMIT_SECONDS)
        self.log.close()


class Load:
    """What the writers did, and what went wrong with them."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.calls = 0
        self.longest = 0.0
        self.failed: list[str] = []
        self.ended = False

    def call(self, method, request):
        begun = time.monotonic()
        answer = method(request)
        with self.changed:
            self.calls += 1
            self.longest = max(self.longest, time.monotonic() - begun)
            self.changed.notify_all()
        return answer

    def fail(self, text: str) -> None:
        with self.changed:
            self.failed.append(text)
            self.changed.notify_all()

    def wait_for_more(self, calls: int) -> None:
        with self.changed:
            goal = self.calls + calls
            came = self.changed.wait_for(lambda: self.calls >= goal or self.failed, LIMIT_SECONDS)
            assert came, f"{self.calls} calls of {goal} within {LIMIT_SECONDS} s"
            assert not self.failed, self.failed


def write(stub: articles_grpc.ArticleServiceStub, number: int, load: Load) -> None:
    def wanted(revision: int) -> article.Article:
        return article.Article(
            article_id=f"a{number}",
            language="en",
            title=article.Segment(text=f"The night ferry, part {revision}"),
            body=[article.Segment(text="It left at ten.")],
        )

    request = articles.CreateArticleRequest(article=wanted(1), request_id=str(uuid.uuid4()))
    load.call(stub.CreateArticle, request)
    revision = 1
    while not load.ended:
        update = articles.UpdateArticleRequest(article=wanted(revision + 1), request_id=str(uuid.uuid4()))
        update.update_mask.paths.append("title")
        answer = load.call(stub.UpdateArticle, update)
        revision += 1
        assert answer.article.revision == revision, f"revision {answer.article.revision} instead of {revision}"
        read = load.call(stub.GetArticle, articles.GetArticleRequest(article_id=f"a{number}"))
        assert read.article.revision == revision, f"read revision {read.article.revision} after {revision}"


def guarded(stub: articles_grpc.ArticleServiceStub, number: int, load: Load) -> None:
    try:
        write(stub, number, load)
    except (grpc.RpcError, AssertionError) as error:
        load.fail(f"writer {number}: {error}")


def main(binary: str, service_config: str) -> None:
    with tempfile.TemporaryDirectory() as directory:
        server = Server(binary, Path(directory) / "store")
        try:
            options = [("grpc.service_config", Path(service_config).read_text())]
            load = Load()
            with grpc.insecure_channel(server.address, options=options) as channel:
                stub = articles_grpc.ArticleServiceStub(channel)
                writers = [threading.Thread(target=guarded, args=(stub, number, load)) for number in range(WRITERS)]
                for writer in writers:
                    writer.start()
                try:
                    for number in range(RESTARTS):
                        load.wait_for_more(CALLS_BETWEEN)
                        server.stop()
                        server.start()
                        say(f"restart {number + 1} after {load.calls} calls")
                    load.wait_for_more(CALLS_BETWEEN)
                finally:
                    load.ended = True
                    for writer in writers:
                        writer.join(LIMIT_SECONDS)
            assert not load.failed, load.failed
            say(f"{RESTARTS} restarts, {load.calls} calls, none failed; the longest took {load.longest:.2f} s")
            server.stop()
        finally:
            server.kill()


if __name__ == "__main__":
    main(*sys.argv[1:])
