"""A translation worker: it claims jobs of an article store, translates them with a running apertium-apy, and completes
them.

    python worker.py --server 127.0.0.1:50051 --engine http://127.0.0.1:2737 --model-version 0.8.1

It is written to be copied. `Apertium` is the engine, and all of the file that knows one: put a class with the same
three methods in its place. The rest is what every worker needs:

- A lease holds a job for this worker, and a thread prolongs it. A worker that is killed at any moment loses nothing:
  its lease ends, and the job goes to another. SIGTERM and SIGINT give the job back at once.
- A call whose answer is lost is sent again, word for word, until the server says yes or no. The request id of a claim
  and the token of a lease make that safe: nothing is claimed, attached or counted twice.
- LEASE_LOST means that the job is no longer this worker's. The work is dropped, whatever the reason.
- No clock is compared with the server's; lengths of time are all that counts here.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import signal
import socket
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, NoReturn, TypeVar

import grpc
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from articlestore.v1 import job_pb2 as jobs
from articlestore.v1 import translation_job_service_pb2 as service
from articlestore.v1 import translation_job_service_pb2_grpc as service_grpc
from articlestore.v1 import translation_pb2 as translation

log = logging.getLogger("worker")
Answer = TypeVar("Answer")


class EngineDown(Exception):
    """The engine does not answer, or not as it should: the next text will fare no better."""


class TextRefused(Exception):
    """The engine answers and has no translation for this text or pair of languages."""


class Apertium:
    """The engine: translates one segment of plain text. To connect another, replace this class."""

    # What Apertium calls the languages; regions such as those of `en-GB` make no difference to it.
    CODES: ClassVar[dict[str, str]] = {"en": "eng", "es": "spa"}

    def __init__(self, url: str, version: str, limit_seconds: float) -> None:
        self._url = url.rstrip("/")
        self._version = version
        self._limit_seconds = limit_seconds

    def agent(self, source_language: str, target_language: str) -> translation.Agent:
        """Who did it: kept for good in the provenance of every text."""
        return translation.Agent(
            kind=translation.AGENT_KIND_MT,
            tool="apertium-worker",
            engine="apertium",
            model="-".join(self._pair(source_language, target_language)),
            model_version=self._version,
        )

    def check(self) -> None:
        """Returns when the engine can work; raises EngineDown when it cannot."""
        self._ask("listPairs", {})

    def translate(self, text: str, source_language: str, target_language: str) -> str:
        """The translation of a segment. Raises TextRefused and EngineDown."""
        # Apertium moves words over line breaks, so each line goes by itself; blank ones stay.
        return "\n".join(
            self._line(line, source_language, target_language) if line.strip() else "" for line in text.split("\n")
        )

    def _line(self, text: str, source_language: str, target_language: str) -> str:
        # `format=txt`: without it, the text is taken for HTML and comes back with escapes.
        form = {
            "langpair": "|".join(self._pair(source_language, target_language)),
            "q": text,
            "format": "txt",
            "markUnknown": "no",
        }
        translated = self._ask("translate", form)["translatedText"]
        if not isinstance(translated, str) or not translated.strip():
            raise TextRefused("the engine returned nothing")
        return translated.strip()

    def _pair(self, source_language: str, target_language: str) -> list[str]:
        primary = (tag.split("-")[0] for tag in (source_language, target_language))
        return [self.CODES.get(language, language) for language in primary]

    def _ask(self, path: str, form: dict[str, str]) -> Any:
        url = f"{self._url}/{path}"
        data = urllib.parse.urlencode(form).encode()
        try:
            with urllib.request.urlopen(url, data or None, timeout=self._limit_seconds) as answer:
                return json.load(answer)["responseData"]
        except urllib.error.HTTPError as error:
            if error.code == 400:
                raise TextRefused(f"the engine refuses: {self._explanation(error)}") from error
            raise EngineDown(f"the engine at {url} answers {error.code} {error.reason}") from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise EngineDown(f"the engine at {url} does not answer: {error}") from error

    @staticmethod
    def _explanation(error: urllib.error.HTTPError) -> str:
        try:
            return str(json.load(error)["explanation"])
        except (OSError, ValueError, KeyError, TypeError):
            return error.reason


class LeaseLost(Exception):
    """The job is no longer this worker's."""


