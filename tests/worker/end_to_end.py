"""The Apertium worker end to end: a real server, a real engine, real workers, and what is done to them.

    python end_to_end.py SERVER_BINARY WORKER

20 documents of NTREX are translated from English to Spanish. Meanwhile a worker is killed with a job in its hands,
the server is restarted, the engine is killed, and a worker is stopped. Nothing waits for a time, only for what is to
happen, within a limit. `scripts/test worker` runs it, with the stubs of the protos on PYTHONPATH and Apertium there.
"""

from __future__ import annotations

import json
import lzma
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

import grpc

from articlestore.v1 import article_pb2 as article
from articlestore.v1 import article_service_pb2 as articles
from articlestore.v1 import article_service_pb2_grpc as articles_grpc
from articlestore.v1 import job_pb2 as jobs
from articlestore.v1 import translation_job_service_pb2 as service
from articlestore.v1 import translation_job_service_pb2_grpc as service_grpc
from articlestore.v1 import translation_pb2 as translation
from articlestore.v1 import translation_service_pb2 as translations
from articlestore.v1 import translation_service_pb2_grpc as translations_grpc

DOCUMENTS = 20
LIMIT_SECONDS = 120
LEASE_SECONDS = 3
VERSION = "0.8.1"
Seen = TypeVar("Seen")

started = time.monotonic()


def say(text: str) -> None:
    print(f"{time.monotonic() - started:6.1f} s  {text}", flush=True)


def until(what: str, look: Callable[[], Seen | None]) -> Seen:
    """What `look` sees as soon as it sees something."""
    limit = time.monotonic() + LIMIT_SECONDS
    pause = threading.Event()
    while not (seen := look()):
        assert time.monotonic() < limit, f"{what}: not within {LIMIT_SECONDS} s"
        pause.wait(0.02)
    return seen


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


class Process:
    """A process with its log, killed at the end."""

    def __init__(self, stack: ExitStack, log: Path, *command: str) -> None:
        self.log = log
        with log.open("ab") as output:
            self.child = subprocess.Popen(command, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
        stack.callback(self.kill)

    def kill(self) -> None:
        self.child.kill()
        self.child.wait(LIMIT_SECONDS)

    def stop(self) -> int:
        self.child.terminate()
        return self.child.wait(LIMIT_SECONDS)

    def freeze(self) -> None:
        self.child.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.child.send_signal(signal.SIGCONT)

    def says(self, words: str) -> bool:
        assert self.child.poll() is None, f"it ended: {self.log.read_text()}"
        return words in self.log.read_text()


class Stage:
    """The server, the engine and the workers."""

    def __init__(self, stack: ExitStack, server: str, worker: str) -> None:
        self.stack, self.binary, self.script = stack, server, worker
        self.folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        self.address = f"127.0.0.1:{free_port()}"
        self.engine_port = free_port()
        self.workers = 0
        self.start_server()
        self.start_engine()
        channel = stack.enter_context(
            grpc.insecure_channel(self.address, options=[("grpc.max_reconnect_backoff_ms", 200)])
        )
        self.articles = articles_grpc.ArticleServiceStub(channel)
        self.translations = translations_grpc.TranslationServiceStub(channel)
        self.jobs = service_grpc.TranslationJobServiceStub(channel)

    def start_server(self) -> None:
        store = f"sled:{self.folder / 'store'}"
        options = ["--min-free-bytes", "0", "--shortest-lease-ms", "1000"]
        log = self.folder / "server.log"
        log.unlink(missing_ok=True)
        self.server = Process(
            self.stack, log, self.binary, "serve", "--listen", self.address, "--store", store, *options
        )
        until("the server serves", lambda: self.server.says("listening on"))

    def start_engine(self) -> None:
        log = self.folder / "engine.log"
        self.engine = Process(
            self.stack, log, "apertium-apy", "--port", str(self.engine_port), "/usr/share/apertium/modes"
        )

        def answers() -> bool:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.engine_port}/listPairs", timeout=5) as answer:
                    return answer.status == 200
            except OSError:
                return False

        until("the engine answers", answers)

    def start_worker(self) -> Process:
        self.workers += 1
        return Process(
            self.stack,
            self.folder / f"worker-{self.workers}.log",
            sys.executable,
            self.script,
            *["--server", self.address, "--engine", f"http://127.0.0.1:{self.engine_port}"],
            *["--model-version", VERSION, "--name", f"worker-{self.workers}"],
            *["--lease-seconds", str(LEASE_SECONDS)],
        )

    def all_jobs(self) -> dict[str, jobs.TranslationJob]:
        answer = self.jobs.ListJobs(service.ListJobsRequest(page_size=500), timeout=30)
        assert not answer.next_page_token
        return {job.job_id: job for job in answer.jobs}

    def job(self, job_id: str) -> jobs.TranslationJob:
        return self.jobs.GetJob(service.GetJobRequest(job_id=job_id), timeout=30).job

    def done(self) -> int:
        return sum(job.state == jobs.JOB_STATE_DONE for job in self.all_jobs().values())

    def request(self, *article_ids: str) -> None:
        answer = self.jobs.RequestTranslations(
            service.RequestTranslationsRequest(
                articles=service.ArticleSelection(article_ids=article_ids),
                languages=["es"],
                kinds=[jobs.JOB_KIND_MT],
            ),
            timeout=30,
        )
        assert [job.outcome for job in answer.jobs] == [jobs.REQUEST_OUTCOME_OPENED] * len(article_ids)

    def hold(self, *article_ids: str) -> str:
        """Freezes the engine, asks for translations, and answers which job a worker has then and keeps alive."""
        self.engine.freeze()
        if article_ids:
            self.request(*article_ids)
        ends: dict[str, int] = {}

        def prolonged() -> str | None:
            for job_id, job in self.all_jobs().items():
                if job.state == jobs.JOB_STATE_LEASED:
                    end = job.lease_expire_time.ToMicroseconds()
                    if ends.setdefault(job_id, end) != end:
                        return job_id
            return None

        return until("a job is held over a heartbeat", prolonged)


