"""The wording of replies: the phrases that `blame` looks for, and the text that it looks at.

A person's name must never be taken for a phrase. So addresses, links and quoted words are taken out of the text first,
what it reports of another host is cut off, and a phrase is whole words with blanks between them.
"""

from __future__ import annotations

import re

LINK = re.compile(r"https?://\S+")
NAMES = re.compile(
    r"<[^<>]*>"
    r"|\"[^\"]*\"(?:@\S+)?"
    r"|(?<!\w)'[^']*'(?!\w)"
    r"|\S*@\S+"
)
OTHER_HOST = re.compile(r"\b(?:host \S+ said:|remote server returned|-> ?[45]\d\d ).*", re.IGNORECASE | re.DOTALL)
DETAIL = re.compile(r"(?<![\w.])[245]\.(\d{1,3}\.\d{1,3})(?![\w]|\.\d)", re.ASCII)


def own_words(text: str) -> str:
    """`text` without names, links, and what the server reports of another host: what it says itself."""
    return NAMES.sub("…", LINK.sub("(link)", OTHER_HOST.sub("", text)))


def compile_phrase(pattern: str) -> re.Pattern[str]:
    """Compile `pattern` so that it is found only as whole words, in any case, and never inside an address or a name."""
    return re.compile(rf"(?<![\w.@+-])(?:{pattern})(?![\w@+-]|\.\w)", re.IGNORECASE)


_PERIOD = r"(?:\d+ ?)?(?:s|sec|second|minute|hour|day|week|month|h)s?"
_THINGS = (
    r"(?:e-?mails?|mails?|messages?|recipients?|addresses|connections?|sessions?|deliveries|failures|requests?"
    r"|submissions?|errors|rcpts?)"
)
_LIMIT = r"(?:quotas?|limits?|limitation|allowance|credits?|threshold|rate)"
_SENDING = r"(?:sending|submission|relay|outgoing|outbound|smtp|transmission|hourly|daily|weekly|monthly)"
_PASSED = r"(?:exceed(?:ed|s|ing)?|reached|hit|surpassed|exhausted|used up|over)"

# A limit of whoever sends. The first kind is so plain that it is believed against any code.
TOO_MUCH = "|".join(
    (
        r"\w*(?:submission|sending|recipient|message)\w*(?:quota|limit|rate)\w*exceeded\w*",
        rf"too (?:many|much) (?:\w+ ){{0,2}}(?:users|{_THINGS})",
        rf"{_THINGS} (?:(?!in )\w+ ){{0,3}}(?:per|each|every|this|an?|within the last) {_PERIOD}(?! later| ago)",
        rf"{_THINGS} ?/ ?{_PERIOD}",
        rf"{_SENDING} (?:\w+ ){{0,4}}{_LIMIT}[ -](?:\w+ ){{0,4}}{_PASSED}",
        rf"{_PASSED} (?:\w+ ){{0,6}}{_SENDING} (?:\w+ ){{0,3}}{_LIMIT}",
        rf"{_PASSED} (?:\w+ ){{0,5}}(?:number|amount|volume) of (?:\w+ ){{0,3}}{_THINGS}",
        rf"{_PASSED} (?:\w+ ){{0,4}}{_LIMIT} (?:for|of|on) (?:\w+ ){{0,6}}(?:{_THINGS}|sending)",
        rf"{_LIMIT} (?:for|of|on) (?:\w+ ){{0,6}}{_THINGS} (?:\w+ ){{0,2}}{_PASSED}",
        rf"you(?: ha(?:ve|d)| are|'ve|'re) (?:\w+ ){{0,2}}{_PASSED} (?:\w+ ){{0,5}}{_LIMIT}",
        rf"your (?:\w+ ){{0,4}}{_LIMIT} (?:\w+ ){{0,3}}{_PASSED}",
        r"maximum sending rate|rate ?limit(?:ed|s|ing)?|(?:frequency|rate) (?:is |was )?limited",
        r"(?:excessive|unexpected|unusual) (?:volume|rate|number)",
        r"sending (?:\w+ ){0,2}too (?:fast|quickly|frequently|much)|please slow down",
    )
)
# Single words and vague ones: believed where the code says nothing.
TOO_MUCH_LOOSELY = (
    r"rate (?:is |was |has been )?exceeded|"
    rf"throttl(?:ed|ing)|rate-limit(?:ed|ing)?|slow down|quota[ -]exceeded for|{_LIMIT} of {_THINGS}"
    rf"|(?:account|plan|{_THINGS}) {_LIMIT} (?:\w+ ){{0,2}}{_PASSED}|{_SENDING} (?:\w+ )?{_LIMIT}"
    rf"|max(?:imum)? (?:\w+ )?{_THINGS} {_PASSED}|(?:no|out of|not enough|insufficient) (?:\w+ )?credits?"
)
# Its size, its place to be kept in, or a limit on what *arrives* there: never a limit of whoever sends.
NOT_TOO_MUCH = (
    r"size|length|storage|disk|space|mailbox|inbox|hops?|headers?|unwanted"
    r"|receiving|(?:can|may|to) receive|recipient(?:'s)? (?:has|is|was) (?:\w+ )?exceed(?:ed|ing|s)"
)
ARRIVES_TOO_FAST = (
    r"(?:is|are) receiving (?:mail|messages|e-?mail)|(?:can|may|to) receive (?:per|an?|each|in)"
    r"|recipient(?:'s)? (?:has|is|was) (?:\w+ )?exceed(?:ed|ing|s)|recipient thread limit"
)