class Worker:
    """Claims jobs, one at a time, and works on them until it is stopped. Run several processes to go faster."""

    def __init__(self, channel: grpc.Channel, engine: Apertium, options: argparse.Namespace) -> None:
        self._store = service_grpc.TranslationJobServiceStub(channel)
        self._engine = engine
        self._lease_seconds: float = options.lease_seconds
        self._wait_seconds: float = options.wait_seconds
        self._claim = service.ClaimJobsRequest(
            pairs=[jobs.LanguagePair(source_language=options.source, target_language=options.target)],
            kinds=[jobs.JOB_KIND_MT],
            max_jobs=1,
            lease=duration(self._lease_seconds),
            wait=duration(self._wait_seconds),
            worker=options.name,
        )

    def run(self) -> NoReturn:
        """Works until a signal raises SystemExit."""
        while True:
            # Before the first claim, and whenever the engine was down: every attempt counts against the job.
            self._wait_for_engine()
            engine_is_up = True
            while engine_is_up:
                for job in self._claim_jobs():
                    engine_is_up = self._work_on(job)

    def _wait_for_engine(self) -> None:
        """Returns when the engine can work."""
        for delay in pauses():
            try:
                return self._engine.check()
            except EngineDown as error:
                log.warning("%s; trying again", error)
            time.sleep(delay)

    def _claim_jobs(self) -> list[jobs.ClaimedJob]:
        request = service.ClaimJobsRequest()
        request.CopyFrom(self._claim)
        # The same id with every retry: jobs whose answer was lost on the way are found again.
        request.request_id = str(uuid.uuid4())
        return list(insist(self._store.ClaimJobs, request, self._wait_seconds + 30).jobs)

    def _work_on(self, claimed: jobs.ClaimedJob) -> bool:
        """Ends a job one way or the other. Answers whether the engine is up."""
        job_id = claimed.job.job_id
        try:
            try:
                with self._heartbeats(claimed) as lost:
                    request = self._translate(claimed, lost)
            except EngineDown as error:
                self._fail(claimed, str(error))
                return False
            except TextRefused as error:
                self._fail(claimed, str(error))
                return True
            except LeaseLost:
                raise
            except Exception as error:
                # A bug of the engine costs the job an attempt, and does not stop the others.
                log.exception("the engine broke")
                self._fail(claimed, f"{type(error).__name__}: {error}")
                return True
            try:
                answer = insist(self._store.CompleteJob, request)
            except grpc.RpcError as error:
                # Such as a text that is longer than the store takes.
                self._fail(claimed, explain(error))
                return True
            log.info("done %s: %d segments", job_id, len(claimed.job.segment_ids))
            if answer.next_job_id:
                log.info("the source has changed meanwhile: %s", answer.next_job_id)
        except LeaseLost:
            log.warning("dropped %s: its lease was lost", job_id)
        except BaseException:
            # A signal, most often: the job is given back at once, instead of when its lease ends.
            self._release(claimed)
            raise
        return True

    def _translate(self, claimed: jobs.ClaimedJob, lost: threading.Event) -> service.CompleteJobRequest:
        """The translations of all wanted segments. The others are context, which this engine has no use for."""
        started = time.monotonic()
        source, target = claimed.article.language, claimed.job.language
        text = translation.TargetText()
        characters = 0
        for segment in (item.source for item in claimed.segments if item.wanted):
            if lost.is_set():
                raise LeaseLost
            try:
                translated = self._engine.translate(segment.text, source, target)
            except TextRefused as error:
                raise TextRefused(f"{segment.segment_id}: {error}") from error
            characters += len(segment.text)
            # Plain text: the spans of the source (links, emphasis) are left out, for an engine that reorders words
            # cannot say where they go. The source keeps its own.
            if segment.segment_id == "title":
                text.title.text = translated
            elif segment.segment_id == "lead":
                text.lead.text = translated
            else:
                text.body.add(segment_id=segment.segment_id, text=translated)
        return service.CompleteJobRequest(
            job_id=claimed.job.job_id,
            lease_token=claimed.lease_token,
            text=text,
            agent=self._engine.agent(source, target),
            effort=translation.Effort(characters=characters, duration_ms=int((time.monotonic() - started) * 1000)),
        )

    @contextmanager
    def _heartbeats(self, claimed: jobs.ClaimedJob) -> Iterator[threading.Event]:
        """Prolongs a lease in a thread, three times in its length. The event is set when the lease is lost."""
        lost, over = threading.Event(), threading.Event()
        period = self._lease_seconds / 3
        request = service.HeartbeatJobRequest(
            job_id=claimed.job.job_id, lease_token=claimed.lease_token, lease=self._claim.lease
        )

        def beat() -> None:
            while not over.wait(period):
                try:
                    self._store.HeartbeatJob(request, timeout=period)
                except grpc.RpcError as error:
                    if is_lost(error):
                        lost.set()
                        return
                    # One that does not get through is followed by the next.
                    log.warning("no heartbeat for %s: %s", claimed.job.job_id, explain(error))

        thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
        thread.start()
        try:
            yield lost
        finally:
            over.set()

    def _fail(self, claimed: jobs.ClaimedJob, message: str) -> None:
        log.warning("failed %s: %s", claimed.job.job_id, message)
        # The server takes 1,024 bytes. What the message says is for people; no text of the article belongs in it.
        request = service.FailJobRequest(
            job_id=claimed.job.job_id, lease_token=claimed.lease_token, message=clean(message)
        )
        insist(self._store.FailJob, request)

    def _release(self, claimed: jobs.ClaimedJob) -> None:
        request = service.ReleaseJobRequest(job_id=claimed.job.job_id, lease_token=claimed.lease_token)
        try:
            self._store.ReleaseJob(request, timeout=5)
            log.info("released %s", claimed.job.job_id)
        except grpc.RpcError as error:
            # Lost is as good: the result was taken just now, or another worker has the job.
            if not is_lost(error):
                log.warning("%s is not given back, its lease will end: %s", claimed.job.job_id, explain(error))