def documents() -> list[tuple[str, list[str]]]:
    """Ids and texts, the headline first."""
    data = Path(os.environ.get("ARTICLE_STORE_TEST_DATA", "../shared/data")) / "ntrex-news.jsonl.xz"
    if data.exists():
        with lzma.open(data, "rt", encoding="utf-8") as lines:
            read = [json.loads(line) for line, _ in zip(lines, range(DOCUMENTS), strict=False)]
        return [(document["id"], document["segments"]) for document in read]
    say(f"{data} is not there: {DOCUMENTS} documents made of the example's paragraphs instead")
    text = Path("examples/translations/makers-market-en.txt").read_text(encoding="utf-8")
    lines_ = [line for line in text.splitlines() if line.strip()]
    return [(f"market-{n}", [f"{n}. {line}" for line in lines_]) for n in range(DOCUMENTS)]


def create(stage: Stage, article_id: str, texts: list[str]) -> None:
    headline, *body = [article.Segment(text=text) for text in texts]
    request = articles.CreateArticleRequest(
        article=article.Article(article_id=article_id, language="en", title=headline, body=body)
    )
    stage.articles.CreateArticle(request, timeout=30)


def check(stage: Stage, article_id: str, texts: list[str], job_id: str) -> None:
    """It is translated as a whole and current, once, and the provenance says by whom and for which job."""
    listing = translations.ListTranslationsRequest(article_id=article_id, language="es")
    (summary,) = stage.translations.ListTranslations(listing, timeout=30).translations
    assert summary.freshness == translation.FRESHNESS_CURRENT, summary
    reading = translations.GetTranslationRequest(article_id=article_id, language="es")
    got = stage.translations.GetTranslation(reading, timeout=30).translation
    assert len(got.body) == len(texts) - 1
    assert all(segment.text.strip() for segment in [got.title, *got.body])
    history = translations.ListProvenanceRequest(article_id=article_id, language="es")
    (step,) = stage.translations.ListProvenance(history, timeout=30).records
    assert step.step == translation.PROVENANCE_STEP_ATTACHED and step.version == 1, step
    agent = step.agent
    assert agent.kind == translation.AGENT_KIND_MT, agent
    assert (agent.engine, agent.model, agent.model_version) == ("apertium", "eng-spa", VERSION), agent
    assert step.effort.characters == sum(map(len, texts)), step
    assert step.job_id == job_id, step


