"""Names that HTML knows: the standard's, the obsolete ones that mail still has, and Outlook's."""

from __future__ import annotations


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


ELEMENTS = _words(
    """
    a abbr acronym address applet area article aside audio b base basefont bdi bdo bgsound big blink blockquote body br
    button canvas caption center cite code col colgroup data datalist dd del details dfn dialog dir div dl dt em embed
    fieldset figcaption figure font footer form frame frameset h1 h2 h3 h4 h5 h6 head header hgroup hr html i iframe img
    input ins kbd label legend li link main map mark marquee menu meta meter nav nobr noembed noframes noscript object
    ol optgroup option output p param picture pre progress q rp rt ruby s samp script search section select slot small
    source span strike strong style sub summary sup svg table tbody td template textarea tfoot th thead time title tr
    track tt u ul var video wbr xmp o:p v:fill v:imagedata v:oval v:rect v:roundrect v:shape v:textbox w:anchorlock
    """
)
UNCLOSED = _words("body br col colgroup dd dt embed hr html img li meta p tbody td tfoot th thead tr wbr")
"""Elements that need no closing, so that one alone is enough. Not those that say nothing without an attribute and
whose name a letter may have in brackets: `<link>`, `<option>`, `<source>`, `<input>`, `<head>` and the like."""

BOOLEAN = _words("checked controls disabled hidden inert ismap nohref noshade nowrap open selected")
"""Attributes that mean something without a value. The rest need one: `<time for lunch>` is no tag."""

ATTRIBUTES = BOOLEAN | _words(
    """
    abbr accept accept-charset accesskey action align alink allow alt archive async autocomplete autofocus autoplay axis
    background behavior bgcolor border bordercolor cellpadding cellspacing char charset cite class classid clear
    codebase codetype color cols colspan compact content contenteditable coords crossorigin data datetime declare
    decoding default defer dir direction dirname download draggable dynsrc enctype enterkeyhint face fetchpriority fill
    for form formaction formenctype formmethod formnovalidate formtarget frame frameborder headers height high href
    hreflang hspace http-equiv id imagesizes imagesrcset inputmode integrity is itemid itemprop itemref itemscope
    itemtype kind label lang language link list loading longdesc loop low lowsrc marginheight marginwidth max maxlength
    media method min minlength multiple muted name nonce novalidate object optimum pattern ping placeholder playsinline
    popover poster preload profile prompt property readonly referrerpolicy rel required rev reversed role rows rowspan
    rules sandbox scheme scope scrolling shape size sizes slot span spellcheck src srcdoc srclang srcset standby start
    step style summary tabindex target text title translate type usemap valign value valuetype version vlink vspace
    width wrap xml:lang xmlns xmlns:o xmlns:v xmlns:w arcsize fillcolor stroke strokecolor strokeweight
    """
)

URLS = _words(
    """
    action background cite classid codebase data dynsrc formaction href icon imagesrcset longdesc lowsrc manifest ping
    poster profile src srcset usemap xlink:href
    """
)
"""Attributes whose value is a URL, or several of them, on whatever element: Outlook's VML has `href` and `src` too."""
