"""Mails as they come back, for tests of the ways by which they come."""

BOUNCE = b"""\
Return-Path: <>
From: MAILER-DAEMON@mx.example.net (Mail Delivery System)
To: bounce+c4mpa1gn@example.com
Subject: Undelivered Mail Returned to Sender
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="b"

--b
Content-Type: text/plain

This is the mail system at host mx.example.net.

--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.net
Arrival-Date: Sun, 29 Nov 2026 12:00:00 +0000

Final-Recipient: rfc822; jane@example.net
Action: failed
Status: 5.1.1
Diagnostic-Code: smtp; 550 5.1.1 no such user

--b
Content-Type: message/rfc822

From: News <news@example.com>
To: jane@example.net
Subject: News
Message-ID: <abc@example.com>
Feedback-ID: c4mpa1gn:news:example:mailer

Hello.

--b--
"""

VACATION = b"""\
From: jane@example.net
To: bounce+c4mpa1gn@example.com
Subject: Out of office
Auto-Submitted: auto-replied

I am away.
"""

WISH = b"""\
From: Jane <jane@example.net>
To: leave+c4mpa1gn@example.com
Subject: unsubscribe

"""

LETTER = b"""\
From: Jane <jane@example.net>
To: bounces@example.com
Subject: a question

Who are you?
"""