def main(server: str, worker: str) -> None:
    with ExitStack() as stack:
        stage = Stage(stack, server, worker)
        say("the server and the engine are up")
        texts = dict(documents())
        for article_id, segments in texts.items():
            create(stage, article_id, segments)
        stage.request(*texts)
        say(f"{len(texts)} documents with {sum(map(len, texts.values()))} segments are to be translated")

        first = stage.start_worker()
        until("some jobs are done", lambda: stage.done() >= 3)
        orphan = stage.hold()
        first.kill()
        stage.engine.thaw()
        assert stage.job(orphan).attempts == 1 and stage.done() < DOCUMENTS
        say(f"the first worker was killed with {orphan} in its hands, {stage.done()} done")

        second = stage.start_worker()
        until("more jobs are done", lambda: stage.done() >= 8)
        held = stage.hold()
        done = stage.done()
        assert done < DOCUMENTS
        assert stage.server.stop() == 0
        say(f"the server is stopped while the second worker has {held}, {done} done")
        stage.engine.thaw()
        until("the worker misses the server", lambda: second.says("the server cannot help now"))
        stage.start_server()
        until("all jobs are done", lambda: stage.done() == DOCUMENTS)
        say("the server is back, and all is done")

        ended = stage.all_jobs()
        for article_id, segments in texts.items():
            check(stage, article_id, segments, f"{article_id}/es/mt/1")
        assert {job.attempts for job_id, job in ended.items() if job_id != orphan} == {1}, ended
        assert ended[orphan].attempts == 2, ended[orphan]
        say(f"each is translated once, {orphan} in its second attempt, the others in their first")

        source = list(next(iter(texts.values())))
        create(stage, "outage", source)
        assert stage.hold("outage") == "outage/es/mt/1"
        stage.engine.kill()

        def failure() -> jobs.TranslationJob | None:
            job = stage.job("outage/es/mt/1")
            return job if job.HasField("last_failure") else None

        failed = until("the job fails", failure)
        assert failed.state == jobs.JOB_STATE_PENDING and failed.HasField("not_before"), failed
        assert f"127.0.0.1:{stage.engine_port}/translate does not answer" in failed.last_failure.message, failed
        until("the worker waits for the engine", lambda: second.says("/listPairs does not answer"))
        # Opened again, it need not wait until its next attempt is due.
        stage.jobs.CancelJob(service.CancelJobRequest(job_id=failed.job_id), timeout=30)
        stage.jobs.RetryJob(service.RetryJobRequest(job_id=failed.job_id), timeout=30)
        stage.start_engine()
        until("the job is done", lambda: stage.job(failed.job_id).state == jobs.JOB_STATE_DONE)
        check(stage, "outage", source, failed.job_id)
        say(f"the engine was killed: {failed.last_failure.message}")

        create(stage, "given-back", source)
        assert stage.hold("given-back") == "given-back/es/mt/1"
        assert second.stop() == 0
        released = stage.job("given-back/es/mt/1")
        assert released.state == jobs.JOB_STATE_PENDING and released.attempts == 0, released
        stage.engine.thaw()
        say("the second worker was stopped, and gave its job back")

        # What it left is done by the command line, in one line.
        work = [stage.binary, "work", "--server", f"http://{stage.address}", "--once", "--from", "en", "--into", "es"]
        program = ["--command", "apertium -u eng-spa", "--engine", "apertium", "--model", "eng-spa"]
        subprocess.run([*work, *program, "--model-version", VERSION], check=True, timeout=LIMIT_SECONDS)
        check(stage, "given-back", source, "given-back/es/mt/1")
        assert stage.server.stop() == 0
        say("the rest is done by `article-store work`")


if __name__ == "__main__":
    main(*sys.argv[1:])
