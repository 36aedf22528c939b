"""An HTML body: what a value becomes where it stands, where the frame goes, and that the link can be clicked."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailer.messages.addresses import Mailbox
from mailer.messages.bodies import LINK, PARAGRAPH, compile_bodies, framed
from mailer.messages.html_part.markup import tokens
from mailer.messages.layout import TemplateSource
from mailer.messages.recipient import Recipient
from mailer.messages.template import compile_message

SITE = {"Site_Name": "A&B", "Site_URL": "https://mail.example.org"}
GO = "https://mail.example.org/u/1"
ANCHOR = f'<a href="{GO}">{GO}</a>'
ADDED = PARAGRAPH.replace("[unsubscribe]", GO)
SOURCE = TemplateSource("c1", Mailbox("", "news@example.org"), "x", "", "A&B", "https://mail.example.org")
ANN = Recipient("u1", 'Ann "A&B" <Lée>/?#', "ann+x@example.org")
ENCODED = "Ann%20%22A%26B%22%20%3CL%C3%A9e%3E%2F%3F%23"
ESCAPED = "Ann &quot;A&amp;B&quot; &lt;Lée&gt;/?#"


def rendered(body: str) -> tuple[str, str]:
    preview = compile_message(replace(SOURCE, body=body)).preview(ANN, GO)
    return preview.html, preview.text


class Attributes(HTMLParser):
    def __init__(self, markup: str) -> None:
        super().__init__()
        self.found: list[tuple[str, str, str | None]] = []
        self.feed(markup)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [(tag, name, value) for name, value in attrs]


@pytest.mark.parametrize(
    ("source", "element", "attribute", "value"),
    [
        ('<a href="https://x.org/?n=[name]&e=[email]">', "a", "href", f"https://x.org/?n={ENCODED}&e=ann%2Bx%40example.org"),
        ("<A HREF='https://x.org/[name]#[fname]'>", "a", "href", f"https://x.org/{ENCODED}#Ann"),
        ("<a href=https://x.org/?n=[name]>", "a", "href", f"https://x.org/?n={ENCODED}"),
        ("<a\n\thref\n=\n'?n=[name]'>", "a", "href", f"?n={ENCODED}"),
        ("<a href='[unsubscribe]'>", "a", "href", GO),
        ("<a href=' [unsubscribe] '>", "a", "href", f" {GO} "),
        ("<a href=[unsubscribe]?n=[name]>", "a", "href", f"{GO}?n={ENCODED}"),
        ("<a href='http://[unsubscribe]'>", "a", "href", GO),
        ("<a href='https://x.org/?u=[unsubscribe]'>", "a", "href", "https://x.org/?u=https%3A%2F%2Fmail.example.org%2Fu%2F1"),
        ("<a href='[Site_URL]/x?s=[Site_Name]&u=[Site_URL]'>", "a", "href",
         "https://mail.example.org/x?s=A%26B&u=https%3A%2F%2Fmail.example.org"),
        ("<a href='http://[Site_URL]/x'>", "a", "href", "https://mail.example.org/x"),
        ("<a href='mailto:[email]?subject=[name]'>", "a", "href", f"mailto:ann%2Bx@example.org?subject={ENCODED}"),
        ("<a href=' MAILTO:[email]'>", "a", "href", " MAILTO:ann%2Bx@example.org"),
        ("<a href='[email]'>", "a", "href", "ann%2Bx%40example.org"),
        ("<a href='[name]'>", "a", "href", ENCODED),
        ("<a href='[Site_Name]'>", "a", "href", "A%26B"),
        ("<img src='https://x.org/[name].png' alt='[name]'>", "img", "src", f"https://x.org/{ENCODED}.png"),
        ("<img src='x' alt='[name]'>", "img", "alt", ANN.name),
        ("<img alt=[name]>", "img", "alt", ANN.name),
        ("<img srcset='[Site_URL]/a 1x, https://x.org/[name] 2x,[Site_URL]/b 3x'>", "img", "srcset",
         f"https://mail.example.org/a 1x, https://x.org/{ENCODED} 2x,https://mail.example.org/b 3x"),
        ("<form action='https://x.org/[name]'>", "form", "action", f"https://x.org/{ENCODED}"),
        ("<button formaction='https://x.org/[name]'>", "button", "formaction", f"https://x.org/{ENCODED}"),
        ("<td background='https://x.org/[name]'>", "td", "background", f"https://x.org/{ENCODED}"),
        ("<video poster='https://x.org/[name]'>", "video", "poster", f"https://x.org/{ENCODED}"),
        ("<q cite='https://x.org/[name]'>", "q", "cite", f"https://x.org/{ENCODED}"),
        ("<v:roundrect href='https://x.org/[name]'>", "v:roundrect", "href", f"https://x.org/{ENCODED}"),
        ("<p style=\"background:url('https://x.org/[name]')\">", "p", "style", f"background:url('https://x.org/{ENCODED}')"),
        ("<p style='background:url([Site_URL]/[name])'>", "p", "style",
         f"background:url(https://mail.example.org/{ENCODED})"),
        ("<p style='background:url(x);content:[fname]'>", "p", "style", "background:url(x);content:Ann"),
        (f"<b style='background:url(x{'y' * 3000}?n=[name]&[fname]=[name])[fname] url([fname]&[fname])'>", "b", "style",
         f"background:url(x{'y' * 3000}?n={ENCODED}&Ann={ENCODED})Ann url(Ann&Ann)"),
        ("<meta http-equiv=refresh content='5; URL=https://x.org/[name]'>", "meta", "content",
         f"5; URL=https://x.org/{ENCODED}"),
        ("<meta name=author content='[name]'>", "meta", "content", ANN.name),
        ("<a title='x > [name]' href=y>", "a", "title", f"x > {ANN.name}"),
        ("<a data-url='https://x.org/[name]' href=y>", "a", "data-url", f"https://x.org/{ANN.name}"),
    ],
)  # fmt: skip
def test_value_in_an_attribute(source: str, element: str, attribute: str, value: str) -> None:
    assert (element, attribute, value) in Attributes(rendered(source + "<br>[unsubscribe]")[0]).found


def test_value_in_what_only_outlook_reads_is_encoded_too() -> None:
    button = "<!--[if mso]><v:roundrect href='https://x.org/[name]'>[name]</v:roundrect><![endif]-->"

    assert rendered(button + ANCHOR)[0].startswith(
        f"<!--[if mso]><v:roundrect href='https://x.org/{ENCODED}'>{ESCAPED}</v:roundrect><![endif]-->"
    )


def test_value_in_a_style_sheet_is_encoded_in_its_urls_only() -> None:
    sheet = "<style>a{background:url(https://x.org/[fname] )} b:after{content:'[email] a<b>'}</style>"

    assert rendered(sheet)[0].startswith(
        "<style>a{background:url(https://x.org/Ann )} b:after{content:'ann+x@example.org a<b>'}</style>"
    )


def test_url_in_text_is_the_same_in_both_parts_and_in_the_link() -> None:
    markup, text = rendered("<a href='https://x.org/?n=[name]'>https://x.org/?n=[name]</a>, [name] [unsubscribe]")

    assert markup == f"<a href='https://x.org/?n={ENCODED}'>https://x.org/?n={ENCODED}</a>, {ESCAPED} {ANCHOR}"
    assert text.strip() == f"https://x.org/?n={ENCODED}, {ANN.name} {GO}"


@pytest.mark.parametrize(
    ("source", "markup"),
    [
        pytest.param("<p><[unsubscribe]>", f"<p>&lt;{ANCHOR}>", id="after a bare bracket"),
        pytest.param(
            "<p>Q&[fname]; &amp;[fname]; &#[fname];", "<p>Q&amp;Ann; &amp;Ann; &amp;#Ann;", id="after an ampersand"
        ),
        pytest.param("<p>a <[fname]> b", "<p>a &lt;Ann> b", id="name after a bracket"),
        pytest.param("<br><p [name]>x", f"<br><p {ENCODED}>x", id="where an attribute's name would be"),
        pytest.param("<p title=[name]>x", f'<p title="{ESCAPED}">x', id="without quotes"),
        pytest.param("<p title=a\"[fname]'>x", '<p title="a&quot;Ann\'">x', id="without quotes, with quotes"),
        pytest.param("<br><A[fname]<p>", "<br>&lt;AAnn<p>", id="in a tag without an end"),
        pytest.param("<p>1 <b and [fname] <i>2</i>", "<p>1 &lt;b and Ann <i>2</i>", id="behind a tag without an end"),
    ],
)
def test_value_never_becomes_markup(source: str, markup: str) -> None:
    assert rendered(source)[0].removesuffix(ADDED) == markup


@pytest.mark.parametrize(
    "body",
    [
        "<p>Hi</p>[unsubscribe]",
        "<p><a href='[unsubscribe]'>Leave</a>",
        "<p><a href=[unsubscribe]>[unsubscribe]</a>",
        "<a href='[unsubscribe]'><img src=x alt=Leave></a>",
        "<a href='[unsubscribe]?lang=de'>Leave</a>",
        "<a href='[unsubscribe]'><b>Lea</b>ve</a>",
        "<p><[unsubscribe]>",
    ],
)
def test_link_that_can_be_clicked_is_left_alone(body: str) -> None:
    markup, text = rendered(body)

    assert ("a", "href", GO) in [
        (tag, name, (value or "").split("?")[0]) for tag, name, value in Attributes(markup).found
    ]
    assert "Unsubscribe:" not in markup + text
    assert GO in text


@pytest.mark.parametrize(
    "body",
    [
        pytest.param("<p>Hi</p><!-- [unsubscribe] -->", id="comment"),
        pytest.param("<p>Hi</p><div style='display:none'>[unsubscribe]</div>", id="hidden"),
        pytest.param("<p>Hi</p><p style='display:none'><a href='[unsubscribe]'>x</a></p>", id="hidden link"),
        pytest.param("<p>Hi</p></[unsubscribe]>", id="bogus comment"),
        pytest.param("<p title='[unsubscribe]'>Hi</p>", id="another attribute"),
        pytest.param("<form action='[unsubscribe]'>Hi</form>", id="form"),
        pytest.param("<a href='https://x.org'>[unsubscribe]</a>", id="text of another link"),
        pytest.param("<a href='[unsubscribe]'></a><p>Hi", id="empty link"),
        pytest.param("<a href='https://x.org/?u=[unsubscribe]'>Hi</a>", id="inside another URL"),
        pytest.param("<!--[if mso]><a href='[unsubscribe]'>x</a><![endif]--><p>Hi", id="Outlook only"),
        pytest.param("<title>[unsubscribe]</title><p>Hi", id="title"),
        pytest.param("<style>[unsubscribe]</style><p>Hi", id="style sheet"),
        pytest.param("<p>Hi<img src='[unsubscribe]'>", id="image"),
        pytest.param("<p>Hi<!-- [unsubscribe]", id="comment without an end"),
        pytest.param("<style>a {display: none}</style><p>Hi <a href='[unsubscribe]'>x</a>", id="every link hidden"),
        pytest.param("<style>*{visibility:hidden!important}</style><p>Hi [unsubscribe]", id="everything hidden"),
        pytest.param("<style>p, a {opacity:0;font-size:0}</style><p>Hi [unsubscribe]", id="everything without a size"),
        pytest.param("<p>Hi<a href='[unsubscribe]'>&zwnj;</a>", id="link that shows nothing"),
        pytest.param("<p>Hi [unsubscribe]" + "<br>" * 70_000, id="more tags than are looked at"),
    ],
)
def test_link_that_nobody_can_click_is_shown_in_a_paragraph(body: str) -> None:
    markup, text = rendered(body)

    assert markup.count(ADDED) == 1
    assert text.count(f"Unsubscribe: {GO}") == 1


def test_paragraph_stands_inside_the_body_and_where_it_is_seen() -> None:
    document = "<!doctype html><html><body><p>Hi<!-- [unsubscribe] --></body></html>"
    open_end = "<p>Hi</p><div style='display:none'>[unsubscribe]"

    assert rendered(document)[0] == f"<!doctype html><html><body><p>Hi<!-- {GO} -->{ADDED}</body></html>"
    assert rendered(open_end)[0].startswith(ADDED)


def test_message_without_the_placeholder_gets_no_paragraph() -> None:
    assert rendered("<p>Hi")[0] == "<p>Hi"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param("<p>x", "{H}<p>x{F}", id="fragment"),
        pytest.param("<html><body>x</body></html>", "<html><body>{H}x{F}</body></html>", id="document"),
        pytest.param("<!DOCTYPE html><HTML><BODY\nBGCOLOR='a>b'>x</BODY ></HTML>",
                     "<!DOCTYPE html><HTML><BODY\nBGCOLOR='a>b'>{H}x{F}</BODY ></HTML>", id="capitals and attributes"),
        pytest.param("<html><body>x</html>", "<html><body>{H}x{F}</html>", id="no end of the body"),
        pytest.param("<html><body>x", "<html><body>{H}x{F}", id="no end at all"),
        pytest.param("<!doctype html><title>t</title><p>x", "<!doctype html><title>t</title>{H}<p>x{F}",
                     id="no body tag"),
        pytest.param("<html><head><style>body{}</style></head>x</html>",
                     "<html><head><style>body{}</style></head>{H}x{F}</html>", id="head only"),
        pytest.param("<!-- <body> --><html><body>x<!-- </body> --></body>",
                     "<!-- <body> --><html><body>{H}x<!-- </body> -->{F}</body>", id="comments"),
        pytest.param("<html><script>'<body></body>'</script><body>x</body>",
                     "<html><script>'<body></body>'</script><body>{H}x{F}</body>", id="script"),
        pytest.param("<!--[if mso]><body class=m><![endif]--><!--[if !mso]><!--><body><!--<![endif]-->x</body>",
                     "<!--[if mso]><body class=m><![endif]--><!--[if !mso]><!--><body><!--<![endif]-->{H}x{F}</body>",
                     id="a body for Outlook"),
        pytest.param("<style>p{}</style><p>x", "{H}<style>p{}</style><p>x{F}", id="style sheet of a fragment"),
    ],
)  # fmt: skip
def test_header_and_footer_stand_inside_the_body_of_a_document(body: str, expected: str) -> None:
    assert framed("{H}", body, "{F}") == expected


@settings(deadline=None)
@given(st.lists(st.sampled_from(
    ["<", ">", "a", " ", "'", '"', "=", "/", "!", "-", "--", "<!--", "-->", "<p", "<a href=", "</a>", "<style>",
     "</style>",
     "<title>", "[name]", "[unsubscribe]", "&", "<!--[if mso]>", "<![endif]-->", "<!doctype", "http://x/"]), max_size=20
).map("".join))  # fmt: skip
def test_tokens_of_anything_cover_it_and_nothing_is_lost(source: str) -> None:
    places = [(token.start, token.end) for token in tokens(source)]
    assert "".join([source[start:end] for start, end in places]) == source

    made = compile_bodies("", source + "<br>", "", SITE)
    assert ("[unsubscribe]" not in source) or LINK in made.text[1::2]


@pytest.mark.ci
@pytest.mark.slow
@pytest.mark.parametrize(
    "piece", ["<", "<a ", "<a b='", '<a b="', "<!--", "<title>", "</", "<!", "<a =", "<!--[if ", "<p>[name]", "<style>",
              "<style>url([name])</style>", "<b title=[name]>"]
)  # fmt: skip
def test_long_markup_is_cut_in_linear_time(piece: str) -> None:
    assert list(tokens(piece * 200_000 + ">"))  # if it is not linear, the test's time limit fails it
