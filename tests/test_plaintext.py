"""The text part says what the HTML says: each table is a kind of fault, and each row an example of it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailer.messages.text_part.plaintext import lay_out
from tests.drills import rounds

LINKS = "<a href='http://e.org/b'>"


def text(markup: str) -> str:
    """The text part, without its last line end."""
    return "".join(lay_out([markup])).removesuffix("\n")


@pytest.mark.parametrize(
    ("markup", "expected"),
    [
        pytest.param("<img alt='Our  shop' src=x>", "[Our shop]", id="picture"),
        pytest.param("a<img alt=b>c", "a [b] c", id="picture between words"),
        pytest.param("<img src=x><img alt='' src=y>", "", id="picture without a text"),
        pytest.param("<img src=x alt=seen width=1 height=1>", "", id="tracking pixel"),
        pytest.param("<img src=x alt=seen style='width:1px;height:1px'>", "", id="tracking pixel by style"),
        pytest.param("<img src=x alt=seen width=0>", "", id="picture of no width"),
        pytest.param("<a href=http://e.org><img alt=Logo></a>", "[Logo] <http://e.org>", id="picture as a link"),
        pytest.param("<a href=http://e.org><img></a>", "<http://e.org>", id="link of a picture without a text"),
        pytest.param("<a href=mailto:a@b.org>Write</a>", "Write <mailto:a@b.org>", id="mail"),
        pytest.param("<a href=mailto:a@b.org>a@b.org</a>", "a@b.org", id="mail shown as itself"),
        pytest.param("<a href='tel:+1 555'>Call</a>", "Call <tel:+1%20555>", id="telephone"),
        pytest.param("<a href=tel:+15551234>+1 (555) 1234</a>", "+1 (555) 1234", id="telephone shown as itself"),
        pytest.param("<a href=someapp:open>Open</a>", "Open <someapp:open>", id="another program"),
        pytest.param("x<v:rect href=http://e.org>Buy</v:rect>", "x Buy <http://e.org>", id="VML outside of a comment"),
        pytest.param("<a href=sms:+1555>Text</a>", "Text <sms:+1555>", id="short message"),
        pytest.param("<a href=HTTPS://E.org/X>x</a>", "x <HTTPS://E.org/X>", id="scheme in capitals"),
        pytest.param("<a href='\n http://e.org/\n a'>x</a>", "x <http://e.org/%20a>", id="target over lines"),
        pytest.param("<a href=//e.org/x>x</a>", "x <https://e.org/x>", id="no scheme"),
        pytest.param("<a href='http://e.org/a b<c>'>x</a>", "x <http://e.org/a%20b%3Cc%3E>",
                     id="signs that end a target"),
        pytest.param("<map><area href=http://e.org alt=Map></map>", "[Map] <http://e.org>", id="area"),
        pytest.param("<a href=javascript:x()>x</a> <a href=data:x,y>y</a> <a href=#a>z</a>", "x y z", id="no place"),
        pytest.param("<a href=http://e.org></a>x", "x", id="link with nothing to click on"),
        pytest.param("<a href=http://e.org><span hidden>y</span></a>x", "x", id="link with nothing shown"),
        pytest.param("<a href=http://e.org>http://e.org/</a>", "http://e.org/", id="target shown as itself"),
        pytest.param("<a href=https://e.org/>www.e.org</a>", "https://e.org/", id="target shown without its scheme"),
        pytest.param("<a href=http://e.org>a</a><a href=http://f.org>b</a>, c",
                     "a <http://e.org> b <http://f.org>, c", id="links beside one another"),
        pytest.param("<a href=http://e.org><img alt=P></a><p><a href=http://e.org>T</a><p><a href=http://e.org>More</a>",
                     "[P]\n\nT\n\nMore <http://e.org>", id="picture, title and button with one target"),
        pytest.param("<a href=http://e.org><div>T</div><p>text</p></a>next", "T\n\ntext <http://e.org>\n\nnext",
                     id="link around blocks"),
        pytest.param("<!--[if mso]><v:roundrect href='http://e.org/b'><w:anchorlock/><center>Buy</center></v:roundrect>"
                     "<![endif]-->", "Buy <http://e.org/b>", id="button for Outlook alone"),
        pytest.param("<!--[if mso]><v:rect href='http://e.org/b'><center>Buy</center></v:rect><![endif]-->"
                     f"<!--[if !mso]><!-->{LINKS}Buy</a><!--<![endif]-->", "Buy <http://e.org/b>",
                     id="button for Outlook before the link"),
        pytest.param(f"{LINKS}Buy</a><!--[if mso]><v:rect href='http://e.org/b'>Buy</v:rect><![endif]-->",
                     "Buy <http://e.org/b>", id="button for Outlook after the link"),
        pytest.param("<div><!--[if mso]><v:roundrect href='http://e.org/b'><center>Buy</center></v:roundrect><![endif]-->"
                     "<a href='http://e.org/b' style='mso-hide:all'>Buy</a></div>", "Buy <http://e.org/b>",
                     id="link that Outlook does not show"),
        pytest.param("<!--[if mso]><p>For Outlook</p><![endif]--><!-- c -->x", "x", id="comments"),
        pytest.param("a<hr>b", f"a\n\n{'-' * 20}\n\nb", id="rule"),
        pytest.param("<button>Go</button><input type=submit value=Send><input value=no><textarea>t</textarea>",
                     "Go [Send] t", id="form"),
    ],
)  # fmt: skip
def test_text_has_what_was_lost(markup: str, expected: str) -> None:
    assert text(markup) == expected


@pytest.mark.parametrize(
    "name",
    [
        *("div", "center", "section", "form", "article", "header", "footer", "main", "nav", "aside", "address"),
        *("details", "fieldset", "dl", "p", "h1", "h6", "blockquote", "pre", "ul", "figure", "summary", "legend"),
        "figcaption",
    ],
)
def test_words_of_two_blocks_are_on_lines_of_their_own(name: str) -> None:
    lines = [line.lstrip("> ") for line in text(f"a<{name}>b</{name}><{name}>c</{name}>d").splitlines() if line]

    assert lines == ["a", "b", "c", "d"] or (name == "blockquote" and [line for line in lines if line] == list("abcd"))


@pytest.mark.parametrize(
    ("markup", "expected"),
    [
        pytest.param("<dl><dt>T<dd>a<dd>b</dl>", "T\n  a\n  b", id="definitions"),
        pytest.param("<ul><li>a<li>b<ul><li>c</ul><li>d</ul>", "* a\n* b\n  * c\n* d", id="nested list"),
        pytest.param("<ol><li>a<li>b</ol>", "1. a\n2. b", id="numbers"),
        pytest.param("<ol start=9><li>a<li>b<li value=20>c</ol>", "9. a\n10. b\n20. c", id="numbers from a start"),
        pytest.param("<ol start=x><li>a<ul><li>b<br>c</ul></ol>", "1. a\n   * b\n     c", id="lines of an item"),
        pytest.param("<ul><li><p>a</p><p>b</p></ul>", "* a\n\n  b", id="paragraphs of an item"),
        pytest.param("<li>a", "* a", id="item of no list"),
        pytest.param("<blockquote>a<p>b<blockquote>c</blockquote></blockquote>d", "> a\n>\n> b\n>\n> > c\n\nd",
                     id="quotation in a quotation"),
        pytest.param("<h1>A</h1>b<h2>C</h2>d", "A\n\nb\n\nC\n\nd", id="headings"),
        pytest.param("x<pre>\n a  b\n\n\n\n\n  c &nbsp;d</pre>y", "x\n\n a  b\n\n\n  c  d\n\ny", id="kept as written"),
        pytest.param("<p style='white-space:pre-line'>a  b\nc</p>", "a b\nc", id="line ends kept"),
        pytest.param("<p>a\n b\t c", "a b c", id="blanks"),
        pytest.param("a<br>b<br><br>c<br><br><br><br><br>d", "a\nb\n\nc\n\n\nd", id="line ends"),
        pytest.param("<p>a</p>" + "<br>" * 9 + "<p>b</p>", "a\n\n\nb", id="two blank lines at most"),
        pytest.param("<p>a </p><div> <b>b</b> </div>", "a\n\nb", id="blanks at the ends of lines"),
        pytest.param("<b>a</b><i>b</i> <u>c</u>", "ab c", id="words in pieces"),
        pytest.param("<p>a&zwnj;&nbsp;&#847;&zwnj;&nbsp;&#8199;&#65279;b &shy;</p>&#8203;&#847;", "a b", id="filler"),
        pytest.param("so&shy;ft 10&nbsp;km", "soft 10 km", id="blanks and breaks for the typesetter"),
        pytest.param("می\u200cخواهم 👩\u200d🚀", "می\u200cخواهم 👩\u200d🚀", id="joiners inside words"),
        pytest.param("<span style=display:block>a</span><span style='display:block'>b</span>", "a\nb",
                     id="made a block"),
        pytest.param("<div style=display:inline>a</div><div style=display:inline>b</div>", "ab", id="made no block"),
        pytest.param("say <q>x</q>", "say “x”", id="quotation marks"),
        pytest.param("<ruby>漢<rp>(</rp><rt>kan</rt><rp>)</rp></ruby>", "漢(kan)", id="ruby"),
    ],
)  # fmt: skip
def test_text_has_the_shape_of_the_document(markup: str, expected: str) -> None:
    assert text(markup) == expected


@pytest.mark.parametrize(
    ("markup", "expected"),
    [
        pytest.param("<table role=presentation><tr><td>a<td>b</table>", "a\n\nb", id="role"),
        pytest.param("<table width=600 cellpadding=0 border=0><tr><td>a<td>b</table>", "a\n\nb", id="looks"),
        pytest.param("<table><tr><td>a<tr><td>b</table>", "a\n\nb", id="one column"),
        pytest.param("<table><tr><td>a<td><table><tr><td>b</table></table>", "a\n\nb", id="with a table inside"),
        pytest.param("<table><tr><td><p>a</p><td><p>b</p></table>", "a\n\nb", id="with paragraphs"),
        pytest.param("<table><tr><td>a<td>b<tr><td>long<td>d</table>", "a     b\nlong  d", id="data"),
        pytest.param("<table><tr><th>Name<th>名前<th>No<tr><td>x<td>y<td>1</table>",
                     "Name  名前  No\nx     y     1", id="data with headings and wide signs"),
        pytest.param("<table width=600><caption>Sales</caption><tr><th>a<th>b<tr><td>c<td>d</table>",
                     "Sales\n\na  b\nc  d", id="data with a caption"),
        pytest.param("<table border=1><tr><td>a<td>b<td>c<tr><td colspan=2>Total<td>d<tr><td colspan=1000000>e</table>",
                     "a  b  c\nTotal  d\ne",
                     id="cells over columns"),
        pytest.param("<table border=1><tr><td rowspan=2>a<td>b<tr><td>c</table>", "a  b\n   c", id="cells over rows"),
        pytest.param("<table border=1><tr><td>a<br>b<td>c</table>", "a  c\nb", id="cells of lines"),
        pytest.param("<table border=1><tr><td>a<td><a href=http://e.org>x</a></table>", "a  x <http://e.org>",
                     id="link"),
        pytest.param(f"<table border=1><tr><td>{'x' * 99}<td>b<tr><td>a<td>c</table>", f"{'x' * 99} | b\na | c",
                     id="wide"),
    ],
)  # fmt: skip
def test_text_of_a_table(markup: str, expected: str) -> None:
    assert text(markup) == expected


HIDDEN = [
    *("display:none", "display:none !important", "display : NONE", "DISPLAY:none;color:red", "/*x*/display:/**/none"),
    *(
        "d\\69splay:no\\6e e",
        "visibility:hidden",
        "visibility: collapse",
        "max-height:0",
        "max-height:0px;overflow:hidden",
    ),
    *(
        "font-size:0",
        "font-size:0px",
        "font:0/0 a",
        "opacity:0",
        "opacity:0.0",
        "opacity: 0%",
        "height:0;overflow:hidden",
    ),
    *("display:block;display:none", "display:none;display:nonsense", "display:none!important;display:block"),
    "display:none;mso-hide:all;max-height:0",
]


@pytest.mark.parametrize("style", HIDDEN)
def test_hidden_by_its_style_is_not_said(style: str) -> None:
    markup = f'<p>a</p><div style="{style}">secret <a href="http://e.org">x</a> [unsubscribe]<b>y</b></div><p>b'

    assert text(markup) == "a\n\nb"


@pytest.mark.parametrize("style", HIDDEN)
@pytest.mark.parametrize(
    "selector", [".h", "p", "#i", "p.h", "p#i.h", "div > .h", "div .h, .q", "div *", "P", "[class~=h]", "p:not(.z)"]
)
def test_hidden_by_a_rule_is_not_said(selector: str, style: str) -> None:
    sheet = f"<style>@import 'x'; @font-face{{src:x}} /* x */ {selector}{{color:red;{style}}} a:hover{{}}</style>"

    assert text(f'{sheet}<i>a</i><div><p class="h k" id=i>secret</div>b').split() in (["a", "b"], ["ab"])


@pytest.mark.parametrize(
    "markup",
    [
        "<p hidden>s</p>", "<p hidden=until-found>s</p>", "<template>s</template>", "<noscript>s</noscript>",
        "<script>s</script>", "<style>s</style>", "<title>s</title>", "<select><option>s</select>", "<!-- s -->",
        "<dialog>s</dialog>", "<datalist><option>s</datalist>", "<iframe>s</iframe>", "<input type=hidden value=s>",
        "<svg><title>s</title><desc>s</desc></svg>", "<xml><o:x>s</o:x></xml>", "<noframes>s</noframes>", "<![if x]>",
    ],
)  # fmt: skip
def test_hidden_by_what_it_is_is_not_said(markup: str) -> None:
    assert text(f"a{markup}b").replace("\n", "") == "ab"


@pytest.mark.parametrize(
    "markup",
    [
        pytest.param("<style>@media (max-width:600px){.x{display:none}}</style><p class=x>s", id="on telephones"),
        pytest.param("<style>@media print{.x{display:none}}</style><p class=x>s", id="on paper"),
        pytest.param("<style>@media (prefers-color-scheme:dark){.x{display:none}}</style><p class=x>s",
                     id="in the dark"),
        pytest.param("<style media=print>.x{display:none}</style><p class=x>s", id="sheet for paper"),
        pytest.param("<style>.x{display:none}@media screen and (min-width:9px){.x{display:block}}</style><p class=x>s",
                     id="shown on wide screens"),
        pytest.param("<style>p{display:none}.x{display:block}</style><p class=x>s", id="by a weightier rule"),
        pytest.param("<style>.x{display:none}.x{display:block}</style><p class=x>s", id="by a later rule"),
        pytest.param("<style>.x{display:none}</style><p class=x style=display:block>s", id="by its own style"),
        pytest.param("<style>.x{display:block!important}</style><p class=x style=display:none>s", id="important"),
        pytest.param("<div style=visibility:hidden><p style=visibility:visible>s</div>", id="visible in what is not"),
        pytest.param("<div style=font-size:0><p style=font-size:12px>s</div>", id="letters with a size again"),
        pytest.param("<p style='max-height:0.5em;opacity:0.5;font-size:1px;height:0'>s", id="not zero"),
        pytest.param("<style>.x:hover{display:none}.x::before{display:none}.y .x{display:none}</style><p class=x>s",
                     id="rules about something else"),
        pytest.param("<p style='mso-hide:all'>s", id="hidden from Outlook alone"),
        pytest.param("<p hidden style=display:block>s", id="shown again"),
        pytest.param("<table hidden><div>s</div></table>", id="moved out of a table by the parser"),
    ],
)  # fmt: skip
def test_shown_on_a_desktop_is_said(markup: str) -> None:
    assert text(f"{markup}").strip() == "s"


@pytest.mark.slow
@pytest.mark.parametrize("depth", [255, 256, 2048, 20_000])
@pytest.mark.parametrize("tag", ["div", "span", "b", "blockquote", "ul><li", "table><tr><td", "center", "font"])
def test_text_below_any_number_of_elements_is_said(tag: str, depth: int) -> None:
    assert text(f"<{tag}>" * depth + "deep").split()[-1] == "deep"


def test_placeholders_are_kept_in_texts_targets_and_pictures() -> None:
    body = [
        "<p>Hi ",
        "name",
        "</p><a href='",
        "unsubscribe",
        "'>Leave</a><a href='http://e.org/?q=",
        "email",
        "'>x</a>",
    ]

    segments = lay_out([*body[:-1], "'>x</a><img alt='", "fname", "'>"])

    assert segments == [
        "Hi ",
        "name",
        "\n\nLeave <",
        "unsubscribe",
        "> x <http://e.org/?q=",
        "email",
        "> [",
        "fname",
        "]\n",
    ]


@pytest.mark.parametrize("where", ["<p hidden>{}</p>", "<!--{}-->", "<a href='{}'></a>", "<form action='{}'></form>"])
def test_placeholder_that_nobody_sees_is_not_shown(where: str) -> None:
    before, after = where.split("{}")

    assert lay_out([f"Hi{before}", "unsubscribe", after]) == ["Hi\n"]


PIECES = [
    "<p>",
    "</p>",
    "<div hidden>",
    "</div>",
    "<table border=1>",
    "<tr>",
    "<td colspan=3>",
    "</table>",
    "<ul>",
    "<li>",
]
PIECES += ["</ul>", "<a href=http://e.org/x>", "</a>", "<b>", "</b>", "<br>", "<hr>", "<img alt=x>", "<pre>", "</pre>"]
PIECES += [
    "<blockquote>",
    "</blockquote>",
    "<!--[if mso]><v:rect href=http://e.org/x>y</v:rect><![endif]-->",
    "<style>",
]
PIECES += [
    "p{display:none}",
    "</style>",
    "<svg>",
    "<math>",
    "<template>",
    "<select>",
    "&nbsp;",
    "\u200c",
    " ",
    "\n",
    "word",
]


@pytest.mark.drill
@settings(max_examples=rounds(100, 3000), deadline=None)
@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=8), max_size=40).map("".join))
def test_text_of_anything_has_no_blank_too_many(markup: str) -> None:
    shown = text(markup)

    assert all(line == line.rstrip() for line in shown.split("\n"))
    assert "\n\n\n\n" not in shown
    assert shown == shown.strip("\n")
    assert len(shown) <= 30 * len(markup) + 100


def test_markup_with_more_tags_than_a_parser_reads_in_seconds_keeps_its_words_and_links() -> None:
    row = "<tr class=x><td>A &amp;\n B</td><td><a href='https://x.org/?a=1&amp;b=2'>go</a></td></tr>"
    rest = (
        "<style>p{color:red}</style><!-- no --><script>no()</script><a href='javascript:x'>mail</a> <a href=x>end</a>"
    )

    lines = text(row * 10_000 + rest).split("\n")

    assert lines == [*["A & B go <https://x.org/?a=1&b=2>"] * 10_000, "mail end"]


@pytest.mark.parametrize("signs", ["(", "[", "{", ":not(", "a["])
@pytest.mark.parametrize("place", ["<p style='display:{}'>x", "<style>p{{display:{}}}</style><p>x",
                                   "<style>p:not({}){{display:none}}</style><p>x",
                                   "<style>@media ({}{{p{{display:none}}}}</style><p>x"])  # fmt: skip
def test_style_that_is_nested_without_end_hides_nothing(place: str, signs: str) -> None:
    assert text(place.format(signs * 20_000)) in ("x", "")


def test_style_sheet_after_such_a_style_still_holds() -> None:
    deep = f"<b style='display:{'(' * 20_000}'>b</b>"

    assert text(f"<style>i{{display:none}}</style>{deep}<i>i</i>") == "b"


def test_style_sheet_of_a_long_newsletter_holds_to_its_end() -> None:
    sheet = "table td{width:10px} td > a{display:inline} .preheader{display:none}"
    rows = "<tr><td><a href='https://x.org/'>x</a></td></tr>" * 600

    assert text(f"<style>{sheet}</style><p class=preheader>hidden</p><p>seen<table>{rows}</table>").startswith("seen")
