"""E-mail jobs against a real SMTP server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from engine import EmailJobData, errors
from processors.address import parse_address
from processors.delivery import NothingSent
from processors.email import EmailProcessor
from processors.settings import Smtp
from processors.smtp import Mailer
from processors.templating import PACKAGED, Templates
from tests.processors.jobs import NotedJob
from tests.processors.mail_sink import MailSink, mail_sink


@pytest_asyncio.fixture
async def sink() -> AsyncIterator[MailSink]:
    async with mail_sink() as running:
        yield running


def processor(server: Smtp, *folders: Path) -> EmailProcessor:
    return EmailProcessor(Mailer(server), Templates([*folders, PACKAGED]), "Acme <hello@acme.example>")


def job(*to: str, subject: str = "Welcome", **data: object) -> NotedJob[EmailJobData]:
    values = data or {"name": "Ann"}
    return NotedJob(
        "email",
        EmailJobData(sub_account_id="1", to=list(to), subject=subject, template="welcome-email", template_data=values),
    )


async def test_each_recipient_gets_a_message_of_its_own_with_text_and_html(sink: MailSink) -> None:
    sent = job("ann@x.example", "Bob B. <bob@y.example>", name="<b>Ann</b>", company="Acme & Co")
    result = await processor(sink.settings()).process(sent)
    assert (result.total, result.successful, result.failed) == (2, 2, 0)
    assert [(outcome.recipient, outcome.status) for outcome in result.results] == [
        ("ann@x.example", "sent"), ("Bob B. <bob@y.example>", "sent"),
    ]  # fmt: skip
    assert sink.recipients == ["ann@x.example", "bob@y.example"]
    assert sent.reports == [50, 100]
    first, second = sink.messages
    assert (first["From"], first["To"]) == ("Acme <hello@acme.example>", "ann@x.example")
    assert (first["Subject"], second["To"]) == ("Welcome", '"Bob B." <bob@y.example>')
    text, html = first.get_body(("plain",)), first.get_body(("html",))
    assert text is not None
    assert html is not None
    assert "Hello <b>Ann</b>," in text.get_content()
    assert "&lt;b&gt;Ann&lt;/b&gt;" in html.get_content()
    assert "Acme &amp; Co" in html.get_content()


async def test_an_empty_subject_takes_the_templates(sink: MailSink) -> None:
    await processor(sink.settings()).process(job("a@x.example", subject="", name="Zoë 👩‍💻"))
    assert sink.messages[0]["Subject"] == "Welcome, Zoë 👩‍💻"


async def test_a_refused_recipient_does_not_fail_the_others(sink: MailSink) -> None:
    sink.answers["nobody@x.example"] = "550 no such user"
    result = await processor(sink.settings()).process(job("a@x.example", "nobody@x.example", "c@x.example"))
    assert (result.total, result.successful, result.failed) == (3, 2, 1)
    assert [outcome.status for outcome in result.results] == ["sent", "failed", "sent"]
    assert result.results[1].error == "550 no such user"
    assert sink.recipients == ["a@x.example", "c@x.example"]


async def test_a_line_that_breaks_is_made_anew_for_the_next_recipient(sink: MailSink) -> None:
    sink.answers["b@x.example"] = "drop"
    result = await processor(sink.settings()).process(job("a@x.example", "b@x.example", "c@x.example"))
    assert [outcome.status for outcome in result.results] == ["sent", "failed", "sent"]


async def test_a_server_that_falls_silent_costs_one_recipient_and_the_next_gets_a_new_line(sink: MailSink) -> None:
    sink.answers["b@x.example"] = "silence"
    result = await processor(sink.settings(timeout=0.5)).process(job("a@x.example", "b@x.example", "c@x.example"))
    assert [outcome.status for outcome in result.results] == ["sent", "failed", "sent"]
    assert "Timed out" in (result.results[1].error or "")


async def test_addresses_refused_by_everyone_complete_the_job_with_all_failed(sink: MailSink) -> None:
    sink.answers["a@x.example"] = "550 no"
    result = await processor(sink.settings()).process(job("a@x.example"))
    assert (result.successful, result.failed) == (0, 1)


async def test_come_again_later_for_everyone_fails_the_job_so_that_it_is_retried(sink: MailSink) -> None:
    sink.answers |= {"a@x.example": "451 greylisted", "b@x.example": "451 greylisted"}
    with pytest.raises(NothingSent, match="none of 2 recipients could be reached: 451 greylisted"):
        await processor(sink.settings()).process(job("a@x.example", "b@x.example"))


async def test_come_again_later_for_some_is_that_recipients_failure(sink: MailSink) -> None:
    sink.answers["a@x.example"] = "451 greylisted"
    result = await processor(sink.settings()).process(job("a@x.example", "b@x.example"))
    assert (result.successful, result.failed) == (1, 1)


async def test_a_server_that_is_not_there_fails_the_job_so_that_it_is_retried() -> None:
    async with mail_sink() as gone:
        settings = gone.settings()
    with pytest.raises(NothingSent, match=f"127.0.0.1:{gone.port}"):
        await processor(settings).process(job("a@x.example"))


async def test_a_wrong_password_fails_the_job_and_a_right_one_sends() -> None:
    async with mail_sink(b"secret") as sink:
        with pytest.raises(NothingSent, match="refused the login"):
            await processor(sink.settings(username="u", password="wrong")).process(job("a@x.example"))
        await processor(sink.settings(username="u", password="secret")).process(job("a@x.example"))
        assert set(sink.passwords) == {b"wrong", b"secret"}
        assert sink.recipients == ["a@x.example"]


async def test_a_password_does_not_travel_in_the_open_unless_told_so() -> None:
    async with mail_sink(b"secret") as sink:
        with pytest.raises(NothingSent, match="STARTTLS"):
            await processor(sink.settings(username="u", password="secret", tls="auto")).process(job("a@x.example"))
        assert sink.passwords == []


@pytest.mark.parametrize(
    "recipient",
    [
        "a@x.example\r\nBcc: victim@y.example",
        "a@x.example\nBcc: victim@y.example",
        "a@x.example\u2028Bcc: victim@y.example",
        "Ann\r\nBcc: victim@y.example <a@x.example>",
        '"Ann\r\nBcc: v@y.example" <a@x.example>',
        "a@x.example, victim@y.example",
        "a@x.example; victim@y.example",
        "all: a@x.example, victim@y.example;",
        "all: a@x.example;",
        "<a@x.example>\x00",
        "a@x.example>\r\nRCPT TO:<victim@y.example",
        "a b@x.example",
        "a@x@y.example",
        "@x.example",
        "a@",
        "",
        "a",
        "é@x.example",
        "a@x..example",
        "a@" + "x" * 64 + ".example",
    ],
)
async def test_what_is_not_one_address_reaches_nobody(sink: MailSink, recipient: str) -> None:
    result = await processor(sink.settings()).process(job("good@x.example", recipient))
    assert [outcome.status for outcome in result.results] == ["sent", "failed"]
    assert sink.recipients == ["good@x.example"]
    assert sink.messages[0]["Bcc"] is None


@pytest.mark.parametrize("subject", ["Hi\r\nBcc: v@y.example", "Hi\nX: y", "Hi\x00", "Hi\u2028there", "Hi\x85there"])
async def test_a_subject_with_a_line_break_fails_the_job_for_good(sink: MailSink, subject: str) -> None:
    for bad in (job("a@x.example", subject=subject), job("a@x.example", subject="", name=subject)):
        with pytest.raises(errors.UnrecoverableError, match="line break"):
            await processor(sink.settings()).process(bad)
    assert sink.envelopes == []


async def test_a_name_cannot_add_headers_or_end_the_message(sink: MailSink) -> None:
    await processor(sink.settings()).process(job("a@x.example", name="x\r\n.\r\nMAIL FROM:<evil@y.example>\r\n"))
    assert sink.recipients == ["a@x.example"]
    assert sink.envelopes[0].mail_from == "hello@acme.example"
    assert sink.messages[0]["MAIL FROM"] is None


def test_a_domain_with_letters_of_other_scripts_becomes_its_dns_form() -> None:
    assert parse_address("Ann <a@bücher.example>").addr_spec == "a@xn--bcher-kva.example"


async def test_the_message_id_is_the_same_at_every_attempt_and_differs_between_recipients_and_jobs(
    sink: MailSink,
) -> None:
    sender = processor(sink.settings())
    await sender.process(job("a@x.example", "b@x.example"))
    await sender.process(job("a@x.example", "b@x.example"))
    other = job("a@x.example")
    other.id = "2"
    await sender.process(other)
    ids = [message["Message-ID"] for message in sink.messages]
    assert ids[:2] == ids[2:4]
    assert len(set(ids)) == 3
    assert ids[0].endswith("@acme.example>")


@pytest.mark.parametrize(
    "name", ["welcome", "../templates/welcome-email", "welcome-email.txt", "/etc/passwd", "", ".."]
)
async def test_an_unknown_template_fails_the_job_for_good_and_says_which_exist(sink: MailSink, name: str) -> None:
    asked = job("a@x.example")
    asked.data.template = name
    with pytest.raises(errors.UnrecoverableError, match=r"does not exist; use one of welcome-email") as caught:
        await processor(sink.settings()).process(asked)
    assert repr(name) in str(caught.value)


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("Hello {{ nmae }}", "'nmae' is undefined"),
        ("{{ name.__class__.__mro__ }}", "unsafe"),
        ("{{ list.append(1) }}", "append.* unsafe"),
        ("{{ 1 / 0 }}", "division"),
        ("{% if %}", "Expected an expression"),
        ("{% include '../secret.txt' %}", "secret"),
        ("{{ range(10000000) | list }}", "Range too big"),
    ],
)
async def test_a_template_that_does_not_fit_its_data_fails_the_job_for_good(
    sink: MailSink, tmp_path: Path, template: str, reason: str
) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    folder = tmp_path / "templates"
    folder.mkdir()
    (folder / "welcome-email.txt").write_text(template)
    with pytest.raises(errors.UnrecoverableError, match=reason):
        await processor(sink.settings(), folder).process(job("a@x.example", name="Ann", list=[]))
    assert sink.envelopes == []


async def test_a_folder_of_ones_own_overrides_the_packaged_template_as_a_whole(sink: MailSink, tmp_path: Path) -> None:
    (tmp_path / "welcome-email.html").write_text("<p>Ours, {{ name }}</p>")
    await processor(sink.settings(), tmp_path).process(job("a@x.example"))
    message = sink.messages[0]
    assert message.get_content_type() == "text/html"
    assert "Ours, Ann" in message.get_content()


async def test_without_a_server_or_a_sender_the_error_says_what_to_set() -> None:
    with pytest.raises(errors.InvalidInput, match="SMTP_URL"):
        await EmailProcessor(None, Templates([PACKAGED]), "a@x.example").process(job("a@x.example"))
    mailer = Mailer(Smtp(host="127.0.0.1", port=1))
    with pytest.raises(errors.InvalidInput, match="MAIL_FROM"):
        await EmailProcessor(mailer, Templates([PACKAGED]), None).process(job("a@x.example"))
    with pytest.raises(errors.InvalidInput, match="MAIL_FROM"):
        EmailProcessor(mailer, Templates([PACKAGED]), "a@x.example\r\nBcc: b@y.example")