def insist(
    call: Callable[..., Answer],
    request: Any,
    limit_seconds: float = 30,
) -> Answer:
    """Sends a request until the server says yes or no. Raises LeaseLost, and what else is a no."""
    for delay in pauses():
        try:
            return call(request, timeout=limit_seconds)
        except grpc.RpcError as error:
            if is_lost(error):
                raise LeaseLost from error
            if not passes(error):
                raise
            log.warning("the server cannot help now: %s; trying again", explain(error))
        time.sleep(delay)
    raise AssertionError("pauses do not end")


def pauses() -> Iterator[float]:
    """Seconds to wait: twice as many each time up to 15, a part of it left to chance, so that workers spread out."""
    longest = 0.25
    while True:
        yield random.uniform(longest / 2, longest)
        longest = min(15.0, longest * 2)


def detail(error: grpc.RpcError, kind: type[Any]) -> Any | None:
    """The detail of this kind that an error carries."""
    status = rpc_status.from_call(error)
    found = kind()
    return found if status and any(packed.Unpack(found) for packed in status.details) else None


def is_lost(error: grpc.RpcError) -> bool:
    info = detail(error, error_details_pb2.ErrorInfo)
    return error.code() == grpc.StatusCode.NOT_FOUND or (info is not None and info.reason == "LEASE_LOST")


def passes(error: grpc.RpcError) -> bool:
    """Whether it is of the moment: the same call may succeed later."""
    match error.code():
        case (
            grpc.StatusCode.UNAVAILABLE
            | grpc.StatusCode.DEADLINE_EXCEEDED
            | grpc.StatusCode.CANCELLED
            | grpc.StatusCode.ABORTED
            | grpc.StatusCode.UNKNOWN
        ):
            return True
        case grpc.StatusCode.INTERNAL:
            # Without a reason it comes from the connection.
            return detail(error, error_details_pb2.ErrorInfo) is None
        case grpc.StatusCode.RESOURCE_EXHAUSTED:
            return detail(error, error_details_pb2.RetryInfo) is not None
        case _:
            return False


def explain(error: grpc.RpcError) -> str:
    """What the server says, with the fields that it blames."""
    bad = detail(error, error_details_pb2.BadRequest)
    fields = [f"{wrong.field}: {wrong.description}" for wrong in bad.field_violations] if bad else []
    return "; ".join([f"{error.code().name}: {error.details()}", *fields])


def clean(message: str) -> str:
    """At most 1,000 bytes on one line."""
    line = " ".join("".join(c if c.isprintable() else " " for c in message).split())
    return line.encode()[:1000].decode(errors="ignore")


def duration(seconds: float) -> Duration:
    result = Duration()
    result.FromNanoseconds(round(seconds * 1e9))
    return result


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Translates jobs of an article store with apertium-apy.")
    parser.add_argument("--server", default="127.0.0.1:50051", help="the store (%(default)s)")
    parser.add_argument("--engine", default="http://127.0.0.1:2737", help="apertium-apy (%(default)s)")
    parser.add_argument("--model-version", required=True, help="the version of the engine's data, for the provenance")
    parser.add_argument("--from", dest="source", default="en", help="the language of the articles (%(default)s)")
    parser.add_argument("--into", dest="target", default="es", help="the language to translate into (%(default)s)")
    parser.add_argument("--lease-seconds", type=float, default=120, help="how long a job is leased for (%(default)s)")
    parser.add_argument("--wait-seconds", type=float, default=30, help="how long a claim waits, up to 60 (%(default)s)")
    parser.add_argument("--limit-seconds", type=float, default=60, help="how long the engine may take (%(default)s)")
    parser.add_argument("--name", default=f"{socket.gethostname()}/{os.getpid()}", help="who works (%(default)s)")
    return parser.parse_args()


def main() -> NoReturn:
    options = arguments()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    engine = Apertium(options.engine, options.model_version, options.limit_seconds)
    # A server that was away is tried again after 5 s at the latest; the default goes up to 2 minutes.
    channel = grpc.insecure_channel(options.server, options=[("grpc.max_reconnect_backoff_ms", 5_000)])
    try:
        Worker(channel, engine, options).run()
    except grpc.RpcError as error:
        sys.exit(f"error: {explain(error)}")


if __name__ == "__main__":
    main()
