"""The tour of the README, from Python: an article in, listed by date, read back, translated, revised, and what that
does to the translation. Every step checks its answer, so this is a test as well.

    python tour.py 127.0.0.1:50051
"""

import sys
import uuid
from datetime import datetime, timezone

import grpc
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import error_details_pb2 as error_details
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status

from articlestore.v1 import article_pb2 as article
from articlestore.v1 import article_service_pb2 as articles
from articlestore.v1 import article_service_pb2_grpc as articles_grpc
from articlestore.v1 import translation_pb2 as translation
from articlestore.v1 import translation_service_pb2 as translations
from articlestore.v1 import translation_service_pb2_grpc as translations_grpc

TITLE = "سوق الحرفيين يعود إلى الساحة القديمة"
BODY = [
    "فتح سوق الحرفيين أبوابه من جديد، صباح الثلاثاء، في الساحة القديمة.",
    "وقالت رئيسة الجمعية إن 64 ورشة عادت إلى العمل من أصل 70.",
    "ويتوقع المنظمون أن يزور السوق نحو ألفي شخص في أسبوعه الأول.",
]
ENGLISH = [
    "The craftsmen's market opened again on Tuesday morning in the old square.",
    "The head of the association said that 64 of 70 workshops are back at work.",
    "The organisers expect some two thousand visitors in the first week.",
]


def segments(texts):
    return [article.Segment(text=text) for text in texts]


def targets(texts):
    return [translation.TargetSegment(text=text) for text in texts]


def freshness(summary):
    return translation.Freshness.Name(summary.freshness).removeprefix("FRESHNESS_")


def detail(error, kind):
    """The detail of this kind that an error carries."""
    found = kind()
    assert any(packed.Unpack(found) for packed in rpc_status.from_call(error).details)
    return found


def main(address):
    channel = grpc.insecure_channel(address)
    health = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10)
    assert health.status == health_pb2.HealthCheckResponse.SERVING
    store = articles_grpc.ArticleServiceStub(channel)
    tool = translations_grpc.TranslationServiceStub(channel)

    # Create it. The request id makes a retry safe: the same call again gives the same answer.
    published = Timestamp()
    published.FromDatetime(datetime(2024, 9, 3, 18, 30, tzinfo=timezone.utc))
    create = articles.CreateArticleRequest(
        article=article.Article(
            article_id="market",
            language="ar",
            title=article.Segment(text=TITLE),
            body=segments(BODY),
            canonical_url="https://news.example/ثقافة/سوق?utm_source=feed",
            published=article.ArticleDate(instant=published, original="3 أيلول/سبتمبر 2024 18:30 GMT"),
        ),
        request_id=str(uuid.uuid4()),
    )
    first = store.CreateArticle(create, timeout=10).article
    assert store.CreateArticle(create, timeout=10).article == first
    assert first.direction == article.DIRECTION_RTL and first.revision == 1
    assert [segment.segment_id for segment in first.body] == ["s1", "s2", "s3"]
    print(f"created {first.article_id}, revision {first.revision}, {first.canonical_url}")

    # List it by its day in a zone, and find it by its URL.
    days = articles.CivilRange(start_date="2024-09-03", end_date="2024-09-04", zone="Africa/Casablanca")
    listed = store.ListArticles(articles.ListArticlesRequest(civil_range=days), timeout=10).articles
    assert [item.article_id for item in listed] == ["market"]
    lookup = articles.LookupArticleRequest(canonical_url="https://news.example/ثقافة/سوق")
    assert store.LookupArticle(lookup, timeout=10).article == first

    # Attach an English translation of revision 1: one text for every paragraph, in order.
    attached = tool.AttachTranslation(
        translations.AttachTranslationRequest(
            article_id="market",
            language="en",
            source_revision=1,
            text=translation.TargetText(
                title=translation.TargetSegment(text="The craftsmen's market returns to the old square"),
                body=targets(ENGLISH),
            ),
            agent=translation.Agent(kind=translation.AGENT_KIND_HUMAN, person="Nora Whitlock"),
        ),
        timeout=10,
    ).translation
    print(f"attached en/{attached.translation_id}: {freshness(attached)}")
    assert attached.freshness == translation.FRESHNESS_CURRENT

    # Correct the second paragraph of the source: exactly that one is stale.
    corrected = [BODY[0], BODY[1].replace("64", "66"), BODY[2]]

    def revise(texts):
        return store.UpdateArticle(
            articles.UpdateArticleRequest(
                article=article.Article(article_id="market", body=segments(texts)),
                update_mask=FieldMask(paths=["body"]),
                significance=translation.SIGNIFICANCE_CORRECTION,
            ),
            timeout=10,
        ).article

    def english():
        request = translations.GetTranslationRequest(article_id="market", language="en")
        return tool.GetTranslation(request, timeout=10).translation

    assert revise(corrected).revision == 2
    stale = english().summary
    print(f"corrected the source: en is {freshness(stale)}, paragraphs {list(stale.stale_segment_ids)}")
    assert list(stale.stale_segment_ids) == ["s2"] and stale.stale_since_revision == 2
    assert stale.stale_significance == translation.SIGNIFICANCE_CORRECTION

    # A machine's text does not replace the person's: it becomes a candidate beside it.
    machine = tool.AttachTranslation(
        translations.AttachTranslationRequest(
            article_id="market",
            language="en",
            source_revision=2,
            text=translation.TargetText(
                body=[translation.TargetSegment(segment_id="s2", text=ENGLISH[1].replace("64", "66"))]
            ),
            agent=translation.Agent(kind=translation.AGENT_KIND_MT, engine="example"),
        ),
        timeout=10,
    )
    assert machine.outcome == translations.ATTACH_OUTCOME_DIVERTED
    print(f"a machine's text went to en/{machine.translation.translation_id}")
    assert english().body[1].text == ENGLISH[1]

    # Put the source back: the translation holds again, by itself.
    assert revise(BODY).revision == 3
    healed = english().summary
    print(f"put the source back: en is {freshness(healed)}")
    assert healed.freshness == translation.FRESHNESS_CURRENT

    # What was true at revision 2 can still be read.
    then = store.GetArticle(articles.GetArticleRequest(article_id="market", revision=2), timeout=10).article
    assert then.body[1].text == corrected[1]

    # Another writer was faster: the error has a reason for programs, and the current etag.
    lost = article.Article(article_id="market", section="ثقافة")
    try:
        store.UpdateArticle(articles.UpdateArticleRequest(article=lost, etag=first.etag), timeout=10)
        raise AssertionError("an update was lost")
    except grpc.RpcError as error:
        info = detail(error, error_details.ErrorInfo)
        assert (error.code(), info.reason) == (grpc.StatusCode.ABORTED, "ETAG_MISMATCH")
        print(f"{info.reason}: the etag is {info.metadata['current_etag']}")

    # A bad request names every wrong field.
    bad = article.Article(article_id="a/b", language="x-")
    try:
        store.CreateArticle(articles.CreateArticleRequest(article=bad), timeout=10)
        raise AssertionError("a bad article was accepted")
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
        violations = detail(error, error_details.BadRequest).field_violations
        assert [violation.field for violation in violations] == ["article.article_id", "article.language"]
        for violation in violations:
            print(f"refused {violation.field}: {violation.description}")


if __name__ == "__main__":
    main(sys.argv[1])