# The From address, its domain, or the account's right to use it.
SENDER = "|".join(
    (
        r"sender(?:'s)? (?:\S+ ){0,4}(?:rejected|denied|refused|banned|invalid|unverified|unknown|suspended|disabled)",
        r"sender(?:'s)? (?:\S+ ){0,4}not (?:allowed|verified|authori[sz]ed|permitted|accepted|exist|owned)",
        r"senders? not allowed|sender (?:verify|verification)|domain of sender|sending domain|verified sender identity",
        r"(?:invalid|unknown|unverified|unauthori[sz]ed|unauthenticated|banned|bad|forged) (?:envelope )?senders?",
        r"mail ?from (?:domain|address)",
        r"not (?:allowed|permitted|authori[sz]ed|able) to send (?:\w+ ){0,2}(?:as|from|on behalf|using|with)",
        r"doesn't allow sending|permissions? to send (?:as|on behalf)",
        r"(?:storedrv\.\S*)?send(?:as|onbehalf)\S*denied\S*",
        r"address is not verified|identities failed the check|(?:domain|identity) (?:\S+ )?(?:is )?not verified",
        r"sandbox subdomains|testing e-?mails to your own|outgoing (?:e-?)?mail (?:\S+ ){0,4}suspended",
        r"suspended from sending",
        r"not owned by (?:\w+ )?user",
        r"sending (?:has been |is |was )?(?:suspended|paused|disabled|blocked)",
        r"(?:your|sender's|sending) (?:\w+ ){0,3}account (?:\w+ ){0,3}"
        r"(?:suspended|paused|disabled|blocked|locked|deactivated|restricted)",
    )
)
SENDER_LOOSELY = (
    r"dmarc|spf|dkim|unauthenticated e-?mail|authentication (?:information|checks?|requirements?)"
    r"|reverse dns|rdns|ptr(?: resource)? record"
)
SENDER_AT_RCPT = r"envelope sender|sender (?:envelope )?(?:address|domain)|sending address|from[ -]address"
ACCOUNT_STOPPED = r"account (?:\w+ ){0,3}(?:suspended|paused)"

# This machine is not let in, whoever it sends for.
HOST = (
    r"client host (?:\S+ )?(?:rejected|blocked)|client (?:\S+ )?blocked|helo (?:command rejected|domain)"
    r"|must issue a starttls|banned sending ip|(?:ip|address|host|server|client) (?:\S+ )?(?:is |has been )?"
    r"(?:black|block|deny)[ -]?listed"
)
BY_RECIPIENT = r"by recipients?|recipient's"

FULL = (
    r"(?:mailbox|inbox|account|user|recipient)\S* (?:\S+ )?(?:is )?(?:full|over ?quota)|mailbox (?:\w+ ){0,3}full"
    r"|over ?quota|quota (?:is |was |has been )?(?:exceeded|violation)|disk quota|out of (?:storage|disk|space)"
    r"|(?:storage|mailbox|disk|space) (?:\w+ ){0,2}(?:limit|allocation|quota)|exceed\w* (?:\w+ ){0,3}(?:storage|quota)"
)
FULL_AGAINST_THE_CODE = r"over ?quota|extended quota violation|mailbox (?:is )?full"
MAILBOX = r"mailbox|user|recipient|account"

_WHO = r"(?:users?|recipients?|mailbox(?:es)?|address(?:es)?|addressee|account|customer|person|domain|host)"
_GONE = r"(?:unknown|unallocated|unavailable|inactive|disabled|discontinued|deactivated|closed|frozen)"
NOBODY = "|".join(
    (
        rf"(?:unknown|no such|invalid|illegal|nonexistent|non-existent|bad|unrouteable) (?:\w+ ){{0,2}}{_WHO}",
        rf"{_WHO} (?:\S+ ){{0,2}}{_GONE}",
        rf"{_WHO} (?:\S+ ){{0,3}}(?:(?:does not|doesn't|not) (?:exist|found)|could not be found|no longer \w+)",
        rf"{_WHO} (?:\S+ ){{0,4}}(?:invalid|not (?:valid|active|registered|available))",
        rf"not (?:an? |our |in )?(?:valid |known |registered )?(?:\w+ )?(?:{_WHO}|recipient list)",
        r"(?:does not|doesn't) have an? \S+ account|not our \w+|no longer (?:valid|on server|active)",
        rf"{_WHO} (?:\S+ ){{4,7}}(?:does not|doesn't) exist|no {_WHO} (?:\w+ )?by (?:that|this) name",
        r"does not accept mail(?! from)",
    )
)
TOO_BIG = (
    r"(?:message|mail|e-?mail|header|line) (?:\w+ ){0,3}(?:size|length|too (?:big|large|long))|size (?:limit|exceeds)"
    r"|too (?:big|large|long)|line (?:length )?limit"
)
POLICY = (
    r"relay(?:ing)?|spam|virus|malware|content|attachments?|polic(?:y|ies)|blocked|(?:black|block|deny) ?list(?:ed)?"
    r"|reputation|\(link\)|access denied|administrative prohibition|spoof(?:ed|ing)|grey-?list(?:ed|ing)?"
    r"|try (?:again )?later"
)
# What no server says of a mailbox: of whoever asks, of itself, or of the mail.
NO_MAILBOX = "|".join(
    (
        r"you|your|senders?|sending|outgoing|limits?|quotas?|credits?|rate|throttl\w+|upgrade",
        r"authenticat\w+|auth|log ?in|tls|encryption|helo|ehlo|ptr|rbl|dnsbl|ip|connections?",
        r"server|service|system|database|ldap|lookup|internal|temporar(?:y|ily)|maintenance|error",
        r"(?:this|your|all) (?:e-?mail|message)|(?:e-?mail|mail|message)s? (?:\w+ ){0,2}(?:rejected|refused|denied)",
        r"messages from|unsolicited|bulk|ube|junk|forbidden|denied|not allowed|challenge-response",
    )
)
